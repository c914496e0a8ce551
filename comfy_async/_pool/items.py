"""One item of a batch on a pool: run it, follow it where an earlier batch left it, or take its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from .._batch.items import restored
from .._batch.journal import Journal, is_final, workflow_key
from .._job.job import Job
from .._protocol.snapshot import history_events
from ..errors import ComfyError
from ..events import Cancelled
from ..workflow import Workflow
from .job import Limbo, Order, PoolJob

if TYPE_CHECKING:
    from .._base.settings import Clock
    from .._client.pool import ComfyPool
    from .._client.session import ComfySession
    from .member import Member

__all__ = ["PoolBatch"]


class PoolBatch:
    """Runs the items of one batch; batches get their places in turn, so each has one of these."""

    def __init__(self, pool: ComfyPool) -> None:
        """Belong to a pool."""
        self._pool = pool
        self._clock: Clock = pool._clock

    async def _run_item(
        self,
        item: Any,
        index: int,
        journal: Journal | None,
        *,
        check: bool = False,
        previews: str = "none",
        partner_api_key: str | None = None,
        targets: Iterable[str] | None = None,
        **rest: Any,
    ) -> Job:
        """Bring one workflow to a job; whatever its submission fails of becomes the job's own end."""
        pool = self._pool
        options = {
            "previews": previews,
            "partner_api_key": partner_api_key,
            "targets": None if targets is None else tuple(map(str, targets)),
            "keep_frames": False,
            **rest,
        }
        order = Order(workflow=Workflow(), options=options, check=check, group=self, patient=True)
        order.journal = journal
        job = PoolJob(pool, order, keep_frames=False, index=index)
        try:
            await pool._load(order, item)
            old = None if journal is None else await self._recall(job, journal)
            if old is not None:
                return old
            await pool._bring(job)
        except ComfyError as error:
            job._fail(error)
        return job

    async def _abandon_job(self, job: Job) -> None:
        """Cancel a job that nobody waits for any more."""
        await self._pool._abandon_job(job)

    async def _recall(self, job: PoolJob, journal: Journal) -> Job | None:
        """Return the job that an earlier batch noted, None when it has to run."""
        assert job.index is not None
        workflow = await self._sendable(job)
        job._key = workflow_key(workflow)
        record = journal.find(job.index, job._key)
        ref = None if record is None else record.get("ref")
        if record is None or not isinstance(ref, Mapping):
            return None
        member = self._pool._member_at(str(ref.get("server") or ""))
        if is_final(record):
            # Nothing is asked: a server that the pool does not know any more does no harm.
            session = member.session if member else cast("ComfySession", Limbo(self._pool))
            return restored(session, record, workflow, job.index)
        if record.get("status") == "submitted" and member is not None:
            return job if await self._rejoin(job, member, ref) else None
        return None

    async def _sendable(self, job: PoolJob) -> Workflow:
        """Return the workflow as it is noted: what would be sent, with the names of its files."""
        workflow = job._order.workflow
        if workflow.format == "api" and not workflow.uploads():
            return workflow
        pool = self._pool
        await pool._health.refresh()
        member = await pool._places.take(job)
        try:
            return await pool._prepared(job._order, member)
        finally:
            pool._vacate(job)

    async def _rejoin(self, job: PoolJob, member: Member, ref: Mapping[str, Any]) -> bool:
        """Follow what was under way; a server that does not answer is waited for like any other."""
        prompt_id = str(ref["prompt_id"])
        try:
            await member.session._known_server()
            entry = await member.session._api.history(prompt_id)
        except ComfyError as error:
            member.failed(error)
        else:
            if entry is not None and type(history_events(entry, 0.0)[-1]) is Cancelled:
                # An interrupted batch cancels what it was submitting, and had no time to note that.
                return False
        member.take(job)
        job._member = member
        job._recalled = True
        job._order.attempts += 1
        self._pool._adopt(job, member, prompt_id, str(ref.get("client_id") or ""))
        return True
