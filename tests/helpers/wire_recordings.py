"""Replay recordings of a real ComfyUI against FakeComfy, and hold one against the other."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import websockets

from comfy_async.testing import FakeComfy, Gate

DATA = Path(__file__).parent.parent / "data"

_UNORDERED = frozenset({"executed", "current_outputs", "dependent_outputs"})
"""Lists that the real server makes of sets, in another order each time."""


@dataclasses.dataclass(frozen=True)
class At:
    """A node of a run, by class and id."""

    class_type: str
    node: str


Step = At | Literal["request", "go", "end"]

_MASKED = frozenset(
    # ids, times and names of the day
    "timestamp create_time execution_start_time execution_end_time number priority filename modified created "
    # the server's own prose and insides
    "tooltip traceback description search_aliases output_tooltips current_inputs".split()
)


def recording(name: str) -> list[dict[str, Any]]:
    """Return the lines of a recording."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def prompt_of(name: str) -> dict[str, Any]:
    """Return the first prompt that a recording posts."""
    found: dict[str, Any] = next(
        line["http"]["json"]["prompt"]
        for line in recording(name)
        if line.get("http", {}).get("path") == "/prompt"
    )
    return found


def masked(value: Any, key: str = "") -> Any:
    """Return a value with what differs from day to day replaced by its type."""
    if key in _MASKED:
        return type(value).__name__
    if isinstance(value, dict):
        return {name: masked(inner, name) for name, inner in value.items()}
    if key == "prompt" and isinstance(value, list):  # the first column of a history row is a number
        return ["number", *(masked(inner) for inner in value[1:4]), sorted(value[4])]
    if key.startswith("queue_") and isinstance(value, list):
        return [masked(row, "prompt") for row in value]
    if key in _UNORDERED:
        return sorted(value)
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return value


def shape(value: Any) -> Any:
    """Return only keys and types of a value; a list is the kinds of things in it."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        kinds: list[Any] = []
        for inner in value:
            if (kind := shape(inner)) not in kinds:
                kinds.append(kind)
        return kinds
    return type(value).__name__


def frame(raw: str | bytes) -> Any:
    """Return a frame in a form to compare: JSON masked, of pictures all but the pixels."""
    if isinstance(raw, str):
        return masked(json.loads(raw))
    (kind,) = struct.unpack_from(">I", raw)
    if kind == 4:
        (length,) = struct.unpack_from(">I", raw, 4)
        return {"binary": kind, "header": json.loads(raw[8 : 8 + length]), "magic": raw[8 + length :][:2]}
    return {"binary": kind, "format": struct.unpack_from(">I", raw, 4)[0], "magic": raw[8:10]}


def recorded_frames(lines: list[dict[str, Any]]) -> list[Any]:
    """Return the frames that the real server sent."""
    raws = [line["text"] if "text" in line else base64.b64decode(line.get("binary", "")) for line in lines]
    return [frame(raw) for raw in raws if raw]


class Client:
    """A bare client: one HTTP client, one socket whose frames are kept as they come."""

    def __init__(self, http: httpx.AsyncClient, socket: websockets.ClientConnection) -> None:
        """Use these two."""
        self.http = http
        self.socket = socket
        self.frames: list[Any] = []
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()

    async def listen(self) -> None:
        """Keep every frame; note when a run is over."""
        async for raw in self.socket:
            self.frames.append(frame(raw))
            if len(self.frames) == 2:
                self.answered.set()
            if isinstance(raw, str) and json.loads(raw).get("data", {}).get("node", "") is None:
                self.ended.set()

    async def send(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Repeat a recorded request and return the answer as a recorded one."""
        content = None if asked.get("json") is None else json.dumps(asked["json"])
        response = await self.http.request(asked["method"], asked["path"], content=content)
        try:
            body = response.json()
        except ValueError:
            body = response.text
        return {"status": response.status_code, "body": body}


@asynccontextmanager
async def client(fake: FakeComfy, *, client_id: str, negotiates: bool) -> AsyncIterator[Client]:
    """Connect, negotiate if wanted, and listen."""
    address = f"{fake.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
    async with (
        httpx.AsyncClient(base_url=fake.url, verify=False) as http,
        websockets.connect(address) as socket,
    ):
        connected = Client(http, socket)
        listening = asyncio.create_task(connected.listen())
        await fake.wait_for(lambda books: books.sockets_now == 1)
        if negotiates:
            flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
            await socket.send(json.dumps(flags))
            await connected.answered.wait()
        yield connected
        await socket.close()
        await listening


async def warm_up(fake: FakeComfy, *prompts: dict[str, Any]) -> None:
    """Run prompts whose results a recording found in the cache."""
    async with httpx.AsyncClient(base_url=fake.url, verify=False) as http:
        for prompt in prompts:
            answer = await http.post("/prompt", json={"prompt": prompt, "client_id": "somebody else"})
            assert answer.status_code == 200, answer.text
            await fake.ended(answer.json()["prompt_id"])


async def replay(
    fake: FakeComfy, lines: list[dict[str, Any]], *, script: list[Step]
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Repeat the requests of a recording in order; return the answers and the frames.

    Args:
        fake: The server.
        lines: The recording.
        script: When to send them: "request" sends the next one, `At` waits until that node
            runs and keeps it running until "go", and "end" waits for the end marker.
    """
    requests = iter([line["http"] for line in lines if "http" in line])
    first = next(line["http"]["json"] for line in lines if "http" in line)
    gates = {step: fake.gate(step.class_type, node=step.node) for step in script if isinstance(step, At)}
    answers: list[dict[str, Any]] = []
    negotiates = any("sent" in line for line in lines)
    async with client(fake, client_id=first["client_id"], negotiates=negotiates) as bare:
        held: list[Gate] = []
        for step in script:
            if isinstance(step, At):
                await gates[step].reached()
                held.append(gates[step])
            elif step == "request":
                answers.append(await bare.send(next(requests)))
            elif step == "go":
                held.pop().open()
            else:
                await bare.ended.wait()
        assert next(requests, None) is None, "the script forgot a request"
    return answers, bare.frames
