"""A job for a call: run, reported while it runs, and cancelled on the server when the call is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from .._client.words import plain_progress

if TYPE_CHECKING:
    from .._client.app import App
    from .._job.job import Job
    from .._job.result import JobResult

__all__ = ["Tell", "run"]

_EVERY_S: Final = 0.5
# A host gives up on a tool that says nothing; a checkpoint may load for minutes.
_SILENCE_S: Final = 10.0
# The protocol wants each number larger than the one before.
_STEP: Final = 0.001


class Tell(Protocol):
    """Reports to the caller how far the call is; does nothing when progress was not requested."""

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report it."""
        ...


async def run(app: App, values: Mapping[str, Any], tell: Tell) -> tuple[Job, JobResult]:
    """Run an app, and report how far it is.

    When this is cancelled, so is the job on the server.

    Raises:
        UnknownInputError: A name or a value is wrong; nothing was sent.
        JobError: It failed, was cancelled, or lost.
        ComfyError: The server refuses, or cannot be reached.
        OSError: A file cannot be read.
    """
    async with app.stream(**values) as job:
        told = _Told(tell)
        await _follow(job, told)
        result = await job
        await told.end()
        return job, result


class _Told:
    """What was reported so far."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last = 0.0
        self._at: float | None = None

    async def now(self, job: Job, *, silent: bool = False) -> None:
        """Report how far the job is, unless that was done a moment ago."""
        now = asyncio.get_running_loop().time()
        if not silent and self._at is not None and now - self._at < _EVERY_S:
            return
        self._at = now
        # Each is more than the one before, and the last of all is the whole.
        self._last = max(min(99.0, 100 * job.progress.fraction), self._last + _STEP)
        await self._tell(self._last, 100.0, _line(job))

    async def end(self) -> None:
        """Report that it is done."""
        await self._tell(max(100.0, self._last + _STEP), 100.0, "done")


async def _follow(job: Job, told: _Told) -> None:
    """Report a job's progress until it has ended."""
    events = job.events()
    async with contextlib.aclosing(events):
        coming = asyncio.ensure_future(anext(events))
        try:
            while True:
                await asyncio.wait({coming}, timeout=_SILENCE_S)
                silent = not coming.done()
                if not silent:
                    try:
                        coming.result()
                    except StopAsyncIteration:
                        return
                    coming = asyncio.ensure_future(anext(events))
                await told.now(job, silent=silent)
        finally:
            coming.cancel()


def _line(job: Job) -> str:
    """Return what a job does at this moment."""
    if job.status not in ("submitting", "pending"):
        return str(plain_progress(job.progress))
    before = job.queue_position
    return f"waits in the queue, {before} before it" if before else "waits in the queue"
