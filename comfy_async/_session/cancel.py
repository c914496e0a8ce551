"""Stopping exactly one job, and saying truly how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import ComfyError
from ..types import JobStatus

if TYPE_CHECKING:
    from .._client.session import ComfySession
    from .._job.job import Job

__all__ = ["cancel_job", "patience"]

# An accepted cancel can miss: the worker clears the interrupt flag when a run starts, or the run
# ends first (PROTOCOL 0.11; 2 of 60 tries). So it is said again while the job still runs.
_AGAIN_S: Final = 1.0
# What is tried once more although it has just been given up.
_ONCE_MORE_S: Final = 0.5


def patience(session: ComfySession, job: Job) -> float:
    """Return how long a job that is left may be cancelled: what an attempt just made has left over."""
    limit = session.settings.cancel_seconds
    if job._cancel_tried is None:
        return limit
    began, ended = job._cancel_tried
    if session._clock.monotonic() - ended > limit:
        return limit
    return max(limit - (ended - began), min(limit, _ONCE_MORE_S))


async def cancel_job(session: ComfySession, job: Job) -> JobStatus:
    """Cancel a job until it has ended, and return how it did.

    Raises:
        ComfyError: The server could not be told.
    """
    clock = session._clock
    began = clock.monotonic()
    failure: ComfyError | None = None
    try:
        while not job._ended.is_set():
            job._cancel_wanted = True
            failure = None
            try:
                await session._api.cancel(job.prompt_id)
            except ComfyError as error:
                if not error.retryable:
                    raise
                failure = error
            # A pending job that is removed says nothing (PROTOCOL 0.7): it must be looked for.
            session._reconciler.poke([job])
            left = began + session.settings.cancel_seconds - clock.monotonic()
            if left <= 0:
                break
            await clock.wait(job._ended, min(_AGAIN_S, left))
    finally:
        job._cancel_tried = began, clock.monotonic()
    if failure is not None and not job.done:
        raise failure
    return job.status
