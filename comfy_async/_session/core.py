"""What every verb of the session stands on: the loop, the server, the way into the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from .._base.lifetime import Lifetime
from .._base.secrets import Secret, sealed
from .._batch.items import run_item
from .._job.stream import abandon
from ..errors import SessionClosedError
from ..types import Connection, Shown
from .cancel import cancel_job
from .prepare import WorkflowLike, prepare
from .router import Router
from .submission import SubmitOptions

if TYPE_CHECKING:
    from .._base.settings import Settings
    from .._batch.journal import Journal
    from .._client.session import ComfySession
    from .._dialects.comfyui import RunApi
    from .._dialects.server import ServerInfo
    from .._job.job import Job
    from .._transport.http import HttpClient
    from ..types import JobStatus
    from ..workflow import Workflow

__all__ = ["Previews", "SessionCore"]

Previews: TypeAlias = Literal["auto", "latent2rgb", "taesd", "none", "default"]


class SessionCore(Shown, Router, Lifetime):
    """The private part of `ComfySession`."""

    _kind = "session"
    settings: Settings
    _http: HttpClient
    _previews: Previews
    _partner_api_key: Secret[str] | None
    _probing: asyncio.Task[ServerInfo] | None

    @property
    def base_url(self) -> str:
        """The server's address without credentials and without a trailing slash."""
        return self._api.address

    @property
    def _address(self) -> str:
        """The server that errors name."""
        return self.base_url

    @property
    def server(self) -> ServerInfo:
        """What the server is and can do, as far as it is known."""
        return self._api.server

    @property
    def connection(self) -> Connection:
        """How the session hears from the server at this moment."""
        link = self._link
        heard = link.last_heard
        return Connection(
            state="stalled" if link.hearing and self._reconciler.hearing.stalled else link.state,
            polling=bool(self._jobs) and self._is_polling(),
            reconnects=link.reconnects,
            last_heard=None if heard is None else self._clock.monotonic() - heard,
            reason=link.reason,
            malformed=link.malformed,
        )

    # What the resources need (see _resources/host.py).

    @property
    def http(self) -> HttpClient:
        """The HTTP client."""
        return self._http

    @property
    def api(self) -> RunApi:
        """The requests that runs need."""
        return self._api

    @property
    def uses_socket(self) -> bool:
        """False when it works without any WebSocket."""
        return self._transport == "auto"

    def check_loop(self) -> None:
        """Raise in another event loop, and when it is closed."""
        self._check_loop()

    async def known_server(self) -> ServerInfo:
        """Ask once what the server is."""
        return await self._known_server()

    async def hear(self) -> None:
        """Make sure that the socket hears."""
        await self._hear()

    def stopping(
        self, prompt_ids: Iterable[str] | None = None, *, of: Collection[str] = ("pending",)
    ) -> AbstractContextManager[None]:
        """While jobs are stopped from outside, ours in such a state end as cancelled."""
        return self._stopping(prompt_ids, of=of)

    @property
    def _as_session(self) -> ComfySession:
        """The session itself: this class is a part of it."""
        return cast("ComfySession", self)

    async def _known_server(self) -> ServerInfo:
        """Ask once what the server is, however many need it.

        Raises:
            SessionClosedError: It was closed before there was an answer.
            ComfyError: The server does not answer, or is none.
        """
        if self._api.server.version or self._api.probed:
            return self._api.server
        probing = self._probing
        if probing is None or probing.done():
            probing = self._probing = asyncio.create_task(self._api.probe(), name="comfy_async probe")
            probing.add_done_callback(_look_at)
        await asyncio.wait([probing])
        if probing.cancelled():
            # By `aclose()`: as a CancelledError whoever waits here would take it for an own one.
            raise self._closed_error(None)
        return probing.result()

    async def _prepared(self, workflow: WorkflowLike, *, check: bool = False) -> Workflow:
        """Return a workflow that can be sent."""
        return await prepare(self._as_session, workflow, check=check)

    def _options(
        self,
        *,
        previews: Previews | None,
        partner_api_key: str | Secret[str] | None,
        targets: Iterable[str] | None,
        extra_data: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> SubmitOptions:
        """Fill in what the session knows, and let nobody see the keys in it from now on."""
        extra = sealed(extra_data or {})
        del extra_data
        self._http.veil.add(*(value for value in extra.values() if _is_key(value)))
        key = Secret.of(partner_api_key) or self._partner_api_key
        del partner_api_key
        self._http.veil.add(key)
        return SubmitOptions(
            previews=previews or self._previews,
            partner_api_key=key,
            extra_data=extra,
            targets=None if targets is None else tuple(map(str, targets)),
            **rest,
        )

    async def _run_item(
        self,
        item: WorkflowLike,
        index: int,
        journal: Journal | None,
        *,
        check: bool = False,
        previews: Previews = "none",
        partner_api_key: Secret[str] | None = None,
        targets: Iterable[str] | None = None,
        **rest: Any,
    ) -> Job:
        """Bring one workflow of a batch to a job."""
        options = self._options(
            previews=previews,
            partner_api_key=partner_api_key,
            targets=targets,
            index=index,
            keep_frames=False,
            **rest,
        )
        return await run_item(self._as_session, item, journal, options=options, check=check)

    async def _abandon_job(self, job: Job) -> None:
        """Cancel a job that nobody waits for any more."""
        await abandon(self._as_session, job)

    async def _cancel(self, job: Job) -> JobStatus:
        """Cancel one job and return its true end."""
        self._check_loop()
        return await cancel_job(self._as_session, job)

    async def _hear(self) -> None:
        """Make sure that the socket hears, for as long as it is worth waiting."""
        if self._transport == "auto":
            await self._link.settled(self.settings.hearing_seconds)

    def _send_home(self) -> None:
        """Wake whoever waits for a job or an event; the jobs go on."""
        for job in list(self._jobs.values()):
            job._abandon(self._closed_error(job.prompt_id))
        self._jobs.clear()
        self._close_watchers()

    async def _shut(self) -> None:
        """End the tasks, the socket and the HTTP client, in bounded time."""
        await self._reconciler.aclose()
        await self._link.aclose()
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        await self._http.aclose()

    def _closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after `aclose()`."""
        what = "" if prompt_id is None else f" before job {prompt_id} had ended"
        return SessionClosedError(
            f"the session with {self.base_url} was closed{what}",
            hint="Open another one; `attach` picks up what still runs." if prompt_id else "",
            prompt_id=prompt_id,
            server=self.base_url,
        )


def _look_at(task: asyncio.Task[ServerInfo]) -> None:
    """Let a failure that everybody has ceased to wait for go unmentioned."""
    if not task.cancelled():
        task.exception()


def _is_key(value: object) -> bool:
    """Say whether a value of extra_data is a text that is held as a secret."""
    return isinstance(value, Secret) and isinstance(value.reveal(), str)
