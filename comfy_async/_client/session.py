"""The session: one HTTP client, one WebSocket, one poller, and every job between them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from .._base.hooks import Hooks
from .._base.secrets import Secret
from .._base.settings import Settings
from .._base.words import demand_word
from .._dialects.choose import DialectChoice, dialect_of
from .._dialects.server import ServerInfo
from .._job.job import Job, handle
from .._job.mailbox import EventStream
from .._session.engine import Engine
from .._session.options import PREVIEWS, Previews
from .._session.prepare import WorkflowLike, check_with
from .._transport.address import CLOUD_URL, Address, cloud_api_key, default_base_url
from .._transport.auth import Auth, AuthLike, make_auth
from .._transport.http import HttpClient, HttpOptions
from ..types import Connection, Shown
from ..workflow import NodeCatalog, ProblemList
from .client import Client, Runner
from .requesting import Requesting

if TYPE_CHECKING:
    from .._batch.batch import BatchRunner
    from .._resources.assets import Assets
    from .._resources.files import Files
    from .._resources.history import History
    from .._resources.jobs import Jobs
    from .._resources.models import Models
    from .._resources.nodes import Nodes
    from .._resources.queue import Queue
    from .._resources.requests import Requests
    from .._resources.settings_store import SettingsStore
    from .._resources.system import System
    from .._resources.userdata import UserData

__all__ = ["ComfySession", "engine_of"]


class ComfySession(Client, Requesting, Shown):
    """A connection to one ComfyUI, for any number of jobs at once.

    Args:
        base_url: Where the server is; COMFY_LOCAL_URL, COMFY_BASE_URL or
            http://127.0.0.1:8188 when not given. A path prefix is kept.
        client_id: Under which the server sends events; a new one unless given. No two live
            sessions may share one: they silence each other.
        api_key: Sent as `X-API-Key` (Comfy Cloud, gateways).
        partner_api_key: The key for partner nodes. It goes along with every prompt, whatever its
            nodes: if a server must not have it, give it to single jobs instead.
        headers: Further headers, to this server only.
        auth: An `Auth`, a (user, password) pair or a bearer token.
        verify: False, a CA file, or an SSLContext (client certificates), for both protocols.
        trust_env: Take proxies from the environment, for both protocols.
        previews: "auto", "latent2rgb", "taesd", "none", or "default" (the server's own).
        transport: "poll" works without any WebSocket.
        connect: "lazy" lets `async with` succeed although no server answers yet.
        dialect: The server's API: "comfyui", "api-v2" or "cloud-v1" (Comfy Cloud's older one);
            "auto" recognizes Comfy Cloud and its deployments by their address, and others by their answer.
        key_namespace: In two sessions with different ones the same `key` of `submit` means different jobs:
            for example the name of your application, on a server that several use.
        hooks: Objects that are called for what happens (examples/guides/telemetry.md), with any of
            the methods `before_submit(workflow, options)`, `on_event(job, event)`, `on_end(job)`,
            `on_request(method, path, status, seconds, server)` and some more.
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
        dialect: DialectChoice = "auto",
        key_namespace: str = "",
        hooks: Iterable[object] = (),
        settings: Settings | None = None,
    ) -> None:
        """Prepare a session; nothing is sent before `connect()` or the first call.

        Raises:
            ValueError: The URL, a key or a header cannot be read or sent, an option has an unknown value,
                or an object is no hook.
        """
        demand_word("previews", previews, PREVIEWS)
        demand_word("transport", transport, ("auto", "poll"))
        demand_word("connect", connect, ("eager", "lazy"))
        demand_word("trust_env", trust_env, (True, False))
        keys = Secret((base_url, auth, api_key))
        partner_key = Secret.of(partner_api_key)
        # Some show the locals of every frame of a traceback.
        del base_url, auth, api_key, partner_api_key
        settings = settings or Settings()
        given = keys.reveal()[0]
        address = Address.parse(default_base_url() if given is None else given)
        http = HttpClient(
            address,
            auth=_credentials(address, keys),
            headers=headers,
            verify=verify,
            trust_env=trust_env,
            proxy=settings.proxy,
            options=HttpOptions(
                request_seconds=settings.request_seconds,
                connect_seconds=settings.connect_seconds,
                max_body=settings.max_body,
                sleep=settings.clock.sleep,
            ),
            transport=settings.http_transport,
        )
        self._eager = connect == "eager"
        self._engine = Engine(
            http,
            dialect_of(dialect, http),
            finds_out=dialect == "auto",
            settings=settings,
            client_id=client_id,
            uses_socket=transport == "auto",
            previews=previews,
            partner_api_key=partner_key,
            key_namespace=key_namespace,
            hooks=Hooks.of(hooks),
        )

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
        return cls(url, api_key=key.reveal(), **{"dialect": "api-v2", **options})

    # What it is.

    @property
    def base_url(self) -> str:
        """The server's address without credentials and without a trailing slash."""
        return self._engine.base_url

    @property
    def client_id(self) -> str:
        """Under which the server sends events."""
        return self._engine.client_id

    @property
    def settings(self) -> Settings:
        """Limits and pauses."""
        return self._engine.settings

    @property
    def server(self) -> ServerInfo:
        """What the server is and can do, as far as it is known."""
        return self._engine.server

    @property
    def connection(self) -> Connection:
        """How the session receives messages from the server at this moment."""
        return self._engine.connection

    @property
    def _runner(self) -> Runner:
        """What does the work."""
        return self._engine

    def _items(self) -> BatchRunner:
        """Return what runs the items of one batch."""
        from .._batch.items import SessionItems

        return SessionItems(self._engine)

    # Opening and closing.

    async def connect(self) -> Self:
        """Make sure that a ComfyUI answers, unless the session is lazy; return the session.

        Raises:
            ConnectError: No server answers; says how to start one.
            NotComfyUIError: Something else answers.
            AuthError: The credentials are wrong.
            ComfyError: The server answers with another error.
            SessionClosedError: It was closed.
            WrongLoopError: It belongs to another event loop.
        """
        self._engine.check_loop()
        if self._eager:
            await self._engine.known_server()
        return self

    async def aclose(self, *, cancel_jobs: bool = False) -> None:
        """Close the session; a second call does nothing. Open jobs go on on the server by default.

        Args:
            cancel_jobs: Cancel the open jobs on the server first.
        """
        await self._engine.aclose(cancel_jobs=cancel_jobs)

    # Running workflows: `run`, `submit`, `stream` and `map` stand in `Client`.

    async def attach(self, id_or_ref: str | Mapping[str, Any]) -> Job:
        """Pick up a job by its id or `ref`, from whichever process it was submitted.

        Events come live when it was submitted under this session's client_id, else what
        polling finds. A finished job answers at once; one that the server does not know ends
        as lost.

        Raises:
            ComfyError: The request failed.
            ValueError: That is no id and no ref.

        Example:
            >>> result = await (await comfy.attach(job.ref))  # or its id, or a ref that came as JSON
        """
        return handle(await self._engine.attach(id_or_ref))

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
        return self._engine.events()

    async def check(self, workflow: WorkflowLike) -> ProblemList:
        """Return what this server would find wrong with a workflow, before anything is queued.

        Raises:
            WorkflowError: It is no workflow, or cannot be converted.
            OSError: Its file cannot be read.
            ComfyError: The request failed.

        Example:
            >>> print((await comfy.check(flow.with_inputs({"3.sampler_name": "eulr"})))[0])
            3 (KSampler), input 'sampler_name': 'eulr' is none of the 44 choices; nearest: 'euler'
        """
        self._engine.check_loop()
        return await check_with(self._engine, workflow)

    async def node_catalog(self, *, again: Collection[str] = ()) -> NodeCatalog:
        """Return what the server can run, as `nodes.catalog()`; the classes `again` are read anew.

        Raises:
            ComfyError: The request failed.
        """
        return await (self.nodes.read_again(again) if again else self.nodes.catalog())

    @property
    def _requests(self) -> Requests:
        """The requests of `request` and `request_stream`."""
        return self._engine.resources.requests

    # The rest of the server, each part loaded when it is first used.

    @property
    def files(self) -> Files:
        """Uploads and downloads."""
        return self._engine.resources.files

    @property
    def nodes(self) -> Nodes:
        """The node classes of the server."""
        return self._engine.resources.nodes

    @property
    def queue(self) -> Queue:
        """What waits and what runs."""
        return self._engine.resources.queue

    @property
    def history(self) -> History:
        """What has run."""
        return self._engine.resources.history

    @property
    def jobs(self) -> Jobs:
        """Jobs of every state in one list."""
        return self._engine.resources.jobs

    @property
    def models(self) -> Models:
        """Checkpoints, LoRAs and the like."""
        return self._engine.resources.models

    @property
    def system(self) -> System:
        """The server as a machine: memory, versions, logs."""
        return self._engine.resources.system

    @property
    def userdata(self) -> UserData:
        """The files that the editor keeps for its users."""
        return self._engine.resources.userdata

    @property
    def settings_store(self) -> SettingsStore:
        """The settings of the editor, as the server keeps them."""
        return self._engine.resources.settings_store

    @property
    def assets(self) -> Assets:
        """Files by their content, where the server's asset system is switched on."""
        return self._engine.resources.assets

    def __repr__(self) -> str:
        """Return address, connection and the number of open jobs; no credentials."""
        engine = self._engine
        state = "new" if engine.loop is None else engine.link.state
        jobs = f" {len(engine.jobs)} jobs" if engine.jobs else ""
        return f"<ComfySession {self.base_url} {'closed' if engine.closed else state}{jobs}>"


def engine_of(session: ComfySession) -> Engine:
    """Return the engine behind a session that a user holds."""
    return session._engine


def _credentials(address: Address, keys: Secret[tuple[str | None, AuthLike, str | None]]) -> Auth:
    """Put the credentials together: of the address, `auth` and the API key.

    Raises:
        ValueError: A key cannot be sent.
    """
    who = address.auth + make_auth(keys.reveal()[1])
    key = Secret.of(keys.reveal()[2])
    if key is None and address.speaks_v2 and who.is_empty:
        key = Secret.of(cloud_api_key())
    return who if key is None else who + Auth.api_key(key.reveal())
