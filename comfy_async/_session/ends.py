"""How jobs ended that have left the queue: the history says it, or it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._base.labels import labels_of
from .._base.settings import Settings
from .._base.tasks import each
from .._dialects.dialect import Dialect, Speaker, UnreadableError
from .._job.core import JobCore
from .._protocol.snapshot import HistoryEntry, history_events
from ..events import BaseEvent, Cancelled, Failed, Lost
from .open_jobs import OpenJobs
from .socket_health import SocketHealth

__all__ = ["GRACE_S", "Ends"]

GRACE_S: Final = 1.0
"""How long events may be under way while HTTP already has what they say."""

_HISTORIES_AT_ONCE: Final = 8


class Ends:
    """What is known of jobs that have ended, or seem to, until it is known how."""

    def __init__(
        self,
        jobs: OpenJobs,
        *,
        speaker: Speaker,
        client_id: str,
        health: SocketHealth,
        settings: Settings,
    ) -> None:
        """Know of no job yet."""
        self._jobs = jobs
        self._speaker = speaker
        self._client_id = client_id
        self._health = health
        self._settings = settings
        self._clock = settings.clock
        self._absent: dict[str, float] = {}
        self._over: dict[str, float] = {}

    @property
    def _api(self) -> Dialect:
        """The requests in the server's dialect."""
        return self._speaker.api

    @property
    def half_known(self) -> list[str]:
        """The jobs that have to be polled again soon, some twice."""
        return [*self._absent, *self._over]

    def found(self, job: JobCore) -> None:
        """A poll has found the job."""
        self._absent.pop(job.prompt_id, None)

    def forget(self, job: JobCore) -> None:
        """A job has ended."""
        for known in (self._absent, self._over):
            known.pop(job.prompt_id, None)

    def is_blind(self, job: JobCore) -> bool:
        """True for a job of which the socket may have sent nothing; events of others may be under way."""
        return job.state.gap or self._health.stalled

    def lose(self, job: JobCore, why: Mapping[str, Any]) -> None:
        """Give a job up, for a reason if there is one."""
        self._end(job, Lost(None, why, job.prompt_id, received_at=self._clock.unix()))

    async def find(self, gone: list[JobCore]) -> None:
        """Look for the ends of those that have left the queue, and give up those that are unknown for long.

        Raises:
            ComfyError: The server did not answer.
        """
        for start in range(0, len(gone), _HISTORIES_AT_ONCE):
            batch = gone[start : start + _HISTORIES_AT_ONCE]
            for failure in await each([self._find_end(job) for job in batch]):
                if failure is not None:
                    raise failure
        await self._count_absences()

    async def _find_end(self, job: JobCore) -> None:
        """Read the history of a job that left the queue."""
        now = self._clock.monotonic()
        try:
            entry = await self._api.history(job.prompt_id)
        except UnreadableError as error:
            self._unreadable(job, now, error)
            return
        if not self._jobs.has(job):
            # It has ended meanwhile, or gone on elsewhere.
            return
        if entry is None:
            if job.state.wants_history:
                self._give_up_history(job, now)
            else:
                self._absent.setdefault(job.prompt_id, -1.0)
            return
        self._absent.pop(job.prompt_id, None)
        first_seen = self._over.setdefault(job.prompt_id, now)
        if self.is_blind(job) or job.state.wants_history or now - first_seen >= GRACE_S:
            self.end_by(job, entry)

    def _unreadable(self, job: JobCore, now: float, error: UnreadableError) -> None:
        """The history has something that is no entry: name it when it stays so."""
        first_seen = self._over.setdefault(job.prompt_id, now)
        if now - first_seen >= self._settings.history_seconds and not job.done:
            data = {"reason": f"its end cannot be read: {error.args[0]}", "ended": True}
            self.lose(job, data)

    def end_by(self, job: JobCore, entry: HistoryEntry) -> None:
        """Take the rest of a job's run from the history."""
        if not job.state.gap and not job.state.wants_history:
            # The history speaks first although the socket is said to hear: it has missed something.
            # (A server without execution_success, before 2024-07, ends by the mere end marker.)
            job.state.mark_gap()
            if job.client_id == self._client_id:
                self._health.missed_an_end()
        # The queue may have told nothing of a job that was attached to.
        job.labels = job.labels or labels_of(entry.extra_data)
        for event in history_events(entry, self._clock.unix()):
            if isinstance(event, Failed):
                # A node's error may repeat the keys that it was given.
                event = Failed(
                    None, job.owner.veil.value(event.data), event.prompt_id, received_at=event.received_at
                )
            job.take(event)

    def _give_up_history(self, job: JobCore, now: float) -> None:
        """The end was received, but the history does not come: accept the end after a while."""
        first = self._over.setdefault(job.prompt_id, now)
        if now - first >= self._settings.history_seconds:
            job.accept_end()
            if not job.done:
                self._absent.setdefault(job.prompt_id, -1.0)

    async def _count_absences(self) -> None:
        """Believe an absence after two polls (queue, history, queue) some time apart."""
        if not self._absent:
            return
        again = await self._api.snapshot(list(self._absent))
        now = self._clock.monotonic()
        for prompt_id, since in list(self._absent.items()):
            job = self._jobs.by_id.get(prompt_id)
            if job is None or prompt_id in again.entries:
                self._absent.pop(prompt_id, None)
            elif prompt_id in again.over:
                # It was no absence: API v2 may call a job expired at the moment of its end.
                await self._find_end(job)
            elif not again.tells_of(prompt_id):
                # The second request failed: that is no second absence.
                continue
            elif job.cancel_wanted and job.state.started_at is None and _was_known(job):
                self._end(job, Cancelled(None, {}, prompt_id, received_at=self._clock.unix()))
            elif since < 0:
                self._absent[prompt_id] = now
            elif now - since >= GRACE_S:
                why = {"reason": again.reasons[prompt_id]} if prompt_id in again.reasons else {}
                self.lose(job, why)

    def _end(self, job: JobCore, event: BaseEvent) -> None:
        """End a job by what was not found."""
        self._absent.pop(job.prompt_id, None)
        job.take(event)


def _was_known(job: JobCore) -> bool:
    """Say whether the server ever had the job: what was never there cannot have been cancelled."""
    return job.seen or job.state.queued_at is not None
