"""The jobs of one session that have not ended, and what is sent to all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from .._base.clock import Clock
from .._job.core import JobCore
from .._job.mailbox import Watchers
from ..events import BaseEvent

__all__ = ["OpenJobs"]

_REMEMBERED: Final = 4096


class OpenJobs:
    """Knows which prompt is which job of this session.

    Attributes:
        by_id: The open jobs by prompt_id.
        posting: The ids of those whose submission has not returned.
        watchers: The readers of the events of the whole session.
    """

    def __init__(self, clock: Clock, *, on_connection: Callable[[BaseEvent], None] | None = None) -> None:
        """Start without jobs; `on_connection` is called with what the watchers get."""
        self.by_id: dict[str, JobCore] = {}
        self.posting: set[str] = set()
        self.watchers = Watchers()
        self._clock = clock
        self._on_connection = on_connection
        self._past: dict[str, None] = {}

    def __iter__(self) -> Iterator[JobCore]:
        """Go through a copy: jobs end while somebody goes through them."""
        return iter(list(self.by_id.values()))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.by_id)

    def submitted(self) -> list[JobCore]:
        """Return those that are, or may be, on the server."""
        return [job for job in self.by_id.values() if job.status != "submitting"]

    def accepted(self) -> list[JobCore]:
        """Return those that the server has certainly accepted: their submission has returned."""
        return [job for job in self.submitted() if job.prompt_id not in self.posting]

    def has(self, job: JobCore) -> bool:
        """Say whether a job is open, and still this session's."""
        return self.by_id.get(job.prompt_id) is job

    def had(self, prompt_id: str) -> bool:
        """Say whether an id is, or was not long ago, that of a job of this session."""
        return prompt_id in self.by_id or prompt_id in self._past

    def add(self, job: JobCore) -> None:
        """Route the job's events to it from now on; its submission begins."""
        self.by_id[job.prompt_id] = job
        self.posting.add(job.prompt_id)

    def posted(self, job: JobCore) -> None:
        """The submission of a job has returned."""
        self.posting.discard(job.prompt_id)

    def drop(self, job: JobCore) -> None:
        """The job was never queued, or was taken back: no caller will ever hold it."""
        self.remove(job)
        job.withdrawn()

    def remove(self, job: JobCore) -> None:
        """The job has ended, or gone elsewhere."""
        self.posting.discard(job.prompt_id)
        self.by_id.pop(job.prompt_id, None)
        self._past[job.prompt_id] = None
        if len(self._past) > _REMEMBERED:
            del self._past[next(iter(self._past))]

    def tell(self, cls: type[BaseEvent], job: JobCore, reason: str) -> None:
        """Send one job's consumers an event about the connection."""
        job.tell_own(cls(None, {"reason": reason}, job.prompt_id, received_at=self._clock.unix()))

    def tell_watchers(self, cls: type[BaseEvent], reason: str) -> None:
        """Send the readers of the whole session an event."""
        event = cls(None, {"reason": reason}, None, received_at=self._clock.unix())
        self.watchers.show(event)
        if self._on_connection is not None:
            self._on_connection(event)

    def tell_all(self, cls: type[BaseEvent], reason: str) -> None:
        """Send every open job an event, and the session's watchers one."""
        for job in self:
            self.tell(cls, job, reason)
        self.tell_watchers(cls, reason)
