"""Jobs of every state in one list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from ..errors import NotFoundError
from ._resource import Resource
from ._schema_runs import HistoryRecord, JobRecord, JobsPage, QueueRecord
from .history import History
from .host import Host
from .queue import Queue

__all__ = ["JobRecord", "Jobs"]

_ORDERS: Final = ("created", "duration")

_OPEN: Final = frozenset({"pending", "in_progress"})
_STATUSES: Final = _OPEN | {"completed", "failed", "cancelled"}


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
            ComfyError: The server cannot be asked.
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
            status: Only these: "pending", "in_progress", "completed", "failed", "cancelled".
            workflow_id: Only those of this workflow of the editor.
            size: Jobs in a page.
            order: By "created" or by "duration".
            newest_first: The latest, or the longest, first.

        Raises:
            ValueError: The size is not positive, or there is no such order or (by servers before
                0.9.0, which are not asked) no such status.
            ComfyError: The server cannot be asked, or knows no such status.
        """
        if size < 1 or order not in _ORDERS:
            raise ValueError(f"a page has at least one job; orders are {', '.join(_ORDERS)}")
        wanted = [status] if isinstance(status, str) else None if status is None else list(status)
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

    async def cancel(self, *prompt_ids: str) -> bool:
        """Ask the server to remove or stop these jobs; say whether it took on any of them.

        Its word is no proof: `await job.cancel()` waits for the true end.

        Raises:
            ComfyError: The server cannot be asked.
        """
        await self._host.known_server()
        with self._host.stopping(prompt_ids, of=("pending", "running")):
            return await self._host.api.cancel_all(prompt_ids)

    async def _lists(self, wanted: Iterable[str] | None) -> bool:
        """Say whether the jobs API answers rightly for jobs in these states, all when None.

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
        unknown = set(wanted or ()) - _STATUSES
        if unknown:
            raise ValueError(f"no such status: {', '.join(sorted(unknown))}")
        queue = await self._queue.snapshot()
        found = [_finished(job) async for page in self._history.page(size=500) for job in page]
        known = {job.id for job in found}
        waiting = [_queued(job, "in_progress") for job in queue.running]
        waiting += [_queued(job, "pending") for job in queue.pending]
        found += [job for job in waiting if job.id not in known]
        if newest_first:
            found.reverse()
        return [job for job in found if wanted is None or job.status in wanted]


def _queued(job: QueueRecord, status: str) -> JobRecord:
    """Return an open job in the words of the jobs API."""
    return JobRecord(
        id=job.prompt_id,
        status=status,
        priority=job.number,
        create_time=_time(job.extra_data.get("create_time")),
        workflow_id=_workflow_id(job.extra_data),
    )


def _finished(job: HistoryRecord, *, whole: bool = False) -> JobRecord:
    """Return a finished job in the words of the jobs API."""
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
