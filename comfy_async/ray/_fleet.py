"""The fleet: many workers, one face, which is that of a session."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, cast

import ray

from .._base.settings import Settings
from .._batch.batch import Batch, Workflows
from .._job.job import Job
from .._job.result import JobResult, OutputFile
from .._job.stream import JobStream, abandon
from .._session.prepare import WorkflowLike, as_workflow
from ..errors import ConnectError
from ..types import JobStatus
from ._command import ComfyCommand
from ._fleet_core import FleetCore, submit_options
from ._flight import Flight
from ._lane import Seat, options_of

__all__ = ["ComfyFleet"]

_log = logging.getLogger("comfy_async")

Servers: TypeAlias = str | ComfyCommand | Sequence[str | ComfyCommand]


class ComfyFleet(FleetCore):
    """Many ComfyUI servers on a Ray cluster, used as one session.

    Every verb means what it means on a `ComfySession`: a job can be awaited and iterated, its
    events come live from the worker's process. A job that outlives its worker, or this driver
    with the same results file, is picked up where it runs; it runs again only when its ComfyUI
    has lost it.

    Args:
        servers: URLs, one worker each; or a `ComfyCommand`, started by each worker anew.
        size: How many workers start the command; None is as many as the machines of the cluster
            have room for by what `actor` takes: `num_gpus`, which is 1 unless given, `num_cpus`,
            `memory` and `resources`.
        workers: Actors of `ComfyWorker` that exist already, in the place of servers.
        limit: Jobs on one server at once: one runs, the next one waits for it. None is any number.
        away_seconds: How long a server with jobs may be silent before they count as lost, and run
            elsewhere, and how long a batch waits when no server answers; None is for ever. A
            server that was only cut off for so long may have run them too.
        files: Where output files are when a job has ended: "server" leaves them there until they
            are read, "bytes" brings them along, "objects" puts them into Ray's object store, see
            `object()`.
        actor: Ray's options for each worker: `num_gpus`, `num_cpus`, `resources`,
            `runtime_env`, `scheduling_strategy` and so on.
        session: Options of each worker's `ComfySession`: `api_key`, `headers`, `settings`.

    Example:
        >>> variants = [flow.randomized(seed) for seed in range(4)]
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
    ) -> None:
        """Prepare; no worker is made before `async with`.

        Raises:
            ValueError: There is neither a server nor a worker, or an option makes no sense.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be 1 or more, not {limit}")
        if files not in ("server", "bytes", "objects"):
            raise ValueError(f'files is "server", "bytes" or "objects", not {files!r}')
        self._servers = [servers] if isinstance(servers, str | ComfyCommand) else list(servers)
        self._given = list(workers)
        if not self._servers and not self._given:
            raise ValueError("a fleet takes servers or workers")
        self._size = size
        self._limit = limit
        self._files = files
        commands = any(isinstance(server, ComfyCommand) for server in self._servers)
        self._actor = options_of({"num_gpus": 1 if commands else None, **(actor or {})})
        own = (session or {}).get("settings") or Settings()
        self.settings: Settings = dataclasses.replace(own, away_seconds=away_seconds)
        self._session_options = {**(session or {}), "settings": self.settings}
        self._clock = self.settings.clock
        super().__init__()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as a fleet over the same workers, which stay the first one's."""
        workers = [lane.worker for lane in self._lanes if not lane.visiting] or self._given
        fields = {
            "limit": self._limit,
            "away_seconds": self.settings.away_seconds,
            "files": self._files,
            "actor": self._actor,
            "session": self._session_options,
        }
        return _fleet_of, ([] if workers else self._servers, workers, self._size, fields)

    # Opening and closing.

    async def connect(self) -> Self:
        """Make the workers, wait until the first of them answers for its server; return the fleet.

        Where Ray is not running in this process it is started, or joined as RAY_ADDRESS says.

        Raises:
            ConnectError: No server answers, or could be started.
            SessionClosedError: It was closed.
        """
        if self._closed:
            raise self._closed_error(None)
        if self._loop is not None:
            return self
        self._loop = asyncio.get_running_loop()
        if not ray.is_initialized():
            # A client starts no reports to third parties; who wants them says so.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            await asyncio.to_thread(ray.init, log_to_driver=False)
        try:
            await self._hire_all()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """End the fleet's own workers; open jobs go on, except on servers that workers started."""
        await self._close_once(self._shut, name="comfy_async fleet closing")

    async def _shut(self) -> None:
        """End the tasks and the workers."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.gather(*(lane.close() for lane in self._lanes), return_exceptions=True)
        self._wake()

    async def grow(self, count: int = 1) -> None:
        """Add workers that start the fleet's command; they join when their ComfyUI answers.

        Raises:
            ValueError: The fleet has no command to start.
        """
        command = next((server for server in self._servers if isinstance(server, ComfyCommand)), None)
        if command is None:
            raise ValueError("only a fleet of a ComfyCommand can grow")
        for _ in range(count):
            self._spawn(self._joined(self._add(command)))

    # Running workflows.

    async def run(self, workflow: WorkflowLike, **options: Any) -> JobResult:
        """Submit a workflow and wait for its result; takes what `submit` takes.

        Raises:
            JobError: It failed, was cancelled, or lost again and again.
            ComfyError: As `submit`.
        """
        async with self.stream(workflow, **{"previews": "none", **options, "keep_frames": False}) as job:
            return await job

    async def submit(self, workflow: WorkflowLike, **options: Any) -> Job:
        """Put a workflow into the queue of the least loaded server that can run it; return its job.

        Takes what `ComfySession.submit` takes. Waits while all servers are at their limit.

        Raises:
            PromptRejectedError: Every server that answers refused it; this is the nearest miss.
            WorkflowError: It is no workflow, or cannot be converted.
            SubmitUnknownError: Whether it arrived could not be found out.
            ConnectError: Nobody answers; nothing was sent.
            SessionClosedError: The fleet is closed.
        """
        self._check_open()
        flight = Flight(self, as_workflow(workflow), submit_options(**options), patient=False)
        self._launch(flight, flight.run())
        try:
            await asyncio.shield(flight.accepted)
        except asyncio.CancelledError:
            await abandon(cast(Any, self), flight.job)
            raise
        return flight.job

    def stream(self, workflow: WorkflowLike, **options: Any) -> JobStream:
        """Return `async with` a job that is cancelled on its server when the block is left early."""
        return JobStream(cast(Any, self), workflow, options)

    def map(
        self,
        workflows: Workflows,
        *,
        limit: int | None = None,
        ordered: bool = False,
        on_error: Literal["continue", "stop"] = "continue",
        results: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Batch:
        """Return `async with` the jobs of many workflows, as they end; as `ComfySession.map`.

        Args:
            workflows: Any iterable or async iterable of what `submit` takes; read lazily.
            limit: Jobs in the fleet at once; None is what all workers together may have.
            ordered: Hand the jobs out in the order of the workflows.
            on_error: "continue" leaves each failure to whoever awaits that job, "stop" raises it.
            results: A file of JSON lines, with which another driver goes on when this one dies;
                give seeds with `randomized(n)`.
            options: What `submit` takes.

        Raises:
            ValueError: `limit` or `on_error` make no sense.
        """
        self._check_open()
        total = (self._limit or 4) * max(1, sum(not lane.visiting for lane in self._lanes))
        return Batch(
            self,
            workflows,
            limit=total if limit is None else limit,
            ordered=ordered,
            on_error=on_error,
            results=results,
            options=options,
        )

    async def attach(self, ref: Mapping[str, str]) -> Job:
        """Pick up a job by its `ref`, from whichever driver it was submitted.

        Raises:
            ConnectError: Its worker's own ComfyUI is gone.
            ValueError: That is no job's ref.
        """
        self._check_open()
        if not {"prompt_id", "client_id", "server"} <= ref.keys():
            raise ValueError("a fleet attaches by a job's ref")
        lane = await self._lane_of(ref["server"])
        if lane is None:
            raise ConnectError(f"the ComfyUI of {ref['server']} is gone", server=ref["server"])
        flight = Flight(self, None, submit_options(), patient=True)
        self._launch(flight, flight.resume(lane, ref["prompt_id"], ref["client_id"]))
        return flight.job

    async def cancel(self, job: Job | Mapping[str, str]) -> JobStatus:
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
        seat = cast(Seat, file._reader)
        key = (file.filename, file.subfolder, file.type)
        if file._data is not None:
            return ray.put(file._data.image)
        if not isinstance(seat.kept.get(key), ray.ObjectRef):
            return ray.put(seat.kept[key]) if key in seat.kept else seat.ask_for(key)
        return seat.kept[key]

    @property
    def workers(self) -> list[Any]:
        """The workers' actors, for fleets in other processes."""
        return [lane.worker for lane in self._lanes if not lane.visiting]

    @property
    def servers(self) -> list[str]:
        """The URLs of the servers that have answered, as their workers see them."""
        return [lane.url for lane in self._lanes if lane.ready and not lane.visiting]

    def __repr__(self) -> str:
        """Return workers and jobs."""
        ready = sum(lane.ready for lane in self._lanes)
        return f"<ComfyFleet {ready}/{len(self._lanes)} workers, {len(self._flights)} jobs>"


def _fleet_of(servers: list[Any], workers: list[Any], size: int | None, fields: dict[str, Any]) -> ComfyFleet:
    """Make a fleet from its pickled parts."""
    return ComfyFleet(servers, workers=workers, size=size, **fields)
