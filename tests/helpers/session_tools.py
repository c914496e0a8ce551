"""What the tests of sessions share: graphs for FakeComfy, a clock that jumps, ways to look."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx

from comfy_async import ComfySession, Job, Settings, Workflow
from comfy_async._base.clock import Clock
from comfy_async.events import BaseEvent
from comfy_async.testing import FakeComfy, FastClock

LIVES = frozenset(
    "Queued Started NodesCached NodeStarted NodeFinished NodeBlocked Completed Failed Cancelled Lost".split()
)

# What the job of `picture()` tells on an idle server.
PICTURE_LIVES = [
    "Queued",
    "Started",
    "NodesCached",
    "NodeStarted 1",
    "NodeFinished 1",
    "NodeStarted 2",
    "NodeFinished 2",
    "Completed",
]


class JumpClock(Clock):
    """Time that can be moved on by hand; pauses last as long as they do."""

    def __init__(self) -> None:
        """Start at this moment."""
        super().__init__()
        self._jumped = 0.0

    def jump(self, seconds: float) -> None:
        """Let that much time have passed."""
        self._jumped += seconds

    def monotonic(self) -> float:
        """Return the moved time."""
        return super().monotonic() + self._jumped

    def unix(self) -> float:
        """Return the moved time."""
        return super().unix() + self._jumped


class HeldAnswers(httpx.AsyncHTTPTransport):
    """The network, but the answers of one route are held back until they are released."""

    def __init__(self, method: str, path: str) -> None:
        """Hold what `method` gets from routes that end so."""
        super().__init__()
        self._route = (method, path)
        self.held = asyncio.Event()
        self.release = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and keep the answer for a while."""
        response = await super().handle_async_request(request)
        if request.method == self._route[0] and request.url.path.endswith(self._route[1]):
            self.held.set()
            await self.release.wait()
        return response


def teach(fake: FakeComfy, *, steps: int = 10) -> FakeComfy:
    """Teach a server a class of some steps, one that shows a text, and one that fails."""
    fake.script("Steps", inputs={"seed": "INT"}, outputs=["VALUE"], steps=steps)
    fake.script("Show", inputs={"value": "VALUE"}, is_output=True, output={"text": ["shown"]})
    fake.script("Break", inputs={"value": "VALUE"}, is_output=True, error=("RuntimeError", "broken"))
    return fake


def graph(seed: int = 1, last: str = "Show") -> dict[str, Any]:
    """Return a small graph of what `teach` has taught; another seed is another run."""
    return {
        "1": {"class_type": "Steps", "inputs": {"seed": seed}, "_meta": {"title": "Many steps"}},
        "2": {"class_type": last, "inputs": {"value": ["1", 0]}},
    }


def fast(fake: FakeComfy, **options: Any) -> ComfySession:
    """Return a session whose pauses last a tenth; takes what sessions and their settings take."""
    names = {field.name for field in dataclasses.fields(Settings)} & options.keys()
    settings = Settings(clock=FastClock(10), **{name: options.pop(name) for name in names})
    return ComfySession(fake.url, settings=settings, **options)


def picture(color: int = 0, *, prefix: str = "pic", size: int = 16) -> dict[str, Any]:
    """Return a small graph that saves one picture; another color is another run."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": size, "height": size, "batch_size": 1, "color": color},
        },
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": prefix},
            "_meta": {"title": "Keep it"},
        },
    }


def two_outputs() -> dict[str, Any]:
    """Return a graph with two outputs."""
    graph = picture()
    graph["3"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "other"},
        "_meta": {"title": "The other"},
    }
    return graph


def steps(fake: FakeComfy, count: int = 5, **options: Any) -> dict[str, Any]:
    """Teach the server a class of that many steps, and return a graph that runs it."""
    fake.script("Steps", inputs={"steps": "INT", "seed": "INT"}, outputs=["VALUE"], steps=count, **options)
    fake.script("Show", inputs={"value": "VALUE"}, output={"text": ["shown"]})
    return {
        "1": {"class_type": "Steps", "inputs": {"steps": count, "seed": 1}, "_meta": {"title": "Many steps"}},
        "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
    }


def seeded(graph: dict[str, Any], seed: int) -> Workflow:
    """Return the graph of `steps` with another seed."""
    return Workflow.load(graph).with_inputs({"1.seed": seed})


def lives(events: Iterable[BaseEvent]) -> list[str]:
    """Return the lifecycle events by class and node."""
    return [
        type(event).__name__ + (f" {node}" if (node := getattr(event, "node", None)) is not None else "")
        for event in events
        if type(event).__name__ in LIVES
    ]


async def lines_of(*arguments: str, killed_after: int | None = None) -> list[str]:
    """Return what a Python process prints; SIGKILL comes after so many lines, else it ends well."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe)
    assert process.stdout is not None
    lines = []
    async for line in process.stdout:
        lines.append(line.decode().strip())
        if len(lines) == killed_after:
            os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == (0 if killed_after is None else -signal.SIGKILL)
    return lines


async def collect(job: Job) -> list[BaseEvent]:
    """Return every event of a job."""
    return [event async for event in job]


async def first(job: Job, kind: type) -> Any:
    """Return the first event of a kind, from a consumer of its own."""
    async for event in job.events():
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


@asynccontextmanager
async def limited(kind: str, reached: Awaitable[object]) -> AsyncIterator[None]:
    """Let a time limit of asyncio or anyio run out as soon as something is reached; nothing comes out."""
    watching = asyncio.ensure_future(reached)
    try:
        if kind == "asyncio":
            try:
                async with asyncio.timeout(None) as limit:
                    now = asyncio.get_running_loop().time
                    watching.add_done_callback(lambda _: limit.reschedule(now()))
                    yield
            except TimeoutError:
                return
        else:
            with anyio.CancelScope() as scope:
                watching.add_done_callback(lambda _: scope.cancel())
                yield
            if scope.cancelled_caught:
                return
        raise AssertionError("the limit was swallowed")
    finally:
        watching.cancel()


async def eventually(predicate: Callable[[], object]) -> None:
    """Wait until something that nobody announces holds; a test that waits in vain hangs and fails."""
    while not predicate():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def turns(count: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[tuple[FakeComfy, ComfySession]]:
    """Run a server of a kind, and a session with it."""
    async with FakeComfy(**options) as fake, fake.session() as comfy:
        yield fake, comfy


def library_tasks() -> list[str]:
    """Return the names of the library's tasks that are alive."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("comfy_async")]
