"""What is left is stopped on the server, however often and from wherever whoever cleans up is cancelled."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import pytest
from session_tools import eventually, picture, steps, turns

from comfy_async import ComfySession, Job
from comfy_async._base.cleanups import HURRIED_S, Cleanups
from comfy_async.testing import FakeComfy

Use = Callable[[ComfySession, Any], Coroutine[Any, Any, object]]


async def run(comfy: ComfySession, graph: Any) -> object:
    """Run it and wait."""
    return await comfy.run(graph)


async def stream(comfy: ComfySession, graph: Any) -> object:
    """Watch it."""
    async with comfy.stream(graph) as job:
        async for _ in job:
            pass
        return await job


async def batch(comfy: ComfySession, graph: Any) -> object:
    """Run three of them."""
    other = {**graph, "1": {**graph["1"], "inputs": {**graph["1"]["inputs"], "seed": 2}}}
    third = {**graph, "1": {**graph["1"], "inputs": {**graph["1"]["inputs"], "seed": 3}}}
    async with comfy.map([graph, other, third]) as finished:
        return [job async for job in finished]


async def held(comfy: ComfySession, graph: Any) -> object:
    """Hold a job for a block."""
    async with await comfy.submit(graph) as job:
        return await job


USES: list[Use] = [run, stream, batch, held]


@pytest.fixture
async def fake() -> AsyncIterator[FakeComfy]:
    """A server on which a run takes long, and can be stopped at each step."""
    async with FakeComfy(step_seconds=0.005) as server:
        yield server


def long(fake: FakeComfy) -> dict[str, Any]:
    """Return a graph that runs for longer than any test."""
    return steps(fake, 100_000)


async def running(fake: FakeComfy) -> None:
    """Wait until the server runs something."""
    await fake.wait_for(lambda books: bool(fake.core.queue.running))


def left_running(fake: FakeComfy) -> list[str]:
    """Return what runs or waits on the server although nobody holds it."""
    queue = fake.core.queue
    return [item.prompt_id for item in (*queue.running, *queue.pending)]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_cancelled_twice(fake: FakeComfy, comfy: ComfySession, use: Use) -> None:
    """A server that is slow to read a cancel, and a caller who is cancelled again meanwhile (FAULTS E1)."""
    graph = long(fake)
    task = asyncio.create_task(use(comfy, graph))
    await running(fake)
    fake.faults.delay("POST", "/jobs/*/cancel", 0.3)
    task.cancel()
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await comfy.aclose()
    assert left_running(fake) == []


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_a_time_limit_within_a_time_limit(fake: FakeComfy, comfy: ComfySession, use: Use) -> None:
    """The outer one runs out while the inner one cleans up."""
    graph = long(fake)
    inner, outer = asyncio.timeout(None), asyncio.timeout(None)

    async def limited() -> None:
        async with outer, inner:
            await use(comfy, graph)

    task = asyncio.create_task(limited())
    await running(fake)
    fake.faults.delay("POST", "/jobs/*/cancel", 0.3)
    now = asyncio.get_running_loop().time
    inner.reschedule(now())
    await turns(3)
    outer.reschedule(now())
    with suppress(TimeoutError, asyncio.CancelledError):
        await task
    await comfy.aclose()
    assert left_running(fake) == []


async def test_a_task_group_that_aborts(fake: FakeComfy, comfy: ComfySession) -> None:
    """One fails, the others are cancelled, and the group's own task too."""
    graph = long(fake)

    async def fail() -> None:
        await running(fake)
        raise ValueError("mine")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run(comfy, graph))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await both()
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert left_running(fake) == []


async def test_cancelling_in_a_cancelled_scope(fake: FakeComfy, comfy: ComfySession) -> None:
    """A web framework's generator calls it in its `finally` after its client has left (FAULTS A10)."""
    graph = long(fake)
    job = await comfy.submit(graph)
    await running(fake)
    ended = ""
    with anyio.CancelScope() as scope:
        try:
            scope.cancel()
            await anyio.sleep(1)
        finally:
            ended = await job.cancel()
    assert ended == "cancelled"
    assert left_running(fake) == []


