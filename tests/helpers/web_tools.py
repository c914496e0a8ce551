"""What the tests of the web share: apps to offer, a site on loopback, events as they were sent."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from PIL import Image

from comfy_async import ComfySession, PromptRejectedError, Workflow
from comfy_async.testing import FakeComfy
from comfy_async.types import Problem
from comfy_async.web import Site, routes, serve

PAINT = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
    },
    "2": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "paint"},
        "_meta": {"title": "Keep it"},
    },
}
STEPS = {
    "1": {"class_type": "Steps", "inputs": {"seed": 1}, "_meta": {"title": "Many steps"}},
    "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
}
INVERT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "invert"}},
}
BREAK = {
    "1": {"class_type": "Steps", "inputs": {"seed": 1}},
    "2": {
        "class_type": "Break",
        "inputs": {"value": ["1", 0]},
        "_meta": {"title": "Draw <b>text</b>"},
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StubInput:
    """An input of a stub."""

    name: str
    node: str
    input: str
    type: str = "STRING"
    default: Any = None
    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    multiline: bool = False
    required: bool = False
    description: str = ""
    upload: str | None = None
    title: str = ""
    is_seed: bool = False

    def parse(self, text: str) -> Any:
        if self.type in ("INT", "FLOAT"):
            try:
                return int(text) if self.type == "INT" else float(text)
            except ValueError:
                return text
        if self.type == "BOOLEAN":
            return {"true": True, "false": False}.get(text, text)
        return text


@dataclasses.dataclass(frozen=True)
class StubOutput:
    """An output of a stub."""

    node: str


class StubApp:
    """A stand-in."""

    def __init__(
        self,
        name: str,
        graph: Mapping[str, Any],
        inputs: list[StubInput],
        outputs: Mapping[str, StubOutput],
    ) -> None:
        self.name = name
        self.flow = Workflow.load(dict(graph))
        self.inputs = {one.name: one for one in inputs}
        self.outputs = outputs

    def workflow(self, /, **values: Any) -> Workflow:
        problems = []
        changes: dict[Any, Any] = {}
        for name, value in values.items():
            field = self.inputs[name]
            wrong = ""
            if field.type == "INT" and (not isinstance(value, int) or isinstance(value, bool)):
                wrong = f"{name}: {value!r} is no whole number"
            elif field.maximum is not None and value > field.maximum:
                wrong = f"{name}: {value!r} is too large; it ends at {field.maximum}"
            if wrong:
                problems.append(Problem(input=name, type="invalid", message=wrong, received=value))
            changes[(field.node, field.input)] = value
        if problems:
            raise PromptRejectedError("the app does not take these values", problems=problems)
        return self.flow.with_inputs(changes)

    def json_schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "title": self.name,
            "properties": {name: {"type": "string"} for name in self.inputs},
        }


async def some_apps(comfy: ComfySession) -> dict[str, Any]:
    """Return the apps that most tests offer."""
    color = StubInput(name="color", node="1", input="color", type="INT", default=0, maximum=16777215)
    prefix = StubInput(name="prefix", node="2", input="filename_prefix", default="paint")
    seed = StubInput(name="seed", node="1", input="seed", type="INT", is_seed=True)
    photo = StubInput(name="photo", node="1", input="image", type="COMBO", upload="image")
    return {
        "paint": StubApp("Paint", PAINT, [color, prefix], {"picture": StubOutput("2")}),
        "steps": StubApp("Steps", STEPS, [seed], {"text": StubOutput("2")}),
        "invert": StubApp("Invert", INVERT, [photo], {"picture": StubOutput("3")}),
        "break": StubApp("Break", BREAK, [seed], {}),
    }


class Web:
    """A site that is served, and a client of it.

    Attributes:
        http: The client; a program's, which says nothing of a page.
        site: The site.
        url: Its address.
    """

    def __init__(self, http: httpx.AsyncClient, site: Site, url: str) -> None:
        """Take them."""
        self.http = http
        self.site = site
        self.url = url

    async def post(self, app: str, *, status: int = 202, query: str = "", **values: Any) -> Any:
        """Post values as JSON and return the answer, which must have a status."""
        answer = await self.http.post(f"/apps/{app}{query}", json=values)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def state(self, job: Mapping[str, Any], *, status: int = 200) -> Any:
        """Return the state of a job."""
        answer = await self.http.get(job["links"]["self"])
        assert answer.status_code == status, answer.text
        return answer.json()

    async def told(self, job: Mapping[str, Any], **query: str) -> list[tuple[str, str, Any]]:
        """Return all events of a job up to its end."""
        answer = await self.http.get(job["links"]["events"], params=query, timeout=60)
        assert answer.status_code == 200, answer.text
        return events_in(answer.text)

    async def ended(self, job: Mapping[str, Any]) -> Any:
        """Return the state of a job at its end."""
        name, _, state = (await self.told(job))[-1]
        assert name == "end"
        return state

    @asynccontextmanager
    async def reading(self, job: Mapping[str, Any], query: str = "") -> AsyncIterator[AsyncIterator[str]]:
        """Give the lines of a job's events; the connection is cut at the end of the block."""
        async with self.http.stream("GET", job["links"]["events"] + query, timeout=60) as answer:
            assert answer.status_code == 200
            yield answer.aiter_lines()


def events_in(text: str) -> list[tuple[str, str, Any]]:
    """Return name, id and data of server-sent events."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


async def until(lines: AsyncIterator[str], word: str) -> str:
    """Read lines up to one that has a word."""
    async for line in lines:
        if word in line:
            return line
    raise AssertionError(f"no {word!r} came")


@asynccontextmanager
async def served(site: Site | Any, **client: Any) -> AsyncIterator[Web]:
    """Serve a site on a free port, with a client of it."""
    async with serve(site, port=0) as url, httpx.AsyncClient(base_url=url, trust_env=False, **client) as http:
        yield Web(http, site, url)


@asynccontextmanager
async def offered(
    fake: FakeComfy, *, session: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[Web]:
    """Offer the apps of `some_apps` on a server of tests; takes what `routes` takes."""
    async with fake.session(**(session or {})) as comfy:
        async with served(routes(await some_apps(comfy), comfy, **options)) as web:
            yield web


def png(color: str = "red", size: int = 8) -> bytes:
    """Return a small picture."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), color).save(file, "PNG")
    return file.getvalue()


async def eventually(predicate: Callable[[], object]) -> None:
    """Wait until something that nobody announces holds."""
    while not predicate():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
