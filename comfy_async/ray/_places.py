"""Which worker a job goes to, and which jobs wait for a place: first come, first served."""

from __future__ import annotations

import asyncio

from .._base.clock import Clock
from .._pool.needs import worst_first
from ..errors import ConnectError
from ._job import FleetJob
from ._member import Member

__all__ = ["Places"]

_LOOK_AGAIN_S = 60.0


class Places:
    """The workers of a fleet, and the queue for them.

    Attributes:
        members: The workers.
    """

    def __init__(self, clock: Clock, *, away_seconds: float | None) -> None:
        """Start without workers; a patient job waits so long for a server to answer."""
        self.members: list[Member] = []
        self._clock = clock
        self._away_seconds = away_seconds
        self._waiting: dict[FleetJob, asyncio.Event] = {}
        self._turn = 0

    @property
    def own(self) -> list[Member]:
        """The workers that get new jobs."""
        return [member for member in self.members if not member.visiting]

    async def take(self, job: FleetJob) -> Member | None:
        """Return the least loaded worker that can run a job; None when that was cancelled meanwhile.

        Raises:
            ComfyError: No worker can, or, unless the job is patient, none answers.
        """
        if self._gives_place(job):
            return job.member
        if job.waits_since is None:
            job.waits_since = self._clock.monotonic()
        while not job.cancel_wanted:
            now = self._clock.monotonic()
            self._check_patience(job, now - job.waits_since)
            times = [member.retry_at for member in self.members if member.retry_at > now]
            turn = self._waiting[job] = asyncio.Event()
            try:
                await self._clock.wait(turn, min(times, default=now + _LOOK_AGAIN_S) - now)
            finally:
                del self._waiting[job]
            if not job.cancel_wanted and (job.member is not None or self._gives_place(job)):
                return job.member
        self.leave(job)
        return None

    def leave(self, job: FleetJob) -> None:
        """Give a job's place to the next."""
        member, job.member = job.member, None
        if member is not None:
            member.jobs.discard(job)
            self.wake()

    def call_off(self, job: FleetJob) -> None:
        """Let a job that waits for a place notice that it is cancelled."""
        turn = self._waiting.get(job)
        if turn is not None:
            turn.set()

    def wake(self) -> None:
        """Something has changed: give free places to waiting jobs, the first ones first."""
        for job, turn in self._waiting.items():
            if turn.is_set():
                continue
            if not any(member.free for member in self.members) and not self._may_wait_in_vain():
                return
            try:
                if self._gives_place(job) or job.cancel_wanted:
                    turn.set()
            except Exception:
                # Its own task meets the same error, and tells it to whoever submitted.
                turn.set()

    def _gives_place(self, job: FleetJob) -> bool:
        """Give a job its place; False when it has to wait for one.

        Raises:
            ComfyError: No worker can run it, or, unless the job is patient, none answers.
        """
        now = self._clock.monotonic()
        able = self._able(job)
        free = [member for member in able if member.free and (member.retry_at <= now or not job.patient)]
        if not free:
            return False
        member = min(free, key=lambda each: (each.error is not None, len(each.jobs), each.turn))
        self._turn += 1
        member.turn = self._turn
        member.jobs.add(job)
        job.member = member
        return True

    def _check_patience(self, job: FleetJob, seconds: float) -> None:
        """Demand that there is something to wait for; a worker starts its own server again.

        Raises:
            ComfyError: No server has answered for as long as the fleet waits.
        """
        limit = self._away_seconds
        able = self._able(job)
        if limit is not None and seconds >= limit and all(each.error and not each.owned for each in able):
            error = able[0].error
            assert error is not None
            raise error

    def _able(self, job: FleetJob) -> list[Member]:
        """Return the workers that a job may wait for.

        Raises:
            ComfyError: There is none.
        """
        there = [member for member in self.own if not member.gone]
        able = [member for member in there if member not in job.refused and not member.lacks & job.needs]
        if not able and job.refused:
            raise worst_first(job.refused.values())[-1]
        # What was once lacking may have been installed: the servers say so themselves.
        able = able or [member for member in there if member not in job.refused]
        if not able:
            errors = (member.error for member in self.members if member.error)
            raise next(errors, ConnectError("no worker is left"))
        return able if job.patient else _answering(able, job)

    def _may_wait_in_vain(self) -> bool:
        """Return whether workers have gone, or their servers do not start: waiting jobs must know."""
        return any(each.gone or (each.error is not None and not each.ready) for each in self.members)


def _answering(able: list[Member], job: FleetJob) -> list[Member]:
    """Return those that a job may go to which does not wait for a server to answer.

    Raises:
        ComfyError: None of them answers.
    """
    errors = {each: job.unreached.get(each) or (None if each.ready else each.error) for each in able}
    reached = [member for member in able if errors[member] is None]
    if not reached:
        raise next(error for error in errors.values() if error is not None)
    return [member for member in reached if member.error is None] or reached
