"""A tiny job end to end, and what it shows about queue, events, files and clocks."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from ._failure import describe
from ._finding import Finding

if TYPE_CHECKING:
    from comfy_async import ComfySession, Job, JobResult

__all__ = ["look_at_job"]

_PATIENCE_S: Final = 30.0
_SKEW_S: Final = 5.0


async def look_at_job(session: ComfySession) -> AsyncIterator[Finding]:
    """Run two nodes that every ComfyUI has, and yield what comes of it."""
    from comfy_async import ComfyError

    began = time.perf_counter()
    try:
        async with session.stream(_graph(), previews="none") as job:
            skew, live = await _follow(job)
            if not job.done:
                yield _busy(job)
                return
            result = await job
            took = time.perf_counter() - began
            yield Finding("job", "ok", f"a tiny job ran end to end in {took:.2f} s")
            yield _events(live, hears=session.connection.state in {"hearing", "streaming", "idle"})
            yield await _file(result)
            yield _clock(skew)
    except ComfyError as error:
        failure = describe(error)
        assert failure is not None
        details = "; ".join(map(str, failure.problems))
        yield Finding("job", "failed", f"{failure.message} {details}".strip(), failure.hint)


def _busy(job: Job) -> Finding:
    """Say that the job did not begin in time."""
    ahead = job.queue_position
    text = f"the queue is long: {'some' if ahead is None else ahead} before it"
    return Finding("job", "skipped", text, "Look again later: comfy-async queue")


async def _follow(job: Job) -> tuple[float | None, int]:
    """Watch it for a while; return how far the clocks are apart, and how many events came live."""
    from comfy_async import Started

    skew: float | None = None
    live = 0
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for event in job:
                live += event.raw is not None and event.type != "queued"
                if isinstance(event, Started) and event.timestamp is not None:
                    skew = event.timestamp / 1000 - event.received_at
    except TimeoutError:
        pass
    return skew, live


def _graph() -> dict[str, object]:
    """Return a picture of one colour, another each time so that no cache answers, shown and not saved."""
    values = {"width": 16, "height": 16, "batch_size": 1, "color": secrets.randbelow(0xFFFFFF)}
    return {
        "1": {"class_type": "EmptyImage", "inputs": values},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def _events(live: int, *, hears: bool) -> Finding:
    """Say whether the events came by the socket."""
    if live:
        return Finding("events", "ok", f"{live} events of the job came live")
    text = "no event of the job came live; polling found its end"
    advice = "Does another program use the same client_id?" if hears else "It needs the socket, see there."
    return Finding("events", "warning", text, f"Progress will be coarse. {advice}")


async def _file(result: JobResult) -> Finding:
    """Fetch what the job made."""
    if not result.files:
        return Finding("files", "warning", "the job ended without a file")
    data = await result.files[0].read()
    return Finding("files", "ok", f"its picture came back: {len(data)} bytes")


def _clock(skew: float | None) -> Finding:
    """Say how far the clocks are apart."""
    if skew is None:
        return Finding("clock", "skipped", "the server did not say its time")
    if abs(skew) <= _SKEW_S:
        return Finding("clock", "ok", f"the clocks agree within {max(abs(skew), 0.1):.1f} s")
    word = "ahead of" if skew > 0 else "behind"
    return Finding(
        *("clock", "warning", f"the server's clock is {abs(skew):.0f} s {word} this one"),
        "Ages of jobs are off by that much; set both by NTP.",
    )
