"""The fleet: many workers with the methods of one session."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

import ray

from .._base.hooks import Hooks
from .._base.secrets import Secret
from .._base.settings import Settings
from .._batch.batch import BatchRunner
from .._client.client import Client, Runner
from .._job.job import Job, handle
from .._job.output import OutputFile, source_of
from ..errors import ComfyError, ConnectError
from ..types import JobStatus
from ..workflow import NodeCatalog
from ._command import ComfyCommand
from ._engine import FleetEngine
from ._items import FleetItems
from ._messages import Parcel
from ._remote import RemoteFiles

__all__ = ["ComfyFleet", "Servers"]

Servers: TypeAlias = str | ComfyCommand | Sequence[str | ComfyCommand]

_MAP_LIMIT_EACH = 4


class ComfyFleet(Client):
    """Many ComfyUI servers on a Ray cluster, used as one session.

    Every method means what it means on a `ComfySession`: a job can be awaited and iterated, its
    events come live from the worker's process. A job that outlives its worker, or this driver
    with the same results file, is picked up where it runs; it runs again only when its ComfyUI
    has lost it.

    Args:
        servers: URLs, one worker each; or a `ComfyCommand`, which each worker starts for itself.
        size: How many workers start the command; None is as many as the machines of the cluster
            have room for by what `actor` takes: `num_gpus`, which is 1 unless given, `num_cpus`,
            `memory` and `resources`.
        workers: Actors of `ComfyWorker` that exist already, instead of servers.
        limit: Jobs on one server at once: one runs, the next one waits for it. None is any number.
        away_seconds: How long a server with jobs may be silent before they count as lost, and run
            elsewhere, and how long a batch waits when no server answers; None is for ever. A
            server that was only cut off for so long may have run them too.
        files: Where output files are when a job has ended: "server" leaves them there until they
            are read, "bytes" brings them along, "objects" puts them into Ray's object store, see
            `object()`.
        actor: Ray's options for each worker: `num_gpus`, `num_cpus`, `resources`,
            `runtime_env`, `scheduling_strategy` and so on.
        session: Options of each worker's `ComfySession`: `api_key`, `headers`, `settings`; also `hooks`,
            which then are the worker's, in its process.
        hooks: As for `ComfySession`, here in the driver: they see the fleet's jobs, but not the
            requests, which the workers make.

    Example:
        >>> variants = [flow.with_seed(seed) for seed in range(4)]
        >>> async with ComfyFleet(["http://10.0.0.7:8188", "http://10.0.0.8:8188"]) as fleet:
        ...     async with fleet.map(variants, results="run.jsonl") as finished:
        ...         async for job in finished:
        ...             await (await job).save(f"out/{job.index:03d}")
    """

    def __init__(
        self,
        servers: Servers = (),
        *,
        # Who works.
        size: int | None = None,
        workers: Iterable[Any] = (),
        # How.
        limit: int | None = 2,
        away_seconds: float | None = 30.0,
        files: Literal["server", "bytes", "objects"] = "server",
        actor: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        hooks: Iterable[object] = (),
    ) -> None:
        """Prepare; no worker is made before `async with`.

        Raises:
            ValueError: There is neither a server nor a worker, or an option is invalid.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be 1 or more, not {limit}")
        if files not in ("server", "bytes", "objects"):
            raise ValueError(f'files is "server", "bytes" or "objects", not {files!r}')
        held = Secret([servers] if isinstance(servers, str | ComfyCommand) else list(servers))
        options = Secret(dict(session or {}))
        # Some show the locals of every frame of a traceback.
        del servers, session
        places = [one if isinstance(one, ComfyCommand) else Secret.of(one) for one in held.reveal()]
        given = list(workers)
        if not places and not given:
            raise ValueError("a fleet takes servers or workers")
        commands = any(isinstance(one, ComfyCommand) for one in places)
        actor = {"num_gpus": 1 if commands else None, **(actor or {})}
        settings = options.reveal().get("settings") or Settings()
        settings = dataclasses.replace(settings, away_seconds=away_seconds)
        options.reveal()["settings"] = settings
        self._engine = FleetEngine(
            places,
            given=given,
            size=size,
            limit=limit,
            files_at=files,
            actor={name: value for name, value in actor.items() if value is not None},
            session=options,
            settings=settings,
            hooks=Hooks.of(hooks),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a fleet over the same workers, which stay the first one's."""
        engine = self._engine
        workers = self.workers or engine.given
        options: dict[str, Any] = {
            "size": engine.size,
            "workers": workers,
            "limit": engine.limit,
            "away_seconds": engine.settings.away_seconds,
            "files": engine.files_at,
            "actor": engine.actor,
            "session": Parcel(engine.session.reveal()),
        }
        return functools.partial(ComfyFleet, **options), (Parcel([] if workers else engine.servers),)

    @property
    def _runner(self) -> Runner:
        """What does the work."""
        return self._engine

    def _items(self) -> BatchRunner:
        """Return what runs the items of one batch."""
        return FleetItems(self._engine)

    @property
    def _map_limit(self) -> int:
        """What all workers together may have."""
        engine = self._engine
        return (engine.limit or _MAP_LIMIT_EACH) * max(1, len(engine.places.own))

    @property
    def settings(self) -> Settings:
        """Limits and pauses, of every worker's session too."""
        return self._engine.settings

    # Opening and closing.

    async def connect(self) -> Self:
        """Make the workers, wait until the first of them answers for its server; return the fleet.

        Where Ray is not running in this process it is started, or joined as RAY_ADDRESS says.

        Raises:
            ConnectError: No server answers, or could be started.
            SessionClosedError: It was closed.
            WrongLoopError: It belongs to another event loop.
        """
        await self._engine.connect()
        return self

    async def aclose(self) -> None:
        """End the fleet's own workers; open jobs go on, except on servers that workers started."""
        await self._engine.aclose()

    async def grow(self, count: int = 1) -> None:
        """Add workers that start the fleet's command; they join when their ComfyUI answers.

        Raises:
            ValueError: The fleet has no command to start.
        """
        command = next((server for server in self._engine.servers if isinstance(server, ComfyCommand)), None)
        if command is None:
            raise ValueError("only a fleet of a ComfyCommand can grow")
        self._engine.grow(command, count)

    # Running workflows: `run`, `submit`, `stream` and `map` stand in `Client`.

    async def attach(self, ref: Mapping[str, Any]) -> Job:
        """Pick up a job by its `ref`, from whichever driver it was submitted.

        Raises:
            ConnectError: Its worker's own ComfyUI is gone.
            ValueError: That is no job's ref.
        """
        return handle(await self._engine.attach(ref))

    async def node_catalog(self, *, again: Collection[str] = ()) -> NodeCatalog:
        """Return what the first worker's server can run that answers.

        Raises:
            ConnectError: No worker answers.
            ComfyError: The request of the last worker to its server failed.
        """
        self._engine.check_loop()
        error: ComfyError = ConnectError("no worker of the fleet answers what its server can run")
        for member in self._engine.places.members:
            try:
                found: NodeCatalog = await member.call("catalog", tuple(again))
                return found
            except ComfyError as failure:
                error = failure
        raise error

    async def cancel(self, job: Job | Mapping[str, Any]) -> JobStatus:
        """Cancel a job by itself or by its `ref`; return how it truly ended.

        Raises:
            ConnectError: As `attach`.
        """
        return await (job if isinstance(job, Job) else await self.attach(job)).cancel()

    def object(self, file: OutputFile) -> Any:
        """Return Ray's reference to a file's bytes; they need not pass the driver on their way.

        With `files="objects"` they have been read when the job ends, else they are now.

        Raises:
            SessionClosedError: The fleet is closed.
        """
        source = source_of(file)
        if isinstance(source, bytes):
            return ray.put(source)
        assert isinstance(source, RemoteFiles)
        return source.object(file)

    @property
    def workers(self) -> list[Any]:
        """The workers' actors, for fleets in other processes."""
        return [member.worker for member in self._engine.places.own]

    @property
    def servers(self) -> list[str]:
        """The URLs of the servers that have answered, as their workers see them."""
        return [member.url for member in self._engine.places.own if member.ready]

    def __repr__(self) -> str:
        """Return workers and jobs."""
        members = self._engine.places.members
        ready = sum(member.ready for member in members)
        return f"<ComfyFleet {ready}/{len(members)} workers, {len(self._engine.jobs)} jobs>"
