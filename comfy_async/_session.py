"""The session: one HTTP client, one WebSocket, one poller, and every job between them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import ssl
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

import anyio

from ._api import RunApi
from ._cancel import cancel_job
from ._job import Job
from ._link import Link
from ._mailbox import EventStream, Mailbox
from ._protocol.plan import Plan
from ._protocol.reducer import JobState
from ._reconcile import Reconciler
from ._resources.access import ServerAccess
from ._result import JobResult
from ._router import Router
from ._server import ServerInfo
from ._settings import Settings
from ._stream import JobStream
from ._submit import Submission, SubmitOptions
from ._transport.address import CLOUD_URL, Address, default_base_url
from ._transport.auth import Auth, AuthLike, make_auth
from ._transport.http import HttpClient, HttpOptions
from .errors import SessionClosedError, WrongLoopError
from .types import Problem
from .workflow import Workflow

__all__ = ["ComfySession", "Connection"]

_log = logging.getLogger("comfy_async")

Previews: TypeAlias = Literal["auto", "latent2rgb", "taesd", "none", "default"]
WorkflowLike: TypeAlias = Workflow | Mapping[str, Any] | str | bytes | os.PathLike[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """How the session hears from the server at this moment.

    Attributes:
        state: "idle" (not dialled yet), "connecting", "hearing", "down", "refused", "deaf",
            "stalled" (the server sends nothing to anybody) or "closed".
        polling: True while the fate of open jobs is found by polling.
        reconnects: How often the socket was dialled anew with success.
        last_heard: Seconds since the last frame, None before the first.
        reason: Why it does not hear, "" while it does.
        malformed: How many frames could not be read; `events()` shows each.
    """

    state: str
    polling: bool
    reconnects: int
    last_heard: float | None
    reason: str = ""
    malformed: int = 0


class ComfySession(ServerAccess, Router):
    """A connection to one ComfyUI, for any number of jobs at once.

    Args:
        base_url: Where the server is; COMFY_LOCAL_URL, COMFY_BASE_URL or
            http://127.0.0.1:8188 when not given. A path prefix is kept.
        client_id: Under which the server sends events; made anew unless given. No two live
            sessions may share one: they silence each other.
        api_key: Sent as `X-API-Key` (Comfy Cloud, gateways).
        partner_api_key: The key for partner nodes, sent with every prompt.
        headers: Further headers, to this server only.
        auth: An `Auth`, a (user, password) pair or a bearer token.
        verify: False, a CA file, or an SSLContext (client certificates), for both protocols.
        trust_env: Take proxies from the environment, for both protocols.
        previews: "auto", "latent2rgb", "taesd", "none", or "default" (the server's own).
        transport: "poll" works without any WebSocket.
        connect: "lazy" lets `async with` succeed although nobody answers yet.
        settings: Limits and pauses.

    Example:
        >>> async with ComfySession("http://127.0.0.1:8188") as comfy:
        ...     result = await comfy.run("portrait.json")
        ...     await result.save("out")
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        # Who you are.
        client_id: str | None = None,
        api_key: str | None = None,
        partner_api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: AuthLike = None,
        # How to get there.
        verify: bool | str | ssl.SSLContext = True,
        trust_env: bool = True,
        # How to behave.
        previews: Previews = "auto",
        transport: Literal["auto", "poll"] = "auto",
        connect: Literal["eager", "lazy"] = "eager",
        settings: Settings | None = None,
    ) -> None:
        """Prepare a session; nothing is sent before `connect()` or the first call."""
        address = Address.parse(base_url or default_base_url())
        who = address.auth + make_auth(auth)
        if api_key is not None:
            who += Auth.api_key(api_key)
        self.settings = settings or Settings()
        self.client_id = client_id or uuid.uuid4().hex
        self._previews: Previews = previews
        self._transport = transport
        self._eager = connect == "eager"
        self._partner_api_key = partner_api_key
        self._clock = self.settings.clock
        self._http = HttpClient(
            address,
            auth=who,
            headers=headers,
            verify=verify,
            trust_env=trust_env,
            proxy=self.settings.proxy,
            options=HttpOptions(
                request_seconds=self.settings.request_seconds,
                connect_seconds=self.settings.connect_seconds,
                max_body=self.settings.max_body,
                sleep=self._clock.sleep,
            ),
            transport=self.settings.http_transport,
        )
        self._api = RunApi(self._http)
        self._link = Link(
            self._http,
            self.client_id,
            self.settings,
            on_event=self._on_event,
            on_up=self._on_up,
            on_down=self._on_down,
            wanted=self._is_wanted,
        )
        super().__init__()
        self._reconciler = Reconciler(self)
        self._probing: asyncio.Task[ServerInfo] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    def cloud(
        cls, api_key: str | None = None, *, base_url: str | None = None, **options: Any
    ) -> ComfySession:
        """Return a session with Comfy Cloud; the key defaults to COMFY_CLOUD_API_KEY, COMFY_API_KEY.

        Raises:
            ValueError: There is no key.
        """
        key = api_key or os.environ.get("COMFY_CLOUD_API_KEY") or os.environ.get("COMFY_API_KEY")
        if not key:
            raise ValueError("Comfy Cloud wants an API key: api_key= or COMFY_CLOUD_API_KEY")
        url = base_url or os.environ.get("COMFY_CLOUD_BASE_URL") or CLOUD_URL
        session = cls(url, api_key=key, **options)
        session._http.dialect = "cloud"
        return session

    # Opening and closing.

    async def connect(self) -> ComfySession:
        """Make sure that a ComfyUI answers, unless the session is lazy; return the session.

        Raises:
            ConnectError: Nobody answers; says how to start a server.
            NotComfyUIError: Somebody else answers.
            AuthError: The credentials are wrong.
            SessionClosedError: It was closed.
        """
        self._check_loop()
        if self._eager:
            await self._known_server()
        return self

    async def __aenter__(self) -> ComfySession:
        """Connect, as `connect()`."""
        try:
            return await self.connect()
        except BaseException:
            await self.aclose()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, as `aclose()`."""
        await self.aclose()

    async def aclose(self, *, cancel_jobs: bool = False) -> None:
        """Close the session; twice is fine. Open jobs go on on the server unless told otherwise.

        Args:
            cancel_jobs: Cancel the open jobs on the server first.
        """
        if cancel_jobs and not self._closed:
            jobs = list(self._jobs.values())
            await asyncio.gather(*(self._cancel(job) for job in jobs), return_exceptions=True)
        if self._closing is None:
            self._closed = True
            # Whoever waits is woken before anything is awaited that may be cancelled.
            for job in list(self._jobs.values()):
                job._abandon(self._closed_error(job.prompt_id))
            self._jobs.clear()
            self._close_watchers()
            self._closing = asyncio.create_task(self._shut(), name="comfy_async closing")
        with anyio.CancelScope(shield=True):
            await asyncio.shield(self._closing)

    async def _shut(self) -> None:
        """End the tasks, the socket and the HTTP client, in bounded time."""
        await self._reconciler.aclose()
        await self._link.aclose()
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        await self._http.aclose()

    # What it is.

    @property
    def base_url(self) -> str:
        """The server's address without credentials and without a trailing slash."""
        return self._http.address.base

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

    # Running workflows.

    async def run(self, workflow: WorkflowLike, **options: Any) -> JobResult:
        """Submit a workflow and wait for its result; takes what `submit` takes.

        Nobody else holds the job: when the wait is cancelled, so is the job on the server.

        Raises:
            JobError: It failed, was cancelled, or lost.
            PromptRejectedError: The server refused it.
            ComfyError: As `submit`.
        """
        async with JobStream(self, workflow, {"previews": "none", **options, "keep_frames": False}) as job:
            return await job

    async def submit(
        self,
        workflow: WorkflowLike,
        *,
        # Before it is sent.
        check: bool = False,
        on_partial: Literal["raise", "keep"] = "raise",
        # What is sent along.
        previews: Previews | None = None,
        extra_data: Mapping[str, Any] | None = None,
        partner_api_key: str | None = None,
        # Where in the queue, and how much of the graph.
        front: bool = False,
        number: float | None = None,
        targets: Iterable[str] | None = None,
        keep_frames: bool = True,
    ) -> Job:
        """Put a workflow into the server's queue, exactly once, and return its job.

        Args:
            workflow: A `Workflow`, a path, a dict, or text, in API or editor format. Files
                among its input values are uploaded first.
            check: Compare it with the server's nodes and models first.
            on_partial: "keep" runs what can be run when some outputs are refused.
            previews: For this job; None means the session's.
            extra_data: Further `extra_data` of POST /prompt.
            partner_api_key: The key for partner nodes of this job.
            front: Put it before all others.
            number: Its place by number, lower runs first; beats `front`.
            targets: The output nodes to run, None for all.
            keep_frames: False keeps no progress for a consumer that has not come yet.

        Raises:
            PromptRejectedError: The server refused it; `problems` says why.
            PartialPromptError: It refused some outputs.
            WorkflowError: It is no workflow, or cannot be converted; nothing was sent.
            SubmitUnknownError: Whether it arrived could not be found out.
            ConnectError: Nobody answers; nothing was sent.
            ComfyError: The server refused or failed otherwise.
            SessionClosedError: The session is closed.
        """
        self._check_loop()
        await self._known_server()
        ready = await self._prepared(workflow, check=check)
        options = SubmitOptions(
            on_partial=on_partial,
            previews=previews or self._previews,
            extra_data=extra_data,
            partner_api_key=partner_api_key or self._partner_api_key,
            front=front,
            number=number,
            targets=None if targets is None else tuple(map(str, targets)),
            keep_frames=keep_frames,
        )
        return await Submission(self, ready, options).run()

    def stream(self, workflow: WorkflowLike, **options: Any) -> JobStream:
        """Return `async with` a job that is cancelled on the server when the block is left early.

        Takes what `submit` takes.

        Example:
            >>> async with comfy.stream(workflow) as job:
            ...     async for event in job:
            ...         print(job.progress)
        """
        return JobStream(self, workflow, options)

    async def attach(self, id_or_ref: str | Mapping[str, str]) -> Job:
        """Pick up a job by its id or `ref`, from whichever process it was submitted.

        Events come live when it was submitted under this session's client_id, else what
        polling finds. A finished job answers at once; one that the server does not know ends
        as lost.

        Raises:
            ComfyError: The server cannot be asked.
            ValueError: That is no id and no ref.
        """
        self._check_loop()
        await self._known_server()
        return await self._attached(id_or_ref)

    def events(self) -> EventStream:
        """Return every event of the session from now on: of all jobs, and those of no job.

        Raises:
            SessionClosedError: The session is closed.
        """
        self._check_loop()
        box = Mailbox(max_events=self.settings.mailbox_events, max_bytes=self.settings.mailbox_bytes)
        self._watchers.append(box)
        if self._transport == "auto":
            self._link.start()
        return EventStream(box, self._drop_watcher)

    async def check(self, workflow: WorkflowLike) -> list[Problem]:
        """Return what this server would find wrong with a workflow, before anything is queued.

        Raises:
            WorkflowError: It is no workflow, or cannot be converted.
            ComfyError: The server cannot be asked.
        """
        self._check_loop()
        catalog = await self.nodes.catalog()
        made = workflow if isinstance(workflow, Workflow) else Workflow.load(_path(workflow))
        return made.check(catalog)

    # Inside.

    async def _known_server(self) -> ServerInfo:
        """Ask once what the server is, however many need it."""
        if self._api.server.version or self._api.probed:
            return self._api.server
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._api.probe(), name="comfy_async probe")
        return await asyncio.shield(self._probing)

    async def _prepared(self, workflow: WorkflowLike, *, check: bool = False) -> Workflow:
        """Return a workflow that can be sent: loaded, converted, checked, its files uploaded."""
        made = workflow if isinstance(workflow, Workflow) else Workflow.load(_path(workflow))
        if made.format == "editor":
            made = made.converted(await self.nodes.catalog())
        pending = made.uploads()
        if pending:
            made = await self.files.upload_inputs(made)
        if check:
            await self._demand_sound(made)
        return made

    async def _demand_sound(self, workflow: Workflow) -> None:
        """Raise the errors that `check` finds as the server would."""
        from .errors import PromptRejectedError

        found = [problem for problem in await self.check(workflow) if problem.severity == "error"]
        if found:
            raise PromptRejectedError(
                "the workflow would be refused; nothing was sent",
                problems=found,
                type="checked",
                server=self.base_url,
            )

    async def _attached(self, id_or_ref: str | Mapping[str, str]) -> Job:
        """Find a job in queue and history and follow it."""
        prompt_id, client_id = _reference(id_or_ref)
        if prompt_id in self._jobs:
            return self._jobs[prompt_id]
        history = await self._api.history(prompt_id)
        graph: Mapping[str, Any] = {}
        if history is not None:
            graph, extra = history.prompt, history.extra_data
        else:
            entry = (await self._api.snapshot(whole=True)).entries.get(prompt_id)
            graph = (entry.prompt if entry else None) or {}
            extra = (entry.extra_data if entry else None) or {}
        job = Job(self, JobState(prompt_id, Plan(graph), timings=self._timings))
        job._client_id = client_id or str(extra.get("client_id") or "")
        if history is None and job._client_id == self.client_id:
            await self._hear()
        job._state.status = "pending"
        job._state.mark_gap()
        self._register(job)
        self._posted(job)
        if history is not None:
            self._reconciler._end_by(job, history)
        else:
            self._reconciler.poke([job])
        return job

    async def _cancel(self, job: Job) -> Any:
        """Cancel one job and return its true end."""
        self._check_loop()
        return await cancel_job(self, job)

    async def _hear(self) -> None:
        """Make sure that the socket hears, for as long as it is worth waiting."""
        if self._transport == "auto":
            await self._link.settled(self.settings.hearing_seconds)

    def _check_loop(self) -> None:
        """Bind the session to the running loop at its first use.

        Raises:
            WrongLoopError: It was used in another loop.
            SessionClosedError: It is closed.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise self._closed_error(None)
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongLoopError(
                "this session belongs to another event loop",
                hint="Make one session in each loop (each thread, each asyncio.run).",
                server=self.base_url,
            )

    def _closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after `aclose()`."""
        what = "" if prompt_id is None else f" before job {prompt_id} had ended"
        return SessionClosedError(
            f"the session with {self.base_url} was closed{what}",
            hint="Open another one; `attach` picks up what still runs." if prompt_id else "",
            prompt_id=prompt_id,
            server=self.base_url,
        )

    def __repr__(self) -> str:
        """Return address, connection and the number of open jobs; no credentials."""
        state = "new" if self._loop is None else self._link.state
        jobs = f" {len(self._jobs)} jobs" if self._jobs else ""
        return f"<ComfySession {self.base_url} {'closed' if self._closed else state}{jobs}>"


def _path(workflow: Any) -> Any:
    """Return what `Workflow.load` takes."""
    return Path(workflow) if isinstance(workflow, os.PathLike) else workflow


def _reference(id_or_ref: str | Mapping[str, str]) -> tuple[str, str | None]:
    """Return prompt_id and client_id.

    Raises:
        ValueError: That is no id and no ref.
    """
    if isinstance(id_or_ref, str) and id_or_ref:
        return id_or_ref, None
    if isinstance(id_or_ref, Mapping) and isinstance(id_or_ref.get("prompt_id"), str):
        return id_or_ref["prompt_id"], id_or_ref.get("client_id")
    raise ValueError("attach takes a prompt_id or a job's ref")
