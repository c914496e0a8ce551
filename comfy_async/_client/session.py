"""The session: one HTTP client, one WebSocket, one poller, and every job between them."""

from __future__ import annotations

import asyncio
import os
import ssl
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from .._base.secrets import Secret, sealed
from .._base.settings import Settings
from .._batch.batch import Batch, Workflows
from .._dialects.cloud_v1 import CloudApi
from .._dialects.comfyui import RunApi
from .._job.job import Job
from .._job.mailbox import EventStream, Mailbox
from .._job.result import JobResult
from .._job.stream import JobStream
from .._resources.access import Resources
from .._session.attach import attach
from .._session.core import Previews, SessionCore
from .._session.link import Link
from .._session.poller import Reconciler
from .._session.prepare import WorkflowLike, as_workflow
from .._session.submission import Submission
from .._transport.address import CLOUD_URL, Address, cloud_api_key, default_base_url
from .._transport.auth import Auth, AuthLike, make_auth
from .._transport.http import HttpClient, HttpOptions
from ..types import Problem

__all__ = ["ComfySession"]


class ComfySession(Resources, SessionCore):
    """A connection to one ComfyUI, for any number of jobs at once.

    Args:
        base_url: Where the server is; COMFY_LOCAL_URL, COMFY_BASE_URL or
            http://127.0.0.1:8188 when not given. A path prefix is kept.
        client_id: Under which the server sends events; made anew unless given. No two live
            sessions may share one: they silence each other.
        api_key: Sent as `X-API-Key` (Comfy Cloud, gateways).
        partner_api_key: The key for partner nodes. It goes along with every prompt, whatever its
            nodes: where a server is not to have it, give it to single jobs instead.
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
        """Prepare a session; nothing is sent before `connect()` or the first call.

        Raises:
            ValueError: The URL, a key or a header cannot be read or sent.
        """
        keys = Secret((base_url, auth, api_key))
        self._partner_api_key = Secret.of(partner_api_key)
        # Some show the locals of every frame of a traceback.
        del base_url, auth, api_key, partner_api_key
        address = Address.parse(keys.reveal()[0] or default_base_url())
        who = address.auth + make_auth(keys.reveal()[1])
        key = Secret.of(keys.reveal()[2])
        if key is None and address.is_cloud and who.is_empty:
            key = Secret.of(cloud_api_key())
        if key is not None:
            who += Auth.api_key(key.reveal())
        self.settings = settings or Settings()
        self.client_id = client_id or uuid.uuid4().hex
        self._previews: Previews = previews
        self._transport = transport
        self._eager = connect == "eager"
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
        self._http.veil.add(self._partner_api_key)
        self._api = CloudApi(self._http) if self._http.dialect == "cloud" else RunApi(self._http)
        self._link = Link(
            self._http,
            self.client_id,
            self.settings,
            on_event=self._on_event,
            on_up=self._on_up,
            on_down=self._on_down,
            wanted=self._is_wanted,
        )
        SessionCore.__init__(self)
        self._reconciler = Reconciler(self)
        self._probing = None
        self._host = self

    @classmethod
    def cloud(
        cls, api_key: str | None = None, *, base_url: str | None = None, **options: Any
    ) -> ComfySession:
        """Return a session with Comfy Cloud; the key defaults to COMFY_CLOUD_API_KEY, COMFY_API_KEY.

        Raises:
            ValueError: There is no key.
        """
        key = Secret(api_key or cloud_api_key() or "")
        del api_key
        if not key:
            raise ValueError("Comfy Cloud wants an API key: api_key= or COMFY_CLOUD_API_KEY")
        url = base_url or os.environ.get("COMFY_CLOUD_BASE_URL") or CLOUD_URL
        session = cls(url, api_key=key.reveal(), **options)
        session._api = CloudApi(session._http)
        return session

    # Opening and closing.

    async def connect(self) -> Self:
        """Make sure that a ComfyUI answers, unless the session is lazy; return the session.

        Raises:
            ConnectError: Nobody answers; says how to start a server.
            NotComfyUIError: Somebody else answers.
            AuthError: The credentials are wrong.
            ComfyError: The server answers with another error.
            SessionClosedError: It was closed.
            WrongLoopError: It belongs to another event loop.
        """
        self._check_loop()
        if self._eager:
            await self._known_server()
        return self

    async def aclose(self, *, cancel_jobs: bool = False) -> None:
        """Close the session; twice is fine. Open jobs go on on the server unless told otherwise.

        Args:
            cancel_jobs: Cancel the open jobs on the server first.
        """
        if cancel_jobs and not self._closed:
            jobs = list(self._jobs.values())
            await asyncio.gather(*(self._cancel(job) for job in jobs), return_exceptions=True)
        await self._close_once(self._shut, name="comfy_async closing")

    # Running workflows.

    async def run(self, workflow: WorkflowLike, **options: Any) -> JobResult:
        """Submit a workflow and wait for its result; takes what `submit` takes.

        Nobody else holds the job: when the wait is cancelled, so is the job on the server.

        Raises:
            JobError: It failed, was cancelled, or lost.
            PromptRejectedError: The server refused it.
            ComfyError: As `submit`.
            OSError: As `submit`.
        """
        options = sealed({"previews": "none", **options, "keep_frames": False})
        async with JobStream(self, workflow, options) as job:
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
            partner_api_key: The key for partner nodes of this job; beats the session's.
            front: Put it before all others.
            number: Its place by number, lower runs first; beats `front`.
            targets: The output nodes to run, None for all.
            keep_frames: False keeps no progress for a consumer that has not come yet, only counts it.

        Raises:
            PromptRejectedError: The server refused it; `problems` says why.
            PartialPromptError: It refused some outputs.
            WorkflowError: It is no workflow, or cannot be converted; nothing was sent.
            OSError: Its file, or one to be uploaded, cannot be read.
            SubmitUnknownError: Whether it arrived could not be found out.
            ConnectError: Nobody answers; nothing was sent.
            ComfyError: The server refused or failed otherwise.
            SessionClosedError: The session is closed.

        Example:
            >>> job = await comfy.submit(flow.with_inputs({"6.text": "a fox"}), front=True, targets=["9"])
        """
        partner_key = Secret.of(partner_api_key)
        extra = sealed(extra_data or {})
        del partner_api_key, extra_data
        self._check_loop()
        await self._known_server()
        ready = await self._prepared(workflow, check=check)
        options = self._options(
            on_partial=on_partial,
            previews=previews,
            extra_data=extra,
            partner_api_key=partner_key,
            front=front,
            number=number,
            targets=targets,
            keep_frames=keep_frames,
        )
        return await Submission(self, ready, options).run()

    def stream(self, workflow: WorkflowLike, **options: Any) -> JobStream:
        """Return `async with` a job that is cancelled on the server when the block is left early.

        Example:
            >>> async with comfy.stream(flow) as job:  # takes what submit takes
            ...     async for event in job:
            ...         print(job.progress)
        """
        return JobStream(self, workflow, sealed(options))

    def map(
        self,
        workflows: Workflows,
        *,
        # How many at once, and in which order they come back.
        limit: int = 4,
        ordered: bool = False,
        on_error: Literal["continue", "stop"] = "continue",
        results: str | os.PathLike[str] | None = None,
        # What `submit` takes, for each of them.
        **options: Any,
    ) -> Batch:
        """Return `async with` the jobs of many workflows, as they end.

        Args:
            workflows: Any iterable or async iterable of what `submit` takes; read lazily.
            limit: Jobs on the server at once.
            ordered: Hand the jobs out in the order of the workflows, not of their ends.
            on_error: "continue" leaves each failure to whoever awaits that job; "stop"
                cancels the others and raises it here.
            results: A file of JSON lines, by which an interrupted batch goes on: nothing runs twice,
                what had finished comes from the file, what still runs is attached to. A job is
                known again by its place and its content: give `randomized(n)`, since a seed
                drawn anew makes another job; a file that knows none of them is told as a warning.
            options: What `submit` takes; previews are off unless asked for.

        Raises:
            ValueError: `limit` or `on_error` make no sense.
            SessionClosedError: The session is closed.
            WrongLoopError: The session belongs to another event loop.

        Example:
            >>> async with comfy.map([flow, flow.randomized(7)], results="results.jsonl") as finished:
            ...     async for job in finished:
            ...         await (await job).save(f"out/{job.index:03d}")
        """
        self._check_loop()
        return Batch(
            self,
            workflows,
            limit=limit,
            ordered=ordered,
            on_error=on_error,
            results=results,
            options=sealed(options),
        )

    async def attach(self, id_or_ref: str | Mapping[str, str]) -> Job:
        """Pick up a job by its id or `ref`, from whichever process it was submitted.

        Events come live when it was submitted under this session's client_id, else what
        polling finds. A finished job answers at once; one that the server does not know ends
        as lost.

        Raises:
            ComfyError: The server cannot be asked.
            ValueError: That is no id and no ref.

        Example:
            >>> result = await (await comfy.attach(job.ref))  # or its id, or a ref that came as JSON
        """
        self._check_loop()
        await self._known_server()
        return await attach(self, id_or_ref)

    def events(self) -> EventStream:
        """Return every event of the session from now on: of all jobs, and those of no job.

        Custom nodes' messages without a `prompt_id` come here alone. A slow reader loses no
        lifecycle event; what else finds no room is counted in the iterator's `dropped`.

        Raises:
            SessionClosedError: The session is closed.
            WrongLoopError: The session belongs to another event loop.

        Example:
            >>> events = comfy.events()
            >>> job = await comfy.submit(flow)
            >>> async for event in events:
            ...     if isinstance(event, StatusChanged) and event.queue_remaining == 0:
            ...         break  # the server is idle
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
            OSError: Its file cannot be read.
            ComfyError: The server cannot be asked.

        Example:
            >>> print((await comfy.check(flow.with_inputs({"3.sampler_name": "eulr"})))[0])
            3 (KSampler), input 'sampler_name': 'eulr' is none of the 44 choices; nearest: 'euler'
        """
        self._check_loop()
        server = await self._known_server()
        catalog = await self.nodes.catalog()
        replaced = await self.nodes.replacements() if server.can("node_replacements") else None
        return as_workflow(workflow).check(catalog, replacements=replaced)

    def __repr__(self) -> str:
        """Return address, connection and the number of open jobs; no credentials."""
        state = "new" if self._loop is None else self._link.state
        jobs = f" {len(self._jobs)} jobs" if self._jobs else ""
        return f"<ComfySession {self.base_url} {'closed' if self._closed else state}{jobs}>"
