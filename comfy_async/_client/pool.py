"""The pool: the verbs of a session over several servers."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, cast

from .._base.settings import Settings
from .._batch.batch import Batch, Workflows
from .._job.job import Job
from .._job.result import JobResult
from .._job.stream import JobStream
from .._pool.items import PoolBatch
from .._pool.job import Order, PoolJob
from .._pool.member import Member
from .._pool.servers import PoolServers
from .._session.core import Previews
from .._session.prepare import WorkflowLike, as_workflow
from ..errors import ConnectError
from ..types import Problem
from ..workflow import Workflow
from .session import ComfySession

__all__ = ["ComfyPool"]

_MAP_LIMIT = 32


class ComfyPool(PoolServers):
    """Several ComfyUI servers behind the verbs of one session.

    A job goes to the server with the least to do: the pool's own jobs there and the queue that
    the server reports, divided by its weight. Among equals it goes where its models are loaded.
    A server that refuses a workflow for a node class, a model or a file that it does not have is
    passed over for what needs them, and for nothing else. One that does not answer gets no jobs
    until it does.

    A job that its server has lost runs again elsewhere, up to `attempts` times, under the same
    handle: its stream goes on (`Disconnected`, `Reconnected`, `Queued` and so on), and has one
    end. A failed or refused job does not. No prompt is run twice on purpose: a job is lost when
    its server says that it does not know it, or when the server has not answered for
    `away_seconds`, which you accept by that number; should such a server come back first, the
    job is looked for there, and should it come back later, its old attempt is cancelled. With
    `away_seconds=None` a silent server is waited for, for ever. The same holds for a prompt of
    which nobody knows whether it arrived.

    Args:
        servers: Base URLs, or a mapping of URL to weight. Sessions are taken too, for servers
            with credentials of their own; the pool closes them, and waits for them when silent
            as long as their own settings say.
        limit: The pool's own jobs on each server at once, None for any number. Two keep a
            server busy: one runs, one waits behind it. The others wait here, where the next
            free server takes them, batch by batch in turn.
        attempts: How often a job is run at the most.
        away_seconds: How long a server with jobs may be silent before they count as lost, and
            how long a batch waits when no server answers. In the place of `Settings.away_seconds`.
        retry_out_of_memory: Try a job that ran out of memory on a server that has not had it.
        connect: "lazy" lets `async with` succeed although nobody answers yet.
        settings: For every session.
        options: What `ComfySession` takes, for every server.

    Example:
        >>> variants = [flow.randomized(seed) for seed in range(4)]
        >>> async with ComfyPool(["http://10.0.0.7:8188", "http://10.0.0.8:8188"]) as pool:
        ...     async with pool.map(variants) as finished:
        ...         async for job in finished:
        ...             await (await job).save(f"out/{job.index:03d}")
    """

    def __init__(
        self,
        servers: Iterable[str | ComfySession] | Mapping[str, float],
        *,
        # How the work is shared.
        limit: int | None = 2,
        # What is done about failures.
        attempts: int = 3,
        away_seconds: float | None = 30.0,
        retry_out_of_memory: bool = False,
        # How to get there.
        connect: Literal["eager", "lazy"] = "eager",
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        """Prepare the sessions; nothing is sent before `connect()` or the first call.

        Raises:
            ValueError: A URL, a weight or a number makes no sense.
        """
        if attempts < 1:
            raise ValueError(f"attempts must be 1 or more, not {attempts}")
        settings = dataclasses.replace(settings or Settings(), away_seconds=away_seconds)
        super().__init__(
            settings, attempts=attempts, away_seconds=away_seconds, retry_out_of_memory=retry_out_of_memory
        )
        self._limit = limit
        self._eager = connect == "eager"
        self._session_options = options
        for server in servers:
            weight = float(servers[cast(str, server)]) if isinstance(servers, Mapping) else 1.0
            self.add(server, weight=weight)

    # Opening and closing.

    async def connect(self) -> Self:
        """Make sure that at least one server answers, unless the pool is lazy; return the pool.

        Servers that do not answer get no jobs until they do; `servers` says why.

        Raises:
            ConnectError: None of them answers.
            ComfyError: The only one answers with an error.
            SessionClosedError: It was closed.
            WrongLoopError: It belongs to another event loop.
        """
        self._check_loop()
        members = self._places.members
        if self._eager and members:
            await self._health._ask(members, wait_for_all=True)
            if not any(member.usable for member in members):
                errors = [member.last_error for member in members if member.last_error is not None]
                if len(errors) == len(members) == 1:
                    raise errors[0]
                lines = "; ".join(f"{member.url}: {member.reason}" for member in members)
                raise ConnectError(f"no server of the pool can be reached: {lines}")
        return self

    async def aclose(self, *, cancel_jobs: bool = False) -> None:
        """Close every session; twice is fine. Open jobs go on on their servers unless told otherwise.

        Args:
            cancel_jobs: Cancel the open jobs first.
        """
        shut = functools.partial(self._shut, cancel_jobs=cancel_jobs)
        await self._close_once(shut, name="comfy_async pool closing")

    # Running workflows.

    async def run(self, workflow: WorkflowLike, **options: Any) -> JobResult:
        """Submit a workflow and wait for its result; takes what `submit` takes.

        When the wait is cancelled, so is the job.

        Raises:
            JobError: It failed, was cancelled, or lost on every attempt.
            PromptRejectedError: Every server that was asked refused it.
            ComfyError: As `submit`.
            OSError: As `submit`.
        """
        async with self.stream(workflow, **{"previews": "none", **options, "keep_frames": False}) as job:
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
        """Put a workflow into the queue of one server, and return its job; see `ComfySession.submit`.

        While every server has as many jobs as `limit` allows, it waits for a place.

        Raises:
            PromptRejectedError: No server takes it; `problems` are those of the one that came nearest.
            PartialPromptError: Every server would run only a part of it.
            WorkflowError: It is no workflow, or cannot be converted; nothing was sent.
            OSError: Its file, or one to be uploaded, cannot be read.
            SubmitUnknownError: Whether it arrived cannot be found out (servers before 0.3.44).
            ConnectError: No server that could run it answers; nothing was sent.
            ComfyError: The servers refused or failed otherwise.
            SessionClosedError: The pool is closed.
        """
        self._check_loop()
        options = {
            "on_partial": on_partial,
            "previews": previews,
            "extra_data": extra_data,
            "partner_api_key": partner_api_key,
            "front": front,
            "number": number,
            "targets": None if targets is None else tuple(map(str, targets)),
            "keep_frames": keep_frames,
        }
        order = Order(workflow=Workflow(), options=options, check=check, group=None, patient=False)
        await self._load(order, workflow)
        job = PoolJob(self, order, keep_frames=keep_frames)
        await self._bring(job)
        return job

    def stream(self, workflow: WorkflowLike, **options: Any) -> JobStream:
        """Return `async with` a job that is cancelled when the block is left early.

        Takes what `submit` takes.

        Example:
            >>> async with ComfyPool(["http://10.0.0.7:8188"]) as pool, pool.stream(flow) as job:
            ...     async for event in job:
            ...         print(job.progress)
        """
        return JobStream(cast(ComfySession, self), workflow, options)

    def map(
        self,
        workflows: Workflows,
        *,
        # How many at once, and in which order they come back.
        limit: int = _MAP_LIMIT,
        ordered: bool = False,
        on_error: Literal["continue", "stop"] = "continue",
        results: str | os.PathLike[str] | None = None,
        # What `submit` takes, for each of them.
        **options: Any,
    ) -> Batch:
        """Return `async with` the jobs of many workflows, as they end; see `ComfySession.map`.

        Several batches at once get free places in turn. With `results`, a batch that is started
        again finds its jobs on the servers that had them, even on one that left the pool.

        Args:
            workflows: Any iterable or async iterable of what `submit` takes; read lazily.
            limit: Workflows in hand at once, on all servers and waiting for a place; the pool's
                own limit says how many are on each server.
            ordered: Hand the jobs out in the order of the workflows.
            on_error: "continue", or "stop" at the first failure.
            results: A file of JSON lines to go on from; give seeds with `randomized(n)`.
            options: What `submit` takes; previews are off unless asked for.

        Raises:
            ValueError: `limit` or `on_error` make no sense.
            SessionClosedError: The pool is closed.
            WrongLoopError: It belongs to another event loop.
        """
        self._check_loop()
        return Batch(
            PoolBatch(self),
            workflows,
            limit=limit,
            ordered=ordered,
            on_error=on_error,
            results=results,
            options=options,
        )

    async def attach(self, id_or_ref: str | Mapping[str, str]) -> Job:
        """Pick up a job by its `ref`, or by an id that is then looked for on every server.

        It is followed as by `ComfySession.attach`: what it was to run is not known, so it does
        not run again when it is lost.

        Raises:
            ConnectError: The id was not found, and a server that may have it does not answer.
            ComfyError: The server cannot be asked.
            ValueError: That is no id and no ref, or the pool has no server.

        Example:
            >>> async with ComfyPool(["http://10.0.0.7:8188", "http://10.0.0.8:8188"]) as pool:
            ...     ref = (await pool.submit(flow)).ref
            ...     result = await (await pool.attach(ref))
        """
        self._check_loop()
        if isinstance(id_or_ref, Mapping) and id_or_ref.get("server"):
            member = self._member_at(str(id_or_ref["server"]))
            if member is not None:
                return await member.session.attach(id_or_ref)
        prompt_id = id_or_ref if isinstance(id_or_ref, str) else str(id_or_ref.get("prompt_id") or "")
        members = list(self._places.members)
        if not members or not prompt_id:
            raise ValueError("attach takes a prompt_id or a job's ref, and a server")
        found = await asyncio.gather(*(_has(m, prompt_id) for m in members), return_exceptions=True)
        for member, answer in zip(members, found, strict=True):
            if answer is True:
                return await member.session.attach(id_or_ref)
        silent = [error for error in found if isinstance(error, BaseException)]
        if silent:
            raise silent[0]
        return await members[0].session.attach(id_or_ref)

    async def check(self, workflow: WorkflowLike) -> list[Problem]:
        """Return what the server that suits a workflow best would find wrong with it, [] for nothing.

        Raises:
            WorkflowError: It is no workflow, or no server can convert it.
            OSError: Its file cannot be read.
            ComfyError: No server can be asked.
        """
        self._check_loop()
        made = as_workflow(workflow)
        members = [m for m in self._places.members if m.usable] or self._places.members
        found = await asyncio.gather(*(m.session.check(made) for m in members), return_exceptions=True)
        lists = [problems for problems in found if isinstance(problems, list)]
        if lists:
            return min(lists, key=lambda problems: sum(p.severity == "error" for p in problems))
        for error in found:
            if isinstance(error, BaseException):
                raise error
        raise ConnectError("the pool has no server", hint="`pool.add(url)` brings one.")

    def __repr__(self) -> str:
        """Return the number of servers and of those that answer."""
        members = self._places.members
        healthy = sum(member.usable for member in members)
        return f"<ComfyPool {len(members)} servers, {healthy} healthy>"


async def _has(member: Member, prompt_id: str) -> bool:
    """Say whether a server knows a job.

    Raises:
        ComfyError: It cannot be asked.
    """
    session = member.session
    await session._known_server()
    if await session._api.history(prompt_id) is not None:
        return True
    return prompt_id in (await session._api.snapshot()).entries
