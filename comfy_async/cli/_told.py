"""A job as it was when an event happened: whoever is told late is told of then, not of now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._protocol.reducer import JobState

if TYPE_CHECKING:
    from comfy_async import Event, Job, JobProgress

__all__ = ["Told"]


class Told:
    """Follows a job's events one by one, each with the progress that it stands for.

    `job.progress` is that of this moment: of a quick run it is the end's before the first
    event was read.
    """

    def __init__(self, job: Job) -> None:
        """Begin before the first event."""
        self._state = JobState(job.prompt_id, job._state.plan)

    def take(self, event: Event) -> JobProgress:
        """Take in the next event and return how far the job was then."""
        if not (event.lossy and self._state.repeats(event)):
            self._state.apply(event)
        return self._state.progress(event.received_at)
