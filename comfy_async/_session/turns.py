"""Which job is polled next where each takes a request of its own (API v2), and which got no answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from .._job.core import JobCore
from .._protocol.snapshot import QueueSnapshot

__all__ = ["Turns"]

_NEVER: Final = 0


class Turns:
    """Shares out a bounded number of requests: first to the jobs that are due, then in turns.

    Attributes:
        more: The latest turn was not enough for all.
    """

    def __init__(self) -> None:
        """Start before the first turn."""
        self.more = False
        self._turn = 0
        self._asked: dict[str, int] = {}
        self._silent: dict[str, float] = {}

    def next(self, jobs: list[JobCore], *, due: Collection[str], most: int | None) -> list[JobCore]:
        """Return the jobs that are polled now, all of them where one request is for all (None)."""
        if most is None:
            return jobs
        self._turn += 1
        self.more = len(jobs) > most
        if self.more:
            ranked = sorted(jobs, key=lambda job: (job.prompt_id not in due, self._last(job)))
            jobs = ranked[:most]
        self._asked.update((job.prompt_id, self._turn) for job in jobs)
        return jobs

    def _last(self, job: JobCore) -> int:
        """Return in which turn a job was polled."""
        return self._asked.get(job.prompt_id, _NEVER)

    def untold(
        self, snapshot: QueueSnapshot, asked: list[JobCore], *, now: float, limit: float | None
    ) -> list[JobCore]:
        """Return those that got no answer for longer than a limit, though others did."""
        given_up = []
        for job in asked:
            if snapshot.tells_of(job.prompt_id):
                self._silent.pop(job.prompt_id, None)
            elif limit is not None and now - self._silent.setdefault(job.prompt_id, now) >= limit:
                given_up.append(job)
        return given_up

    def forget(self, prompt_id: str) -> None:
        """A job has ended."""
        self._asked.pop(prompt_id, None)
        self._silent.pop(prompt_id, None)
