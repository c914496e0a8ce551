"""The engine of a fleet: it makes workers, accepts jobs, and drops both."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final

import ray

from .._base.hooks import NO_HOOKS, Hooks
from .._base.secrets import Secret, Veil
from .._base.settings import Settings
from .._client.session import ComfySession, engine_of
from .._job.core import JobCore
from .._job.hooks import introduce
from .._job.leaving import JobLifetime
from .._protocol.meter import Timings
from .._session.engine import Engine
from .._session.offered import offered, submitting
from .._session.options import SubmitOptions, submit_options
from .._session.prepare import WorkflowLike, loaded
from ..errors import ComfyError, ConnectError, SessionClosedError, UnsupportedError
from ..types import JobStatus
from ._carrier import Carrier, FilesAt, with_files_read
from ._command import ComfyCommand
from ._job import FleetJob
from ._member import Member, Server
from ._messages import Parcel
from ._places import Places
from ._worker import ComfyWorker

__all__ = ["FleetEngine", "room_on", "wanted_of"]

_log = logging.getLogger("comfy_async")

_CALLS_AT_ONCE: Final = 1000


class FleetEngine(JobLifetime):
    """Runs each job behind one of several workers, and behind another one when its server has lost it.

    Attributes:
        settings: Limits and pauses, of every worker's session too.
        clock: What time it is.
        servers: What workers are made for.
        given: Workers that the caller has made.
        size: How many start a command, None for as many as there is room for.
        limit: Jobs on one server at once, None for any number.
        files_at: Where output files are when a job has ended.
        actor: Ray's options for each worker.
        session: What each worker's `ComfySession` takes.
        places: The workers, and the queue for them.
        carrier: What brings jobs to their end.
        jobs: The open jobs.
        timings: How long the nodes of earlier jobs took.
        hooks: What is called for what happens.
    """

    kind = "fleet"

    def __init__(
        self,
        servers: Iterable[Server],
        *,
        given: Iterable[Any],
        size: int | None,
        limit: int | None,
        files_at: FilesAt,
        actor: Mapping[str, Any],
        session: Secret[dict[str, Any]],
        settings: Settings,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """Prepare; no worker is made before `connect`."""
        super().__init__()
        self.settings = settings
        self.clock = settings.clock
        self.servers = list(servers)
        self.given = list(given)
        self.size = size
        self.limit = limit
        self.files_at: FilesAt = files_at
        self.actor = dict(actor)
        self.session = session
        self.timings: Timings = {}
        self.hooks = hooks
        self.places = Places(self.clock, away_seconds=settings.away_seconds)
        self.carrier = Carrier(self)
        self.jobs: set[FleetJob] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    @functools.cached_property
    def _pattern(self) -> Engine:
        """A session as the workers have theirs: it knows the keys and the options; nothing is sent by it."""
        options = Secret({**self.session.reveal(), "settings": self.settings})
        # A file of certificates need only be where the workers are.
        options.reveal().pop("verify", None)
        return engine_of(ComfySession("http://ray", **options.reveal()))

    @property
    def veil(self) -> Veil:
        """Masks the keys in what is shown."""
        return self._pattern.veil

    # The workers.

    async def connect(self) -> None:
        """Make the workers, and wait until the first of them answers for its server.

        Raises:
            ConnectError: No server answers, or could be started.
            SessionClosedError: It was closed.
            WrongLoopError: It belongs to another event loop.
        """
        is_open = self.loop is not None
        super().check_loop()
        if is_open:
            return
        if not ray.is_initialized():
            # A client starts no reports to third parties; who wants them says so.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            await asyncio.to_thread(ray.init, log_to_driver=False)
        try:
            await self._hire_all()
        except BaseException:
            await self.aclose()
            raise

    async def _hire_all(self) -> None:
        """Make a worker for each server, and open them and those that were given."""
        for server in self.servers:
            count = await self._count() if isinstance(server, ComfyCommand) else 1
            for _ in range(count):
                self._add(server)
        members = self.places.members
        members += [Member(self, None, worker=worker) for worker in self.given]
        opening = {self.spawn(self._join(member)): member for member in members}
        slow = {task for task, member in opening.items() if isinstance(member.server, ComfyCommand)}
        if len(slow) < len(opening):
            await asyncio.wait(opening.keys() - slow)
        waiting = set(opening)
        while not any(member.ready and member.error is None for member in members):
            if not waiting:
                errors = [member.error for member in members if member.error is not None]
                raise errors[0] if errors else ConnectError("no server of the fleet answers")
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _count(self) -> int:
        """Return how many workers shall start the command."""
        if self.size is not None:
            return self.size
        machines = await asyncio.to_thread(ray.nodes)
        wanted = wanted_of(self.actor)
        room = sum(room_on(machine["Resources"], wanted) for machine in machines if machine["Alive"])
        if not room:
            _log.warning("no machine of the cluster has %s: the worker waits until one joins", wanted)
        return max(1, room)

    def grow(self, command: ComfyCommand, count: int) -> None:
        """Add workers, which join when their ComfyUI answers."""
        for _ in range(count):
            self.spawn(self._join(self._add(command)))

    async def member_at(self, server: str) -> Member | None:
        """Return the worker for a server that a ref names; None when it was its own, long ago."""
        for member in self.places.members:
            if member.url == server or (member.owned and server == f"ray:{member.client_id}"):
                return member
        if not server.startswith(("http://", "https://")):
            return None
        # Not one of ours any more, but the job may still be there: it gets no new ones.
        member = self._add(Secret(server))
        member.visiting = True
        await self._join(member)
        return member

    def _add(self, server: Server) -> Member:
        """Make a worker."""
        member = Member(self, server, client_id=uuid.uuid4().hex)
        self.places.members.append(member)
        return member

    async def _join(self, member: Member) -> None:
        """Open a worker; one that fails gets no jobs."""
        try:
            await member.open()
        except Exception as error:
            member.error = error
            if isinstance(error, ComfyError) and not member.gone:
                member.down(error)
            else:
                member.gone = True
                _log.warning("a worker of the fleet does not join: %s", error)
            self.wake()

    def hire(self, server: Server, client_id: str) -> Any:
        """Make an actor; Ray starts it where there is room, and again when it dies."""
        options = {
            "num_cpus": 0,
            "max_restarts": -1,
            "max_task_retries": 0,
            "max_concurrency": _CALLS_AT_ONCE,
            **self.actor,
        }
        actor = ray.remote(ComfyWorker).options(**options)
        place = Parcel(server.reveal() if isinstance(server, Secret) else server)
        session = Parcel(self.session.reveal())
        return actor.remote(place, limit=self.limit, client_id=client_id, session=session)

    def wake(self) -> None:
        """Give free places to those who wait."""
        self.places.wake()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background, and hold on to it."""
        task = asyncio.create_task(work, name="comfy_async fleet")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Jobs come in.

    async def submit(self, workflow: WorkflowLike, options: Mapping[str, Any]) -> FleetJob:
        """Put a workflow into the queue of the least loaded server that can run it.

        Raises:
            UnsupportedError: It has a key.
            ComfyError: As `ComfySession.submit`.
            OSError: A file cannot be read.
            Exception: What a hook raises before anything is sent.
        """
        self.check_loop()
        if options.get("key") is not None:
            raise UnsupportedError(
                "a fleet cannot hold a job to a key",
                hint="Keep `job.ref` beside the key, and `attach` to it.",
            )
        given = {name: value for name, value in options.items() if name != "key"}
        with submitting(self.hooks, workflow):
            workflow = offered(self.hooks, workflow, given)
            ready = await with_files_read(await loaded(workflow))
            job = FleetJob(self, ready, self.options(given), patient=False)
            introduce(job, self.hooks, job.options.extra_data)
            self.follow(job, self.carrier.run(job))
            try:
                await asyncio.shield(job.accepted)
            except asyncio.CancelledError:
                await self.abandon(job)
                raise
        job.handed_out = True
        return job

    def options(self, options: Mapping[str, Any]) -> SubmitOptions:
        """Fill in the defaults of the workers' sessions, and hold the keys as secrets."""
        return submit_options(self._pattern, **options)

    async def attach(self, ref: Mapping[str, Any]) -> FleetJob:
        """Pick up a job by its `ref`.

        Raises:
            ConnectError: Its worker's own ComfyUI is gone.
            ValueError: That is no job's ref.
        """
        self.check_loop()
        if not {"prompt_id", "client_id", "server"} <= ref.keys():
            raise ValueError("a fleet attaches by a job's ref")
        member = await self.member_at(ref["server"])
        if member is None:
            raise ConnectError(f"the ComfyUI of {ref['server']} is gone", server=ref["server"])
        job = FleetJob(self, None, self.options({"labels": ref.get("labels")}), patient=True)
        introduce(job, self.hooks, job.options.extra_data)
        self.follow(job, self.carrier.resume(job, member, ref["prompt_id"], ref["client_id"]))
        job.handed_out = True
        return job

    def follow(self, job: FleetJob, work: Coroutine[Any, Any, None]) -> None:
        """Bring a job to its end in the background."""
        self.jobs.add(job)
        job.following = self.spawn(work)

    # Jobs go.

    def job_ended(self, job: JobCore) -> None:
        """Drop a job that has ended."""
        self.jobs.discard(job)

    async def cancel(self, job: JobCore) -> JobStatus:
        """Cancel a job wherever it is and return its true end; goes on although the caller is cancelled."""
        self.check_loop()
        assert isinstance(job, FleetJob)
        work = functools.partial(self.carrier.cancel, job)
        return await self.cleanups.see_to(work, name="comfy_async fleet cancel")

    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job that is not waited for; None when there is nothing to be done."""
        if job.done or self.closed:
            return None
        assert isinstance(job, FleetJob)
        work = functools.partial(self.carrier.abandon, job)
        return self._leave_once(job, work, name="comfy_async fleet job abandoned")

    # The end.

    def check_loop(self) -> None:
        """Demand that it is open, in this loop.

        Raises:
            WrongLoopError: It was opened in another loop.
            SessionClosedError: It is not open.
        """
        if self.loop is None:
            raise self.closed_error(None)
        super().check_loop()

    async def aclose(self) -> None:
        """End the fleet's own workers; open jobs go on, except on servers that workers started."""
        await self.close_once(self._shut, name="comfy_async fleet closing")

    def send_home(self) -> None:
        """Wake all that wait for a job; the jobs go on, except those that are being cancelled."""
        for job in self.jobs.copy():
            if not job.leaving:
                self._let_go(job)

    def _let_go(self, job: FleetJob) -> None:
        """Stop following a job, which goes on."""
        job.abandon(self.closed_error(job.prompt_id))
        self.jobs.discard(job)
        if job.following is not None:
            job.following.cancel()

    async def _shut(self, seconds: float | None) -> None:
        """End the tasks and the workers, after the jobs that are not waited for are cancelled."""
        await self.cleanups.finish()
        for job in self.jobs.copy():
            self._let_go(job)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.hooks.close(seconds)
        await asyncio.gather(*(member.close() for member in self.places.members), return_exceptions=True)

    def closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes before `async with` or after it."""
        return SessionClosedError(
            "the fleet is not open", hint="Use it inside `async with`.", prompt_id=prompt_id
        )


def wanted_of(actor: Mapping[str, Any]) -> dict[str, float]:
    """Return what a worker takes of a machine, in Ray's names, by its actor options."""
    wanted = {
        "GPU": actor.get("num_gpus"),
        "CPU": actor.get("num_cpus"),
        "memory": actor.get("memory"),
        **(actor.get("resources") or {}),
    }
    return {name: float(amount) for name, amount in wanted.items() if amount}


def room_on(there: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """Return how many workers a machine has room for; one where they take nothing that is counted."""
    return int(min((there.get(name, 0.0) // amount for name, amount in wanted.items()), default=1.0))
