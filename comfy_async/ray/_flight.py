"""One workflow's way through a fleet: to a server, along its run, and again when the server lost it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from .._base.backoff import Backoff
from .._batch.journal import Journal
from .._job.job import Job
from .._pool.needs import Need, lacks, needs_of
from .._protocol.plan import Plan
from .._session.submission import SubmitOptions
from ..errors import (
    ComfyError,
    ConnectError,
    JobCancelledError,
    JobError,
    ResponseError,
    SubmitUnknownError,
    TransportError,
)
from ..events import (
    Cancelled,
    Disconnected,
    Failed,
    Lost,
    Queued,
    Reconnected,
)
from ..workflow import Workflow
from ._lane import Lane, Seat, WorkerDiedError
from ._told import (
    Accepted,
    Ended,
    Message,
    Refused,
    RemoteState,
    Told,
)

if TYPE_CHECKING:
    from ._fleet_core import FleetCore

__all__ = ["Flight", "carried"]

_log = logging.getLogger("comfy_async")

# A workflow that takes its server down each time must not go round the fleet for ever.
_LOSSES: Final = 3


class CarriedFile(io.BytesIO):
    """A file of the driver's disk on its way to a worker that may be on another machine."""

    name = ""


async def carried(workflow: Workflow) -> Workflow:
    """Return a workflow whose files can travel.

    Raises:
        OSError: A file cannot be read.
    """
    changes: dict[Any, Any] = {}
    for place, value in workflow.uploads().items():
        if isinstance(value, os.PathLike):
            file = changes[place] = CarriedFile(await anyio.Path(value).read_bytes())
            file.name = os.path.basename(value)
        elif callable(getattr(value, "read", None)):
            file = changes[place] = CarriedFile(await asyncio.to_thread(value.read))
            file.name = os.path.basename(str(getattr(value, "name", "") or ""))
    return workflow.with_inputs(changes) if changes else workflow


