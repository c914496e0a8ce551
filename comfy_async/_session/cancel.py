"""Stopping exactly one job, and returning how it truly ended."""

from __future__ import annotations

import contextlib
import logging
from typing import Final

import anyio

from .._base.cleanups import HURRIED_S
from .._base.settings import Settings
from .._dialects.dialect import Dialect, Speaker
from .._job.core import JobCore
from ..errors import ComfyError
from ..types import JobStatus
from .leftovers import Leftovers
from .poller import Poller

__all__ = ["Canceller"]

_log = logging.getLogger("comfy_async")

# An accepted cancel can miss: the worker clears the interrupt flag when a run starts, or the run
# ends first (PROTOCOL 0.11; 2 of 60 tries). So it is said again while the job still runs.
_AGAIN_S: Final = 1.0
# What is tried once more although it has just been given up.
_ONCE_MORE_S: Final = 0.5
# How soon an end is looked for when nothing else brings news.
_LOOK_S: Final = 0.1


class Canceller:
    """Stops jobs, for their users or because they are not waited for any more.

    Attributes:
        leftovers: What may still run.
    """

    def __init__(self, *, speaker: Speaker, poller: Poller, settings: Settings) -> None:
        """Send the request in the server's dialect, and have the poller find the end."""
        self.leftovers = Leftovers()
        self._speaker = speaker
        self._poller = poller
        self._clock = settings.clock
        self._limit = settings.cancel_seconds

    @property
    def _api(self) -> Dialect:
        """The requests in the server's dialect."""
        return self._speaker.api

    async def cancel(self, job: JobCore, seconds: float | None = None) -> JobStatus:
        """Cancel a job until it has ended, and return how it did.

        Args:
            job: The job.
            seconds: How long it may take, None for `Settings.cancel_seconds`.

        Raises:
            ComfyError: The request failed.
        """
        began = self._clock.monotonic()
        deadline = began + (self._limit if seconds is None else min(seconds, self._limit))
        failure: ComfyError | None = None
        try:
            while not job.ended.is_set():
                job.cancel_wanted = True
                failure = await self._tell_server(job)
                # A pending job that is removed says nothing (PROTOCOL 0.7): it must be looked for.
                self._poller.poke([job])
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    break
                await self._wait(job, min(_AGAIN_S, left))
        finally:
            job.cancel_tried = began, self._clock.monotonic()
        if failure is not None and not job.done:
            raise failure
        if not job.ended.is_set():
            await self._tell_why(job, self._clock.monotonic() - began)
        return job.status

    async def abandon(self, job: JobCore, seconds: float | None = None) -> None:
        """Cancel a job that is not waited for, in bounded time; never raises, logs what may still run.

        Args:
            job: The job.
            seconds: How long it may take, None for what earlier attempts have left of
                `Settings.cancel_seconds`.
        """
        if not self._poller.running:
            # `asyncio.run` cancels every task when the program ends.
            seconds = HURRIED_S
        limit = self._patience(job) if seconds is None else min(seconds, self._patience(job))
        problem: object = "it took too long"
        with self.leftovers.burst():
            with anyio.move_on_after(limit):
                try:
                    await self.cancel(job, limit)
                except ComfyError as error:
                    problem = error
            if not job.done:
                self.leftovers.tell("job {} could not be cancelled and", job.prompt_id, problem)

    async def _tell_server(self, job: JobCore) -> ComfyError | None:
        """Request that the server stops it; return a transient failure.

        Raises:
            ComfyError: The server refuses.
        """
        try:
            await self._api.cancel(job.prompt_id)
        except ComfyError as error:
            if not error.retryable:
                raise
            return error
        return None

    async def _tell_why(self, job: JobCore, seconds: float) -> None:
        """Log that a job goes on, and why as far as the server's own log says."""
        why = "its node does not check for interrupts yet, or the server's worker thread has died"
        with contextlib.suppress(ComfyError):
            if await self._api.has_dead_worker():
                why = "the server's worker thread has died: it accepts prompts and runs none; restart it"
        _log.warning(
            "job %s is still %s, %.0f s after the server was told to stop it: %s",
            job.prompt_id,
            job.status,
            seconds,
            why,
        )

    async def _wait(self, job: JobCore, seconds: float) -> None:
        """Wait for the end; where the poller was ended with the program, look for it here."""
        if self._poller.running:
            await self._clock.wait(job.ended, seconds)
            return
        if not await self._clock.wait(job.ended, _LOOK_S):
            # A server that does not answer is asked again, as long as there is time.
            with contextlib.suppress(ComfyError):
                await self._poller.look_for(job)

    def _patience(self, job: JobCore) -> float:
        """Return how long a job that is left may be cancelled: what an attempt just made has left over."""
        if job.cancel_tried is None:
            return self._limit
        began, ended = job.cancel_tried
        if self._clock.monotonic() - ended > self._limit:
            return self._limit
        return max(self._limit - (ended - began), min(self._limit, _ONCE_MORE_S))
