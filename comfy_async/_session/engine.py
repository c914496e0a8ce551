"""The engine of a session: its parts put together, and what they do for its callers."""

from __future__ import annotations

import asyncio
import functools
import uuid
import warnings
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .._base.cleanups import Work
from .._base.hooks import NO_HOOKS, Hooks
from .._base.secrets import Secret
from .._base.settings import Settings
from .._base.tasks import look_at
from .._dialects.choose import what_answers
from .._dialects.dialect import Dialect
from .._dialects.server import ServerInfo
from .._job.core import JobCore
from .._job.leaving import JobLifetime
from .._job.mailbox import EventStream, Mailbox
from .._protocol.meter import Timings
from .._protocol.plan import Plans
from .._resources.access import Resources
from .._transport.http import HttpClient
from ..errors import SessionClosedError
from ..types import Connection, JobStatus
from ..workflow import Workflow
from .attach import attach
from .cancel import Canceller
from .keys import KeyedWork, Keys
from .link import Link
from .offered import offered, submitting
from .open_jobs import OpenJobs
from .options import Previews, submit_options
from .poller import Poller
from .prepare import WorkflowLike, prepare
from .router import Router
from .socket_health import SocketHealth
from .streams import Streams
from .submission import Submission

if TYPE_CHECKING:
    from .._resources.files import Files

__all__ = ["Engine"]


