"""A job that may outlive its server: one handle and one stream over several attempts."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from .._base.clock import Clock
from .._base.secrets import Veil
from .._base.settings import Settings
from .._batch.gate import Gate
from .._batch.items import Item
from .._batch.journal import Journal
from .._job.core import JobCore
from .._job.mailbox import Watchers
from .._job.result import FileReader
from .._protocol.plan import Plan
from .._protocol.reducer import JobState
from .._session.engine import Engine
from ..errors import ComfyError, SessionClosedError
from ..events import BaseEvent, Cancelled, Disconnected, Failed, Lost, Reconnected
from ..types import JobStatus
from ..workflow import Workflow
from .member import Member
from .needs import Need, models_of, needs_of

__all__ = ["Keeper", "NoServer", "Order", "PoolJob"]


class Keeper(Protocol):
    """What a job needs of its pool."""

    settings: Settings
    clock: Clock
    closed: bool

    def check_loop(self) -> None:
        """Raise in another event loop, and when the pool is closed."""
        ...

    def any_engine(self) -> Engine | None:
        """Return one of the pool's sessions: all know the same keys."""
        ...

    def takes_over(self, job: PoolJob, event: BaseEvent) -> bool:
        """Say whether another attempt begins in the place of an end."""
        ...

    def vacate(self, job: PoolJob) -> None:
        """The job has ended: its place is free."""
        ...

    async def abandon(self, job: JobCore) -> None:
        """Cancel a job that is not waited for any more."""
        ...


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class Order:
    """What a job is to run, and what became of it so far.

    Attributes:
        workflow: As it was given, loaded; its files are uploaded wherever it goes.
        options: What `submit` takes.
        check: Compare with the server's catalog first.
        key: What it is for, where there is one job for that.
        group: Its batch: batches get their places in turn.
        patient: Wait for a server although none answers.
        journal: The results file of its batch.
        gate: Whether its batch may submit, None outside of one.
        item: What it is in its batch, None outside of one.
        attempts: How often it was queued.
        had_by: The servers whose queue it was in.
        failures: How often a server failed before it was queued.
        refused: The servers that would not run it, with their messages.
        ghosts: Its ids on servers that fell silent and may be running it still.
        stuck_since: Since when no server that could run it has answered, None while one does.
    """

    workflow: Workflow
    options: Mapping[str, Any]
    check: bool
    group: object
    patient: bool
    key: str | None = None
    journal: Journal | None = None
    gate: Gate | None = None
    item: Item | None = None
    attempts: int = 0
    had_by: set[Member] = dataclasses.field(default_factory=set)
    failures: int = 0
    refused: dict[Member, ComfyError] = dataclasses.field(default_factory=dict)
    ghosts: dict[Member, str] = dataclasses.field(default_factory=dict)
    stuck_since: float | None = None
    needs: frozenset[Need] = frozenset()
    models: frozenset[str] = frozenset()

    def learn(self, workflow: Workflow) -> None:
        """Read what it needs, as soon as it is in API format."""
        if not self.needs:
            self.needs = needs_of(workflow)
            self.models = models_of(self.needs)

    @property
    def on_partial(self) -> str:
        """What becomes of a prompt that the server would run in part: "raise" or "keep"."""
        return str(self.options.get("on_partial", "raise"))

    @property
    def is_held(self) -> bool:
        """True while its batch is paused, and it was never queued: one that was goes on to its end."""
        if self.gate is None or self.attempts:
            return False
        self.gate.look()
        return self.gate.paused

    def note_posting(self, job: JobCore) -> None:
        """Write into the results file that the job is about to be posted, or was found again."""
        if self.journal is not None and self.item is not None:
            self.journal.posting(job, self.item.key)


class NoServer:
    """Owns a job that is on no server at the moment; cancelling asks nobody."""

    client_id = ""

    def __init__(self, keeper: Keeper, last: Engine | None = None, *, base_url: str = "") -> None:
        """Remember the server that it was on last, and the keys that are to be masked."""
        self._base_url = base_url or ("" if last is None else last.base_url)
        self._keeper = keeper
        self._last = last
        self.settings = keeper.settings
        self.clock = keeper.clock
        # Nobody watches what is on no server.
        self.watchers = Watchers()
        known = last or keeper.any_engine()
        self.veil = Veil() if known is None else known.veil

    @property
    def base_url(self) -> str:
        """The server that it was on last, "" when it was on none."""
        return self._base_url

    @property
    def closed(self) -> bool:
        """True when the pool is."""
        return self._keeper.closed

    @property
    def files(self) -> FileReader:
        """Where the job's files are, when it was on a server.

        Raises:
            SessionClosedError: It was on none.
        """
        if self._last is None:
            raise SessionClosedError("the job is on no server, and so are its files")
        return self._last.files

    def check_loop(self) -> None:
        """Raise in another event loop, and when the pool is closed."""
        self._keeper.check_loop()

    def job_ended(self, job: JobCore) -> None:
        """No server, nothing to forget."""

    def wanted(self, job: JobCore) -> None:
        """Do nothing: where it runs, it is followed."""

    def ask_for_place(self, job: JobCore) -> bool:
        """It is in no queue."""
        return False

    async def cancel(self, job: JobCore) -> JobStatus:
        """End a job that waits for a place."""
        assert isinstance(job, PoolJob)
        job.call_off()
        return job.status

    async def abandon(self, job: JobCore) -> None:
        """End a job that is not waited for any more."""
        await self._keeper.abandon(job)


