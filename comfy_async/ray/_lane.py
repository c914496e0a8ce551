"""A worker as the driver sees it, and the stand-in for a session that its jobs hold on to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import anyio
import ray
from ray import exceptions as ray_errors

from .._base.backoff import Backoff
from .._base.settings import Settings
from .._pool.needs import Need
from .._transport.http import HttpClient
from ..errors import ComfyError, ConnectError, SessionClosedError
from ..events import BaseEvent
from ..types import JobStatus
from ._command import ComfyCommand
from ._told import About, Message
from ._worker import ComfyWorker

if TYPE_CHECKING:
    from .._job.job import Job
    from ._fleet_core import FleetCore

__all__ = ["Lane", "Seat", "WorkerDiedError"]

_log = logging.getLogger("comfy_async")

# What Ray says when a worker's process or machine is gone, or cannot be reached at this moment.
_DEATHS: Final = (
    ray_errors.RayActorError,
    ray_errors.WorkerCrashedError,
    ray_errors.ObjectLostError,
    ray_errors.NodeDiedError,
)
_UNREAD_MESSAGES: Final = 64
_AWAY_FIRST_S: Final = 1.0
_AWAY_CAP_S: Final = 15.0
_CALLS_AT_ONCE: Final = 1000
# Without a limit too, calls that cancel or read have to get through.
_JOBS_AT_ONCE: Final = 900
_STOP_S: Final = 10.0
_REVIVE_FIRST_S: Final = 0.1
_REVIVE_CAP_S: Final = 2.0


class WorkerDiedError(ComfyError):
    """A worker's process is gone; its jobs may go on. Never leaves this package."""