async def test_a_time_limit_around_a_cancel_stops_the_waiting(fake: FakeComfy, comfy: ComfySession) -> None:
    """Never the cancelling."""
    graph = long(fake)
    job = await comfy.submit(graph)
    await running(fake)
    late = fake.faults.delay("POST", "/jobs/*/cancel", 60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await job.cancel()
    late.cancel()
    await eventually(lambda: job.done)
    assert job.status == "cancelled"


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_at_every_turn_of_the_loop(fake: FakeComfy, use: Use) -> None:
    """Cancelled after k turns, and again after m more: no run is left that nobody holds."""
    graph = long(fake)
    first = 0
    while True:
        ended_early = True
        for again in (0, 1, 2, 3, 5, 8, 13, 21):
            async with fake.session() as comfy:
                task = asyncio.create_task(use(comfy, graph))
                await turns(first)
                ended_early = ended_early and bool(left_running(fake))
                task.cancel()
                await turns(again)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            assert left_running(fake) == [], (first, again)
        if ended_early:
            break
        first += 1 + first // 8


async def test_a_dropped_handle_stops_nothing(fake: FakeComfy, comfy: ComfySession) -> None:
    """Ceasing to hold a job is no wish."""
    job: Job | None = await comfy.submit(long(fake))
    await running(fake)
    del job
    gc.collect()
    assert len(left_running(fake)) == 1


PROGRAM = """
import asyncio, logging, sys, time
from comfy_async import ComfySession

logging.basicConfig(level=logging.WARNING)
GRAPH = {
    "1": {"class_type": "Steps", "inputs": {"steps": 100000, "seed": 1}},
    "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
}

async def main():
    comfy = await ComfySession(sys.argv[1]).connect()
    task = asyncio.create_task(comfy.run(GRAPH))
    while not (await comfy.queue.snapshot()).running:
        await asyncio.sleep(0.01)
    globals().update(began=time.monotonic(), task=task, comfy=comfy)
    if sys.argv[2] == "raise":
        raise ValueError("mine")

try:
    asyncio.run(main())
except ValueError as error:
    print("raised", error)
print("ended", time.monotonic() - began < 30)
"""


@pytest.mark.parametrize("how", ["return", "raise"])
async def test_a_main_that_ends_while_a_task_runs(fake: FakeComfy, how: str) -> None:
    """`asyncio.run` cancels everything once: the job is stopped, and nothing untrue is said (FAULTS E2)."""
    long(fake)
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROGRAM), fake.url, how]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert "ended True" in done.stdout, done.stderr
    assert "may still run" not in done.stderr
    assert ("raised mine" in done.stdout) == (how == "raise")
    assert left_running(fake) == []


async def test_what_was_cancelled_before_its_first_step() -> None:
    """`asyncio.run` may cancel a clean-up that has not begun: it is done all the same, and waited for."""
    done: list[float | None] = []

    async def work(seconds: float | None) -> None:
        done.append(seconds)

    cleanups = Cleanups()
    task = cleanups.start(work, name="clean up")
    for one in asyncio.all_tasks() - {asyncio.current_task()}:
        one.cancel()
    await asyncio.wait([task])
    assert done == [None]
    task = cleanups.start(work, name="clean up")
    await turns(1)
    for one in asyncio.all_tasks() - {asyncio.current_task()}:
        one.cancel()
    await asyncio.gather(task)
    assert done == [None, HURRIED_S]


@pytest.mark.parametrize("kind", [RuntimeError, BaseExceptionGroup])
async def test_an_interrupt_in_the_middle_of_a_step(kind: type[BaseException]) -> None:
    """What anyio makes of a second Ctrl-C is no failure: the work is begun again, and all others hurry."""
    told: list[tuple[str, float | None]] = []

    async def hit(seconds: float | None) -> None:
        told.append(("hit", seconds))
        if seconds is None:
            if kind is RuntimeError:
                raise RuntimeError("not the current scope") from KeyboardInterrupt()
            raise BaseExceptionGroup("in a group", [KeyboardInterrupt()])

    async def other(seconds: float | None) -> None:
        told.append(("other", seconds))
        if seconds is None:
            await asyncio.sleep(60)

    cleanups = Cleanups()
    tasks = [cleanups.start(other, name="other"), cleanups.start(hit, name="hit")]
    await asyncio.gather(*tasks)
    assert sorted(told, key=str) == [("hit", HURRIED_S), ("hit", None), ("other", HURRIED_S), ("other", None)]


async def test_a_failure_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Who waited was cancelled; the work goes on, and fails."""
    gate = asyncio.Event()

    async def work(_seconds: float | None) -> None:
        await gate.wait()
        raise ValueError("mine")

    cleanups = Cleanups()
    waiting = asyncio.create_task(cleanups.see_to(work, name="clean up"))
    await turns(2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await cleanups.finish()
    await turns(1)
    assert "clean up failed: ValueError: mine" in caplog.text


TEN = """
import asyncio, logging, sys
from comfy_async import ComfySession

logging.basicConfig(level=logging.WARNING)

async def main():
    async with ComfySession(sys.argv[1]) as comfy, asyncio.TaskGroup() as group:
        for seed in range(10):
            inputs = {"steps": 100000, "seed": seed}
            group.create_task(comfy.run({
                "1": {"class_type": "Steps", "inputs": inputs},
                "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
            }))

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


async def test_ctrl_c_twice_in_a_task_group_of_ten(fake: FakeComfy) -> None:
    """The second one hits the clean-ups as they begin: every job is stopped, nothing untrue is said (E2)."""
    long(fake)
    command = [sys.executable, "-W", "ignore", "-c", TEN, fake.url]
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    await fake.wait_for(lambda books: len(books.accepted) == 10 and bool(fake.core.queue.running))
    fake.faults.delay("*", "*", 0.1)
    program.send_signal(signal.SIGINT)
    await asyncio.sleep(0.02)
    program.send_signal(signal.SIGINT)
    async with asyncio.timeout(120):
        out, err = await program.communicate()
    assert b"interrupted" in out, err
    # On a busy machine the answers can come after the time that a second Ctrl-C leaves.
    assert err.count(b"may still run") == err.count(b"may still run: it took too long")
    assert left_running(fake) == []


async def test_a_job_that_ended_is_not_touched(fake: FakeComfy, comfy: ComfySession) -> None:
    """A block that is left after the end asks nothing."""
    async with await comfy.submit(picture()) as job:
        await job
        before = fake.books.requests.total()
    assert fake.books.requests.total() == before