class Flight:
    """The task behind one job; whatever dies, the job gets exactly one end."""

    def __init__(
        self,
        fleet: FleetCore,
        workflow: Workflow | None,
        options: SubmitOptions,
        *,
        patient: bool,
        journal: Journal | None = None,
        key: str = "",
    ) -> None:
        """Prepare; `patient` waits for a server to answer instead of failing."""
        self.fleet = fleet
        self.workflow = workflow
        self.options = options
        self.patient = patient
        self.journal = journal
        self.needs: frozenset[Need] = frozenset() if workflow is None else needs_of(workflow)
        self.refused: dict[Lane, Exception] = {}
        self.unreached: dict[Lane, Exception] = {}
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lane: Lane | None = None
        self.waits_since: float | None = None
        self._silent_since: float | None = None
        self._id = str(uuid.uuid4())
        self._is_accepted = False
        self._is_cut_off = False
        self._losses = 0
        plain = workflow is not None and workflow.format == "api" and not workflow.uploads()
        graph = workflow.to_api() if workflow is not None and plain else {}
        self._plan = Plan(graph, targets=options.targets)
        self.job = Job(
            cast(Any, Seat(fleet)),
            RemoteState(self._id, self._plan, timings=fleet._timings),
            keep_frames=options.keep_frames,
            index=options.index,
        )
        self.job._key = key
        self.job.workflow = workflow

    # The task.

    async def run(self) -> None:
        """Bring the workflow to its end; errors before the acceptance are the submitter's."""
        await self._guarded(self._go())

    async def resume(self, lane: Lane, prompt_id: str, client_id: str) -> None:
        """Pick up a job that an earlier driver noted, and run it again if its server has lost it."""
        await self._guarded(self._resume_first(lane, prompt_id, client_id))

    async def _guarded(self, work: Any) -> None:
        """Let no error go unheard."""
        try:
            await work
        except Exception as error:
            if not isinstance(error, ComfyError | OSError | ValueError):
                _log.exception("a job of the fleet failed in an unforeseen way")
            self._fail(error)
        finally:
            self._leave()

    async def _resume_first(self, lane: Lane, prompt_id: str, client_id: str) -> None:
        self._board(lane, prompt_id, self._plan)
        self._is_accepted = True
        end = await self._watched(lane, resuming=client_id)
        if self._is_final(end, resumed=True):
            await self._land(end)
            return
        self._leave()
        self.job._recalled = False
        await self._go()

    async def _go(self) -> None:
        """Find a server, run there, and go on elsewhere when that was in vain."""
        while not self.job.done:
            if self.job._cancel_wanted:
                self.job._take(Cancelled(None, {}, self._id, received_at=self.fleet._clock.unix()))
                return
            lane = await self.fleet._place(self)
            if lane is None:
                continue
            try:
                await self._on(lane)
            except ComfyError as error:
                missing = lacks(error)
                if _may_answer_later(error):
                    lane.away(error, getattr(error, "retry_after", None))
                    self.unreached[lane] = error
                elif missing is not None and not self._is_accepted:
                    lane.lacks |= missing
                    self.refused[lane] = error
                else:
                    raise
            finally:
                self._leave()

    async def _on(self, lane: Lane) -> None:
        """Run on one server."""
        workflow = self.workflow
        assert workflow is not None
        if workflow.format != "api" or self.options.check or workflow.uploads():
            workflow = await lane.call("prepare", await carried(workflow), self.options.check)
        self._board(lane, str(uuid.uuid4()), Plan(workflow.to_api(), targets=self.options.targets))
        if self.journal is not None:
            # Before anything is sent: whoever dies from here on, the id says where to look.
            self.journal.posting(self.job, self.job._key)
        end = await self._watched(lane, posting=workflow)
        if self._is_final(end):
            await self._land(end)

    def _board(self, lane: Lane, prompt_id: str, plan: Plan) -> None:
        """Let the job be one of this server, under an id that nobody has seen yet."""
        self.lane = lane
        lane.jobs.add(self.job)
        self._id = prompt_id
        self._is_accepted = False
        self._silent_since = None
        state = RemoteState(prompt_id, plan, timings=self.fleet._timings)
        self.job._move(cast(Any, Seat(self.fleet, lane)), state)

    def _leave(self) -> None:
        """Free the place."""
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.jobs.discard(self.job)
            self.fleet._wake()

    # Along the run.

    async def _watched(
        self, lane: Lane, *, posting: Workflow | None = None, resuming: str | None = None
    ) -> Ended:
        """Follow the job to its end, through every death of the worker.

        Raises:
            ComfyError: The submission failed, and the job is not on the server.
        """
        backoff = Backoff(first=0.5, cap=5.0)
        client_id = lane.client_id if resuming is None else resuming
        messages = None if posting is None else lane.messages("post", self._id, posting, self.options)
        while True:
            if messages is None:
                messages = lane.messages("resume", self._id, client_id, self._is_accepted)
                posting = None
            try:
                end = await self._heard(messages)
                if end.terminal is not None:
                    return end
            except WorkerDiedError as error:
                self._tell_connection(Disconnected, "the worker that followed it died")
                if lane.owned:
                    # Its ComfyUI went with it; another worker may be free before this one is back.
                    lane.down(error)
                    data = {"reason": "its worker died, and ComfyUI with it"}
                    return Ended(Lost(None, data, self._id, received_at=self._now()), {}, None, ())
                await self._revived(lane, error)
            except SubmitUnknownError:
                if posting is None or (not self.patient and self.fleet.settings.away_seconds is None):
                    raise
                # Looked for from now on: found, or lost by all that its server says or does not say.
            except ComfyError as error:
                if posting is not None or not _may_answer_later(error):
                    raise
                if self._has_been_silent():
                    data = {"reason": f"its server was silent for too long: {error.args[0]}"}
                    return Ended(Lost(None, data, self._id, received_at=self._now()), {}, None, ())
                await asyncio.sleep(backoff.next())
            messages = None

    def _has_been_silent(self) -> bool:
        """Say whether nobody answers about the job for as long as the fleet waits."""
        now, limit = self.fleet._clock.monotonic(), self.fleet.settings.away_seconds
        self._silent_since = now if self._silent_since is None else self._silent_since
        return limit is not None and now - self._silent_since >= limit

    async def _revived(self, lane: Lane, error: Exception) -> None:
        """Wait for the next life of a worker that is not its ComfyUI's owner; its jobs go on.

        Raises:
            SubmitUnknownError: There is none: nobody can say whether the job is on the server.
        """
        try:
            await lane.revive(error)
        except ConnectError as failure:
            raise SubmitUnknownError(
                f"job {self._id} may run on {lane.url}: {failure}", prompt_id=self._id, server=lane.url
            ) from failure

    async def _heard(self, messages: AsyncIterator[Message]) -> Ended:
        """Take in what the worker tells, to the end.

        Raises:
            WorkerDiedError: The worker died.
            ComfyError: The submission failed.
        """
        if self.job._cancel_wanted and self.lane is not None:
            self.fleet._spawn(self._cancel_there())
        async for message in messages:
            match message:
                case Told(events):
                    for event in events:
                        self.job._take(event)
                case Accepted():
                    self._take_acceptance(message)
                case Refused(error):
                    raise error
                case Ended():
                    for event in message.events:
                        self.job._take(event)
                    return message
        raise WorkerDiedError("the worker stopped telling")

    def _take_acceptance(self, message: Accepted) -> None:
        """The job is in the server's queue."""
        job = self.job
        if message.prompt_id != job.prompt_id:
            job._state.prompt_id = message.prompt_id
            self._id = message.prompt_id
            if self.journal is not None:
                self.journal.posting(job, job._key)
        job._set_problems(message.problems)
        job._client_id = message.client_id or job._client_id
        self._is_accepted = True
        self.waits_since = self._silent_since = None
        if self._is_cut_off:
            self._tell_connection(Reconnected, "")
        if self.lane is not None:
            self.lane.back()
        if job._state.queued_at is None:
            job._take(Queued(None, {}, job.prompt_id, received_at=self._now()))
        if not self.accepted.done():
            self.accepted.set_result(None)

    # The end.

    def _is_final(self, end: Ended, *, resumed: bool = False) -> bool:
        """Say whether this is the job's end, and not only that of one try.

        What a server has lost runs again. So does what an earlier driver cancelled: it did so
        while it was itself interrupted, as the core has it (_items.py).
        """
        if self.workflow is None or self.job._cancel_wanted:
            return True
        if resumed and isinstance(end.terminal, Cancelled):
            return False
        if not isinstance(end.terminal, Lost) or self._losses >= _LOSSES:
            return True
        self._losses += 1
        _log.warning("job %s was lost by %s: it runs again", self._id, self.job._session.base_url)
        return False

    async def _land(self, end: Ended) -> None:
        """Take the end, with the files if they shall come along."""
        job = self.job
        state = cast(RemoteState, job._state)
        assert end.terminal is not None
        state.take_end(end)
        if type(end.terminal).__name__ == "Completed" and self.fleet._files != "server":
            await self._keep_files()
        job._take(end.terminal)
        if not self.accepted.done():
            self.accepted.set_result(None)

    async def _keep_files(self) -> None:
        """Have the files read into Ray's object store, or into the driver's memory."""
        seat = cast(Seat, self.job._session)
        files = [file for file in self.job._make_result().files if file._data is None]
        keys = [(file.filename, file.subfolder, file.type) for file in files]
        for key in keys:
            seat.kept[key] = seat.ask_for(key)
        if self.fleet._files == "bytes":
            for key in keys:
                try:
                    seat.kept[key] = await seat.read(key[0], subfolder=key[1], type=key[2])
                except ComfyError as error:
                    seat.kept[key] = error

    def _fail(self, error: Exception) -> None:
        """End the job by an error, or hand that to whoever is still submitting it."""
        job = self.job
        if not self.accepted.done():
            self.accepted.set_exception(error)
            self.accepted.exception()
        if job.done or job._ended.is_set():
            return
        if isinstance(error, JobCancelledError):
            job._take(Cancelled(None, {}, job.prompt_id, received_at=self._now()))
            return
        data = {"exception_type": type(error).__name__, "exception_message": str(error)}
        job._take(Failed(None, data, job.prompt_id, received_at=self._now()))
        if not isinstance(error, JobError):
            job._error = error

    async def cancel(self) -> None:
        """Cancel the job where it is, or keep it from going anywhere."""
        if self.lane is None:
            self.fleet._call_off(self)
        else:
            await self._cancel_there()

    async def _cancel_there(self) -> None:
        """Let the worker cancel; one that dies meanwhile is told again when it is back."""
        lane = self.lane
        if lane is not None:
            try:
                await lane.worker.cancel.remote(self._id)
            except Exception as error:
                _log.info("job %s: the worker could not cancel: %s", self._id, error)

    def _tell_connection(self, cls: type[Disconnected | Reconnected], reason: str) -> None:
        """Tell the job's consumers whether anybody follows it."""
        self._is_cut_off = cls is Disconnected
        self.job._tell_own(cls(None, {"reason": reason}, self.job.prompt_id, received_at=self._now()))

    def _now(self) -> float:
        return self.fleet._clock.unix()


def _may_answer_later(error: ComfyError) -> bool:
    """Say whether a server was not reached, or is busy: that tells nothing about a job."""
    return error.retryable and isinstance(error, TransportError | ResponseError)
