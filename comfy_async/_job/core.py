"""The machinery of one job: facts in, events out to every consumer, one end."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .._base.clock import Clock
from .._base.secrets import Veil
from .._base.settings import Settings
from .._protocol.reducer import JobState
from ..events import BaseEvent, Progress, QueuePosition
from ..types import TERMINAL_STATUSES, JobStatus, Problem
from ..workflow import Workflow
from .ends import error_of_end
from .mailbox import EventStream, Mailbox, Watchers, is_lossy

if TYPE_CHECKING:
    from .output import SavedTo
    from .result import FileReader, JobResult

__all__ = ["JobCore", "Listener", "Owner"]


class Listener(Protocol):
    """What is called for one job whatever its consumers read: hooks."""

    def event(self, event: BaseEvent) -> None:
        """Something has happened to it."""
        ...

    def end(self) -> None:
        """It has had its end."""
        ...

    def left(self) -> None:
        """It is not followed any more, and it has had no end."""
        ...


class Owner(Protocol):
    """What a job needs of whoever runs it: a session's engine, or a stand-in while it is on no server."""

    client_id: str
    settings: Settings
    clock: Clock
    watchers: Watchers
    veil: Veil

    @property
    def closed(self) -> bool:
        """True from the beginning of the end."""
        ...

    @property
    def base_url(self) -> str:
        """The server's address, for errors and for `ref`."""
        ...

    @property
    def files(self) -> FileReader:
        """Where the bytes of output files come from."""
        ...

    def check_loop(self) -> None:
        """Raise in another event loop, and when everything is closed."""
        ...

    def job_ended(self, job: JobCore) -> None:
        """The job has had its end."""
        ...

    def wanted(self, job: JobCore) -> None:
        """Somebody reads the job's events, or waits for its end."""
        ...

    def ask_for_place(self, job: JobCore) -> bool:
        """Have the queue read for a job's place; return whether that is possible now."""
        ...

    async def cancel(self, job: JobCore) -> JobStatus:
        """Stop the job on the server and return its true end."""
        ...

    async def abandon(self, job: JobCore) -> None:
        """Cancel a job that is not waited for, in bounded time, whatever happens to the caller."""
        ...


