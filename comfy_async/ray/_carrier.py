"""A job's way through a fleet: to a server, along its run, and again when the server has lost it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import uuid
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, Literal, Protocol, TypeAlias

import anyio

from .._base.backoff import Backoff
from .._base.clock import Clock
from .._base.places import is_stored
from .._base.settings import Settings
from .._base.stores import read_stored
from .._job.result import JobResult
from .._pool.needs import lacks
from ..errors import ComfyError, ConnectError, ResponseError, SubmitUnknownError, TransportError
from ..events import Cancelled, Completed, Disconnected, Lost
from ..types import JobStatus
from ..workflow import Workflow
from ..workflow.check import loose_links
from ._job import FleetJob
from ._member import Member, WorkerDiedError
from ._messages import Accepted, Ended, Happened, Message, Parcel, Refused
from ._places import Places
from ._remote import RemoteFiles, RemoteState

__all__ = ["Carrier", "FilesAt", "Office", "carried", "is_sendable", "with_files_read"]

_log = logging.getLogger("comfy_async")

# A workflow that takes its server down each time must not go round the fleet for ever.
_LOSSES: Final = 3
_AGAIN_FIRST_S: Final = 0.5
_AGAIN_CAP_S: Final = 5.0

FilesAt: TypeAlias = Literal["server", "bytes", "objects"]


class Office(Protocol):
    """What carrying jobs needs of the fleet."""

    settings: Settings
    clock: Clock
    places: Places
    files_at: FilesAt

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background."""
        ...


