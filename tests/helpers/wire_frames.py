"""Recordings of a real ComfyUI 0.33.0 as frames and events, and frames made by hand."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comfy_async._protocol.decode import decode_binary, decode_text
from comfy_async._protocol.plan import Plan
from comfy_async._protocol.reducer import JobState
from comfy_async.events import BaseEvent, Preview, Queued

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = sorted(
    path.stem
    for path in DATA.glob("*.jsonl")
    # What API v2 says has no socket, and tests of its own.
    if path.stem != "rest_samples" and not path.stem.startswith("v2_")
)
PROMPT_ID = "9e721e8c-948f-48d8-a684-409836d205e3"


def lines(name: str) -> list[dict[str, Any]]:
    """Return the lines of a recording."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]


def frames(name: str) -> list[tuple[float, bytes]]:
    """Return the frames that the server sent, with their times."""
    found = []
    for line in lines(name):
        if "text" in line:
            found.append((line["t"], line["text"].encode()))
        elif "binary" in line:
            found.append((line["t"], base64.b64decode(line["binary"])))
    return found


def answer(name: str, path: str, *, nth: int = 0) -> Any:
    """Return the body of a recorded answer whose path begins so."""
    return [line["body"] for line in lines(name) if line.get("http", {}).get("path", "").startswith(path)][
        nth
    ]


def prompt(name: str) -> dict[str, Any]:
    """Return the first prompt that a recording posts."""
    found: dict[str, Any] = next(
        line["http"]["json"]["prompt"]
        for line in lines(name)
        if line.get("http", {}).get("path") == "/prompt"
    )
    return found


def decode(raw: bytes, at: float = 0.0) -> BaseEvent:
    """Decode a frame as the reader does: a binary frame begins with a NUL."""
    return decode_binary(raw, at) if raw[:1] == b"\0" else decode_text(raw, at)


def first_job(name: str) -> str:
    """Return the id of the first prompt in a recording."""
    return str(answer(name, "/prompt")["prompt_id"])


def replayed(name: str, *, state: JobState | None = None) -> tuple[JobState, list[BaseEvent]]:
    """Feed a recording to the state of its first job; return the state and what it told."""
    if state is None:
        state = JobState(first_job(name), Plan(prompt(name)))
        state.apply(Queued(None, {}, state.prompt_id))
    return state, told(state, (decode(raw, at) for at, raw in frames(name)))


def told(state: JobState, events: Iterable[BaseEvent]) -> list[BaseEvent]:
    """Feed events to a job's state as the router does, and return what comes out."""
    out: list[BaseEvent] = []
    for event in events:
        if isinstance(event, Preview) and event.prompt_id is None:
            event._data = {**event.data, "node_id": state.running_node}
            event.prompt_id = state.prompt_id
        if event.prompt_id == state.prompt_id:
            out += state.apply(event)
    return out


def names(events: Iterable[BaseEvent]) -> list[str]:
    """Return the classes of events, with the node where there is one."""
    found = []
    for event in events:
        node = getattr(event, "node", None)
        found.append(type(event).__name__ + (f" {node}" if node is not None else ""))
    return found


def text(kind: str, /, **data: Any) -> bytes:
    """Return a text frame as ComfyUI writes it."""
    return json.dumps({"type": kind, "data": data}).encode()


def of_job(kind: str, /, **data: Any) -> bytes:
    """Return a text frame about the job."""
    return text(kind, **data, prompt_id=PROMPT_ID)


def step(node: str, value: float, maximum: float) -> bytes:
    """Return a `progress` frame."""
    return text("progress", value=value, max=maximum, prompt_id=PROMPT_ID, node=node)


STEP = step("3", 1, 100)


def states(**nodes: str) -> bytes:
    """Return a `progress_state` frame; the nodes are given as `n3="running"`."""
    rows = {
        name.removeprefix("n"): {"value": 0, "max": 1, "state": state, "node_id": name.removeprefix("n")}
        for name, state in nodes.items()
    }
    return text("progress_state", prompt_id=PROMPT_ID, nodes=rows)


def started(node: str) -> bytes:
    """Return an `executing` frame."""
    return of_job("executing", node=node, display_node=node)


def executed(node: str, output: Any = None) -> bytes:
    """Return an `executed` frame."""
    return of_job("executed", node=node, display_node=node, output=output)


def preview(node: str, image: bytes = b"\xff\xd8", *, mime: str = "image/jpeg", **more: Any) -> bytes:
    """Return a frame of type 4."""
    header = json.dumps({"node_id": node, "prompt_id": PROMPT_ID, "image_type": mime, **more}).encode()
    return struct.pack(">II", 4, len(header)) + header + image


def bare_preview(image: bytes = b"\xff\xd8", *, form: int = 1) -> bytes:
    """Return a frame of type 1: neither job nor node."""
    return struct.pack(">II", 1, form) + image


def node_text(node: str, message: str, *, prompt_id: str | None = None) -> bytes:
    """Return a frame of type 3, in the variant with a prompt_id when one is given."""
    words = [node.encode()] if prompt_id is None else [prompt_id.encode(), node.encode()]
    return struct.pack(">I", 3) + b"".join(struct.pack(">I", len(w)) + w for w in words) + message.encode()


def graph(**classes: Any) -> dict[str, Any]:
    """Return an API graph: `n1="EmptyImage"`, or `n3=("KSampler", {"steps": 20}, "1")` with parents."""
    made = {}
    for name, spec in classes.items():
        class_type, inputs, *parents = (spec, {}) if isinstance(spec, str) else spec
        links = {f"from_{parent}": [parent, 0] for parent in parents}
        made[name.removeprefix("n")] = {"class_type": class_type, "inputs": {**inputs, **links}}
    return made


def new_state(made: dict[str, Any], **options: Any) -> JobState:
    """Return the state of a job with this graph, which the server has accepted."""
    state = JobState(PROMPT_ID, Plan(made), **options)
    state.apply(Queued(None, {}, PROMPT_ID, received_at=0.0))
    return state


GRAPH = graph(
    n1="EmptyImage",
    n2=("KSampler", {"steps": 4}, "1"),
    n3=("SaveImage", {}, "2"),
    n4=("SaveImageWebsocket", {}, "2"),
)
START = of_job("execution_start", timestamp=1)
SUCCESS = of_job("execution_success", timestamp=2)
IMAGES = {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}


def feed(state: JobState, *frames: bytes, at: float = 0.0) -> list[str]:
    """Feed frames and return the names of what is told."""
    return names(tell(state, frames, at=at))


def tell(state: JobState, frames: Iterable[bytes], *, at: float = 0.0) -> list[BaseEvent]:
    """Feed frames and return what is told."""
    return told(state, [decode(raw, at) for raw in frames])
