"""From one socket to many jobs: who gets which event, and what a gap means for whom."""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from .._job.mailbox import Mailbox
from .._protocol.decode import ExecutingNone
from .._protocol.plan import Plans
from ..errors import ResponseError
from ..events import (
    BaseEvent,
    Disconnected,
    FeatureFlags,
    NodeStarted,
    PollingStarted,
    Preview,
    ProgressText,
    Reconnected,
    StatusChanged,
)

if TYPE_CHECKING:
    from .._base.settings import Clock
    from .._dialects.comfyui import RunApi
    from .._job.job import Job
    from .._protocol.meter import Timings
    from .link import Link
    from .poller import Reconciler

__all__ = ["Router"]

_ORPHANS = 1000


class Router:
    """The part of the session that hands out events; every method decides without awaiting."""

    _api: RunApi
    _clock: Clock
    _link: Link
    _reconciler: Reconciler
    _transport: str
    _closed: bool
    client_id: str

    def __init__(self) -> None:
        """Start without jobs."""
        self._jobs: dict[str, Job] = {}
        self._posting: set[str] = set()
        self._watchers: list[Mailbox] = []
        self._timings: Timings = {}
        self._plans = Plans()
        self._queue_remaining: int | None = None
        self._running: Job | None = None
        self._orphans: deque[BaseEvent] = deque(maxlen=_ORPHANS)
        self._own_end_at = 0.0

    def __del__(self) -> None:
        """Say that nobody closed what had been opened, as asyncio's transports do; no I/O is done here."""
        link = getattr(self, "_link", None)
        # Without a link its making has failed.
        if link is not None and not self._closed and (self._api.probed or link.state != "idle"):
            text = f"unclosed session with {self._api.address}: use `async with` or `await session.aclose()`"
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    # Jobs come and go.

    def _register(self, job: Job) -> None:
        """Route the job's events to it from now on."""
        self._jobs[job.prompt_id] = job
        self._posting.add(job.prompt_id)

    def _posted(self, job: Job, *, frames_before: int = -1) -> None:
        """The job is in the queue: watch over it, and over a socket that said nothing of it yet."""
        self._posting.discard(job.prompt_id)
        if not self._posting:
            self._orphans.clear()
        if job.done:
            return
        if not self._link.hearing:
            job._state.mark_gap()
            self._tell_polling(job)
        elif self._link.frames == frames_before:
            self._reconciler.expect_status()
        self._reconciler.start()

    def _unregister(self, job: Job) -> None:
        """The submission failed: nobody holds the job."""
        self._posting.discard(job.prompt_id)
        self._jobs.pop(job.prompt_id, None)

    def _rebind(self, job: Job, prompt_id: str) -> None:
        """An old server chose the id: route by it, and replay what came before it was known."""
        self._unregister(job)
        if len(self._orphans) == _ORPHANS:
            job._state.mark_gap()
        job._state.prompt_id = prompt_id
        self._register(job)
        for event in [orphan for orphan in self._orphans if orphan.prompt_id == prompt_id]:
            job._take(event)

    def _job_ended(self, job: Job) -> None:
        """Let go of a job that has ended."""
        self._jobs.pop(job.prompt_id, None)
        self._reconciler.forget(job)
        self._own_end_at = self._clock.monotonic()
        if self._running is job:
            self._running = None

    @contextlib.contextmanager
    def _stopping(
        self, prompt_ids: Iterable[str] | None = None, *, of: Collection[str] = ("pending",)
    ) -> Iterator[None]:
        """While a verb of this session stops jobs (None: all), ours in such a state end as cancelled.

        A pending job that is removed says nothing (PROTOCOL 0.7): without the intent it would be lost.
        """
        found = (self._jobs.get(one) for one in (list(self._jobs) if prompt_ids is None else prompt_ids))
        meant = [job for job in found if job is not None and job.status in of]
        fresh = [job for job in meant if not job._cancel_wanted]
        for job in fresh:
            job._cancel_wanted = True
        try:
            yield
        except ResponseError:
            # Refused; any other failure may have come after the deed.
            for job in fresh:
                job._cancel_wanted = False
            raise
        waiting = [job for job in meant if job.status == "pending"]
        if waiting:
            self._reconciler.poke(waiting)

    # Events come in.

    def _on_event(self, event: BaseEvent) -> None:
        """Give one event of the socket to whom it belongs."""
        if self._reconciler.hearing.stalled:
            self._reconciler.hearing.heard()
        prompt_id = event.prompt_id
        job = self._jobs.get(prompt_id) if prompt_id is not None else self._owner(event)
        if job is not None:
            if type(event) is NodeStarted and job is not self._running:
                self._running = job
            job._take(event)
            if not event.lossy and job._state.wants_history:
                self._reconciler.poke([job])
        elif type(event) is not ExecutingNone:
            if prompt_id is not None and self._posting and not self._api.server.can("client_prompt_id"):
                self._orphans.append(event)
            self._session_event(event)

    def _owner(self, event: BaseEvent) -> Job | None:
        """Find the job of an event that names none: the one that runs (PROTOCOL 0.6, 0.9)."""
        job = self._running
        if job is None or not isinstance(event, (NodeStarted, Preview, ProgressText)):
            return None
        event.prompt_id = job.prompt_id if not isinstance(event, NodeStarted) else None
        if type(event) is Preview and event.node is None:
            event._data = {**event.data, "node_id": job._state.running_node}
        return job

    def _session_event(self, event: BaseEvent) -> None:
        """Take in an event of no job of ours."""
        if type(event) is StatusChanged:
            self._status_changed(event)
        elif type(event) is FeatureFlags:
            self._api.learn(event.flags)
        self._show(event)

    def _status_changed(self, event: StatusChanged) -> None:
        """The queue's length is what the cheap look is compared with."""
        before, now = self._queue_remaining, event.queue_remaining
        self._queue_remaining = now
        shrank = before is not None and now is not None and now < before
        if shrank and self._jobs and self._clock.monotonic() - self._own_end_at > 1.0:
            self._reconciler.soon()

    # Events go out to those who watch the whole session.

    def _show(self, event: BaseEvent) -> None:
        """Give an event to everybody who reads `events()`."""
        for box in self._watchers:
            box.put(event)

    def _drop_watcher(self, box: Mailbox) -> None:
        """Forget somebody who read `events()`."""
        # A new list: the garbage collector may come by in the middle of a loop over the old one.
        self._watchers = [other for other in self._watchers if other is not box]

    def _close_watchers(self) -> None:
        """End every `events()`."""
        for box in self._watchers:
            box.close()

    # The connection.

    def _is_wanted(self) -> bool:
        """True while somebody would miss the socket."""
        return bool(self._jobs or self._watchers)

    def _is_polling(self) -> bool:
        """True while the socket does not bring the news."""
        return not self._link.hearing or self._reconciler.hearing.stalled

    def _on_down(self, reason: str) -> None:
        """The socket went down or deaf: every open job may miss something from now on."""
        self._queue_remaining = None
        self._running = None
        jobs = list(self._jobs.values())
        self._show(self._connection_event(Disconnected, None, reason))
        for job in jobs:
            job._state.mark_gap()
            job._cut_off = True
            job._tell_own(self._connection_event(Disconnected, job, reason))
            job._tell_own(self._connection_event(PollingStarted, job, reason))
        self._reconciler.poke()

    def _on_up(self) -> None:
        """The socket hears: what happened meanwhile is looked up once."""
        cut_off = [job for job in self._jobs.values() if job._cut_off]
        if self._link.reconnects:
            self._show(self._connection_event(Reconnected, None, ""))
        for job in cut_off:
            job._cut_off = False
            job._tell_own(self._connection_event(Reconnected, job, ""))
        if cut_off:
            self._reconciler.poke(cut_off)

    def _tell_polling(self, job: Job) -> None:
        """A job begins its life without a socket."""
        if not job._cut_off:
            job._cut_off = True
            reason = self._link.reason or "no socket"
            job._tell_own(self._connection_event(PollingStarted, job, reason))

    def _tell_all_away(self, reason: str) -> None:
        """The server does not even answer HTTP."""
        self._tell_all(Disconnected, f"the server does not answer: {reason}")

    def _tell_all_back(self) -> None:
        """It answers again; the socket says for itself when it hears."""
        self._tell_all(PollingStarted, "the server answers again")

    def _tell_all(self, cls: type[BaseEvent], reason: str) -> None:
        """Tell every open job, and the session's watchers once."""
        for job in list(self._jobs.values()):
            job._tell_own(self._connection_event(cls, job, reason))
        self._show(self._connection_event(cls, None, reason))

    def _went_deaf(self, reason: str) -> None:
        """The socket will not be dialled again."""
        self._on_down(reason)

    def _connection_event(self, cls: type[BaseEvent], job: Job | None, reason: str) -> BaseEvent:
        """Make an event about our own connection."""
        prompt_id = None if job is None else job.prompt_id
        return cls(None, {"reason": reason}, prompt_id, received_at=self._clock.unix())
