"""A job of a fleet: one handle and one stream, whatever dies on the way."""

from __future__ import annotations

import asyncio
import uuid

from .._base.labels import labels_of
from .._batch.items import Item
from .._batch.journal import Journal
from .._job.core import JobCore
from .._pool.needs import Need, needs_of
from .._protocol.plan import Plan
from .._session.options import SubmitOptions
from ..errors import JobCancelledError, JobError
from ..events import Cancelled, Disconnected, Failed, Lost, Queued, Reconnected
from ..workflow import Workflow
from ._member import Member
from ._messages import Accepted, Ended
from ._remote import Keeper, RemoteOwner, RemoteState

__all__ = ["FleetJob"]


class FleetJob(JobCore):
    """One workflow, whichever server runs it in the end. See `JobCore`.

    Attributes:
        given: What it is to run, as it was given; None for a job that was attached to.
        options: How.
        patient: It waits for a server to answer instead of failing.
        journal: The results file of its batch.
        item: What it is in its batch, None outside of one.
        needs: What a server might lack.
        refused: The workers whose servers would not run it, with their messages.
        unreached: Those that could not be reached.
        accepted: Done when the first server has taken it, or it is clear that none will.
        following: The task that brings it to its end.
        member: The worker that it has a place with.
        waits_since: Since when it waits for one.
        silent_since: Since when no server answers about it.
        is_queued: Its server said that it has it.
        losses: How often a server has lost it.
    """

    def __init__(
        self, keeper: Keeper, workflow: Workflow | None, options: SubmitOptions, *, patient: bool
    ) -> None:
        """Begin without a worker."""
        self._keeper = keeper
        self.given = workflow
        self.options = options
        self.patient = patient
        self.journal: Journal | None = None
        self.item: Item | None = None
        self.needs: frozenset[Need] = frozenset() if workflow is None else needs_of(workflow)
        self.refused: dict[Member, Exception] = {}
        self.unreached: dict[Member, Exception] = {}
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.following: asyncio.Task[None] | None = None
        self.member: Member | None = None
        self.waits_since: float | None = None
        self.silent_since: float | None = None
        self.is_queued = False
        self.losses = 0
        self._is_cut_off = False
        ready = workflow is not None and workflow.format == "api" and not workflow.uploads()
        self.plan = Plan(workflow.to_api() if workflow and ready else {}, targets=options.targets)
        super().__init__(
            RemoteOwner(keeper),
            RemoteState(str(uuid.uuid4()), self.plan, timings=keeper.timings),
            keep_frames=options.keep_frames,
            index=options.index,
        )
        self.workflow = workflow
        self.labels = labels_of(options.extra_data)

    @property
    def server(self) -> str:
        """Where it is, for messages."""
        return self.owner.base_url

    # On its way.

    def board(self, member: Member, prompt_id: str, workflow: Workflow | None = None) -> None:
        """Be a job of this worker from now on, under an id that no server has seen yet."""
        if workflow is not None:
            self.workflow = workflow
            self.plan = Plan(workflow.to_api(), targets=self.options.targets)
        self.member = member
        member.jobs.add(self)
        self.is_queued = False
        self.silent_since = None
        state = RemoteState(prompt_id, self.plan, timings=self._keeper.timings)
        self.move(RemoteOwner(self._keeper, member), state)

    def note_posting(self) -> None:
        """Write into the results file that it is about to be posted, or has got another id."""
        if self.journal is not None and self.item is not None:
            self.journal.posting(self, self.item.key)

    def take_acceptance(self, message: Accepted) -> None:
        """The job is in the server's queue."""
        if message.prompt_id != self.prompt_id:
            self.state.prompt_id = message.prompt_id
            self.note_posting()
        self.node_errors = message.problems
        self.client_id = message.client_id or self.client_id
        self.is_queued = True
        self.waits_since = self.silent_since = None
        if self._is_cut_off:
            self.tell_connection(Reconnected, "")
        if self.member is not None:
            self.member.back()
        if self.state.queued_at is None:
            self.take(Queued(None, {}, self.prompt_id, received_at=self._now()))
        self._accept()

    def tell_connection(self, cls: type[Disconnected | Reconnected], reason: str) -> None:
        """Send the consumers an event that says whether it is followed."""
        self._is_cut_off = cls is Disconnected
        self.tell_own(cls(None, {"reason": reason}, self.prompt_id, received_at=self._now()))

    # Its end.

    def lost(self, reason: str, *, silent: bool = False) -> Ended:
        """Return the end of one attempt of which no more news will come; a silent server may run it on."""
        data = {"reason": reason, "silent": silent}
        return Ended(Lost(None, data, self.prompt_id, received_at=self._now()), {}, None, ())

    def take_end(self, end: Ended) -> None:
        """End as the worker reported."""
        assert end.terminal is not None
        self.take(end.terminal)
        self._accept()

    def take_cancellation(self) -> None:
        """End as cancelled: it is on no server."""
        self.take(Cancelled(None, {}, self.prompt_id, received_at=self._now()))
        self._accept()

    def fail(self, error: Exception) -> None:
        """End by an error, which also ends a submission that still waits."""
        if not self.patient and not self.accepted.done():
            # It fails where it is submitted, and never was a job.
            self.tell_no_more()
        self._accept(error)
        if self.ended.is_set():
            return
        if isinstance(error, JobCancelledError):
            self.take_cancellation()
            return
        if not isinstance(error, JobError):
            self.error = error
        data = {"exception_type": type(error).__name__, "exception_message": str(error)}
        self.take(Failed(None, data, self.prompt_id, received_at=self._now()))

    def abandon(self, error: Exception) -> None:
        """The fleet closes: all that wait, also for its submission, get an error."""
        super().abandon(error)
        self._accept(error)

    def _accept(self, error: Exception | None = None) -> None:
        """Wake the submitter, once."""
        if not self.accepted.done():
            if error is None:
                self.accepted.set_result(None)
            else:
                self.accepted.set_exception(error)
                # Nobody may be waiting any more.
                self.accepted.exception()

    def _now(self) -> float:
        """Return Unix seconds."""
        return self._keeper.clock.unix()