class Carrier:
    """Brings jobs to their end; whatever dies, each gets exactly one."""

    def __init__(self, office: Office) -> None:
        """Work for a fleet."""
        self._office = office
        self._places = office.places

    # Beginnings.

    async def run(self, job: FleetJob) -> None:
        """Bring a job to its end; errors before the acceptance are the submitter's."""
        await self._guarded(job, self._go(job))

    async def resume(self, job: FleetJob, member: Member, prompt_id: str, client_id: str) -> None:
        """Pick up a job that an earlier driver noted, and run it again if its server has lost it."""
        await self._guarded(job, self._resume(job, member, prompt_id, client_id))

    async def _guarded(self, job: FleetJob, work: Coroutine[Any, Any, None]) -> None:
        """Log every unforeseen error; a cancelled task leaves the job where it is."""
        try:
            await work
        except Exception as error:
            if not isinstance(error, ComfyError | OSError | ValueError):
                _log.exception("a job of the fleet failed in an unforeseen way")
            job.fail(error)
        self._places.leave(job)

    async def _resume(self, job: FleetJob, member: Member, prompt_id: str, client_id: str) -> None:
        """Follow what is there already, then go on as any other."""
        job.board(member, prompt_id)
        job.is_queued = True
        end = await self._followed(job, member, client_id=client_id)
        if self._is_final(job, end, resumed=True):
            await self._land(job, end)
            return
        self._places.leave(job)
        if job.item is not None:
            job.item.recalled = False
        await self._go(job)

    async def _go(self, job: FleetJob) -> None:
        """Find a server, run there, and go on elsewhere when that failed."""
        while not job.done:
            if job.cancel_wanted:
                job.take_cancellation()
                return
            member = await self._places.take(job)
            if member is None:
                continue
            try:
                await self._run_on(job, member)
            except ComfyError as error:
                self._pass_over(job, member, error)
            self._places.leave(job)

    def _pass_over(self, job: FleetJob, member: Member, error: ComfyError) -> None:
        """Remember that a server cannot have the job.

        Raises:
            ComfyError: No other one could either.
        """
        missing = lacks(error)
        if _may_answer_later(error):
            member.away(error, getattr(error, "retry_after", None))
            job.unreached[member] = error
        elif missing is not None and not job.is_queued:
            member.lacks |= missing
            job.refused[member] = error
        else:
            raise error

    async def _run_on(self, job: FleetJob, member: Member) -> None:
        """Run on one server."""
        workflow = job.given
        assert workflow is not None
        if job.options.check or not is_sendable(workflow):
            workflow = await member.call("prepare", await carried(workflow), job.options.check)
        job.board(member, str(uuid.uuid4()), workflow)
        # Before anything is sent: whoever dies from here on, the id says where to look.
        job.note_posting()
        end = await self._followed(job, member, posting=workflow)
        if self._is_final(job, end):
            await self._land(job, end)

    # Along the run.

    async def _followed(
        self, job: FleetJob, member: Member, *, posting: Workflow | None = None, client_id: str = ""
    ) -> Ended:
        """Follow the job to its end, through every death of the worker.

        Raises:
            ComfyError: The submission failed, and the job is not on the server.
        """
        backoff = Backoff(first=_AGAIN_FIRST_S, cap=_AGAIN_CAP_S)
        client_id = client_id or member.client_id
        while True:
            try:
                if posting is None:
                    messages = member.messages("resume", job.prompt_id, client_id, job.is_queued)
                else:
                    messages = member.messages("post", job.prompt_id, posting, Parcel(job.options))
                end = await self._heard(job, messages)
                if end.terminal is not None:
                    return end
            except WorkerDiedError as error:
                job.tell_connection(Disconnected, "the worker that followed it died")
                if member.owned:
                    # Its ComfyUI went with it; another worker may be free before this one is back.
                    member.down(error)
                    return job.lost("its worker died, and ComfyUI with it")
                await self._revived(job, member, error)
            except SubmitUnknownError:
                if posting is None or (not job.patient and self._office.settings.away_seconds is None):
                    raise
                # Looked for from now on: found, or lost by all that its server says or does not say.
            except ComfyError as error:
                if posting is not None or not _may_answer_later(error):
                    raise
                if self._has_been_silent(job):
                    return job.lost(f"its server was silent for too long: {error.args[0]}", silent=True)
                await asyncio.sleep(backoff.next())
            posting = None

    async def _heard(self, job: FleetJob, messages: AsyncIterator[Message]) -> Ended:
        """Process what the worker reports, to the end.

        Raises:
            WorkerDiedError: The worker died.
            ComfyError: The submission failed.
        """
        if job.cancel_wanted:
            self._office.spawn(self._stop(job))
        async for message in messages:
            match message:
                case Happened(events):
                    for event in events:
                        job.take(event)
                case Accepted():
                    job.take_acceptance(message)
                case Refused(error):
                    raise error
                case Ended():
                    for event in message.events:
                        job.take(event)
                    return message
        raise WorkerDiedError("the worker stopped reporting")

    def _has_been_silent(self, job: FleetJob) -> bool:
        """Return whether no server has answered about the job for as long as the fleet waits."""
        now, limit = self._office.clock.monotonic(), self._office.settings.away_seconds
        job.silent_since = now if job.silent_since is None else job.silent_since
        return limit is not None and now - job.silent_since >= limit

    async def _revived(self, job: FleetJob, member: Member, error: Exception) -> None:
        """Wait until a worker that does not own its ComfyUI is restarted; its jobs go on.

        Raises:
            SubmitUnknownError: It is not restarted: it is unknown whether the job is on the server.
        """
        try:
            await member.revive(error)
        except ConnectError as failure:
            raise SubmitUnknownError(
                f"job {job.prompt_id} may run on {member.url}: {failure}",
                prompt_id=job.prompt_id,
                server=member.url,
            ) from failure

    # The end.

    def _is_final(self, job: FleetJob, end: Ended, *, resumed: bool = False) -> bool:
        """Say whether this is the job's end, and not only that of one attempt.

        What a server has lost runs again. So does what an earlier driver cancelled: it did so
        while it was itself interrupted, as a session's batch has it (_batch/items.py).
        """
        if job.given is None or job.cancel_wanted:
            return True
        if resumed and isinstance(end.terminal, Cancelled):
            return False
        if not isinstance(end.terminal, Lost) or job.losses >= _LOSSES:
            return True
        job.losses += 1
        _log.warning("job %s was lost by %s: it runs again", job.prompt_id, job.server)
        return False

    async def _land(self, job: FleetJob, end: Ended) -> None:
        """Take the end, with the files if they are to come along."""
        state, files_at = job.state, self._office.files_at
        assert isinstance(state, RemoteState)
        state.take_end(end)
        if isinstance(end.terminal, Completed) and files_at != "server":
            reader = job.owner.files
            assert isinstance(reader, RemoteFiles)
            # Without the images of the socket, which have come along anyway.
            made = JobResult(
                job.prompt_id, outputs=state.outputs, nodes=state.nodes, reader=reader, images={}
            )
            await reader.keep(made.files, as_bytes=files_at == "bytes")
        job.take_end(end)

    async def cancel(self, job: FleetJob, seconds: float | None = None) -> JobStatus:
        """Stop a job where it is, or keep it from going anywhere; return its true end.

        Args:
            job: The job.
            seconds: How long it may take, None for `Settings.cancel_seconds`.
        """
        job.cancel_wanted = True
        limit = self._office.settings.cancel_seconds
        with anyio.move_on_after(limit if seconds is None else min(seconds, limit)):
            status: JobStatus | None = None
            if job.member is not None:
                status = await self._stop(job)
            else:
                self._places.call_off(job)
            if job.following is not None:
                await asyncio.wait([job.following])
            # Nobody follows it any more: `asyncio.run` cancels every task when the program ends.
            if not job.ended.is_set() and (job.member is None or status == "cancelled"):
                job.take_cancellation()
        return job.status

    async def abandon(self, job: FleetJob, seconds: float | None = None) -> None:
        """Cancel a job that is not waited for, in bounded time; logs what may still run."""
        await self.cancel(job, seconds)
        if not job.done:
            _log.warning("job %s could not be cancelled and may still run on %s", job.prompt_id, job.server)

    async def _stop(self, job: FleetJob) -> JobStatus | None:
        """Let the worker cancel, and return the outcome; one that dies is called again when it is back."""
        if job.member is not None:
            try:
                status: JobStatus | None = await job.member.worker.cancel.remote(job.prompt_id)
            except Exception as error:
                _log.info("job %s: the worker could not cancel: %s", job.prompt_id, error)
            else:
                return status
        return None


