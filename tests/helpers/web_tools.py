"""What the tests of the web share: apps to offer, a site on loopback, events as they were sent."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from PIL import Image
from session_tools import teach

from comfy_async import App, ComfyPool, ComfySession
from comfy_async.testing import FakeComfy
from comfy_async.web import Limits, Site, routes, serve

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


async def some_apps(comfy: ComfySession | ComfyPool) -> dict[str, App]:
    """Return the apps that most tests offer; their server has been taught by `teach`."""
    color = {"color": "1.color", "prefix": "2.filename_prefix"}
    return {
        "paint": await comfy.app(PAINT, inputs=color, outputs={"picture": "2"}),
        "steps": await comfy.app(STEPS, inputs={"seed": "1.seed"}, outputs={"words": "2"}),
        "invert": await comfy.app(INVERT, inputs={"photo": "1.image"}, outputs={"picture": "3"}),
        "break": await comfy.app(BREAK, inputs={"seed": "1.seed"}),
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
async def hosted(app: Any, **options: Any) -> AsyncIterator[str]:
    """Run any ASGI app on a free port as uvicorn itself does it."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none", **options))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def served(site: Site | Any, **client: Any) -> AsyncIterator[Web]:
    """Serve a site, or an app that holds one, on a free port, with a client of it."""
    host = serve(site, port=0) if isinstance(site, Site) else hosted(site)
    # A connection that is kept may be closed by the server at the moment it is used again: no kept ones.
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)
    settings: dict[str, Any] = {"trust_env": False, "limits": limits} | client
    async with host as url, httpx.AsyncClient(base_url=url, **settings) as http:
        yield Web(http, site, url)


@asynccontextmanager
async def offered(
    fake: FakeComfy,
    *,
    session: Mapping[str, Any] | None = None,
    client: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Web]:
    """Offer the apps of `some_apps` on a server of tests; takes what `routes` takes."""
    teach(fake)
    async with fake.session(**(session or {})) as comfy:
        async with served(routes(await some_apps(comfy), comfy, **options), **(client or {})) as web:
            yield web


def no_longer_patient(limits: Limits) -> None:
    """From now on, a job that is bound to its readers ends at once when the last of them leaves.

    Nobody may have to hurry to be a reader in time: a busy machine takes its own time.
    """
    object.__setattr__(limits, "leave_seconds", 0.0)


def png(color: str = "red", size: int = 8) -> bytes:
    """Return a small picture."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), color).save(file, "PNG")
    return file.getvalue()


async def eventually(predicate: Callable[[], object]) -> None:
    """Wait until something that nobody announces holds."""
    while not predicate():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
