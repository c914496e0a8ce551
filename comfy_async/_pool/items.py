"""One item of a batch on a pool: run it, follow it where an earlier batch left it, or take its result."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from .._base.cleanups import Work
from .._base.clock import Clock
from .._batch.gate import Gate
from .._batch.items import Item, is_usable, restored, unreadable
from .._batch.journal import Journal, is_final, workflow_key
from .._job.core import JobCore
from .._job.hooks import introduce, tell_of_saves
from .._protocol.snapshot import history_events
from .._session.offered import offered, submitting
from ..errors import ComfyError
from ..events import Cancelled
from ..workflow import Workflow
from .engine import PoolEngine
from .job import NoServer, Order, PoolJob
from .member import Member

__all__ = ["PoolItems"]


class PoolItems:
    """Runs the items of one batch; batches get their places in turn, so each has one of these."""

    def __init__(self, pool: PoolEngine) -> None:
        """Belong to a pool."""
        self.gate: Gate | None = None
        self._pool = pool
        self.clock: Clock = pool.clock

    async def run_item(self, item: Any, index: int, journal: Journal | None, **options: Any) -> Item:
        """Bring one workflow to a job; whatever its submission fails of becomes the job's own end."""
        chosen = {"previews": "none", **options, "keep_frames": False}
        order = Order(workflow=Workflow(), options=chosen, check=False, group=self, patient=True)
        order.journal, order.gate = journal, self.gate
        job = PoolJob(self._pool, order, keep_frames=False, index=index)
        made = order.item = Item(job)
        hooks = self._pool.hooks
        with submitting(hooks, item):
            try:
                item = offered(hooks, item, chosen)
                order.check = chosen.pop("check", False)
                introduce(job, hooks, chosen.get("extra_data"))
                with unreadable():
                    await self._pool.carrier.load(order, item)
                old = None if journal is None else await self._recall(job, made, journal)
                if old is not None:
                    return old
                await self._pool.carrier.bring(job)
            except ComfyError as error:
                introduce(job, hooks, chosen.get("extra_data"))
                job.fail(error)
            except BaseException:
                job.tell_no_more()
                raise
        return made

    def elsewhere(self, servers: Collection[str]) -> list[str]:
        """Return none: each server that a job was on is asked itself."""
        return []

    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job that is not waited for any more."""
        return self._pool.leave(job)

    async def clean_up(self, work: Work[None], *, name: str) -> None:
        """Do something to its end, however often its caller is cancelled."""
        await self._pool.clean_up(work, name=name)

    async def _recall(self, job: PoolJob, item: Item, journal: Journal) -> Item | None:
        """Return what an earlier batch noted, None when it has to run."""
        workflow = await self._sendable(job)
        item.key = workflow_key(workflow)
        record = journal.find(item.index, item.key)
        ref = None if record is None else record.get("ref")
        if record is None or not isinstance(ref, Mapping):
            return None
        member = self._pool.servers.at(str(ref.get("server") or ""))
        if is_final(record):
            # Nothing is asked: a server that the pool does not know any more does no harm.
            owner = member.engine if member else NoServer(self._pool)
            old = restored(owner, record, workflow, item.index, on_partial=job.order.on_partial)
            tell_of_saves(old.job, self._pool.hooks)
            return old if await is_usable(old, journal) else None
        if record.get("status") == "submitted" and member is not None:
            return item if await self._rejoin(job, item, member=member, ref=ref) else None
        return None

    async def _sendable(self, job: PoolJob) -> Workflow:
        """Return the workflow as it is noted: what would be sent, with the names of its files."""
        workflow = job.order.workflow
        if workflow.format == "api" and not workflow.uploads():
            return workflow
        pool = self._pool
        await pool.health.refresh()
        member = await pool.places.take(job)
        try:
            return await pool.carrier.prepared(job.order, member)
        finally:
            pool.vacate(job)

    async def _rejoin(self, job: PoolJob, item: Item, *, member: Member, ref: Mapping[str, Any]) -> bool:
        """Follow what was under way; a server that does not answer is waited for like any other."""
        prompt_id = str(ref["prompt_id"])
        try:
            await member.engine.known_server()
            entry = await member.engine.api.history(prompt_id)
        except ComfyError as error:
            member.failed(error)
        else:
            if entry is not None and type(history_events(entry, 0.0)[-1]) is Cancelled:
                # An interrupted batch cancels what it was submitting, and had no time to note that.
                return False
        member.take(job)
        job.member = member
        item.recalled = True
        job.order.attempts += 1
        self._pool.carrier.adopt(job, member, prompt_id, str(ref.get("client_id") or ""))
        return True
