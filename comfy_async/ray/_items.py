"""One item of a batch on a fleet: run it, pick it up where an earlier driver left it, or take its result."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from .._base.cleanups import Work
from .._base.clock import Clock
from .._batch.gate import Gate
from .._batch.items import Item, is_usable, restored, unreadable
from .._batch.journal import Journal, Record, is_final, workflow_key
from .._job.core import JobCore
from .._job.hooks import introduce, tell_of_saves
from .._session.offered import offered, submitting
from .._session.prepare import loaded
from ..errors import ComfyError, ConnectError
from ..workflow import Workflow
from ._carrier import carried, is_sendable, with_files_read
from ._engine import FleetEngine
from ._job import FleetJob
from ._remote import RemoteOwner

__all__ = ["FleetItems"]


class FleetItems:
    """Runs the items of one batch."""

    def __init__(self, fleet: FleetEngine) -> None:
        """Belong to a fleet."""
        self._fleet = fleet
        self.clock: Clock = fleet.clock
        self.gate: Gate | None = None

    async def run_item(self, item: Any, index: int, journal: Journal | None, **options: Any) -> Item:
        """Bring one workflow to a job; whatever its submission fails of becomes the job's own end."""
        fleet = self._fleet
        given = {"previews": "none", **options}
        with submitting(fleet.hooks, item):
            try:
                with unreadable():
                    workflow = await with_files_read(await loaded(offered(fleet.hooks, item, given)))
                    key = "" if journal is None else workflow_key(await self._as_sent(workflow))
            except ComfyError as error:
                failed = self._job(None, index, given)
                failed.fail(error)
                return Item(failed)
            return await self._begun(self._job(workflow, index, given), journal, key)

    def _job(self, workflow: Workflow | None, index: int, options: Mapping[str, Any]) -> FleetJob:
        """Return a job that is yet to find a worker."""
        fleet = self._fleet
        chosen = fleet.options({**options, "keep_frames": False, "index": index})
        job = FleetJob(fleet, workflow, chosen, patient=True)
        introduce(job, fleet.hooks, chosen.extra_data)
        return job

    async def _begun(self, job: FleetJob, journal: Journal | None, key: str) -> Item:
        """Bring a job on its way, with the results file in mind."""
        fleet = self._fleet
        made = job.item = Item(job, key=key)
        if journal is not None:
            job.journal = journal
            record = journal.find(made.index, key)
            old = None if record is None else await self._recalled(job, made, record)
            if old is not None and await is_usable(old, journal):
                return old
        fleet.follow(job, fleet.carrier.run(job))
        return made

    def elsewhere(self, servers: Collection[str]) -> list[str]:
        """Return none: each server that a job was on is asked itself."""
        return []

    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job that is not waited for any more."""
        return self._fleet.leave(job)

    async def clean_up(self, work: Work[None], *, name: str) -> None:
        """Do something to its end, however often its caller is cancelled."""
        await self._fleet.clean_up(work, name=name)

    async def _recalled(self, job: FleetJob, item: Item, record: Record) -> Item | None:
        """Return what an earlier driver noted, None when the job has to run."""
        fleet, ref = self._fleet, record.get("ref")
        if not isinstance(ref, Mapping):
            return None
        member = await fleet.member_at(str(ref.get("server")))
        if is_final(record):
            assert job.given is not None
            on_partial = job.options.on_partial
            old = restored(RemoteOwner(fleet, member), record, job.given, item.index, on_partial=on_partial)
            tell_of_saves(old.job, fleet.hooks)
            return old
        if record.get("status") != "submitted" or member is None:
            return None
        item.recalled = True
        prompt_id, client_id = str(ref["prompt_id"]), str(ref.get("client_id") or "")
        fleet.follow(job, fleet.carrier.resume(job, member, prompt_id, client_id))
        return item

    async def _as_sent(self, workflow: Workflow) -> Workflow:
        """Return what would be sent, by which a results file recognizes workflows.

        Raises:
            ComfyError: It cannot be converted, or the server refuses a file.
        """
        if is_sendable(workflow):
            return workflow
        members = self._fleet.places.members
        while True:
            member = next((each for each in members if each.ready and each.error is None), members[0])
            try:
                prepared: Workflow = await member.call("prepare", await carried(workflow), False)
                return prepared
            except ConnectError as error:
                member.away(error)
                await self.clock.sleep(self._fleet.settings.reconnect_first)
