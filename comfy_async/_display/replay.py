"""A job as it was when an event happened: a late reader gets the progress of then, not of now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._job.job import core_of
from .._protocol.reducer import JobState
from ..events import Queued

if TYPE_CHECKING:
    from .._job.job import Job
    from ..events import Event
    from ..types import JobProgress

__all__ = ["ProgressReplay"]


class ProgressReplay:
    """Follows a job's events one by one, each with the progress that it stands for.

    `job.progress` is that of this moment: of a quick run it is the end's before the first
    event was read.
    """

    def __init__(self, job: Job) -> None:
        """Begin before the first event."""
        self._job = job
        self._state = self._fresh()

    def take(self, event: Event) -> JobProgress:
        """Process the next event and return how far the job was then."""
        again = isinstance(event, Queued) and self._state.queued_at is not None
        if again or self._state.plan is not core_of(self._job).state.plan:
            # A job of a pool that begins anew on another server.
            self._state = self._fresh()
        if not (event.lossy and self._state.repeats(event)):
            self._state.apply(event)
        return self._state.progress(event.received_at)

    def _fresh(self) -> JobState:
        """Return a state in which nothing has happened."""
        return JobState(self._job.prompt_id, core_of(self._job).state.plan)