class Engine(JobLifetime):
    """One HTTP client, one WebSocket, one poller, and every job between them.

    The walk of a submit: `submit` prepares the workflow, `Submission` posts it through the dialect,
    `Router` brings its events. Everything that the package does with a session goes through here:
    the public `ComfySession`, a pool, a batch, a worker of a fleet.

    Attributes:
        settings: Limits and pauses.
        clock: What time it is.
        client_id: Under which the server sends events.
        http: The HTTP client; knows the credentials.
        api: The requests that runs need, in the server's dialect.
        jobs: The open jobs.
        watchers: The readers of the events of all of them.
        link: The socket.
        health: Whether the socket still receives messages.
        streams: What single jobs are followed by, where the server has a stream for each.
        poller: What finds by HTTP what the socket does not say.
        router: What brings the jobs their events.
        canceller: What stops jobs.
        resources: The rest of the server.
        keys: What keeps each key to one job.
        plans: What the graphs of earlier jobs were going to do.
        timings: How long their nodes took.
        veil: Masks the keys in what is shown.
        previews: What jobs get by default.
        partner_api_key: The key for partner nodes, sent along with every prompt.
        hooks: What is called for what happens.
    """

    kind = "session"

    def __init__(
        self,
        http: HttpClient,
        api: Dialect,
        *,
        settings: Settings,
        finds_out: bool = False,
        client_id: str | None = None,
        uses_socket: bool = True,
        previews: Previews = "auto",
        partner_api_key: Secret[str] | None = None,
        key_namespace: str = "",
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """Put the parts together; nothing is sent. `finds_out` lets the first answer decide the dialect."""
        super().__init__()
        self.settings = settings
        self.clock = settings.clock
        self.client_id = client_id or uuid.uuid4().hex
        self.http = http
        self.api = api
        self._finds_out = finds_out
        self._may_use_socket = uses_socket
        self.previews: Previews = previews
        self.partner_api_key = partner_api_key
        self.veil = http.veil
        self.veil.add(partner_api_key)
        self.hooks = hooks
        if hooks is not NO_HOOKS:
            hooks.veils.append(self.veil)
        http.hooks = hooks
        self.plans = Plans()
        self.timings: Timings = {}
        self.resources = Resources(self)
        self.keys = Keys(self, key_namespace)
        self._probing: asyncio.Task[ServerInfo] | None = None
        self._works: set[asyncio.Task[None]] = set()
        self._connect_parts()

    def _connect_parts(self) -> None:
        """Hand each part what it works with, from the socket to the jobs."""
        client_id, settings, server, hooks = self.client_id, self.settings, self.base_url, self.hooks
        on_connection = hooks.on_connection and functools.partial(hooks.on_connection, server)
        jobs = OpenJobs(self.clock, on_connection=on_connection)
        self.jobs, self.watchers = jobs, jobs.watchers
        self.link = Link(self.http, client_id, settings)
        self.health = SocketHealth(self.link, jobs, speaker=self, client_id=client_id, settings=settings)
        self.streams = Streams(jobs, speaker=self, settings=settings)
        self.poller = Poller(
            jobs,
            speaker=self,
            client_id=client_id,
            link=self.link,
            health=self.health,
            streams=self.streams,
            settings=settings,
            on_poll=hooks.on_poll and functools.partial(hooks.on_poll, server),
        )
        self.streams.poller = self.poller
        self.router = Router(
            jobs,
            speaker=self,
            clock=self.clock,
            link=self.link,
            health=self.health,
            poller=self.poller,
            streams=self.streams,
        )
        self.link.listener = self.router
        self.canceller = Canceller(speaker=self, poller=self.poller, settings=settings)

    def __del__(self) -> None:
        """Warn that the session was not closed, as asyncio's transports do; no I/O is done here."""
        link = getattr(self, "link", None)
        # Without a link its making has failed.
        if link is not None and not self.closed and (self.api.probed or link.state != "idle"):
            text = f"unclosed session with {self.api.address}: use `async with` or `await session.aclose()`"
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    # What it is.

    @property
    def uses_socket(self) -> bool:
        """False when it works without any WebSocket: it was told to, or the server has none."""
        return self._may_use_socket and self.api.has_socket

    @property
    def base_url(self) -> str:
        """The server's address without credentials and without a trailing slash."""
        return self.api.address

    @property
    def server(self) -> ServerInfo:
        """What the server is and can do, as far as it is known."""
        return self.api.server

    @property
    def files(self) -> Files:
        """Where the bytes of output files come from."""
        return self.resources.files

    @property
    def connection(self) -> Connection:
        """How the session receives messages from the server at this moment."""
        link, heard = self.link, self.link.last_heard
        if not self.api.has_socket:
            live = self.streams.live
            state = "closed" if self.closed else "streaming" if live else "idle"
            return Connection(state, polling=len(self.jobs) > live, reconnects=0, last_heard=None)
        return Connection(
            state="stalled" if link.hearing and self.health.stalled else link.state,
            polling=bool(self.jobs) and (not link.hearing or self.health.stalled),
            reconnects=link.reconnects,
            last_heard=None if heard is None else self.clock.monotonic() - heard,
            reason=link.reason,
            malformed=link.malformed,
        )

    async def known_server(self) -> ServerInfo:
        """Ask once what the server is, however many need it: what every request begins with.

        Raises:
            WrongLoopError: The session belongs to another event loop.
            SessionClosedError: It is closed, or was before there was an answer.
            ComfyError: The server does not answer, or is no ComfyUI.
        """
        self.check_loop()
        if self.api.server.version or self.api.probed:
            return self.api.server
        probing = self._probing
        if probing is None or probing.done():
            probing = self._probing = asyncio.create_task(self._probe(), name="comfy_async probe")
            probing.add_done_callback(look_at)
        await asyncio.wait([probing])
        if probing.cancelled():
            # By `aclose()`: as a CancelledError whoever waits here would take it for an own one.
            raise self.closed_error(None)
        return probing.result()

    async def _probe(self) -> ServerInfo:
        """Request what the server is, and find its dialect unless that was given."""
        if not self._finds_out:
            return await self.api.probe()
        self.api = await what_answers(self.api, self.http)
        self._finds_out = False
        if not self.api.has_socket and self.link.state != "idle":
            self.link.give_up("this server has no WebSocket")
        return self.api.server

    async def hear(self) -> None:
        """Wait until the socket receives messages, for as long as it is worth waiting."""
        if self.uses_socket:
            await self.link.settled(self.settings.hearing_seconds)

    def listen(self) -> None:
        """Connect in the background, for readers of the events of the whole session."""
        if self.uses_socket:
            self.link.start()

    def events(self) -> EventStream:
        """Return every event from now on: of all jobs, and those of no job."""
        self.check_loop()
        settings = self.settings
        box = Mailbox(max_events=settings.mailbox_events, max_bytes=settings.mailbox_bytes, firm=True)
        self.watchers.boxes.append(box)
        self.listen()
        return EventStream(box, self.watchers.drop)

    # Jobs come in.

    async def submit(self, workflow: WorkflowLike, options: Mapping[str, Any]) -> JobCore:
        """Put a workflow into the server's queue, exactly once; takes what `ComfySession.submit` takes.

        Raises:
            ComfyError: As `ComfySession.submit`.
            OSError: A file cannot be read.
            Exception: What a hook raises before anything is sent.
        """
        rest = dict(options)
        with submitting(self.hooks, workflow):
            workflow = offered(self.hooks, workflow, rest)
            await self.known_server()
            key, whole = rest.pop("key", None), rest.get("on_partial", "raise") == "raise"
            ready = await self.prepared(workflow, check=rest.pop("check", False), whole=whole)
            if key is None:
                return await Submission(self, ready, submit_options(self, **rest)).run()
            return await self.keys.submit(KeyedWork(key, ready, submit_options(self, **rest)))

    async def prepared(self, workflow: WorkflowLike, *, check: bool = False, whole: bool = True) -> Workflow:
        """Return a workflow that can be sent: loaded, converted, its files uploaded, checked.

        Raises:
            ComfyError: It is no workflow, or the server refuses a part of it.
            OSError: A file cannot be read.
        """
        return await prepare(self, workflow, check=check, whole=whole)

    async def attach(self, id_or_ref: str | Mapping[str, Any], *, hooks: Hooks | None = None) -> JobCore:
        """Pick up a job by its id or `ref`; a pool calls its own hooks for it.

        Raises:
            ComfyError: The request failed.
            ValueError: That is no id and no ref.
        """
        await self.known_server()
        return await attach(self, id_or_ref, self.hooks if hooks is None else hooks)

    def wanted(self, job: JobCore) -> None:
        """Follow a job closely: somebody reads its events, or waits for its end."""
        if self.api.has_streams and job.prompt_id not in self.jobs.posting:
            self.streams.follow(job)

    def ask_for_place(self, job: JobCore) -> bool:
        """Have the queue read for a job's place, once for all jobs that ask now; in no other thread."""
        if self.loop is None or self.loop is not _running_loop():
            return False
        self.poller.poke([job])
        return True

    # Jobs go.

    def job_ended(self, job: JobCore) -> None:
        """Let go of a job that has ended, or gone elsewhere."""
        self.router.ended(job)

    def stopping(
        self, prompt_ids: Iterable[str] | None = None, *, of: Collection[str] = ("pending",)
    ) -> AbstractContextManager[None]:
        """While jobs are stopped from outside (None: all), ours in such a state end as cancelled.

        Raises:
            WrongLoopError: They live in another event loop: nothing is touched.
            SessionClosedError: The session is closed.
        """
        self.check_loop()
        return self.router.stopping(prompt_ids, of=of)

    async def cancel(self, job: JobCore) -> JobStatus:
        """Cancel one job and return its true end; goes on although the caller is cancelled.

        Raises:
            ComfyError: The request failed.
        """
        self.check_loop()
        work = functools.partial(self.canceller.cancel, job)
        return await self.cleanups.see_to(work, name="comfy_async cancel")

    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job that is not waited for; None when there is nothing to be done."""
        if job.done or self.closed:
            return None
        work = functools.partial(self.canceller.abandon, job)
        return self._leave_once(job, work, name="comfy_async job abandoned")

    def _begin(self, work: Work[None], *, name: str) -> asyncio.Task[None]:
        """Begin with what has to be done before the connections are closed."""
        task = super()._begin(work, name=name)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    # The end.

    async def aclose(self, *, cancel_jobs: bool = False) -> None:
        """Close everything; a second call does nothing. Open jobs go on on the server by default."""
        if cancel_jobs and not self.closed:
            await asyncio.gather(*(self.cancel(job) for job in self.jobs), return_exceptions=True)
        await self.close_once(self._shut, name="comfy_async closing")

    def send_home(self) -> None:
        """Wake all that wait for a job or an event; the jobs go on, except those that are being cancelled."""
        for job in self.jobs:
            if not job.leaving:
                job.abandon(self.closed_error(job.prompt_id))
                self.jobs.remove(job)
        self.watchers.close()

    async def _shut(self, seconds: float | None) -> None:
        """End the tasks, the socket and the HTTP client, in bounded time."""
        while self._works:
            await asyncio.wait(list(self._works))
        for job in self.jobs:
            job.abandon(self.closed_error(job.prompt_id))
            self.jobs.remove(job)
        await self.poller.aclose()
        await self.streams.aclose()
        await self.link.aclose()
        await self.hooks.close(seconds)
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        await self.http.aclose()
        await self.cleanups.finish()

    def closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after `aclose()`."""
        what = "" if prompt_id is None else f" before job {prompt_id} had ended"
        return SessionClosedError(
            f"the session with {self.base_url} was closed{what}",
            hint="Open another one; `attach` picks up what still runs." if prompt_id else "",
            prompt_id=prompt_id,
            server=self.base_url,
        )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, None when there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
