"""A job that may outlive its server: one handle and one stream over several attempts."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from .._base.secrets import Veil
from .._job.job import Job
from .._protocol.plan import Plan
from .._protocol.reducer import JobState
from .._transport.auth import Auth
from ..errors import ComfyError
from ..events import (
    BaseEvent,
    Cancelled,
    Disconnected,
    Failed,
    Lost,
    Reconnected,
)
from .needs import Need, models_of, needs_of

if TYPE_CHECKING:
    from .._base.settings import Clock, Settings
    from .._batch.journal import Journal
    from .._client.session import ComfySession
    from .._job.mailbox import Mailbox
    from ..types import JobStatus
    from ..workflow import Workflow
    from .member import Member

__all__ = ["Keeper", "Limbo", "Order", "PoolJob"]


class Keeper(Protocol):
    """What a job needs of its pool."""

    settings: Settings
    _clock: Clock
    _closed: bool

    def _sessions(self) -> Iterable[ComfySession]:
        """Return the sessions with all servers."""
        ...

    def _check_loop(self) -> None:
        """Raise in another event loop, and when the pool is closed."""
        ...

    def _takes_over(self, job: PoolJob, event: BaseEvent) -> bool:
        """Say whether another attempt begins in the place of an end."""
        ...

    def _let_go(self, job: PoolJob) -> None:
        """The job has ended."""
        ...


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class Order:
    """What a job is to run, and what became of it so far.

    Attributes:
        workflow: As it was given, loaded; its files are uploaded wherever it goes.
        options: What `submit` takes.
        check: Compare with the server's catalog first.
        group: Whom it belongs to: batches get their places in turn.
        patient: Wait for a server although none answers.
        journal: The results file of its batch.
        attempts: How often it was queued.
        failures: How often a server failed before it was queued.
        refused: The servers that would not run it, with their words.
        ghosts: Its ids on servers that fell silent and may be running it still.
        stuck_since: Since when no server that could run it has answered, None while one does.
    """

    workflow: Workflow
    options: Mapping[str, Any]
    check: bool
    group: object
    patient: bool
    journal: Journal | None = None
    attempts: int = 0
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


class _NoServer:
    """Stands in for the HTTP client of a pool without servers: no keys."""

    auth = Auth()
    veil = Veil()


class Limbo:
    """Stands in for the session of a job that is on no server at the moment."""

    client_id = ""
    # No server, nobody who watches it.
    _watchers: tuple[Mailbox, ...] = ()

    def __init__(self, keeper: Keeper, session: ComfySession | None = None, *, base_url: str = "") -> None:
        """Remember the server that it was on last, and the keys that are to be kept out of sight."""
        self.base_url = base_url or ("" if session is None else session.base_url)
        self.settings = keeper.settings
        self._keeper = keeper
        self._clock = keeper._clock
        self._check_loop = keeper._check_loop
        known = session or next(iter(keeper._sessions()), None)
        self._http = _NoServer() if known is None else known._http
        self._partner_api_key = None if known is None else known._partner_api_key

    @property
    def _closed(self) -> bool:
        """True when the pool is."""
        return self._keeper._closed

    def _job_ended(self, job: Job) -> None:
        """No server, nothing to forget."""

    async def _cancel(self, job: Job) -> JobStatus:
        """End a job that waits for a place: there is nobody to be asked."""
        assert isinstance(job, PoolJob)
        job._cancel_wanted = True
        if job._going is not None:
            job._going.cancel()
        job._give_up(Cancelled(None, {}, job.prompt_id, received_at=self._clock.unix()))
        return job.status


class PoolJob(Job):
    """A handle on one workflow, whichever server runs it in the end. See `Job`."""

    def __init__(
        self, keeper: Keeper, order: Order, *, keep_frames: bool = True, index: int | None = None
    ) -> None:
        """Begin without a server."""
        self._keeper = keeper
        self._order = order
        self._member: Member | None = None
        self._going: asyncio.Task[None] | None = None
        self._busy = False
        self._held: BaseEvent | None = None
        limbo = cast("ComfySession", Limbo(keeper))
        super().__init__(limbo, JobState("", Plan({})), keep_frames=keep_frames, index=index)

    @property
    def _is_in_limbo(self) -> bool:
        """True while it is on no server."""
        return isinstance(self._session, Limbo)

    def _take(self, event: BaseEvent) -> None:
        """Take in one fact; an end that another attempt can mend is none."""
        if event.terminal and not self.done:
            if self._busy and not self._cancel_wanted:
                # The submission has not returned yet, and may find that this was not the whole job.
                self._held = event
                return
            if type(event) in (Lost, Failed) and self._keeper._takes_over(self, event):
                return
        super()._take(event)

    def _release_held(self) -> None:
        """The submission has returned: take the end that came before it did."""
        self._busy = False
        event, self._held = self._held, None
        if event is not None:
            self._take(event)
            if self._state.wants_history:
                self._session._reconciler.poke([self])

    def _leave(self, reason: str = "") -> None:
        """Be on no server; with a reason, the consumers are told."""
        if self._ended.is_set():
            return
        if not self._is_in_limbo:
            state = JobState(self.prompt_id, self._state.plan)
            session = self._session
            self._move(cast("ComfySession", Limbo(self._keeper, session)), state)
            self._client_id = session.client_id
        self._busy, self._held = False, None
        if reason:
            self._tell_connection(Disconnected, reason)

    def _tell_connection(self, cls: type[Disconnected | Reconnected], reason: str) -> None:
        """Tell where the job goes."""
        now = self._keeper._clock.unix()
        self._tell_own(cls(None, {"reason": reason}, self.prompt_id or None, received_at=now))

    def _give_up(self, event: BaseEvent) -> None:
        """End without a server."""
        self._busy, self._held = False, None
        super()._take(event)

    def _fail(self, error: Exception) -> None:
        """End with the error of a submission that never came to be."""
        data = {"exception_type": type(error).__name__, "exception_message": str(error)}
        told_by = error if isinstance(error, ComfyError) else ComfyError()
        self._state.prompt_id = told_by.prompt_id or self.prompt_id or str(uuid.uuid4())
        if told_by.server and self._is_in_limbo:
            self._session = cast("ComfySession", Limbo(self._keeper, base_url=told_by.server))
        self._give_up(Failed(None, data, self.prompt_id, received_at=self._keeper._clock.unix()))
        self._error = error

    def _finish(self) -> None:
        """The end was told."""
        super()._finish()
        self._keeper._let_go(self)

    def _abandon(self, error: Exception) -> None:
        """The pool closes."""
        super()._abandon(error)
        self._keeper._let_go(self)
