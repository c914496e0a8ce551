"""From a job to a server: past those that cannot take it, back to one that may be running it still."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final, Protocol

from .._base.hooks import NO_HOOKS
from .._batch.items import unreadable
from .._dialects.dialect import MARK
from .._job.core import JobCore
from .._protocol.plan import Plan, Plans
from .._protocol.reducer import JobState
from .._session.keys import KeyedWork
from .._session.options import submit_options
from .._session.prepare import WorkflowLike, loaded
from .._session.submission import Submission, demands_saves
from ..errors import (
    AuthError,
    ComfyError,
    PartialPromptError,
    RateLimitError,
    ResponseError,
    SessionClosedError,
    SubmitUnknownError,
    TransportError,
    UnsupportedError,
)
from ..events import Reconnected
from ..workflow import Workflow
from .files import own_files, with_files_read
from .health import Health
from .job import Order, PoolJob
from .member import Member
from .needs import lacks
from .places import Places
from .servers import Servers, undecided

__all__ = ["Carrier", "Office"]

_log = logging.getLogger("comfy_async")

# Failures before anything was queued, for one job, by server: then its caller is told.
_FAILURES_EACH: Final = 3


class Office(Protocol):
    """What bringing jobs to servers needs of the pool."""

    closed: bool
    health: Health
    places: Places
    servers: Servers

    def check_loop(self) -> None:
        """Raise in another event loop, and when the pool is closed."""
        ...

    def vacate(self, job: PoolJob) -> None:
        """Give a job's place to the next."""
        ...


