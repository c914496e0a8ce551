"""The engine of a pool: its servers, the way of a job to one of them, and on to the next."""

from __future__ import annotations

import asyncio
import functools
import logging
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from .._base.hooks import NO_HOOKS, Hooks
from .._base.settings import Settings
from .._job.core import JobCore
from .._job.hooks import introduce
from .._job.leaving import JobLifetime
from .._protocol.reducer import JobState
from .._protocol.rejection import failure
from .._session.engine import Engine
from .._session.offered import offered, submitting
from ..errors import ComfyError, OutOfMemoryError, SessionClosedError
from ..events import BaseEvent, Cancelled, Failed, Lost
from ..workflow import Workflow
from .carrier import Carrier
from .health import Health
from .job import Order, PoolJob
from .member import Member
from .places import Places
from .servers import Servers

__all__ = ["PoolEngine"]

_log = logging.getLogger("comfy_async")


class PoolEngine(JobLifetime):
    """Runs each job on one of several servers, and on another one when that has lost it.

    Attributes:
        settings: Limits and pauses, of every session.
        clock: What time it is.
        places: The servers that get jobs, and the queue for them.
        servers: All that the pool has to do with.
        health: What probes whether a server is back.
        carrier: What submits jobs to servers.
        hooks: What is called for what happens.
    """

    kind = "pool"

    def __init__(
        self,
        settings: Settings,
        *,
        make: Callable[[str], Engine],
        attempts: int,
        away_seconds: float | None,
        retry_out_of_memory: bool,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """Start without servers."""
        super().__init__()
        self.settings = settings
        self.clock = settings.clock
        self.places = Places(self.clock, away_seconds=away_seconds, on_wait=self._watch)
        self.servers = Servers(self.places, make=make, settings=settings)
        self.health = Health(self.places, self.clock)
        self.carrier = Carrier(self)
        self.hooks = hooks
        self._attempts = attempts
        self._retry_out_of_memory = retry_out_of_memory
        self._going: dict[PoolJob, asyncio.Task[None]] = {}
        self._keys: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def any_engine(self) -> Engine | None:
        """Return one of the sessions, None without servers: all know the same keys."""
        return next(self.servers.engines(), None)

    # Jobs come in.

    async def submit(self, workflow: Any, options: Mapping[str, Any]) -> JobCore:
        """Put a workflow into the queue of one server; takes what `ComfySession.submit` takes.

        Raises:
            ComfyError: As `ComfySession.submit`.
            OSError: A file cannot be read.
            Exception: What a hook raises before anything is sent.
        """
        self.check_loop()
        rest = dict(options)
        with submitting(self.hooks, workflow):
            workflow = offered(self.hooks, workflow, rest)
            check, key = rest.pop("check", False), rest.pop("key", None)
            order = Order(workflow=Workflow(), options=rest, check=check, group=None, patient=False, key=key)
            await self.carrier.load(order, workflow)
            job = PoolJob(self, order, keep_frames=rest.get("keep_frames", True))
            introduce(job, self.hooks, rest.get("extra_data"))
            try:
                if key is not None:
                    return await self._keyed(job, key)
                await self.carrier.bring(job)
            except BaseException:
                job.tell_no_more()
                raise
        return job

    async def _keyed(self, job: PoolJob, key: str) -> JobCore:
        """Return the job that has a key on whichever server, else bring this one to the best of them.

        Raises:
            WorkflowError: That job runs something else.
            ComfyError: As `submit`; also where a server that may have it does not answer.
        """
        lock = self._keys.setdefault(key, asyncio.Lock())
        async with lock:
            member = await self.carrier.who_has(key)
            found = None if member is None else await self.carrier.rejoin(job, member)
            if found is not None:
                return found
            await self.carrier.bring(job)
            return job

    # Jobs go.

    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job that is not waited for any more; None when there is nothing to be done."""
        if job.done or self.closed:
            return None
        if isinstance(job.owner, Engine):
            return job.owner.leave(job)
        if isinstance(job, PoolJob):
            # It waits for a place: nobody has to be asked.
            job.call_off()
        return None

    def vacate(self, job: PoolJob) -> None:
        """Give a job's place to the next."""
        member, job.member = job.member, None
        if member is not None:
            member.release(job)
            self.places.dispatch()
            self._watch()

    def _watch(self) -> None:
        """Look after the servers that do not answer, while jobs wait."""
        if not self.closed and self.places.is_waited_for:
            if any(not m.usable for m in self.places.members):
                self.health.watch()

    # Jobs go on elsewhere.

    def takes_over(self, job: PoolJob, event: BaseEvent) -> bool:
        """Say whether an end is followed by another attempt, and begin with it."""
        order, member = job.order, job.member
        if member is None or job.is_on_no_server or self.closed or job.cancel_wanted:
            return False
        if order.attempts >= self._attempts:
            return False
        why = self._reason_to_go_on(job, member, event)
        if why is None:
            return False
        _log.debug("pool: job %s goes elsewhere: %s", job.prompt_id, why)
        member.engine.job_ended(job)
        job.leave(f"{why}; the job will run again")
        self.vacate(job)
        going = asyncio.create_task(
            self._again(job, event), name="comfy_async pool failover", context=job.context.copy()
        )
        job.going = self._going[job] = going
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
            job.order.ghosts[member] = job.prompt_id
            member.notice()
        return str(event.data.get("reason") or f"{member.url} does not know the job any more")

    def _is_worth_more_memory(self, job: PoolJob, member: Member, event: Failed) -> bool:
        """Say whether a failure is one of memory, and somebody else may have more."""
        if not self._retry_out_of_memory:
            return False
        error = failure(event, prompt_id=job.prompt_id, server=member.url)
        refused = job.order.refused
        if not isinstance(error, OutOfMemoryError):
            return False
        refused[member] = error
        return any(m.usable and m not in refused for m in self.places.members)

    async def _again(self, job: PoolJob, event: BaseEvent) -> None:
        """Run a job once more, or let the end stand that it had."""
        order, nowhere, old_id = job.order, job.owner, job.prompt_id
        order.patient = True
        order.stuck_since = None
        try:
            await self.carrier.bring(job, again=True)
        except asyncio.CancelledError:
            if not job.ended.is_set() and not self.closed:
                job.give_up(Cancelled(None, {}, job.prompt_id, received_at=self.clock.unix()))
            raise
        except Exception as error:
            if not job.ended.is_set():
                job.move(nowhere, JobState(old_id, job.state.plan))
                self._end_of(job, event, error)

    def _went(self, job: PoolJob, going: asyncio.Task[None]) -> None:
        """Forget who brought a job to a server; it may have been lost there at once, and go on already."""
        if job.going is going:
            del self._going[job]
            job.going = None

    def _end_of(self, job: PoolJob, event: BaseEvent, error: Exception) -> None:
        """No server took the job again: let it end as it had to."""
        if not isinstance(error, ComfyError):
            _log.error("pool: job %s could not be run again", job.prompt_id, exc_info=error)
        now = self.clock.unix()
        if self.closed:
            job.abandon(self.closed_error(job.prompt_id))
        elif job.cancel_wanted:
            job.give_up(Cancelled(None, {}, job.prompt_id, received_at=now))
        elif isinstance(event, Lost):
            reason = f"{event.data.get('reason') or 'it was lost'}, and no other server took it: {error}"
            job.give_up(Lost(None, {**event.data, "reason": reason}, job.prompt_id, received_at=now))
        else:
            job.give_up(event)

    # The end.

    async def aclose(self, *, cancel_jobs: bool = False) -> None:
        """Close every session; a second call does nothing."""
        shut = functools.partial(self._shut, cancel_jobs=cancel_jobs)
        await self.close_once(shut, name="comfy_async pool closing")

    def send_home(self) -> None:
        """Wake all that wait for a place, or for a job that is on no server."""
        self.places.close(self.closed_error(None))
        for job, task in list(self._going.items()):
            if task.cancel():
                job.abandon(self.closed_error(job.prompt_id))

    async def _shut(self, seconds: float | None, *, cancel_jobs: bool) -> None:
        """End the tasks and the sessions."""
        going = list(self._going.values())
        await self.health.aclose()
        closing = [engine.aclose(cancel_jobs=cancel_jobs) for engine in self.servers.engines()]
        failures = await asyncio.gather(*closing, return_exceptions=True)
        if going:
            await asyncio.wait(going)
        await self.cleanups.finish()
        await self.hooks.close(seconds)
        self.servers.close_watchers()
        for error in failures:
            if error is not None:
                raise error

    def closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after `aclose()`."""
        what = f" before job {prompt_id} had ended" if prompt_id else ""
        return SessionClosedError(f"the pool was closed{what}", prompt_id=prompt_id or None)
