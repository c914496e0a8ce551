"""What a person should know while jobs are open: in the log, once, and again when it has ended."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from .._base.settings import Settings
from .._protocol.snapshot import QueueSnapshot
from .leftovers import FEW
from .open_jobs import OpenJobs

__all__ = ["Concerns"]

_log = logging.getLogger("comfy_async")

# A server that restarts, or misses one answer, is not worth a line; one that is away for longer is.
_AWAY_S: Final = 4.0
# A look that takes so long is a server that takes connections and does not answer.
_SLOW_S: Final = 8.0
# Between two prompts the queue is empty for milliseconds: one that stands still that long has no worker.
_IDLE_S: Final = 20.0


class Concerns:
    """Logs what is wrong around the jobs of one session."""

    def __init__(self, jobs: OpenJobs, *, server: str, settings: Settings) -> None:
        """Start without any."""
        self._jobs = jobs
        self._server = server
        self._settings = settings
        self._clock = settings.clock
        self._away_since: float | None = None
        self._away_told = False
        self._idle_since: float | None = None
        self._idle_told = False

    def asking(self) -> asyncio.TimerHandle:
        """A request begins; cancel the returned timer when it has been answered, or has failed."""
        return asyncio.get_running_loop().call_later(_SLOW_S, self._tell_away, "no answer yet")

    def unanswered(self, reason: str) -> None:
        """A request was not answered."""
        now = self._clock.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since >= _AWAY_S:
            self._tell_away(reason)

    def answered(self) -> None:
        """A request was answered."""
        since, self._away_since = self._away_since, None
        if self._away_told:
            self._away_told = False
            seconds = 0.0 if since is None else self._clock.monotonic() - since
            _log.warning("%s answers again, after %.0f s", self._server, max(seconds, _SLOW_S))

    def looked(self, snapshot: QueueSnapshot) -> None:
        """The queue was read: prompts that wait while none runs have no worker.

        If only some jobs are known, it is unknown what else runs.
        """
        if snapshot.of is not None:
            return
        now = self._clock.monotonic()
        runs = any(entry.running for entry in snapshot.entries.values())
        waits = any(job.prompt_id in snapshot.entries for job in self._jobs)
        if runs or not waits:
            self._idle_since, self._idle_told = None, False
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= _IDLE_S and not self._idle_told:
            self._idle_told = True
            _log.warning(
                "%s accepts prompts and has run none for %.0f s: its worker thread has died, or hangs; "
                "restart it",
                self._server,
                now - self._idle_since,
            )

    def quiet(self) -> None:
        """Log, once, a job of which no news came for long."""
        now, limit = self._clock.unix(), self._settings.quiet_seconds
        quiet = [job for job in self._jobs if not job.quiet_told and now - job.news_at >= limit]
        for place, job in enumerate(quiet):
            job.quiet_told = True
            if place < FEW:
                _log.warning(
                    "job %s is %s, and no news of it came for %.0f minutes; still waiting",
                    job.prompt_id,
                    job.status,
                    limit / 60,
                )
        if more := [job.prompt_id for job in quiet[FEW:]]:
            _log.warning("no news came of %d more jobs; still waiting for %s", len(more), ", ".join(more))

    def _tell_away(self, reason: str) -> None:
        """Log that the server is away, once until it is back."""
        if self._away_told:
            return
        self._away_told = True
        self._away_since = self._clock.monotonic() if self._away_since is None else self._away_since
        limit = self._settings.away_seconds
        until = "for ever" if limit is None else f"for {limit:g} s"
        _log.warning(
            "%s does not answer (%s): %d jobs wait for it, %s", self._server, reason, len(self._jobs), until
        )
