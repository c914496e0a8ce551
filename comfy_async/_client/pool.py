"""The pool: the methods of a session over several servers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, Self, cast

from .._base.hooks import Hooks
from .._base.settings import Settings
from .._base.words import demand_word
from .._batch.batch import BatchRunner
from .._job.job import Job, handle
from .._job.mailbox import EventStream
from .._pool.engine import PoolEngine
from .._pool.items import PoolItems
from .._pool.member import Member, PoolServer
from .._pool.servers import undecided
from .._session.engine import Engine
from .._session.prepare import WorkflowLike, check_with, loaded
from ..errors import ComfyError, ConnectError
from ..workflow import NodeCatalog, ProblemList
from .client import Client, Runner
from .session import ComfySession, engine_of

__all__ = ["ComfyPool", "pool_engine_of"]


class ComfyPool(Client):
    """Several ComfyUI servers behind the methods of one session.

    A job goes to the server with the least to do: the pool's own jobs there and the queue that
    the server reports, divided by its weight. Among equals it goes where its models are loaded.
    A server that refuses a workflow for a node class, a model or a file that it does not have is
    skipped for workflows that need them, and for nothing else. One that does not answer gets no jobs
    until it does.

    A job that its server has lost runs again elsewhere, up to `attempts` times, under the same
    handle: its stream goes on (`Disconnected`, `Reconnected`, `Queued` and so on), and has one
    end. A failed or refused job does not. No prompt is run twice on purpose: a job is lost when
    its server says that it does not know it, or when the server has not answered for
    `away_seconds`, which you accept by that number; if such a server comes back first, the
    job is looked up there, and if it comes back later, its old attempt is cancelled. With
    `away_seconds=None` the pool waits for a silent server, for ever. The same holds for a prompt of
    which it is unknown whether it arrived.

    A `key` is looked up on every server, and one that does not answer is an error: it may have the
    job. Two pools of two processes that submit a key at the same moment may do so on two servers.

    Args:
        servers: Base URLs, or a mapping of URL to weight. Sessions are taken too, for servers
            with credentials of their own; the pool closes them, and waits for silent ones
            as long as their own settings say.
        limit: The pool's own jobs on each server at once, None for any number. Two keep a
            server busy: one runs, one waits behind it. The others wait in the pool, where the next
            free server takes them, batch by batch in turn.
        attempts: How often a job is run at the most.
        away_seconds: How long a server with jobs may be silent before they count as lost, and
            how long a batch waits when no server answers. It replaces `Settings.away_seconds`.
        retry_out_of_memory: Try a job that ran out of memory on a server that has not had it.
        connect: "lazy" lets `async with` succeed although no server answers yet.
        hooks: As for `ComfySession`; they see a job once, on whichever servers it runs. Sessions that
            are taken in have their own for their requests, and not for the pool's jobs.
        settings: For every session.
        options: What `ComfySession` takes, for every server.

    Example:
        >>> variants = [flow.with_seed(seed) for seed in range(4)]
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
        hooks: Iterable[object] = (),
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        """Prepare the sessions; nothing is sent before `connect()` or the first call.

        Raises:
            ValueError: A URL, a weight or a number is invalid, or an object is no hook.
        """
        if isinstance(servers, str):
            raise ValueError("servers is a list of addresses, or a mapping of addresses to weights, no text")
        demand_word("connect", connect, ("eager", "lazy"))
        if attempts < 1:
            raise ValueError(f"attempts must be 1 or more, not {attempts}")
        settings = dataclasses.replace(settings or Settings(), away_seconds=away_seconds)
        self._limit = limit
        self._eager = connect == "eager"
        told = Hooks.of(hooks)
        self._options = {"settings": settings, "hooks": told.lent(), **options}
        self._engine = PoolEngine(
            settings,
            make=self._opened,
            attempts=attempts,
            away_seconds=away_seconds,
            retry_out_of_memory=retry_out_of_memory,
            hooks=told,
        )
        for server in servers:
            weight = float(servers[cast(str, server)]) if isinstance(servers, Mapping) else 1.0
            self.add(server, weight=weight)

    @property
    def _runner(self) -> Runner:
        """What does the work."""
        return self._engine

    def _items(self) -> BatchRunner:
        """Return what runs the items of one batch."""
        return PoolItems(self._engine)

    @property
    def _map_limit(self) -> int:
        """Enough for every server; the pool limits itself how many are on each."""
        return 32

    def _opened(self, url: str) -> Engine:
        """Return a session's engine with one server, by the pool's options."""
        return engine_of(ComfySession(url, **self._options))

    @property
    def settings(self) -> Settings:
        """Limits and pauses, for every session."""
        return self._engine.settings

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
        self._engine.check_loop()
        members = self._engine.places.members
        if self._eager and members:
            await self._engine.health.ask_all(members, wait_for_all=True)
            if not any(member.usable for member in members):
                errors = [member.last_error for member in members if member.last_error is not None]
                if len(errors) == len(members) == 1:
                    raise errors[0]
                lines = "; ".join(f"{member.url}: {member.reason}" for member in members)
                raise ConnectError(f"no server of the pool can be reached: {lines}")
        return self

    async def aclose(self, *, cancel_jobs: bool = False) -> None:
        """Close every session; a second call does nothing. Open jobs go on on their servers by default.

        Args:
            cancel_jobs: Cancel the open jobs first.
        """
        await self._engine.aclose(cancel_jobs=cancel_jobs)

    # Its servers.

    @property
    def servers(self) -> tuple[PoolServer, ...]:
        """Every server at this moment: its state, its load, what it lacks, and why."""
        return tuple(member.snapshot() for member in self._engine.places.members)

    def add(
        self,
        server: str | ComfySession,
        *,
        weight: float = 1.0,
        limit: int | None | Literal["pool"] = "pool",
        **options: Any,
    ) -> None:
        """Add a server to the pool, at any time; waiting jobs may go there at once.

        Args:
            server: Its base URL, or a session of your own, which the pool then closes.
            weight: Its share of the work: one of weight 2 gets twice as many jobs as one of 1.
            limit: The pool's own jobs there at once, None for any number; the pool's own limit
                unless given.
            options: What `ComfySession` takes, beyond what the pool was given.

        Raises:
            ValueError: The URL, the weight or the limit is invalid, or it is in the pool.
            SessionClosedError: The pool is closed.
        """
        if self._engine.closed:
            raise self._engine.closed_error(None)
        session = (
            server if isinstance(server, ComfySession) else ComfySession(server, **self._options | options)
        )
        self._engine.servers.add(
            engine_of(session), weight=weight, limit=self._limit if limit == "pool" else limit
        )

    async def drain(self, url: str) -> None:
        """Give a server no more jobs, wait for those that it has, and remove it.

        What its finished jobs made can be downloaded until the pool is closed, or the server is.

        Raises:
            ValueError: It is not in the pool.

        Example:
            >>> async with ComfyPool(["http://10.0.0.7:8188"]) as pool:
            ...     pool.add("http://10.0.0.8:8188", weight=2)
            ...     await pool.drain("http://10.0.0.7:8188")
            ...     print([server.weight for server in pool.servers])
            [2]
        """
        self._engine.check_loop()
        await self._engine.servers.drain(url)

    def events(self) -> EventStream:
        """Return every event of every server from now on: of all jobs, and those of no job.

        Raises:
            SessionClosedError: The pool is closed.
        """
        self._engine.check_loop()
        return self._engine.servers.events()

    # Running workflows: `run`, `submit`, `stream` and `map` stand in `Client`.

    async def attach(self, id_or_ref: str | Mapping[str, Any]) -> Job:
        """Pick up a job by its `ref`, or by an id that is then looked for on every server.

        It is followed as by `ComfySession.attach`: its workflow is not known, so it does
        not run again when it is lost.

        Raises:
            ConnectError: The id was not found, and a server that may have it does not answer.
            ComfyError: The request failed.
            ValueError: That is no id and no ref, or the pool has no server.

        Example:
            >>> async with ComfyPool(["http://10.0.0.7:8188", "http://10.0.0.8:8188"]) as pool:
            ...     ref = (await pool.submit(flow)).ref
            ...     result = await (await pool.attach(ref))
        """
        self._engine.check_loop()
        if isinstance(id_or_ref, Mapping) and id_or_ref.get("server"):
            member = self._engine.servers.at(str(id_or_ref["server"]))
            if member is not None:
                return handle(await member.engine.attach(id_or_ref, hooks=self._engine.hooks))
        prompt_id = id_or_ref if isinstance(id_or_ref, str) else str(id_or_ref.get("prompt_id") or "")
        members = list(self._engine.places.members)
        if not members or not prompt_id:
            raise ValueError("attach takes a prompt_id or a job's ref, and a server")
        found = await asyncio.gather(*(_has(m, prompt_id) for m in members), return_exceptions=True)
        for member, answer in zip(members, found, strict=True):
            if answer is True:
                return handle(await member.engine.attach(id_or_ref, hooks=self._engine.hooks))
        failures = {}
        for member, error in zip(members, found, strict=True):
            if isinstance(error, ComfyError):
                failures[member.url] = error
            elif isinstance(error, BaseException):
                raise error
        if failures:
            raise undecided(f"where job {prompt_id} is", failures, prompt_id=prompt_id)
        return handle(await members[0].engine.attach(id_or_ref, hooks=self._engine.hooks))

    async def check(self, workflow: WorkflowLike) -> ProblemList:
        """Return what the server that suits a workflow best would find wrong with it, [] for nothing.

        Raises:
            WorkflowError: It is no workflow, or no server can convert it.
            OSError: Its file cannot be read.
            ComfyError: No server can be asked.
        """
        self._engine.check_loop()
        made = await loaded(workflow)
        members = [m for m in self._engine.places.members if m.usable] or self._engine.places.members
        found = await asyncio.gather(*(check_with(m.engine, made) for m in members), return_exceptions=True)
        lists = [problems for problems in found if isinstance(problems, ProblemList)]
        if lists:
            return min(lists, key=lambda problems: sum(p.severity == "error" for p in problems))
        for error in found:
            if isinstance(error, BaseException):
                raise error
        raise ConnectError("the pool has no server", hint="`pool.add(url)` brings one.")

    async def node_catalog(self, *, again: Collection[str] = ()) -> NodeCatalog:
        """Return what the servers can run: each class as the first server has it that knows it.

        Raises:
            ComfyError: No server can be asked.
        """
        self._engine.check_loop()
        members = [m for m in self._engine.places.members if m.usable] or self._engine.places.members
        asked = (_catalog(member.engine, again) for member in members)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found = [answer for answer in answers if isinstance(answer, NodeCatalog)]
        if not found:
            errors = (answer for answer in answers if isinstance(answer, BaseException))
            raise next(errors, ConnectError("the pool has no server", hint="`pool.add(url)` brings one."))
        merged = {name: entry for catalog in reversed(found) for name, entry in catalog.items()}
        return NodeCatalog(merged, editor=found[0].editor)

    def __repr__(self) -> str:
        """Return the number of servers and of those that answer."""
        members = self._engine.places.members
        healthy = sum(member.usable for member in members)
        return f"<ComfyPool {len(members)} servers, {healthy} healthy>"


def pool_engine_of(pool: ComfyPool) -> PoolEngine:
    """Return the engine behind a pool that a user holds."""
    return pool._engine


async def _catalog(engine: Engine, again: Collection[str]) -> NodeCatalog:
    """Return what one server can run."""
    nodes = engine.resources.nodes
    return await (nodes.read_again(again) if again else nodes.catalog())


async def _has(member: Member, prompt_id: str) -> bool:
    """Say whether a server knows a job.

    Raises:
        ComfyError: The request failed.
    """
    engine = member.engine
    await engine.known_server()
    if await engine.api.find(prompt_id) is not None:
        return True
    # It may have ended meanwhile.
    return await engine.api.history(prompt_id) is not None