class PoolJob(JobCore):
    """One workflow, whichever server runs it in the end. See `JobCore`.

    Attributes:
        order: What it is to run.
        member: The server that it has a place on.
        going: What brings it to the next server.
        context: In which it was submitted: it goes on in that one, not in that of the lost attempt.
    """

    def __init__(
        self, keeper: Keeper, order: Order, *, keep_frames: bool = True, index: int | None = None
    ) -> None:
        """Begin without a server."""
        self._keeper = keeper
        self.order = order
        self.member: Member | None = None
        self.going: asyncio.Task[None] | None = None
        self.context = contextvars.copy_context()
        self._busy = False
        self._held: BaseEvent | None = None
        super().__init__(NoServer(keeper), JobState("", Plan({})), keep_frames=keep_frames, index=index)
        self.labels = order.options.get("labels") or {}

    @property
    def is_on_no_server(self) -> bool:
        """True while it waits for a place."""
        return isinstance(self.owner, NoServer)

    def take(self, event: BaseEvent) -> None:
        """Process one fact; an end that another attempt can repair is not passed on."""
        if event.terminal and not self.done:
            if self._busy and not self.cancel_wanted:
                # The submission has not returned yet, and may find that this was not the whole job.
                self._held = event
                return
            if type(event) in (Lost, Failed) and self._keeper.takes_over(self, event):
                return
        super().take(event)

    def hold_end(self) -> None:
        """A submission begins: an end that comes before it returns is kept back."""
        self._busy = True

    def release_end(self) -> None:
        """The submission has returned: take the end that came before it did."""
        self._busy = False
        event, self._held = self._held, None
        if event is not None:
            self.take(event)
            if self.state.wants_history and isinstance(self.owner, Engine):
                self.owner.poller.poke([self])

    def forget_end(self) -> None:
        """Whatever was kept back is of another attempt."""
        self._busy, self._held = False, None

    def leave(self, reason: str = "") -> None:
        """Be on no server; with a reason, the consumers get an event."""
        if self.ended.is_set():
            return
        engine = self.owner
        if isinstance(engine, Engine):
            client_id = engine.client_id
            self.move(NoServer(self._keeper, engine), JobState(self.prompt_id, self.state.plan))
            self.client_id = client_id
        self.forget_end()
        if reason:
            self.tell_connection(Disconnected, reason)

    def tell_connection(self, cls: type[Disconnected | Reconnected], reason: str) -> None:
        """Report where the job goes."""
        now = self._keeper.clock.unix()
        self.tell_own(cls(None, {"reason": reason}, self.prompt_id or None, received_at=now))

    def give_up(self, event: BaseEvent) -> None:
        """End without a server."""
        self.forget_end()
        super().take(event)

    def call_off(self) -> None:
        """End as cancelled while it is on no server."""
        self.cancel_wanted = True
        if self.going is not None:
            self.going.cancel()
        self.give_up(Cancelled(None, {}, self.prompt_id, received_at=self._keeper.clock.unix()))

    def fail(self, error: Exception) -> None:
        """End with the error of a submission that failed."""
        data = {"exception_type": type(error).__name__, "exception_message": str(error)}
        told_by = error if isinstance(error, ComfyError) else ComfyError()
        self.state.prompt_id = told_by.prompt_id or self.prompt_id or str(uuid.uuid4())
        if told_by.server and self.is_on_no_server:
            self.owner = NoServer(self._keeper, base_url=told_by.server)
        self.error = error
        self.give_up(Failed(None, data, self.prompt_id, received_at=self._keeper.clock.unix()))

    def withdrawn(self) -> None:
        """One server did not take it: another one may."""

    def finish(self) -> None:
        """The end was reported."""
        super().finish()
        self._keeper.vacate(self)

    def abandon(self, error: Exception) -> None:
        """The pool closes."""
        super().abandon(error)
        self._keeper.vacate(self)
