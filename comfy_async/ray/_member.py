"""A worker as the driver sees it: calls that survive its death, and what it has to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, Protocol, TypeAlias

import anyio
import ray
from ray import exceptions as ray_errors

from .._base.backoff import Backoff
from .._base.clock import Clock
from .._base.secrets import Secret
from .._job.core import JobCore
from .._pool.needs import Need
from .._transport.address import Address
from ..errors import ComfyError, ConnectError, SessionClosedError
from ._command import ComfyCommand
from ._messages import About, Message

__all__ = ["DEATHS", "Employer", "Member", "Server", "WorkerDiedError"]

_log = logging.getLogger("comfy_async")

Server: TypeAlias = Secret[str] | ComfyCommand
"""What a worker is for: the URL of a server, which may have a password in it, or how to start one."""

DEATHS: Final = (
    ray_errors.RayActorError,
    ray_errors.WorkerCrashedError,
    ray_errors.ObjectLostError,
    ray_errors.NodeDiedError,
)
"""What Ray says when a worker's process or machine is gone, or cannot be reached at this moment."""

_UNREAD_MESSAGES: Final = 64
_AWAY_FIRST_S: Final = 1.0
_AWAY_CAP_S: Final = 15.0
# Without a limit too, calls that cancel or read have to get through.
_JOBS_AT_ONCE: Final = 900
_STOP_S: Final = 10.0
_REVIVE_FIRST_S: Final = 0.1
_REVIVE_CAP_S: Final = 2.0


class WorkerDiedError(ComfyError):
    """A worker's process is gone; its jobs may go on. Never leaves this package."""


class Employer(Protocol):
    """What a worker needs of its fleet."""

    clock: Clock
    closed: bool
    limit: int | None

    def hire(self, server: Server, client_id: str) -> Any:
        """Make an actor; Ray starts it where there is room, and again when it dies."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background."""
        ...

    def wake(self) -> None:
        """Give free places to those who wait."""
        ...

    def closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after the end."""
        ...


class Member:
    """One worker of a fleet.

    Attributes:
        server: What it is for; None for a worker that the caller has made.
        url: The server's address without credentials, "" until it is known.
        client_id: Under which the server sends events.
        owned: The server is the worker's own, and ends with it.
        worker: Its actor.
        jobs: What the fleet has there.
        lacks: What its server does not have.
        turn: When it last got a job: the one that waited longest comes first.
        ready: It answers.
        visiting: It does not belong to this fleet any more, and gets no new jobs.
        gone: It will never answer again.
        error: Why its server gets no jobs, None when it does.
        retry_at: When it may be tried again.
    """

    def __init__(
        self, employer: Employer, server: Server | None, *, client_id: str = "", worker: Any = None
    ) -> None:
        """Take a worker that exists, or make one for a server."""
        self._employer = employer
        self.server = server
        self.client_id = client_id
        self.url = Address.parse(server.reveal()).base if isinstance(server, Secret) else ""
        self.owned = isinstance(server, ComfyCommand)
        self.worker = worker if server is None else employer.hire(server, client_id)
        self._is_ours = server is not None
        self.jobs: set[JobCore] = set()
        self.lacks: set[Need] = set()
        self.turn = 0
        self.ready = False
        self.visiting = False
        self.gone = False
        self.retry_at = 0.0
        self.error: Exception | None = None
        self._backoff = Backoff(first=_AWAY_FIRST_S, cap=_AWAY_CAP_S)
        self._reviving: asyncio.Task[None] | None = None

    # What it is.

    async def open(self) -> None:
        """Wait until the worker runs, and learn what it is.

        Raises:
            ComfyError: It could not start its server.
        """
        self._take(await self.call("about"))

    def _take(self, about: About) -> None:
        """Process a worker's description of itself: it may have jobs."""
        self.url, self.client_id, self.owned = about.url, about.client_id, about.owned
        self.ready = True
        if about.error is not None:
            self.away(about.error)
        self._employer.wake()

    @property
    def free(self) -> int:
        """How many more jobs it takes at this moment."""
        most = self._employer.limit or _JOBS_AT_ONCE
        return max(0, most - len(self.jobs)) if self.ready and not self.gone else 0

    def away(self, error: Exception, pause: float | None = None) -> None:
        """Its server does not answer: no new jobs for a while, unless no other one answers either."""
        self.error = error
        self.retry_at = self._employer.clock.monotonic() + max(self._backoff.next(), pause or 0.0)

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
            except DEATHS as error:
                await self.revive(error)
            else:
                if isinstance(answer, Exception):
                    raise answer
                return answer

    async def messages(self, method: str, *arguments: Any) -> AsyncIterator[Message]:
        """Yield what the worker reports about a job.

        Raises:
            WorkerDiedError: The worker died; the job may go on.
        """
        try:
            async for message in self._streamed(method, *arguments):
                yield message
        except ray_errors.RayTaskError as error:
            raise _cause(error) from error
        except DEATHS as error:
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
        """Yield the values of one of Ray's streaming generators, with backpressure."""
        call = getattr(self.worker, method).options(
            num_returns="streaming", _generator_backpressure_num_objects=_UNREAD_MESSAGES
        )
        async for reference in call.remote(*arguments):
            yield await reference

    def down(self, error: BaseException | None = None) -> asyncio.Task[None]:
        """Give it no jobs until it is restarted and answers, which all wait for together."""
        if self._reviving is None or self._reviving.done():
            self.ready = False
            self._reviving = self._employer.spawn(self._revive(error))
        return self._reviving

    async def revive(self, error: BaseException | None = None) -> None:
        """Wait until the worker runs again; one that Ray has given up is replaced.

        Raises:
            ConnectError: It cannot be made any more.
            SessionClosedError: The fleet is closed.
        """
        reviving = self.down(error)
        await asyncio.wait([reviving])
        if self._employer.closed or reviving.cancelled():
            raise self._employer.closed_error(None)
        if self.gone:
            raise ConnectError(f"the worker for {self.url or '?'} is gone: {self.error}", server=self.url)

    async def _revive(self, error: BaseException | None) -> None:
        """Ask until the restarted worker answers."""
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
                self._employer.wake()
            except DEATHS:
                pass
            if self.ready:
                return
            await asyncio.sleep(backoff.next())

    def _replace(self, failure: ray_errors.ActorDiedError) -> None:
        """Make another worker for the one that Ray will not start again, unless that is useless."""
        never_lived = failure.actor_init_failed and not self.url
        if never_lived or (self.server is None and self.owned):
            self.gone, self.error = True, ConnectError(f"Ray has given it up: {failure}", server=self.url)
            self._employer.wake()
            return
        self.server = self.server or Secret(self.url)
        self.worker = self._employer.hire(self.server, self.client_id)
        self._is_ours = True

    async def close(self) -> None:
        """End the worker, if the fleet made it; jobs go on on servers that are not the worker's own."""
        if not self._is_ours:
            return
        if self.ready:
            with anyio.move_on_after(_STOP_S), contextlib.suppress(ray_errors.RayError):
                await self.worker.stop.remote()
        ray.kill(self.worker, no_restart=True)


def _cause(error: ray_errors.RayTaskError) -> Exception:
    """Return what a worker's method raised."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error
