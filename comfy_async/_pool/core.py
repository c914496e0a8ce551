"""What every verb of the pool stands on: from a job to a server, and on to the next one."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

import anyio

from .._base.lifetime import Lifetime
from .._job.stream import abandon
from .._protocol.plan import Plan, Plans
from .._protocol.reducer import JobState
from .._protocol.rejection import failure
from .._session.prepare import WorkflowLike, as_workflow
from .._session.submission import Submission
from ..errors import (
    AuthError,
    ComfyError,
    OutOfMemoryError,
    PartialPromptError,
    RateLimitError,
    ResponseError,
    SessionClosedError,
    SubmitUnknownError,
    TransportError,
)
from ..events import BaseEvent, Cancelled, Failed, Lost, Reconnected
from .files import own_files, with_files_read
from .health import Health
from .job import Order, PoolJob
from .needs import lacks
from .places import Places

if TYPE_CHECKING:
    from .._base.settings import Settings
    from .._client.session import ComfySession
    from .._job.job import Job
    from .._job.mailbox import Mailbox
    from ..types import JobStatus
    from ..workflow import Workflow
    from .member import Member

__all__ = ["PoolCore"]

_log = logging.getLogger("comfy_async")

# Failures before anything was queued, for one job, by server: then its caller is told.
_FAILURES_EACH: Final = 3


class PoolCore(Lifetime):
    """The private part of `ComfyPool`."""

    _kind = "pool"

    def __init__(
        self, settings: Settings, *, attempts: int, away_seconds: float | None, retry_out_of_memory: bool
    ) -> None:
        """Start without servers."""
        self.settings = settings
        self._clock = settings.clock
        self._attempts = attempts
        self._retry_out_of_memory = retry_out_of_memory
        self._places = Places(self._clock, away_seconds=away_seconds, on_wait=self._watch)
        self._health = Health(self._places, self._clock)
        self._plans = Plans()
        self._guests: list[Member] = []
        self._retired: list[ComfySession] = []
        self._watchers: list[Mailbox] = []
        self._going: dict[PoolJob, asyncio.Task[None]] = {}

    # Taking jobs.

    async def _load(self, order: Order, workflow: WorkflowLike) -> None:
        """Read what is to run; open files are read now, since a second server may need them.

        Raises:
            WorkflowFormatError: It is no workflow.
            OSError: A file cannot be read.
            ValueError: A file was opened as text.
        """
        order.workflow = await with_files_read(as_workflow(workflow))
        order.learn(order.workflow)

    async def _bring(self, job: PoolJob, *, again: bool = False) -> None:
        """Bring a job into a server's queue, past those that cannot take it.

        Raises:
            ComfyError: No server could or would take it.
        """
        while True:
            self._check_loop()
            await self._health.refresh()
            member = self._ghost_first(job, await self._places.take(job, first=again))
            try:
                await self._submit_to(member, job)
                return
            except BaseException as error:
                job._leave()
                self._vacate(job)
                if not isinstance(error, ComfyError) or not self._goes_on(job, member, error):
                    raise
                _log.debug("pool: %s does not take a job: %s", member.url, error.args[:1])
            again = True

    def _ghost_first(self, job: PoolJob, member: Member) -> Member:
        """Send a job to where it may be running still rather than to a server that is new to it."""
        for ghosted in job._order.ghosts:
            if ghosted is not member and ghosted.usable:
                member.release(job)
                ghosted.take(job)
                job._member = ghosted
                self._places.dispatch()
                return ghosted
        return member

    async def _submit_to(self, member: Member, job: PoolJob) -> None:
        """Queue a job on one server, or find it there again.

        Raises:
            ComfyError: The server did not take it.
        """
        order, session = job._order, member.session
        session._check_loop()
        await session._known_server()
        ghost = order.ghosts.pop(member, None)
        if ghost is not None:
            self._adopt(job, member, ghost)
            job._tell_connection(Reconnected, f"{member.url} is back: looking for the job there")
            return
        workflow = await self._prepared(order, member)
        options = session._options(**{**order.options, "on_partial": "keep", "index": job.index})
        submission = Submission(session, workflow, options, job=job)
        if order.attempts:
            job._tell_connection(Reconnected, f"it runs again, on {member.url}")
        await self._queue(submission, member, job)
        order.attempts += 1
        for elsewhere, prompt_id in order.ghosts.items():
            # Its old attempt is of no use any more.
            elsewhere.ghosts.add(prompt_id)
            if elsewhere.usable:
                self._health.ask(elsewhere)
        _log.debug("pool: job %s is on %s", job.prompt_id, member.url)
        job._release_held()

    async def _queue(self, submission: Submission, member: Member, job: PoolJob) -> None:
        """Send the prompt, with the results file in mind.

        Raises:
            ComfyError: The server did not take it.
        """
        order, can = job._order, member.session.server.can
        job._busy = True
        job._recalled = False
        if order.journal is not None:
            order.journal.posting(job, job._key)
        try:
            await submission.run()
        except SubmitUnknownError:
            if not can("client_prompt_id"):
                raise
            self._adopt(job, member, job.prompt_id)
            return
        await self._demand_whole(submission, member, job)
        if order.journal is not None and not can("client_prompt_id"):
            order.journal.posting(job, job._key)
        member.has(order.needs)
        member.accepted(order.models)

    async def _demand_whole(self, submission: Submission, member: Member, job: PoolJob) -> None:
        """Take a job back of which the server would run a part only, unless that is wanted.

        Raises:
            PartialPromptError: It was taken back.
        """
        if not job.node_errors or job._order.options.get("on_partial") == "keep":
            return
        problems = await submission._with_nearest(job.node_errors)
        prompt_id = job.prompt_id
        member.session._job_ended(job)
        job._leave()
        with anyio.move_on_after(self.settings.cancel_seconds, shield=True):
            ref = {"prompt_id": prompt_id, "client_id": member.session.client_id}
            await abandon(member.session, await member.session.attach(ref))
        raise PartialPromptError(
            "the server would run only a part of the workflow; the job was cancelled",
            problems=problems,
            hint='`on_partial="keep"` runs what can be run.',
            prompt_id=prompt_id,
            server=member.url,
        )

    def _adopt(self, job: PoolJob, member: Member, prompt_id: str, client_id: str | None = None) -> None:
        """Follow a prompt that may or may not be on a server: its poller finds out."""
        session = member.session
        state = JobState(prompt_id, self._plan_of(job), timings=session._timings)
        state.status = "pending"
        job._move(session, state)
        job._client_id = session.client_id if client_id is None else client_id
        job._busy, job._held = False, None
        state.mark_gap()
        session._register(job)
        session._posted(job)
        session._reconciler.poke([job])

    def _plan_of(self, job: PoolJob) -> Plan:
        """Return what the job is going to do, as far as it is known."""
        workflow = job._order.workflow
        known = workflow.format == "api" and not workflow.uploads()
        if not known:
            return job._state.plan
        return self._plans.of(workflow.to_api(), targets=job._order.options.get("targets"))

    async def _prepared(self, order: Order, member: Member) -> Workflow:
        """Return the workflow as this server can take it: converted, its files uploaded there."""
        session, workflow = member.session, order.workflow
        if workflow.format == "api":
            others = {m.url: m.session for m in [*self._places.members, *self._guests]}
            workflow = await own_files(workflow, session, others)
        ready = await session._prepared(workflow, check=order.check)
        order.learn(ready)
        return ready

    # Going on.

    def _goes_on(self, job: PoolJob, member: Member, error: ComfyError) -> bool:
        """Say whether another server may be tried after a failure that queued nothing."""
        order = job._order
        over = job._ended.is_set() or job._cancel_wanted
        if self._closed or over or isinstance(error, SubmitUnknownError):
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
        return at_fault and order.failures < _FAILURES_EACH * max(1, len(self._places.members))

    def _takes_over(self, job: PoolJob, event: BaseEvent) -> bool:
        """Say whether an end is followed by another attempt, and begin with it."""
        order, member = job._order, job._member
        if member is None or job._is_in_limbo or self._closed or job._cancel_wanted:
            return False
        if order.attempts >= self._attempts:
            return False
        why = self._reason_to_go_on(job, member, event)
        if why is None:
            return False
        _log.debug("pool: job %s goes elsewhere: %s", job.prompt_id, why)
        member.session._job_ended(job)
        job._leave(f"{why}; the job will run again")
        self._vacate(job)
        going = asyncio.create_task(self._again(job, event), name="comfy_async pool failover")
        job._going = self._going[job] = going
        going.add_done_callback(functools.partial(self._went, job))
        return True

    def _reason_to_go_on(self, job: PoolJob, member: Member, event: BaseEvent) -> str | None:
        """Say why another attempt may end better, None when it may not."""
        if isinstance(event, Failed):
            worth = self._is_worth_more_memory(job, member, event)
            return f"{member.url} ran out of memory" if worth else None
        if event.data.get("ended"):
            # It has had its end, and nobody can read which.
            return None
        if member.away:
            # It may be running there still: should the server be back first, it is looked for.
            job._order.ghosts[member] = job.prompt_id
            member.notice()
        return str(event.data.get("reason") or f"{member.url} does not know the job any more")

    def _is_worth_more_memory(self, job: PoolJob, member: Member, event: Failed) -> bool:
        """Say whether a failure is one of memory, and somebody else may have more."""
        if not self._retry_out_of_memory:
            return False
        error = failure(event, prompt_id=job.prompt_id, server=member.url)
        refused = job._order.refused
        if not isinstance(error, OutOfMemoryError):
            return False
        refused[member] = error
        return any(m.usable and m not in refused for m in self._places.members)

    async def _again(self, job: PoolJob, event: BaseEvent) -> None:
        """Run a job once more, or let the end stand that it had."""
        order, limbo, old_id = job._order, job._session, job.prompt_id
        order.patient = True
        order.stuck_since = None
        try:
            await self._bring(job, again=True)
        except asyncio.CancelledError:
            if not job._ended.is_set() and not self._closed:
                job._give_up(Cancelled(None, {}, job.prompt_id, received_at=self._clock.unix()))
            raise
        except Exception as error:
            if not job._ended.is_set():
                job._move(limbo, JobState(old_id, job._state.plan))
                self._end_of(job, event, error)

    def _went(self, job: PoolJob, going: asyncio.Task[None]) -> None:
        """Forget who brought a job to a server; it may have been lost there at once, and go on already."""
        if job._going is going:
            del self._going[job]
            job._going = None

    def _end_of(self, job: PoolJob, event: BaseEvent, error: Exception) -> None:
        """No server took the job again: let it end as it had to."""
        if not isinstance(error, ComfyError):
            _log.error("pool: job %s could not be run again", job.prompt_id, exc_info=error)
        now = self._clock.unix()
        if self._closed:
            job._abandon(self._closed_error(job.prompt_id))
        elif job._cancel_wanted:
            job._give_up(Cancelled(None, {}, job.prompt_id, received_at=now))
        elif isinstance(event, Lost):
            reason = f"{event.data.get('reason') or 'it was lost'}, and no other server took it: {error}"
            job._give_up(Lost(None, {"reason": reason}, job.prompt_id, received_at=now))
        else:
            job._give_up(event)

    def _let_go(self, job: PoolJob) -> None:
        """A job has ended: its place is free, and no old attempt of it may live on."""
        self._vacate(job)

    def _vacate(self, job: PoolJob) -> None:
        """Give a job's place to the next."""
        member, job._member = job._member, None
        if member is not None:
            member.release(job)
            self._places.dispatch()
            self._watch()

    def _watch(self) -> None:
        """Look after the servers that do not answer, while jobs wait."""
        if not self._closed and self._places.is_waited_for:
            if any(not m.usable for m in self._places.members):
                self._health.watch()

    async def _cancel(self, job: Job) -> JobStatus:
        """Cancel one job, wherever it is."""
        return await job._session._cancel(job)

    async def _abandon_job(self, job: Job) -> None:
        """Cancel a job that nobody waits for any more, in bounded time."""
        await abandon(cast("ComfySession", self), job)

    # Being a pool.

    def _send_home(self) -> None:
        """Wake whoever waits for a place, and for a job that is on no server."""
        self._places.close(self._closed_error(None))
        for job, task in list(self._going.items()):
            if task.cancel():
                job._abandon(self._closed_error(job.prompt_id))

    async def _shut(self, *, cancel_jobs: bool) -> None:
        """End the tasks and the sessions."""
        going = list(self._going.values())
        await self._health.aclose()
        closing = [session.aclose(cancel_jobs=cancel_jobs) for session in self._sessions()]
        failures = await asyncio.gather(*closing, return_exceptions=True)
        if going:
            await asyncio.wait(going)
        for box in self._watchers:
            box.close()
        for error in failures:
            if error is not None:
                raise error

    def _closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after `aclose()`."""
        what = f" before job {prompt_id} had ended" if prompt_id else ""
        return SessionClosedError(f"the pool was closed{what}", prompt_id=prompt_id or None)

    def _sessions(self) -> Iterable[ComfySession]:
        """Return every session, those of drained servers too."""
        yield from (member.session for member in [*self._places.members, *self._guests])
        yield from self._retired
