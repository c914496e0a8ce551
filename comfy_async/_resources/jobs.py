"""Jobs of every state in one list."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from .._base.labels import checked_labels, has_labels
from ..errors import NotFoundError
from ._resource import Resource
from ._schema_runs import HistoryRecord, JobRecord, JobsPage, QueueRecord
from .history import History
from .host import Host
from .queue import Queue

__all__ = ["JobRecord", "Jobs"]

_log = logging.getLogger("comfy_async")

_ASKED_AT_ONCE: Final = 8
_ORDERS: Final = ("created", "duration")

_OPEN: Final = frozenset({"pending", "in_progress"})
_STATUSES: Final = _OPEN | {"completed", "failed", "cancelled"}
# `job.status` has a word of its own for what the server calls so.
_ALSO: Final[Mapping[str, str]] = {"running": "in_progress"}


class Jobs(Resource):
    """`comfy.jobs`: waiting, running and finished jobs, of everybody who uses the server.

    On servers before 0.6.0 the answers are put together from queue and history.

    Example:
        >>> async for page in comfy.jobs.page(status=["failed", "completed"]):
        ...     for record in page:
        ...         print(record.id, record.status, record.outputs_count)
    """

    def __init__(self, host: Host) -> None:
        """Use the session's HTTP client."""
        super().__init__(host)
        self._history = History(host)
        self._queue = Queue(host)

    async def get(self, prompt_id: str) -> JobRecord:
        """Return a job in whatever state it is.

        Raises:
            NotFoundError: The server does not know it.
            ComfyError: The request failed.
        """
        await self._host.known_server()
        if (found := await self._host.api.job_record(prompt_id)) is not None:
            return self._read(JobRecord, found, f"job {prompt_id}")
        if await self._lists(None):
            path = f"/api/jobs/{quote(prompt_id, safe='')}"
            return self._read(JobRecord, await self._get(path, root=True), f"GET {path}")
        try:
            return _finished(await self._history.get(prompt_id), whole=True)
        except NotFoundError:
            queue = await self._queue.snapshot()
        for jobs, status in ((queue.running, "in_progress"), (queue.pending, "pending")):
            for job in jobs:
                if job.prompt_id == prompt_id:
                    return _queued(job, status)
        # It may have moved from the queue into the history between the two looks.
        return _finished(await self._history.get(prompt_id), whole=True)

    async def page(
        self,
        *,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        size: int = 100,
        order: str = "created",
        newest_first: bool = True,
    ) -> AsyncIterator[tuple[JobRecord, ...]]:
        """Yield the jobs in pages.

        Args:
            status: Only these: "pending", "in_progress" (or "running", as `job.status` has it), "completed",
                "failed", "cancelled".
            workflow_id: Only those of this workflow of the editor.
            size: Jobs in a page.
            order: By "created" or by "duration".
            newest_first: The latest, or the longest, first.

        Raises:
            ValueError: The size is not positive, or there is no such order or (by servers before
                0.9.0, which are not asked) no such status.
            ComfyError: The request failed, or the server knows no such status.
        """
        if size < 1 or order not in _ORDERS:
            raise ValueError(f"a page has at least one job; orders are {', '.join(_ORDERS)}")
        wanted = None if status is None else _words(status)
        if not await self._lists(wanted):
            found = await self._assembled(wanted, newest_first=newest_first)
            if workflow_id is not None:
                found = [job for job in found if job.workflow_id == workflow_id]
            if order == "duration":
                found.sort(key=_duration, reverse=newest_first)
            for place in range(0, len(found), size):
                yield tuple(found[place : place + size])
            return
        params: dict[str, Any] = {
            "limit": size,
            "sort_by": self._host.api.orders[order],
            "sort_order": "desc" if newest_first else "asc",
        }
        if wanted is not None:
            params["status"] = ",".join(wanted)
        if workflow_id is not None:
            params["workflow_id"] = workflow_id
        offset = 0
        while True:
            page = self._read(
                JobsPage, await self._get("/api/jobs", params=params, root=True), "GET /api/jobs"
            )
            if page.jobs:
                yield page.jobs
            offset += len(page.jobs)
            if not page.jobs or not page.pagination.has_more:
                return
            if page.pagination.next_cursor:
                params["after"] = page.pagination.next_cursor
            else:
                params["offset"] = offset

    async def find(
        self, *, labels: Mapping[str, str] | None = None, status: str | Iterable[str] | None = None
    ) -> AsyncIterator[JobRecord]:
        """Yield the jobs that have all these labels, with their workflow and what they made.

        What runs and waits comes first, then the finished jobs from the oldest on, as far as the
        server's history goes back. It is read page by page, as far as the loop goes. Comfy Cloud's
        list has no labels: there each job is requested by itself, the newest first, and jobs that
        show none either are counted in a warning.

        Args:
            labels: What a job must have been submitted with; None finds jobs with any labels and none.
            status: Only these: "pending", "in_progress" (or "running", as `job.status` has it), "completed",
                "failed", "cancelled".

        Raises:
            ValueError: There is no such status, or a label is no text.
            ComfyError: The request failed.

        Example:
            >>> job = await comfy.submit(flow, labels={"user": "7", "order": "12"})
            >>> result = await job
            >>> async for record in comfy.jobs.find(labels={"user": "7"}, status="completed"):
            ...     print(record.labels, record.outputs_count)
            {'user': '7', 'order': '12'} 1
        """
        wanted = checked_labels(labels).items()
        states = _STATUSES if status is None else set(_words(status))
        _demand_known(states)
        self._host.check_loop()
        await self._host.known_server()
        match self._host.api.labels_are_in:
            case "queue and history":
                found = self._each_told(states)
            case "each job":
                found = self._each_asked(states)
            case "its list":
                found = self._each_listed(dict(wanted), states)
        untold = 0
        async for job in found:
            known = job.labels
            if known is None and wanted:
                untold += 1
            elif has_labels(known or {}, wanted):
                yield job
        if untold:
            _log.warning(
                "%d jobs at %s do not show their labels: they may be among those looked for",
                untold,
                self._host.base_url,
            )

    async def _each_told(self, states: Collection[str]) -> AsyncIterator[JobRecord]:
        """Yield jobs in some states with what was sent along: the list does not have it."""
        seen: set[str] = set()
        if not _OPEN.isdisjoint(states):
            # Before the history: what ends between the two looks is in the second one.
            queue = await self._queue.snapshot()
            for rows, state in ((queue.running, "in_progress"), (queue.pending, "pending")):
                for row in rows if state in states else ():
                    seen.add(row.prompt_id)
                    yield _queued(row, state, whole=True)
        if _OPEN.issuperset(states):
            return
        async for page in self._history.page():
            for past in page:
                if past.status in states and past.prompt_id not in seen:
                    yield _finished(past, whole=True)

    async def _each_listed(
        self, labels: Mapping[str, str], states: Collection[str]
    ) -> AsyncIterator[JobRecord]:
        """Yield jobs in some states with these labels, as the server itself finds them."""
        async for found in self._host.api.listed(labels):
            job = self._read(JobRecord, found, "the list of jobs")
            if job.status in states:
                yield job

    async def _each_asked(self, states: Collection[str]) -> AsyncIterator[JobRecord]:
        """Yield jobs in some states, each requested by itself."""
        async for page in self.page(status=sorted(states)):
            for place in range(0, len(page), _ASKED_AT_ONCE):
                part = page[place : place + _ASKED_AT_ONCE]
                for job in await asyncio.gather(*(self._still_there(job.id) for job in part)):
                    if job is not None:
                        yield job

    async def _still_there(self, prompt_id: str) -> JobRecord | None:
        """Return a job, None when it has been deleted since it was listed."""
        try:
            return await self.get(prompt_id)
        except NotFoundError:
            return None

    async def cancel(self, *prompt_ids: str) -> bool:
        """Ask the server to remove or stop these jobs; return whether it accepted any of them.

        Its answer is no proof: `await job.cancel()` waits for the true end.

        Raises:
            ComfyError: The request failed.
        """
        await self._host.known_server()
        with self._host.stopping(prompt_ids, of=("pending", "running")):
            return await self._host.api.cancel_all(prompt_ids)

    async def _lists(self, wanted: Iterable[str] | None) -> bool:
        """Return whether the jobs API answers correctly for jobs in these states, all when None.

        Before 0.9.0 it knows no cancelled ones and calls them failed (comfy_execution/jobs.py).
        """
        server = await self._host.known_server()
        is_open = wanted is not None and _OPEN.issuperset(wanted)
        if not server.can("jobs" if is_open else "jobs_cancelled"):
            return False
        return await self._host.api.has_jobs()

    async def _assembled(self, wanted: list[str] | None, *, newest_first: bool) -> list[JobRecord]:
        """Put the list together for a server without the jobs API, or with an early one.

        Raises:
            ValueError: There is no such status.
        """
        _demand_known(wanted or ())
        queue = await self._queue.snapshot()
        found = [_finished(job) async for page in self._history.page(size=500) for job in page]
        known = {job.id for job in found}
        waiting = [_queued(job, "in_progress") for job in queue.running]
        waiting += [_queued(job, "pending") for job in queue.pending]
        found += [job for job in waiting if job.id not in known]
        if newest_first:
            found.reverse()
        return [job for job in found if wanted is None or job.status in wanted]


