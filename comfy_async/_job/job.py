"""One submitted workflow: await it for the result, iterate it for what happens."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .._protocol.reducer import JobState
from ..events import BaseEvent, Progress
from ..types import TERMINAL_STATUSES, JobProgress, JobStatus, Problem, Shown, renderer_of
from .ending import final_error
from .mailbox import EventStream, Mailbox, is_lossy
from .result import JobResult

if TYPE_CHECKING:
    from .._client.session import ComfySession
    from ..workflow import Workflow

__all__ = ["Job"]


class Job(Shown):
    """A handle on one prompt. `await job` gives the result, `async for event in job` the events.

    Both work together, in any number and order, and again after the end. The first to iterate over
    a job of `submit` or `stream` gets every event from the beginning; all others, and who comes
    after the end, every event that is not `lossy`, and before each the last `Progress`. Iterating ends
    when the job ends and never raises for the job's fate; awaiting raises it. Dropping a job, or
    ceasing to wait, does not stop it.

    Attributes:
        prompt_id: The job's id on the server.
        node_errors: Why some outputs will not run, with `on_partial="keep"`.
        index: The place in a `map`, else None.
        workflow: What was submitted, converted and with its files uploaded: `job.workflow.get("3", "seed")`
            tells which seed it had. None for a job that was attached to.

    Example:
        >>> job = await comfy.submit(flow)
        >>> async for event in job:
        ...     print(job.progress)
        >>> result = await job
    """

    def __init__(
        self, session: ComfySession, state: JobState, *, keep_frames: bool = True, index: int | None = None
    ) -> None:
        """Jobs are made by `submit`, `stream`, `map` and `attach`."""
        self.index = index
        self.workflow: Workflow | None = None
        self.node_errors: tuple[Problem, ...] = ()
        self._session = session
        self._state = state
        self._client_id = session.client_id
        self._log: list[BaseEvent] = []
        self._last_progress: BaseEvent | None = None
        self._boxes: list[Mailbox] = []
        self._dropped = 0
        self._first = self._new_box() if keep_frames else None
        self._unseen: int | None = None if keep_frames else 0
        self._ended = asyncio.Event()
        self._error: Exception | None = None
        self._result: JobResult | None = None
        self._queue_position: int | None = None
        self._place_wanted = False
        self._cancel_wanted = False
        self._cancel_tried: tuple[float, float] | None = None
        self._news_at = session._clock.unix()
        self._warned = False
        self._cut_off = False
        self._key = ""
        self._seen = False
        self._restored = False
        self._recalled = False

    # What it is.

    @property
    def prompt_id(self) -> str:
        """The job's id on the server."""
        return self._state.prompt_id

    @property
    def status(self) -> JobStatus:
        """Where it stands; "completed", "failed", "cancelled" and "lost" are final."""
        return self._state.status

    @property
    def done(self) -> bool:
        """True when the status is final."""
        return self._state.status in TERMINAL_STATUSES

    @property
    def progress(self) -> JobProgress:
        """How far it is, over the whole graph: a frozen snapshot that prints as one line."""
        return self._state.progress(self._session._clock.unix())

    @property
    def queue_position(self) -> int | None:
        """How many jobs come first: 0 when it runs or is the next; None when unknown or over.

        As of the latest look at the queue. The first reading has one made, since the socket says
        nothing about places: read it again a moment later. Nobody asks, nothing is sent.
        """
        if self.done:
            return None
        if self.status == "pending" and self._queue_position is None and not self._place_wanted:
            self._ask_for_place()
        return 0 if self.status == "running" else self._queue_position

    @property
    def ref(self) -> dict[str, str]:
        """What `attach` needs to pick the job up from elsewhere: a small JSON value, no secret in it."""
        return {
            "prompt_id": self.prompt_id,
            "client_id": self._client_id,
            "server": self._session.base_url,
        }

    @property
    def dropped(self) -> int:
        """How many progress and preview events nobody got: they gave way to newer ones, or came too early.

        A first consumer sees all others, whenever it comes: what it saw and `dropped` add up to
        what was sent. Later consumers get what `events()` promises, and count only what they
        themselves were too slow for.
        """
        return self._dropped + self._never_shown() + sum(box.dropped for box in self._boxes)

    # What it gives.

    def __await__(self) -> Generator[Any, None, JobResult]:
        """Wait for the end and return the result, as `result()`."""
        return self.result().__await__()

    async def result(self) -> JobResult:
        """Wait for the end and return the result; the same value every time.

        A time limit is the standard library's, and stops the waiting, never the job.

        Raises:
            JobFailedError: A node raised; `OutOfMemoryError` and `PartnerNodeError` are kinds of it.
            JobCancelledError: It was cancelled or interrupted.
            JobLostError: The server does not know it any more.
            SessionClosedError: The session was closed before the end.
            WrongLoopError: The session belongs to another event loop.

        Example:
            >>> try:
            ...     async with asyncio.timeout(60):
            ...         result = await job
            ... except TimeoutError:
            ...     print("it goes on:", job.progress)
        """
        if not self._ended.is_set():
            self._session._check_loop()
            await self._ended.wait()
        if self._error is not None:
            # A copy for each: one error raised in many places tangles their tracebacks.
            raise copy.copy(self._error)
        if self._result is None:
            self._result = self._make_result()
        return self._result

    def __aiter__(self) -> EventStream:
        """Iterate over the events from the beginning, as `events()`."""
        return self.events()

    def events(self) -> EventStream:
        """Return the events from the beginning until the job ends, as an async iterator.

        A consumer that comes late gets every lifecycle event and the last progress. One that
        is slow loses no lifecycle event and no output; see `dropped`. Iterating raises
        `SessionClosedError` when the session was closed before the job's end.

        Raises:
            WrongLoopError: The session belongs to another event loop.

        Example:
            >>> types = [event.type async for event in job.events()]  # each time from the beginning
        """
        if not self._ended.is_set():
            self._session._check_loop()
        box, self._first = self._first, None
        self._dropped += self._never_shown()
        self._unseen = None
        return EventStream(box if box is not None else self._replayed_box(), self._drop_box)

    async def cancel(self) -> JobStatus:
        """Stop the job on the server, and only this one; return how it truly ended.

        A pending job is removed from the queue, a running one interrupted, again while it goes
        on. A job that had just completed stays completed. When the server will not stop it
        within `Settings.cancel_seconds` the status is returned as it is.

        Raises:
            TransportError: The server cannot be reached.
            AuthError: The server does not let you.
            SessionClosedError: The session was closed before the end.

        Example:
            >>> fake.hold()  # keeps it in the queue
            >>> job = await comfy.submit(flow)
            >>> await job.cancel()
            'cancelled'
        """
        return self.status if self.done else await self._session._cancel(self)

    async def show(
        self,
        *,
        on_interrupt: Literal["cancel", "leave"] = "cancel",
        previews: bool = True,
        every: float = 0.2,
    ) -> None:
        """Show the job live, then what it made; in a notebook with its pictures (extra `notebook`).

        In a terminal it is a bar (extra `cli`), without one plain lines. A failure is shown, not
        raised: `await job` raises it.

        Args:
            on_interrupt: What becomes of the job when the cell is interrupted: "cancel" stops it
                on the server, "leave" lets it run. The session lives on in both cases.
            previews: Show the latest preview.
            every: Seconds between two frames.

        Raises:
            SessionClosedError: The session was closed before the end.
        """
        await renderer_of(self, "show")(self, on_interrupt=on_interrupt, previews=previews, every=every)

    # What the session tells it.

    def _move(self, session: ComfySession, state: JobState) -> None:
        """Go on as another prompt, of another session perhaps; what was told so far stays told."""
        self._session = session
        self._state = state
        self._client_id = session.client_id
        self._last_progress = None
        self._queue_position = None
        self._place_wanted = False
        self._cut_off = False
        self.node_errors = ()

    def _ask_for_place(self) -> None:
        """Have the queue looked at, once for all jobs that are read now; in no other thread."""
        # A job that its pool has not placed yet is in no queue, and has no session to ask.
        reconciler = getattr(self._session, "_reconciler", None)
        if reconciler is not None and self._session._loop is running_loop():
            self._place_wanted = True
            reconciler.poke([self])

    def _take(self, event: BaseEvent) -> None:
        """Take in one fact; never waits and never raises for what a server sends."""
        state = self._state
        self._news_at = event.received_at
        if event.lossy and state.repeats(event):
            # The usual case by far: another step of a node, which changes nothing else.
            self._pass_on(event)
            return
        for told in state.apply(event):
            self._tell(told)
        if state.terminal is not None and not self._ended.is_set():
            self._finish()

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
        for box in self._session._watchers:
            box.put(event)

    def _tell_own(self, event: BaseEvent) -> None:
        """Tell something about the connection: news for consumers, none about the job."""
        if not self.done:
            self._log.append(event)
            for box in self._boxes:
                box.put(event)

    def _finish(self) -> None:
        """The end was told: wake everybody and let go of what nobody reads."""
        self._error = final_error(self)
        self._close_boxes(None)
        self._session._job_ended(self)

    def _accept_end(self) -> None:
        """The end was heard after a gap, and the history never came: take it as it was heard."""
        for told in self._state.finish_without_history():
            self._tell(told)
        if self._state.terminal is not None and not self._ended.is_set():
            self._finish()

    def _abandon(self, error: Exception) -> None:
        """The session closes, or the submission failed: end every waiter with an error."""
        if not self._ended.is_set():
            self._error = error
            self._close_boxes(error)

    def _close_boxes(self, error: Exception | None) -> None:
        """End every stream; frames kept for a first consumer that never came are let go, and counted."""
        if self._first is not None:
            self._boxes.remove(self._first)
            self._unseen = self._first.lossy
            self._first = None
        for box in self._boxes:
            box.close(error)
        self._ended.set()

    def _new_box(self) -> Mailbox:
        """Open a mailbox that gets every event from now on."""
        settings = self._session.settings
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
        if self._ended.is_set():
            box.close(self._error if self._state.terminal is None else None)
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

    def _make_result(self) -> JobResult:
        """Collect what the job made."""
        state = self._state
        return JobResult(
            self.prompt_id,
            outputs=state.outputs,
            nodes=state.nodes,
            reader=self._session.files,
            images=state.images,
            cached_nodes=state.cached or (),
            node_seconds=state.meter.node_seconds,
            duration=state.duration,
            missing=state.missing,
        )

    def _set_problems(self, problems: Sequence[Problem]) -> None:
        """Keep why some outputs will not run."""
        self.node_errors = tuple(problems)

    def __repr__(self) -> str:
        """Return id, status and progress."""
        where = f" {self.progress}" if self.status == "running" else ""
        return f"<Job {self.prompt_id} {self.status}{where}>"


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, None when there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