class Lane:
    """One worker: its actor, what it is, what it lacks, and the jobs that the fleet has there."""

    def __init__(
        self, fleet: FleetCore, *, server: str | ComfyCommand | None, client_id: str, worker: Any = None
    ) -> None:
        """Take a worker that exists, or make one for a server."""
        self.fleet = fleet
        self.server = server
        self.client_id = client_id
        self.url = server if isinstance(server, str) else ""
        self.owned = isinstance(server, ComfyCommand)
        self.is_mine = worker is None
        self.worker = self._hire() if worker is None else worker
        self.jobs: set[Job] = set()
        self.lacks: set[Need] = set()
        self.turn = 0
        self.ready = False
        self.visiting = False
        self.gone = False
        self.retry_at = 0.0
        self.error: Exception | None = None
        self._backoff = Backoff(first=_AWAY_FIRST_S, cap=_AWAY_CAP_S)
        self._reviving: asyncio.Task[None] | None = None

    def _hire(self) -> Any:
        """Make an actor; Ray starts it where there is room, and again when it dies."""
        fleet = self.fleet
        options = {
            "num_cpus": 0,
            "max_restarts": -1,
            "max_task_retries": 0,
            "max_concurrency": _CALLS_AT_ONCE,
            **fleet._actor,
        }
        return (
            ray.remote(ComfyWorker)
            .options(**options)
            .remote(
                self.server,
                limit=fleet._limit,
                client_id=self.client_id,
                session=dict(fleet._session_options),
            )
        )

    # What it is.

    async def open(self) -> None:
        """Wait until the worker runs, and learn what it is.

        Raises:
            ComfyError: It could not start its server.
        """
        self._take(await self.call("about"))

    def _take(self, about: About) -> None:
        """Take in what a worker says of itself: it may have jobs."""
        self.url, self.client_id, self.owned = about.url, about.client_id, about.owned
        self.ready = True
        if about.error is not None:
            self.away(about.error)
        self.fleet._wake()

    @property
    def free(self) -> int:
        """How many more jobs it takes at this moment."""
        most = self.fleet._limit or _JOBS_AT_ONCE
        return max(0, most - len(self.jobs)) if self.ready and not self.gone else 0

    def away(self, error: Exception, pause: float | None = None) -> None:
        """Its server does not answer: no new jobs for a while, unless nobody else answers either."""
        self.error = error
        self.retry_at = self.fleet._clock.monotonic() + max(self._backoff.next(), pause or 0.0)

    def back(self) -> None:
        """Its server took a job."""
        self.error = None
        self.retry_at = 0.0
        self._backoff.reset()

    # Calls that survive the worker.

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call the worker, and again when it dies meanwhile: for what may be done twice.

        Raises:
            ComfyError: What the worker returned or raised.
        """
        while True:
            try:
                answer = await getattr(self.worker, method).remote(*arguments)
            except ray_errors.RayTaskError as error:
                raise _cause(error) from error
            except _DEATHS as error:
                await self.revive(error)
            else:
                if isinstance(answer, Exception):
                    raise answer
                return answer

    async def messages(self, method: str, *arguments: Any) -> AsyncIterator[Message]:
        """Yield what the worker tells about a job.

        Raises:
            WorkerDiedError: The worker died; the job may go on.
        """
        try:
            async for message in self._streamed(method, *arguments):
                yield message
        except ray_errors.RayTaskError as error:
            raise _cause(error) from error
        except _DEATHS as error:
            raise WorkerDiedError(str(error)) from error

    async def chunks(self, *arguments: Any) -> AsyncIterator[bytes]:
        """Yield a file's bytes.

        Raises:
            ComfyError: What reading it raised.
        """
        async for chunk in self._streamed("chunks", *arguments):
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def _streamed(self, method: str, *arguments: Any) -> AsyncIterator[Any]:
        """Yield the values of one of Ray's streaming generators; what is unread holds it back."""
        call = getattr(self.worker, method).options(
            num_returns="streaming", _generator_backpressure_num_objects=_UNREAD_MESSAGES
        )
        async for reference in call.remote(*arguments):
            yield await reference

    def down(self, error: BaseException | None = None) -> asyncio.Task[None]:
        """Give it no jobs until its next life answers, which all wait for together."""
        if self._reviving is None or self._reviving.done():
            self.ready = False
            self._reviving = self.fleet._spawn(self._revive(error))
        return self._reviving

    async def revive(self, error: BaseException | None = None) -> None:
        """Wait until the worker runs again; one that Ray has given up is replaced.

        Raises:
            ConnectError: It cannot be made any more.
            SessionClosedError: The fleet is closed.
        """
        reviving = self.down(error)
        await asyncio.wait([reviving])
        if self.fleet._closed or reviving.cancelled():
            raise self.fleet._closed_error(None)
        if self.gone:
            raise ConnectError(f"the worker for {self.url or '?'} is gone: {self.error}", server=self.url)

    async def _revive(self, error: BaseException | None) -> None:
        """Ask until the next life answers."""
        _log.warning("the worker for %s gets no jobs until it answers: %s", self.url or "?", error)
        backoff = Backoff(first=_REVIVE_FIRST_S, cap=_REVIVE_CAP_S)
        while not self.gone:
            try:
                self._take(await self.worker.about.remote())
            except ray_errors.ActorDiedError as failure:
                self._replace(failure)
            except ray_errors.RayTaskError as failure:
                # Its ComfyUI does not start: in its own time it may.
                self.error = _cause(failure)
                self.fleet._wake()
            except _DEATHS:
                pass
            if self.ready:
                return
            await asyncio.sleep(backoff.next())

    def _replace(self, failure: ray_errors.ActorDiedError) -> None:
        """Hire another worker for the one that Ray will not start again, unless that is in vain."""
        never_lived = failure.actor_init_failed and not self.url
        if never_lived or (self.server is None and self.owned):
            self.gone, self.error = True, ConnectError(f"Ray has given it up: {failure}", server=self.url)
            self.fleet._wake()
            return
        self.server = self.server or self.url
        self.worker = self._hire()
        self.is_mine = True

    async def close(self) -> None:
        """End the worker, if the fleet made it; jobs go on on servers that are not the worker's own."""
        if not self.is_mine:
            return
        if self.ready:
            with anyio.move_on_after(_STOP_S):
                try:
                    await self.worker.stop.remote()
                except ray_errors.RayError:
                    pass
        ray.kill(self.worker, no_restart=True)


