"""From one socket to many jobs: which job gets which event, and what a gap means for each.

The walk of a frame: `Link` reads and decodes it, `Router.take` finds its job, `JobCore.take` brings it
through the reducer and into the mailboxes. Every method here decides without awaiting.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from .._base.clock import Clock
from .._dialects.dialect import Dialect, Speaker
from .._job.core import JobCore
from .._protocol.decode import ExecutingNone
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
from .link import Link
from .open_jobs import OpenJobs
from .poller import Poller
from .socket_health import SocketHealth
from .streams import Streams

__all__ = ["Router"]

_ORPHANS: Final = 1000
# A `status` soon after an end of ours tells of that end.
_OWN_END_S: Final = 1.0


class Router:
    """Brings each event of the socket to its job, and each job in and out of the session."""

    def __init__(
        self,
        jobs: OpenJobs,
        *,
        speaker: Speaker,
        clock: Clock,
        link: Link,
        health: SocketHealth,
        poller: Poller,
        streams: Streams,
    ) -> None:
        """Route to these jobs."""
        self._jobs = jobs
        self._watchers = jobs.watchers
        self._speaker = speaker
        self._clock = clock
        self._link = link
        self._health = health
        self._poller = poller
        self._streams = streams
        self._running: JobCore | None = None
        self._orphans: deque[BaseEvent] = deque(maxlen=_ORPHANS)
        self._own_end_at = 0.0

    @property
    def _api(self) -> Dialect:
        """The requests in the server's dialect."""
        return self._speaker.api

    # Jobs come and go.

    def posted(self, job: JobCore, *, frames_before: int = -1) -> None:
        """The job is in the queue: watch it, and a socket that sent nothing of it yet."""
        self._jobs.posted(job)
        job.handed_out = True
        if not self._jobs.posting:
            self._let_orphans_go()
        if job.done:
            return
        if self._api.has_streams:
            # What the stream does not say the job itself does, once it is over.
            job.state.mark_gap()
            if job.is_wanted or self._watchers.boxes:
                self._streams.follow(job)
        elif not self._link.hearing:
            job.state.mark_gap()
            self._tell_polling(job)
        elif self._link.frames == frames_before:
            self._poller.expect_status()
        self._poller.start()

    def rebind(self, job: JobCore, prompt_id: str) -> None:
        """An old server chose the id: route by it, and replay what came before it was known."""
        self._jobs.remove(job)
        if len(self._orphans) == _ORPHANS:
            job.state.mark_gap()
        job.state.prompt_id = prompt_id
        self._jobs.add(job)
        self._replay(prompt_id)

    def _replay(self, prompt_id: str) -> None:
        """Process what came of a prompt before its id was known, in order.

        Frames that name no prompt are of the one that was named last (PROTOCOL 0.9).
        """
        waiting, named = list(self._orphans), None
        self._orphans.clear()
        for event in waiting:
            named = named if event.prompt_id is None else event.prompt_id
            if named == prompt_id:
                self.take(event)
            else:
                self._orphans.append(event)

    def _let_orphans_go(self) -> None:
        """Every id is known: what is left is of other clients' prompts."""
        left = list(self._orphans)
        self._orphans.clear()
        for event in left:
            self._session_event(event)

    def ended(self, job: JobCore) -> None:
        """Let go of a job that has ended, or gone elsewhere."""
        self._jobs.remove(job)
        self._poller.forget(job)
        self._streams.forget(job)
        self._own_end_at = self._clock.monotonic()
        if self._running is job:
            self._running = None

    @contextlib.contextmanager
    def stopping(
        self, prompt_ids: Iterable[str] | None = None, *, of: Collection[str] = ("pending",)
    ) -> Iterator[None]:
        """While jobs are stopped from outside (None: all), ours in such a state end as cancelled.

        No message comes for a removed pending job (PROTOCOL 0.7): without the intent it would be lost.
        """
        found = self._jobs if prompt_ids is None else map(self._jobs.by_id.get, prompt_ids)
        meant = [job for job in found if job is not None and job.status in of]
        fresh = [job for job in meant if not job.cancel_wanted]
        for job in fresh:
            job.cancel_wanted = True
        try:
            yield
        except ResponseError:
            # Refused; any other failure may have come after the deed.
            for job in fresh:
                job.cancel_wanted = False
            raise
        waiting = [job for job in meant if job.status == "pending"]
        if waiting:
            self._poller.poke(waiting)

    # Events come in.

    def take(self, event: BaseEvent) -> None:
        """Give one event of the socket to whom it belongs."""
        if self._health.stalled:
            self._health.heard()
        prompt_id = event.prompt_id
        job = self._jobs.by_id.get(prompt_id) if prompt_id is not None else self._owner(event)
        if job is not None:
            if type(event) is NodeStarted and job is not self._running:
                self._running = job
            job.take(event)
            if not event.lossy and job.state.wants_history:
                self._poller.poke([job])
            return
        if self._jobs.posting and self._may_be_of_a_posting(event):
            self._orphans.append(event)
        else:
            self._session_event(event)

    def _may_be_of_a_posting(self, event: BaseEvent) -> bool:
        """Return whether an event may be of a prompt whose id an old server has not sent yet."""
        if self._api.server.can("client_prompt_id"):
            return False
        return event.prompt_id is not None or isinstance(event, (NodeStarted, Preview, ProgressText))

    def _owner(self, event: BaseEvent) -> JobCore | None:
        """Find the job of an event that names none: the one that runs (PROTOCOL 0.6, 0.9)."""
        job = self._running
        if job is None or not isinstance(event, (NodeStarted, Preview, ProgressText)):
            return None
        event.prompt_id = job.prompt_id if not isinstance(event, NodeStarted) else None
        if type(event) is Preview and event.node is None:
            event.belong_to(job.state.running_node)
        return job

    def _session_event(self, event: BaseEvent) -> None:
        """Take in an event of no job of ours."""
        if type(event) is ExecutingNone:
            return
        if type(event) is StatusChanged:
            self._status_changed(event)
        elif type(event) is FeatureFlags:
            self._api.learn(event.flags)
        self._watchers.show(event)

    def _status_changed(self, event: StatusChanged) -> None:
        """The queue's length is what the cheap request is compared with."""
        shrank = self._health.said(event.queue_remaining)
        self._poller.queue_changed()
        if shrank and self._jobs and self._clock.monotonic() - self._own_end_at > _OWN_END_S:
            self._poller.soon()

    # The connection.

    def wanted(self) -> bool:
        """True while somebody would miss the socket."""
        return bool(self._jobs or self._watchers.boxes)

    def down(self, reason: str) -> None:
        """The socket is down or silent: every open job may miss something from now on."""
        self._health.said(None)
        self._running = None
        jobs = list(self._jobs)
        self._jobs.tell_watchers(Disconnected, reason)
        for job in jobs:
            job.state.mark_gap()
            job.cut_off = True
            self._jobs.tell(Disconnected, job, reason)
            self._jobs.tell(PollingStarted, job, reason)
        self._poller.poke()

    def up(self) -> None:
        """The socket receives messages: what happened meanwhile is looked up once."""
        cut_off = [job for job in self._jobs if job.cut_off]
        if self._link.reconnects:
            self._jobs.tell_watchers(Reconnected, "")
        for job in cut_off:
            job.cut_off = False
            self._jobs.tell(Reconnected, job, "")
        if cut_off:
            self._poller.poke(cut_off)

    def _tell_polling(self, job: JobCore) -> None:
        """A job begins without a socket."""
        if not job.cut_off:
            job.cut_off = True
            self._jobs.tell(PollingStarted, job, self._link.reason or "no socket")