class CarriedFile(io.BytesIO):
    """A file of the driver on its way to a worker that may be on another machine."""

    name = ""

    @classmethod
    def of(cls, data: bytes, name: object) -> CarriedFile:
        """Return the bytes of a file under its own name."""
        made = cls(data)
        made.name = os.path.basename(name) if isinstance(name, str) else ""
        return made


async def with_files_read(workflow: Workflow) -> Workflow:
    """Return a workflow whose open files are read: that can be done once, and they are closed soon.

    Raises:
        OSError: A file cannot be read.
        ValueError: It was opened as text.
    """
    changes: dict[Any, Any] = {}
    for place, value in _uploads(workflow).items():
        if callable(getattr(value, "read", None)):
            data = await asyncio.to_thread(value.read)
            if not isinstance(data, bytes):
                raise ValueError("the file was opened as text: open it in binary mode")
            changes[place] = CarriedFile.of(data, getattr(value, "name", ""))
    return workflow.with_inputs(changes) if changes else workflow


async def carried(workflow: Workflow) -> Workflow:
    """Return a workflow whose files of the driver's disk, and of stores, can travel.

    Raises:
        OSError: A file cannot be read.
    """
    paths = {key: anyio.Path(value) for key, value in _uploads(workflow).items() if _is_path(value)}
    changes = {key: CarriedFile.of(await path.read_bytes(), path.name) for key, path in paths.items()}
    for key, value in _uploads(workflow).items():
        if is_stored(value):
            # Its file system has keys, which do not travel.
            changes[key] = CarriedFile.of(*await asyncio.to_thread(read_stored, value))
    return workflow.with_inputs(changes) if changes else workflow


def is_sendable(workflow: Workflow) -> bool:
    """Say whether a workflow can be posted as it is: only a server's nodes tell how others can be."""
    if workflow.format != "api" or workflow.carries_both:
        return False
    return not workflow.uploads() and not loose_links(workflow.graph)


def _uploads(workflow: Workflow) -> dict[tuple[str, str], Any]:
    """Return the files among the inputs; an editor file has none."""
    return workflow.uploads() if workflow.format == "api" else {}


def _is_path(value: object) -> bool:
    """Say whether a value is a file of the driver's disk."""
    return isinstance(value, os.PathLike)


def _may_answer_later(error: ComfyError) -> bool:
    """Return whether a server was not reached, or is busy: that says nothing about a job."""
    return error.retryable and isinstance(error, TransportError | ResponseError)
