"""Which jobs to poll where each takes a request of its own (API v2), and which got no answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from .._job.core import JobCore
from .._protocol.snapshot import QueueSnapshot

__all__ = ["Turns"]

_FEW: Final = 8


class Turns:
    """Chooses a bounded number of jobs for each poll.

    Those that are due come first. Servers run what came first first, so of the others the oldest are
    polled: a few, and twice as many each time that all of them had ended. Those further behind are
    polled now and then, for servers that run several at once.

    Attributes:
        more: There is reason to poll again at once, until that is done, or fails.
    """

    def __init__(self, *, fresh: float, stale: float) -> None:
        """An answer counts as fresh for `fresh` seconds; after `stale` every job is polled."""
        self.more = False
        self._fresh = fresh
        self._stale = stale
        self._window = _FEW
        self._oldest: list[JobCore] = []
        self._left_out = False
        self._seen: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._silent: dict[str, float] = {}

    def next(
        self, jobs: list[JobCore], *, due: Collection[str], most: int | None, now: float
    ) -> list[JobCore]:
        """Return the jobs that are polled now, all of them where one request is for all (None)."""
        self.more = False
        if most is None:
            return jobs
        first = [job for job in jobs if job.prompt_id in due]
        others = [job for job in jobs if job.prompt_id not in due]
        self._oldest = [job for job in others[: self._window] if self._age(job, now) >= self._fresh]
        behind = [job for job in others[self._window :] if self._waited(job, now) >= self._stale]
        chosen = [*first, *self._oldest, *sorted(behind, key=self._since)]
        self._left_out = len(chosen) > most
        self._asked.update((job.prompt_id, now) for job in chosen[:most])
        return chosen[:most]

    def looked(self) -> None:
        """The jobs of the latest turn were asked about, and what was found is known."""
        all_ended = bool(self._oldest) and all(job.done for job in self._oldest)
        self._window = self._window * 2 if all_ended else _FEW
        self.more = all_ended or self._left_out

    def _age(self, job: JobCore, now: float) -> float:
        """Return for how many seconds a job was not asked about; without end for one that never was."""
        asked = self._asked.get(job.prompt_id)
        return float("inf") if asked is None else now - asked

    def _waited(self, job: JobCore, now: float) -> float:
        """Return for how many seconds a job has waited for its turn."""
        self._seen.setdefault(job.prompt_id, now)
        return now - self._since(job)

    def _since(self, job: JobCore) -> float:
        """Return since when a job waits for its turn."""
        return self._asked.get(job.prompt_id, self._seen[job.prompt_id])

    def untold(
        self, snapshot: QueueSnapshot, asked: list[JobCore], *, now: float, limit: float | None
    ) -> list[JobCore]:
        """Return those that were asked about for longer than a limit, while only others got an answer."""
        given_up = []
        for job in asked:
            if snapshot.tells_of(job.prompt_id):
                self._silent.pop(job.prompt_id, None)
            elif limit is not None and now - self._silent.setdefault(job.prompt_id, now) >= limit:
                given_up.append(job)
        return given_up

    def forget(self, prompt_id: str) -> None:
        """A job has ended."""
        for known in (self._seen, self._asked, self._silent):
            known.pop(prompt_id, None)
