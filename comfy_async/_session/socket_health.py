"""Does the socket still receive messages? What HTTP says is compared with what the socket sent.

A socket can be open, answer pings and get nothing (PROTOCOL 0.1), and a server can be stalled by
another client (0.8). Neither is a quiet server: that has nothing to send, and HTTP agrees.
"""

from __future__ import annotations

import logging
from typing import Final

from .._base.settings import Settings
from .._dialects.dialect import Dialect, Speaker
from .._protocol.snapshot import QueueSnapshot
from .link import Link
from .open_jobs import OpenJobs

__all__ = ["SocketHealth"]

_log = logging.getLogger("comfy_async")

_RECHECK_S: Final = 1.0
_MAX_DEAFENINGS: Final = 3
# The greeting comes before the socket counts as hearing, and proves nothing about the publish loop.
_HANDSHAKE_FRAMES: Final = 0
_FEW_JOBS: Final = 64
_REDIAL_STALLED_S: Final = 30.0
_SHARED = (
    "the server keeps silencing this socket: another live session seems to use client_id {!r}; "
    "give each session its own. Polling instead"
)


class SocketHealth:
    """Suspects the socket when HTTP knows more than it sent, and has it opened again.

    Attributes:
        stalled: A new socket is silent too: the server sends nothing to any client at the moment.
        queue_remaining: How many jobs run or wait, as the socket said last; None before.
    """

    def __init__(
        self, link: Link, jobs: OpenJobs, *, speaker: Speaker, client_id: str, settings: Settings
    ) -> None:
        """Start without a suspicion."""
        self.stalled = False
        self.queue_remaining: int | None = None
        self._link = link
        self._jobs = jobs
        self._speaker = speaker
        self._client_id = client_id
        self._settings = settings
        self._clock = settings.clock
        self._ticks = 0
        self._suspected_at_frame: int | None = None
        self._deafenings = 0
        self._redialled_at: float | None = None

    @property
    def _api(self) -> Dialect:
        """The requests in the server's dialect."""
        return self._speaker.api

    def said(self, queue_remaining: int | None) -> bool:
        """Keep the queue's length as the socket says it, None when it says nothing; say whether it shrank."""
        before, self.queue_remaining = self.queue_remaining, queue_remaining
        return before is not None and queue_remaining is not None and queue_remaining < before

    def pause(self) -> float:
        """Return the seconds to the next poll."""
        return _RECHECK_S if self._suspected_at_frame is not None else self._settings.look_every

    def heard(self) -> None:
        """A frame came: drop every suspicion."""
        self.stalled = False

    async def look(self, *, closely: bool = False) -> QueueSnapshot | None:
        """Compare once, by one request.

        Raises:
            ComfyError: The server did not answer.
        """
        self._ticks += 1
        # A list of many jobs costs more than a number: then only every second look is whole.
        small = self._api.lists_jobs and len(self._jobs) <= _FEW_JOBS
        if not (closely or small or self._ticks % 2 == 0) and self._suspected_at_frame is None:
            silent_for = self._clock.monotonic() - (self._link.last_heard or 0.0)
            if silent_for >= self._settings.look_every * 0.9:
                remaining = await self._api.queue_remaining()
                self._judge(self._queue_differs(remaining))
            return None
        snapshot = await self._api.snapshot()
        self.compare(snapshot)
        return snapshot

    def compare(self, snapshot: QueueSnapshot) -> None:
        """Compare the queue with what the socket sent."""
        self._judge(self._queue_differs(len(snapshot.entries)) or self._job_moved(snapshot))

    def missed_an_end(self) -> None:
        """The history has had a job for a second, and its end was never received."""
        if self._link.hearing and not self.stalled:
            self._believe("a job ended and no event came")

    def _queue_differs(self, remaining: int) -> str:
        """Every change of the queue is broadcast: another number means that a status was missed."""
        said = self.queue_remaining
        return "" if said is None or said == remaining else "the queue changed and no status came"

    def _job_moved(self, snapshot: QueueSnapshot) -> str:
        """Events of the session's own jobs come to this socket or to none."""
        for job in self._jobs:
            if job.client_id != self._client_id or job.prompt_id in self._jobs.posting:
                continue
            entry = snapshot.entries.get(job.prompt_id)
            if entry is not None and entry.running and job.state.started_at is None:
                return "a job runs and no event came"
        return ""

    def _judge(self, reason: str) -> None:
        """Believe a difference when it lasts for a second without a frame between."""
        frames = self._link.frames
        if not reason:
            self._suspected_at_frame = None
        elif self._suspected_at_frame is None or self._suspected_at_frame != frames:
            self._suspected_at_frame = frames
        else:
            self._suspected_at_frame = None
            self._believe(reason)

    def _believe(self, reason: str) -> None:
        """The socket is silent, or the server is stalled: a new socket shows which."""
        link = self._link
        now = self._clock.monotonic()
        fresh = self._redialled_at is not None and link.frames_since_up <= _HANDSHAKE_FRAMES
        if fresh and self._redialled_at is not None and now - self._redialled_at < _REDIAL_STALLED_S:
            if not self.stalled:
                self.stalled = True
                _log.warning(
                    "%s, on a new socket too: the server is stalled, or another live session uses "
                    "client_id %r; polling",
                    reason,
                    self._client_id,
                )
            return
        if self._redialled_at is not None and link.frames_since_up > _HANDSHAKE_FRAMES:
            self._deafenings += 1
        if self._deafenings >= _MAX_DEAFENINGS:
            text = _SHARED.format(self._client_id)
            _log.warning("%s", text)
            link.give_up(text)
            return
        self._redialled_at = now
        _log.info("the socket is silent (%s): opening another", reason)
        link.drop(f"silent: {reason}")