def _words(status: str | Iterable[str]) -> list[str]:
    """Return statuses by the server's words."""
    given = [status] if isinstance(status, str) else status
    return [_ALSO.get(word, word) for word in given]


def _demand_known(states: Iterable[str]) -> None:
    """Refuse a status that no job has.

    Raises:
        ValueError: There is no such status.
    """
    unknown = set(states) - _STATUSES
    if unknown:
        there_are = "pending, in_progress (or running), completed, failed, cancelled"
        raise ValueError(f"no such status: {', '.join(sorted(map(str, unknown)))}; there are {there_are}")


def _queued(job: QueueRecord, status: str, *, whole: bool = False) -> JobRecord:
    """Return an open job in the format of the jobs API."""
    return JobRecord(
        id=job.prompt_id,
        status=status,
        priority=job.number,
        create_time=_time(job.extra_data.get("create_time")),
        workflow={"prompt": job.prompt, "extra_data": job.extra_data} if whole else None,
        workflow_id=_workflow_id(job.extra_data),
    )


def _finished(job: HistoryRecord, *, whole: bool = False) -> JobRecord:
    """Return a finished job in the format of the jobs API."""
    by_type: dict[str, Mapping[str, Any]] = dict(job.messages)
    ends = [by_type[kind] for kind in by_type if kind not in {"execution_start", "execution_cached"}]
    error = by_type.get("execution_error")
    return JobRecord(
        id=job.prompt_id,
        status=job.status,
        priority=job.number,
        create_time=_time(job.extra_data.get("create_time")),
        execution_start_time=_time(by_type.get("execution_start", {}).get("timestamp")),
        execution_end_time=_time(ends[-1].get("timestamp")) if ends else None,
        execution_error=dict(error) if error is not None else None,
        outputs=job.outputs if whole else None,
        outputs_count=sum(_count(output) for output in job.outputs.values()),
        workflow={"prompt": job.prompt, "extra_data": job.extra_data} if whole else None,
        workflow_id=_workflow_id(job.extra_data),
    )


def _count(output: object) -> int:
    """Count what a node showed."""
    if not isinstance(output, Mapping):
        return 0
    return sum(len(value) for key, value in output.items() if isinstance(value, list) and key != "animated")


def _duration(job: JobRecord) -> float:
    """Return how long a job ran, 0 for one that has not ended."""
    start, end = job.execution_start_time, job.execution_end_time
    return 0.0 if start is None or end is None else end - start


def _time(value: object) -> float | None:
    """Return a time in milliseconds."""
    return float(value) if isinstance(value, int | float) else None


def _workflow_id(extra_data: Mapping[str, Any]) -> str | None:
    """Return the id of the editor's workflow that was sent along."""
    value: object = extra_data
    for key in ("extra_pnginfo", "workflow", "id"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None