class JobCore:
    """One prompt: what is known of it, who reads its events, how it ended.

    Attributes:
        owner: Who runs it.
        state: What is known of it.
        client_id: Under which it was submitted.
        index: Its place in a batch, else None.
        workflow: What was submitted, None for a job that was attached to.
        labels: By which it is found again later.
        node_errors: Why some outputs will not run.
        ended: Set at the end, or when the session is closed before.
        error: What waiting for it raises, None for a result.
        made: The result, None until somebody asks for it.
        place: How many jobs come first, when the queue was read last.
        cancel_wanted: Somebody of this process wants it stopped.
        leaving: It is not waited for: it is being cancelled, and followed to its end.
        cancel_tried: When the latest attempt to stop it began and ended.
        news_at: When the latest news of it came, Unix seconds.
        quiet_told: It has been logged that no news came for long.
        cut_off: The socket does not bring its messages.
        handed_out: Somebody may hold it; before that its frames wait for the first consumer, ended or not.
        seen: It was found in the queue when it was attached to.
        seen_as: The handle that users hold, while they do.
        is_wanted: Somebody has read its events, or waited for its end.
        demands_saves: Nodes that save must have saved: the server does not say what it left out.
        reader: Where its files are read, None for its owner's.
        saved_to: Called for each file of its result that is saved, with its place; None without hooks for it.
    """

    def __init__(
        self, owner: Owner, state: JobState, *, keep_frames: bool = True, index: int | None = None
    ) -> None:
        """Begin with nobody reading; `keep_frames` keeps frames for a first consumer to come."""
        self.owner = owner
        self.state = state
        self.client_id = owner.client_id
        self.index = index
        self.workflow: Workflow | None = None
        self.labels: Mapping[str, str] = {}
        self.node_errors: tuple[Problem, ...] = ()
        self.ended = asyncio.Event()
        self.error: Exception | None = None
        self.place: int | None = None
        self.cancel_wanted = False
        self.leaving = False
        self.cancel_tried: tuple[float, float] | None = None
        self.news_at = owner.clock.unix()
        self.quiet_told = False
        self.cut_off = False
        self.handed_out = False
        self.seen = False
        self.seen_as: weakref.ref[Any] | None = None
        self.is_wanted = False
        self._place_wanted = False
        self._listener: Listener | None = None
        self.demands_saves = False
        self.reader: FileReader | None = None
        self.saved_to: SavedTo | None = None
        self.made: JobResult | None = None
        self._log: list[BaseEvent] = []
        self._last_progress: BaseEvent | None = None
        self._boxes: list[Mailbox] = []
        self._dropped = 0
        self._first = self._new_box() if keep_frames else None
        self._unseen: int | None = None if keep_frames else 0

    # What it is.

    @property
    def prompt_id(self) -> str:
        """The job's id on the server."""
        return self.state.prompt_id

    @property
    def status(self) -> JobStatus:
        """Where it stands."""
        return self.state.status

    @property
    def done(self) -> bool:
        """True when the status is final."""
        return self.state.status in TERMINAL_STATUSES

    @property
    def ref(self) -> dict[str, Any]:
        """What picks it up from elsewhere."""
        labels = {"labels": dict(self.labels)} if self.labels else {}
        return {
            "prompt_id": self.prompt_id,
            "client_id": self.client_id,
            "server": self.owner.base_url,
            **labels,
        }

    @property
    def dropped(self) -> int:
        """How many progress and preview events were dropped."""
        return self._dropped + self._never_shown() + sum(box.dropped for box in self._boxes)

    @property
    def result(self) -> JobResult:
        """What a completed job made, the same each time."""
        if self.made is None:
            # Results are made at the end of jobs, and much is loaded for them.
            from .result import JobResult

            state = self.state
            self.made = JobResult(
                self.prompt_id,
                outputs=state.outputs,
                nodes=state.nodes,
                reader=self.reader or self.owner.files,
                images=state.images,
                cached_nodes=state.cached or (),
                node_seconds=state.meter.node_seconds,
                duration=state.duration,
                missing=state.missing,
                unreported=state.plan.unsaved(state.outputs) if self.demands_saves else (),
                workflow=self.workflow,
                saved_to=self.saved_to,
                index=self.index,
                labels=self.labels,
            )
        return self.made

    @property
    def place_is_watched(self) -> bool:
        """True while the job waits and somebody reads its events, or has asked for its place."""
        readers = len(self._boxes) - (self._first is not None)
        return self.state.status == "pending" and (readers > 0 or self._place_wanted)

    def put_place(self, place: int, now: float) -> None:
        """Note how many jobs come first; an event says so when it has changed."""
        changed = place != self.place
        self.place = place
        if changed and self.status == "pending":
            self._pass_on(QueuePosition(None, {"position": place}, self.prompt_id, received_at=now))

    def read_place(self) -> int | None:
        """Return how many jobs come first; the first call has the queue read."""
        if self.done:
            return None
        if self.status == "pending" and self.place is None and not self._place_wanted:
            self._place_wanted = self.owner.ask_for_place(self)
        return 0 if self.status == "running" else self.place

    # Facts come in.

    def take(self, event: BaseEvent) -> None:
        """Take in one fact; never waits and never raises for what a server sends."""
        state = self.state
        self.news_at = event.received_at
        if event.lossy and state.repeats(event):
            # The usual case by far: another step of a node, which changes nothing else.
            self._pass_on(event)
            return
        for told in state.apply(event):
            self._tell(told)
        if state.terminal is not None and not self.ended.is_set():
            self.finish()

    def tell_own(self, event: BaseEvent) -> None:
        """Report something about the connection: an event for consumers that says nothing about the job."""
        if not self.done:
            self._log.append(event)
            for box in self._boxes:
                box.put(event)
            if self._listener is not None:
                self._listener.event(event)

    def move(self, owner: Owner, state: JobState) -> None:
        """Go on as another prompt, of another session perhaps; events that were sent stay as they are."""
        self.owner = owner
        self.state = state
        self.client_id = owner.client_id
        self._last_progress = None
        self.place = None
        self._place_wanted = False
        self.cut_off = False
        self.node_errors = ()

    def accept_end(self) -> None:
        """The end was received after a gap, and the history never came: accept it as received."""
        for told in self.state.finish_without_history():
            self._tell(told)
        if self.state.terminal is not None and not self.ended.is_set():
            self.finish()

    def finish(self) -> None:
        """The end was reported: wake all that wait, and drop what is not read."""
        if self.error is None:
            self.error = error_of_end(self.state, server=self.owner.base_url, was_ours=self.cancel_wanted)
        self._close_boxes(None)
        self.owner.job_ended(self)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.end()

    def abandon(self, error: Exception) -> None:
        """The session closes, or the submission failed: end every waiter with an error."""
        if not self.ended.is_set():
            self.error = error
            self._close_boxes(error)
        self.tell_no_more()

    @property
    def is_told(self) -> bool:
        """True while hooks are called for it."""
        return self._listener is not None

    def tell_to(self, listener: Listener) -> None:
        """Call hooks for what happens from now on."""
        self._listener = listener

    def withdrawn(self) -> None:
        """Its submission has failed, and nobody will ever hold it."""
        self.tell_no_more()

    def tell_no_more(self) -> None:
        """It is not followed any more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.left()

    # Events go out.

    def read(self) -> EventStream:
        """Return a reader of the events from the beginning."""
        if not self.ended.is_set():
            self.owner.check_loop()
            self.want()
        box, self._first = self._first, None
        self._dropped += self._never_shown()
        self._unseen = None
        return EventStream(box if box is not None else self._replayed_box(), self._drop_box)

    def want(self) -> None:
        """Get the news of this job as fast as possible: somebody waits for it."""
        if not self.is_wanted:
            self.is_wanted = True
            self.owner.wanted(self)

    def _tell(self, event: BaseEvent) -> None:
        """Give an event to every consumer, and keep it for those to come if it is a milestone."""
        if not is_lossy(event):
            if self._last_progress is not None:
                self._log.append(self._last_progress)
                self._last_progress = None
            self._log.append(event)
        self._pass_on(event)

    def _pass_on(self, event: BaseEvent) -> None:
        """Give an event to every consumer."""
        if type(event) is Progress:
            self._last_progress = event
        for box in self._boxes:
            box.put(event)
        if self._unseen is not None and is_lossy(event):
            self._unseen += 1
        for box in self.owner.watchers.boxes:
            box.put(event)
        if self._listener is not None:
            self._listener.event(event)

    def _close_boxes(self, error: Exception | None) -> None:
        """End every stream; frames kept for a first consumer that never came are dropped, and counted."""
        if self._first is not None and self.handed_out:
            self._boxes.remove(self._first)
            self._unseen = self._first.lossy
            self._first = None
        for box in self._boxes:
            box.close(error)
        self.ended.set()

    def _new_box(self) -> Mailbox:
        """Open a mailbox that gets every event from now on."""
        settings = self.owner.settings
        box = Mailbox(max_events=settings.mailbox_events, max_bytes=settings.mailbox_bytes)
        self._boxes.append(box)
        return box

    def _replayed_box(self) -> Mailbox:
        """Open a mailbox with what happened so far in it."""
        box = self._new_box()
        for event in self._log:
            box.put(event)
        if self._last_progress is not None:
            box.put(self._last_progress)
        if self.ended.is_set():
            box.close(self.error if self.state.terminal is None else None)
        return box

    def _never_shown(self) -> int:
        """Count what came before the first consumer and is not replayed to it."""
        if self._unseen is None:
            return 0
        replayed = sum(map(is_lossy, self._log)) + (self._last_progress is not None)
        return max(0, self._unseen - replayed)

    def _drop_box(self, box: Mailbox) -> None:
        """Forget a consumer, but not what it missed."""
        if box in self._boxes:
            # A new list: the garbage collector may come by in the middle of a loop over the old one.
            self._boxes = [other for other in self._boxes if other is not box]
            self._dropped += box.dropped
