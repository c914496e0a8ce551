"""How the engine of a session, a pool or a fleet cancels a job that is not waited for."""

from __future__ import annotations

import abc
import asyncio

from .._base.cleanups import Work
from .._base.lifetime import Lifetime
from .core import JobCore

__all__ = ["JobLifetime"]


class JobLifetime(Lifetime):
    """A lifetime with jobs: each can be left, and is then cancelled once, whatever else is cancelled."""

    def __init__(self) -> None:
        """Start without jobs."""
        super().__init__()
        self._leaving: dict[JobCore, asyncio.Task[None]] = {}

    @abc.abstractmethod
    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job that is not waited for; None when there is nothing to be done."""

    async def abandon(self, job: JobCore) -> None:
        """Cancel a job that is not waited for, in bounded time, whatever happens to the caller."""
        going = self.leave(job)
        if going is not None:
            await self.cleanups.wait_for(going)

    async def clean_up(self, work: Work[None], *, name: str) -> None:
        """Do something to its end, however often its caller is cancelled."""
        await self.cleanups.wait_for(self._begin(work, name=name))

    def _leave_once(self, job: JobCore, work: Work[None], *, name: str) -> asyncio.Task[None]:
        """Begin to cancel a job, unless that is under way."""
        if job not in self._leaving:
            job.leaving = True
            self._leaving[job] = self._begin(work, name=name)
            self._leaving[job].add_done_callback(lambda _task: self._leaving.pop(job, None))
        return self._leaving[job]

    def _begin(self, work: Work[None], *, name: str) -> asyncio.Task[None]:
        """Begin with what has to be done."""
        return self.cleanups.start(work, name=name)
