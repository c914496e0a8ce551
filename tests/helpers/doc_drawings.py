"""The runs that events.md draws, and how they are drawn: each one is a real run on FakeComfy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

from doc_tools import ROOT

from comfy_async import (
    ComfySession,
    Completed,
    Disconnected,
    Failed,
    Job,
    NodeFinished,
    NodesCached,
    NodeStarted,
    PollingStarted,
    Preview,
    Progress,
    ProgressState,
    Queued,
    Reconnected,
    Workflow,
)
from comfy_async.events import BaseEvent
from comfy_async.testing import FakeComfy

Scene: TypeAlias = Callable[[FakeComfy, ComfySession, Workflow], Awaitable[list[BaseEvent]]]

SAID = {
    Queued: "answer to POST /prompt",
    Preview: "binary frame of type 4",
    Disconnected: "the socket breaks",
    PollingStarted: "polling begins",
    Reconnected: "a new socket opens",
    Completed: "GET /history/{id}",
}
WIDTH = 25


async def watched(job: Job) -> list[BaseEvent]:
    """Return the events of a job as they come."""
    return [event async for event in job]


async def normal(fake: FakeComfy, comfy: ComfySession, flow: Workflow) -> list[BaseEvent]:
    """Run on a server that has nothing in its cache."""
    return await watched(await comfy.submit(flow))


async def cached(fake: FakeComfy, comfy: ComfySession, flow: Workflow) -> list[BaseEvent]:
    """Run the same workflow a second time."""
    await comfy.run(flow)
    return await watched(await comfy.submit(flow))


async def failed(fake: FakeComfy, comfy: ComfySession, flow: Workflow) -> list[BaseEvent]:
    """Run out of memory in the sampler, with all before it in the cache."""
    await comfy.run(flow)
    fake.script("KSampler", inputs={"seed": "INT"}, outputs=["LATENT"], steps=2, error="oom", error_at=1)
    return await watched(await comfy.submit(flow.with_inputs({"3.seed": 2})))


async def dropped(fake: FakeComfy, comfy: ComfySession, flow: Workflow) -> list[BaseEvent]:
    """Lose the socket when the sampler starts, and get it back when the sampler is done."""
    await comfy.run(flow)
    sampler, decoder = fake.gate("KSampler", step=1), fake.gate("VAEDecode")
    job = await comfy.submit(flow.with_inputs({"3.seed": 2}))
    seen: list[BaseEvent] = []
    async for event in job:
        seen.append(event)
        if isinstance(event, NodeStarted) and event.node == "3":
            refusal = fake.faults.refuse_upgrades(503)
            fake.faults.drop_sockets("reset")
        elif isinstance(event, PollingStarted):
            sampler.open()
            await decoder.reached()
            refusal.cancel()
        elif isinstance(event, Reconnected):
            decoder.open()
    return seen


async def play(scene: Scene) -> list[BaseEvent]:
    """Play a scene with the SD1.5 workflow of the examples, two steps long."""
    flow = Workflow.load(ROOT / "examples/workflows/sd15_text2image_api.json").with_inputs({"3.steps": 2})
    async with FakeComfy() as fake, fake.session() as comfy:
        return await scene(fake, comfy, flow)


SCENES: dict[str, Scene] = {"normal": normal, "cached": cached, "failed": failed, "dropped": dropped}


def drawing(events: list[BaseEvent]) -> str:
    """Return a run as two columns: what ComfyUI says, what the job tells."""
    lines = [f"{'ComfyUI'.ljust(WIDTH)}      your code", f"{'─' * WIDTH}      {'─' * 44}"]
    shape: list[str] = []
    alike: list[str] = []
    for part in parts(events):
        if [type(event).__name__ for event in part] == shape and len(part) > 2:
            alike.append(str(getattr(part[-1], "node", "")))
            continue
        lines += same(alike)
        shape, alike = [type(event).__name__ for event in part], []
        lines += [line(event) for event in part]
    return "\n".join(["```text", *lines, *same(alike), "```"])


def same(alike: list[str]) -> list[str]:
    """Return a line for the nodes that told the same as the one before them."""
    return [f"{' ' * WIDTH}  ⋮   the same for nodes {', '.join(alike)}"] if alike else []


def parts(events: Iterable[BaseEvent]) -> Iterator[list[BaseEvent]]:
    """Split a run after each node."""
    part: list[BaseEvent] = []
    for event in events:
        part.append(event)
        if isinstance(event, (NodeFinished, NodesCached)):
            yield part
            part = []
    yield part


def line(event: BaseEvent) -> str:
    """Return one event: whence it comes, its class, and what it says."""
    said = SAID.get(type(event), event.type)
    if isinstance(event, Completed) and event.raw is not None:
        said = event.type
    arrow = f"{said.ljust(WIDTH)} ───▶"
    if event.raw is None and isinstance(event, (NodeStarted, NodeFinished)):
        # It follows from the frame of the line below or above.
        arrow = f"{' ' * WIDTH}  {'┌' if isinstance(event, NodeStarted) else '└'}─▶"
    return f"{arrow} {type(event).__name__.ljust(15)} {about(event)}".rstrip()


def about(event: BaseEvent) -> str:
    """Return what an event says, in a few words."""
    match event:
        case NodesCached(nodes=nodes):
            return ", ".join(nodes) or "none"
        case ProgressState(nodes=states) if states:
            node, state = list(states.items())[-1]
            return f"{node} {state['state']}, {state['value']:g} of {state['max']:g}"
        case Preview(mime=mime):
            return f"{event.node} {event.title}, {mime}"
        case Progress(value=value, max=maximum):
            return f"{event.node} {event.title}, {value:g} of {maximum:g}"
        case Failed():
            return f"{event.node} {event.class_type}, {event.exception_type}"
        case NodeStarted():
            return f"{event.node} {event.title}"
        case NodeFinished():
            return f"{event.node} {event.title}" + (f", {', '.join(event.output)}" if event.output else "")
    return ""