class Seat:
    """What one job of a fleet takes for its session: it knows the worker, and reads files there."""

    def __init__(self, fleet: FleetCore, lane: Lane | None = None) -> None:
        """Sit on a lane, or wait for one."""
        self.fleet = fleet
        self.lane = lane
        self.settings: Settings = fleet.settings
        self._clock = fleet._clock
        self._watchers: list[Any] = []
        self._timings = fleet._timings
        self.kept: dict[tuple[str, str, str], Any] = {}
        self.files = self
        self._partner_api_key: str | None = fleet._session_options.get("partner_api_key")

    @property
    def client_id(self) -> str:
        """Under which the worker's server sends events."""
        return self.lane.client_id if self.lane is not None else ""

    @property
    def base_url(self) -> str:
        """Where the job's server is; what a worker has started itself ends with it, and says so."""
        lane = self.lane
        if lane is None:
            return "ray:"
        return f"ray:{lane.client_id}" if lane.owned else lane.url

    @property
    def _http(self) -> HttpClient:
        """What knows the keys, for those who have to hide them; nothing is sent by it."""
        return self.fleet._http

    def _check_loop(self) -> None:
        """Jobs of a fleet may be awaited as long as it is open."""
        if self.fleet._closed:
            raise self.fleet._closed_error(None)

    def _show(self, event: BaseEvent) -> None:
        """Nobody watches a whole fleet."""

    def _job_ended(self, job: Job) -> None:
        """The job has ended."""
        self.fleet._job_ended(job)

    async def _cancel(self, job: Job) -> JobStatus:
        """Cancel the job wherever it is."""
        return await self.fleet._cancel(job)

    # The files, read by the worker.

    def url(self, filename: str, *, subfolder: str = "", type: str = "output") -> str:
        """Return a file's address as the worker sees it."""
        query = urlencode({"filename": filename, "subfolder": subfolder, "type": type})
        return f"{self.lane.url if self.lane is not None else ''}/view?{query}"

    async def read(self, filename: str, *, subfolder: str = "", type: str = "output") -> bytes:
        """Return a file's bytes: those that came with the result, else from its server.

        Raises:
            ComfyError: The server has no such file any more, or cannot be asked.
        """
        kept = self.kept.get((filename, subfolder, type))
        if isinstance(kept, ray.ObjectRef):
            try:
                kept = await kept
            except _DEATHS:
                kept = None
        if isinstance(kept, Exception):
            raise kept
        if kept is not None:
            return bytes(kept)
        data: bytes = await self._there().call("read", filename, subfolder, type)
        return data

    async def open(self, filename: str, *, subfolder: str = "", type: str = "output") -> AsyncIterator[bytes]:
        """Yield a file's bytes.

        Raises:
            ComfyError: As `read`.
        """
        if (filename, subfolder, type) in self.kept:
            yield await self.read(filename, subfolder=subfolder, type=type)
            return
        async for chunk in self._there().chunks(filename, subfolder, type):
            yield chunk

    async def save(self, filename: str, path: Path, *, subfolder: str = "", type: str = "output") -> Path:
        """Write a file to the driver's disk, through a temporary name.

        Raises:
            ComfyError: As `read`.
            OSError: The disk would not take it.
        """
        await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        async with await anyio.open_file(part, "wb") as file:
            async for chunk in self.open(filename, subfolder=subfolder, type=type):
                await file.write(chunk)
        await anyio.Path(part).replace(path)
        return path

    def ask_for(self, key: tuple[str, str, str]) -> Any:
        """Let the worker put a file into Ray's object store; the reference is the driver's own."""
        return self._there().worker.read.remote(*key)

    def _there(self) -> Lane:
        """Return the lane.

        Raises:
            SessionClosedError: The fleet is closed, or the worker was of an earlier fleet.
        """
        if self.fleet._closed:
            raise self.fleet._closed_error(None)
        if self.lane is None:
            raise SessionClosedError("the worker that had the file is gone, and its ComfyUI with it")
        return self.lane


def _cause(error: ray_errors.RayTaskError) -> Exception:
    """Return what a worker's method raised."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


def options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return Ray's actor options, without None."""
    return {key: value for key, value in options.items() if value is not None}
