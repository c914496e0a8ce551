"""When a round of chaos hangs: who waits for what, on which server, and what is true there."""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from comfy_async import ComfyPool
from comfy_async._client.pool import pool_engine_of
from comfy_async._job.core import JobCore
from comfy_async._job.job import handle
from comfy_async.testing import Chaos, FakeComfy

_LAST_EVENTS = 6
_LAST_FAULTS = 5


@asynccontextmanager
async def watched(seconds: float, report: Callable[[], str]) -> AsyncIterator[None]:
    """Write a report to stderr when the block takes longer, even if it is never left.

    A loop that does not turn any more reports nothing: then the thread's stack is written.
    """
    timer = asyncio.get_running_loop().call_later(seconds, lambda: sys.stderr.write(report() + "\n"))
    if sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(seconds + 60.0, file=sys.__stderr__)
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()


def who_waits(pool: ComfyPool | None, servers: Iterable[FakeComfy], storms: Iterable[Chaos] = ()) -> str:
    """Return everything that may explain a hang, as text."""
    lines = ["== who waits for what =="]
    if pool is not None:
        lines += _pool(pool)
    for fake in servers:
        lines += _truth(fake)
    lines += [f"last faults: {storm.log[-_LAST_FAULTS:]}" for storm in storms]
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        lines += [repr(task), *(f"    {place}" for place in _awaits(task.get_coro()))]
    return "\n".join(lines)


def _pool(pool: ComfyPool) -> Iterator[str]:
    """Tell what the pool believes, and whom it lets wait."""
    engine = pool_engine_of(pool)
    yield from (f"server {server}" for server in pool.servers)
    for member in engine.servers.known():
        yield from _member(member)
    for group, queue in engine.places._groups.items():
        yield from (f"waits for a place, in {group!r}: {_job(waiter.job)}" for waiter in queue)
    yield from (f"runs again: {_job(job)} {task!r}" for job, task in engine._going.items())


def _member(member: Any) -> Iterator[str]:
    """Tell what the library believes about one server."""
    engine, link = member.engine, member.engine.link
    poller, pause = engine.poller, member.retry_at - member._clock.monotonic()
    yield f"  {member.url}: away {member.away}, next try in {pause:.1f} s, looking {member.looking!r}"
    yield f"    socket {link.state} {link.reason!r}, said {engine.health.queue_remaining} in the queue"
    yield f"    poller {poller._task!r}, stalled {engine.health.stalled}, pause {poller._pause:.2f}"
    yield f"    absent {poller.ends._absent}, over {poller.ends._over}, posting {engine.jobs.posting}"
    yield from (f"    followed: {_job(job)}" for job in engine.jobs)
    yield from (f"    has a place: {_job(job)}" for job in member._jobs)


def _job(job: JobCore) -> str:
    """Tell where a job stands."""
    state = job.state
    told = [type(event).__name__ for event in job._log[-_LAST_EVENTS:]]
    known = {
        name: value
        for name in ("_busy", "_held", "cancel_wanted", "going", "order")
        if (value := getattr(job, name, None))
    }
    where = f"{handle(job)!r} ended {job.ended.is_set()}"
    return f"{where}, over {state._is_over}, gap {state.gap}, {told} {known}"


def _truth(fake: FakeComfy) -> Iterator[str]:
    """Tell what one server knows."""
    queue, listener = fake.core.queue, fake._listener
    running = [item.prompt_id for item in queue.running]
    pending = [item.prompt_id for item in queue.pending]
    yield f"truth {fake.url}: life {fake.core.life}, running {running}, pending {pending}"
    yield f"    listens {listener._server is not None}, tasks {listener._tasks}"


def _awaits(awaited: Any) -> Iterator[str]:
    """Tell where a task stands, from the outermost call to the innermost."""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
        frame = getattr(awaited, f"{kind}_frame", None)
        if frame is None:
            return
        yield f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_qualname}"
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