class Carrier:
    """Brings jobs into the queues of servers."""

    def __init__(self, office: Office) -> None:
        """Work for a pool."""
        self._office = office
        self._plans = Plans()

    async def load(self, order: Order, workflow: WorkflowLike) -> None:
        """Read what is to run; open files are read now, since a second server may need them.

        Raises:
            WorkflowFormatError: It is no workflow.
            OSError: A file cannot be read.
            ValueError: A file was opened as text.
        """
        order.workflow = await with_files_read(await loaded(workflow))
        order.learn(order.workflow)

    async def bring(self, job: PoolJob, *, again: bool = False) -> None:
        """Bring a job into a server's queue, past those that cannot take it.

        Raises:
            ComfyError: No server could or would take it.
        """
        office = self._office
        while True:
            office.check_loop()
            await office.health.refresh()
            member = self._or_where_it_was(job, await office.places.take(job, first=again))
            if job.order.gate is not None and job.order.is_held:
                # Others may have its place meanwhile.
                office.vacate(job)
                await job.order.gate.passed()
                continue
            try:
                await self._submit_to(member, job)
                return
            except BaseException as error:
                job.leave()
                office.vacate(job)
                if not isinstance(error, ComfyError) or not self._goes_on(job, member, error):
                    raise
                _log.debug("pool: %s did not accept a job: %s", member.url, error.args[:1])
            again = True

    async def who_has(self, key: str) -> Member | None:
        """Return the server that has a key's job, None when they all say that they have none.

        Raises:
            ConnectError: One of them does not answer: it may have it.
            ComfyError: One of them answers with an error, or knows no keys.
        """
        members = self._office.servers.known()
        found = await asyncio.gather(*(_has_key(each, key) for each in members), return_exceptions=True)
        for member, answer in zip(members, found, strict=True):
            if answer is True:
                return member
        failures = {}
        for member, error in zip(members, found, strict=True):
            if isinstance(error, ComfyError) and not isinstance(error, UnsupportedError):
                failures[member.url] = error
            elif isinstance(error, BaseException):
                raise error
        if failures:
            raise undecided(f"key {key!r}", failures)
        return None

    async def rejoin(self, job: PoolJob, member: Member) -> JobCore | None:
        """Follow the job of a key where it is; None when it is not there any more.

        Raises:
            WorkflowError: It runs something else.
            ComfyError: The request failed.
        """
        order, engine = job.order, member.engine
        assert order.key is not None
        workflow = await self.prepared(order, member)
        found = await engine.keys.found(
            KeyedWork(order.key, workflow, submit_options(engine, **order.options))
        )
        if found is None or found in engine.jobs.by_id:
            return None if found is None else engine.jobs.by_id[found]
        member.take(job)
        job.member = member
        order.attempts += 1
        order.had_by.add(member)
        job.workflow = workflow
        self.adopt(job, member, found, "")
        return job

    async def prepared(self, order: Order, member: Member) -> Workflow:
        """Return the workflow as this server can take it: converted, its files uploaded there.

        Raises:
            ComfyError: The server refuses a part of it.
            OSError: A file cannot be read.
        """
        workflow = order.workflow
        if workflow.format == "api":
            others = {m.url: m.engine for m in self._office.servers.known()}
            workflow = await own_files(workflow, member.engine, others)
        with unreadable() if order.group is not None else contextlib.nullcontext():
            whole = order.on_partial == "raise"
            ready = await member.engine.prepared(workflow, check=order.check, whole=whole)
        order.learn(ready)
        return ready

    def adopt(self, job: PoolJob, member: Member, prompt_id: str, client_id: str | None = None) -> None:
        """Follow a prompt that may or may not be on a server: its poller finds out."""
        engine = member.engine
        state = JobState(prompt_id, self._plan_of(job), timings=engine.timings)
        state.status = "pending"
        job.move(engine, state)
        job.client_id = engine.client_id if client_id is None else client_id
        job.demands_saves = demands_saves(engine, job.order.on_partial)
        job.forget_end()
        state.mark_gap()
        engine.jobs.add(job)
        engine.router.posted(job)
        engine.poller.poke([job])

    def _or_where_it_was(self, job: PoolJob, member: Member) -> Member:
        """Send a job to where it may be running still rather than to a server that is new to it."""
        for ghosted in job.order.ghosts:
            if ghosted is not member and ghosted.usable:
                member.release(job)
                ghosted.take(job)
                job.member = ghosted
                self._office.places.dispatch()
                return ghosted
        return member

    async def _submit_to(self, member: Member, job: PoolJob) -> None:
        """Queue a job on one server, or find it there again.

        Raises:
            ComfyError: The server did not take it.
        """
        order, engine = job.order, member.engine
        await engine.known_server()
        ghost = order.ghosts.pop(member, None)
        if ghost is not None:
            self.adopt(job, member, ghost)
            job.tell_connection(Reconnected, f"{member.url} is back: looking for the job there")
            return
        workflow = await self.prepared(order, member)
        options = submit_options(engine, **{**order.options, "on_partial": "keep", "index": job.index})
        if order.attempts:
            job.tell_connection(Reconnected, f"it runs again, on {member.url}")
        if order.key is None:
            await self._queue(Submission(engine, workflow, options, job=job), member, job)
        else:
            await self._queue_keyed(KeyedWork(order.key, workflow, options), member, job)
        order.attempts += 1
        order.had_by.add(member)
        for elsewhere, prompt_id in order.ghosts.items():
            # Its old attempt is of no use any more.
            elsewhere.ghosts.add(prompt_id)
            if elsewhere.usable:
                self._office.health.ask(elsewhere)
        _log.debug("pool: job %s is on %s", job.prompt_id, member.url)
        job.release_end()

    async def _queue(self, submission: Submission, member: Member, job: PoolJob) -> None:
        """Send the prompt, with the results file in mind.

        Raises:
            ComfyError: The server did not take it.
            OSError: The results file takes no line.
        """
        order, can = job.order, member.engine.server.can
        job.hold_end()
        if order.item is not None:
            order.item.recalled = False
        order.note_posting(job)
        try:
            await submission.run()
        except SubmitUnknownError:
            if not can("client_prompt_id"):
                raise
            self.adopt(job, member, job.prompt_id)
            return
        job.demands_saves = demands_saves(member.engine, order.on_partial)
        await self._demand_whole(submission, member, job)
        if not can("client_prompt_id"):
            await self._note_again(member, job)
        self._accepted(member, order)

    async def _note_again(self, member: Member, job: PoolJob) -> None:
        """Note the id that the server has chosen; a job that cannot be noted is taken back.

        Raises:
            OSError: The disk is full: the job could not be found again, and a later batch would run another.
        """
        try:
            job.order.note_posting(job)
        except OSError:
            await self._take_back(member, job)
            raise

    async def _queue_keyed(self, work: KeyedWork, member: Member, job: PoolJob) -> None:
        """Send the prompt unless another process was first: then its job is followed.

        Raises:
            ComfyError: The server did not take it.
        """
        job.hold_end()
        made = await member.engine.keys.bring(work, job=job)
        if isinstance(made, str):
            self.adopt(job, member, made, "")
            return
        await self._demand_whole(made, member, job)
        self._accepted(member, job.order)

    def _accepted(self, member: Member, order: Order) -> None:
        """The server has taken a job: it has what that needs."""
        member.has(order.needs)
        member.accepted(order.models)

    async def _demand_whole(self, submission: Submission, member: Member, job: PoolJob) -> None:
        """Cancel a job of which the server would run a part only, unless that is wanted.

        Raises:
            PartialPromptError: It was taken back.
        """
        if not job.node_errors or job.order.on_partial == "keep":
            return
        problems = await submission.refusals.with_nearest(job.node_errors)
        await self._take_back(member, job)
        raise PartialPromptError(
            "the server would run only a part of the workflow; the job was cancelled",
            problems=problems,
            hint='`on_partial="keep"` runs what can be run.',
            prompt_id=submission.prompt_id,
            server=member.url,
        )

    async def _take_back(self, member: Member, job: PoolJob) -> None:
        """Cancel a prompt that was queued, without an end of the job."""
        engine, prompt_id = member.engine, job.prompt_id
        engine.job_ended(job)
        job.leave()

        async def work(_seconds: float | None) -> None:
            ref = {"prompt_id": prompt_id, "client_id": engine.client_id}
            found: JobCore = await engine.attach(ref, hooks=NO_HOOKS)
            await engine.abandon(found)

        await engine.clean_up(work, name="comfy_async pool takes back")

    def _plan_of(self, job: PoolJob) -> Plan:
        """Return what the job is going to do, as far as it is known."""
        workflow = job.order.workflow
        known = workflow.format == "api" and not workflow.uploads()
        if not known:
            return job.state.plan
        return self._plans.of(workflow.to_api(), targets=job.order.options.get("targets"))

    def _goes_on(self, job: PoolJob, member: Member, error: ComfyError) -> bool:
        """Say whether another server may be tried after a failure that queued nothing."""
        order = job.order
        over = job.ended.is_set() or job.cancel_wanted
        if self._office.closed or over or isinstance(error, SubmitUnknownError):
            return False
        lacking = lacks(error)
        if lacking is not None:
            member.lack(lacking)
            member.last_error = error
            order.refused[member] = error
            return True
        at_fault = isinstance(error, (TransportError, AuthError, RateLimitError, SessionClosedError)) or (
            isinstance(error, ResponseError) and error.status >= 500
        )
        if at_fault:
            member.failed(error)
            order.failures += 1
        return at_fault and order.failures < _FAILURES_EACH * max(1, len(self._office.places.members))


async def _has_key(member: Member, key: str) -> bool:
    """Say whether a server has a key's job.

    Raises:
        ComfyError: The request failed.
    """
    engine = member.engine
    await engine.known_server()
    return await engine.api.find_keyed(MARK, engine.keys.id_of(key)) is not None
