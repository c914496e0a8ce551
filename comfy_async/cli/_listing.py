"""What `queue` and `history` do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._base.labels import has_labels
from ..types import counted
from ._connection import Connection, UsageError, opened
from ._interrupt import Interrupts
from ._labels import label_text, labelled, latest, read_labels
from ._refs import read_refs, toward, whole_refs
from ._tables import age_text, short_text, when_text
from ._watch import tell, watch

if TYPE_CHECKING:
    from comfy_async import ComfySession

    from ._report import Report

__all__ = ["clear_queue", "list_history", "list_queue", "show_history"]


async def list_queue(connection: Connection, report: Report, *, labels: Iterable[str] | None) -> int:
    """Print what runs and what waits, or those of it that have some labels.

    Raises:
        ComfyError: The request failed.
        UsageError: That is no label.
    """
    wanted = read_labels(labels).items()
    async with opened(connection) as comfy:
        state = await comfy.queue.snapshot()
        reasons = await _reasons(comfy) if comfy.server.dialect == "cloud-v1" else {}
    jobs = [("running", 0, job) for job in state.running]
    jobs += [("pending", place, job) for place, job in enumerate(state.pending, 1)]
    jobs = [one for one in jobs if has_labels(one[2].labels, wanted)]
    items = [_waiting_fields(status, place, job) for status, place, job in jobs]
    for item in items:
        if reason := reasons.get(item["prompt_id"]):
            item["reason"] = reason
    rows = [
        (
            place or "now",
            job.prompt_id,
            f"{status} ({item['reason']})" if "reason" in item else status,
            counted(len(job.prompt), "node"),
            age_text(item["create_time"]),
            label_text(job.labels),
        )
        for (status, place, job), item in zip(jobs, items, strict=True)
    ]
    report.table(items, rows, empty="no job has these labels" if wanted else "the queue is empty", whole=1)
    return 0


async def _reasons(comfy: ComfySession) -> dict[str, str]:
    """Return why each job waits, by id: the cloud says so in its list of jobs, newer ones that is."""
    found: dict[str, str] = {}
    async for page in comfy.jobs.page(status="pending"):
        found |= {job.id: job.queue_reason for job in page if job.queue_reason}
    return found


def _waiting_fields(status: str, place: int, job: Any) -> dict[str, Any]:
    """Return a job of the queue for scripts."""
    return {
        "event": "job",
        "prompt_id": job.prompt_id,
        "status": status,
        "position": place,
        "number": job.number,
        "nodes": len(job.prompt),
        "client_id": job.extra_data.get("client_id"),
        "create_time": _whole_number(job.extra_data.get("create_time")),
        "labels": job.labels,
    }


async def clear_queue(connection: Connection, report: Report) -> int:
    """Take all waiting jobs out of the queue.

    Raises:
        ComfyError: The request failed.
    """
    async with opened(connection) as comfy:
        await comfy.queue.clear()
        left = await comfy.queue.remaining()
    report.item({"event": "cleared", "remaining": left}, f"cleared; {left} left (what runs goes on)")
    return 0


async def list_history(
    connection: Connection, report: Report, *, limit: int, status: str | None, labels: Iterable[str] | None
) -> int:
    """Print the latest finished jobs, or those of them that have some labels.

    Raises:
        ComfyError: The request failed.
        UsageError: There is no such status, or that is no label.
    """
    named = read_labels(labels)
    known = ("completed", "failed", "cancelled")
    if status is not None and status not in known:
        raise UsageError(f"--status takes {', '.join(known)}, not {status!r}")
    wanted = [status] if status else known
    async with opened(connection) as comfy:
        if named:
            shown = await labelled(comfy, wanted, limit=limit, labels=named)
        else:
            shown = await latest(comfy, wanted, limit=limit)
    report.table(
        map(_job_line, shown),
        map(_job_row, shown),
        empty="no job has these labels" if named else "nothing is in the history",
        whole=1,
    )
    return 0


async def show_history(word: str, connection: Connection, report: Report) -> int:
    """Print one finished job with what it made.

    Raises:
        NotFoundError: The server does not know it.
        ComfyError: The request failed.
        UsageError: That is no job.
        OSError: A file cannot be read.
    """
    from comfy_async import NotFoundError

    refs = read_refs([word])
    async with opened(toward(connection, refs), transport="poll") as comfy:
        (ref,) = await whole_refs(comfy, refs[:1])
        try:
            record = await comfy.jobs.get(ref["prompt_id"])
        except NotFoundError as error:
            error.args = (f"{comfy.base_url} does not know job {ref['prompt_id']}",)
            error.hint = "It was never there, or the server was restarted since."
            raise
        if not record.done:
            raise NotFoundError(
                f"job {record.id} has not ended: it is {record.status}",
                hint="`comfy-async watch` shows how far it is, `comfy-async wait` waits for its end.",
            )
        job = await comfy.attach(record.id)
        outcome = await watch(job, report, Interrupts(), cancel=False)
    tell(outcome, report)
    return 0


def _job_line(job: Any) -> dict[str, Any]:
    """Return a finished job as a JSON object."""
    error = job.execution_error or {}
    text = {} if job.preview_text is None else {"text": job.preview_text}
    return {
        **text,
        "event": "job",
        "prompt_id": job.id,
        "status": job.status,
        "create_time": _whole_number(job.create_time),
        "seconds": _seconds(job),
        "outputs": job.outputs_count,
        "error": error.get("exception_message"),
        "labels": job.labels,
    }


def _job_row(job: Any) -> tuple[object, ...]:
    """Return a finished job as cells."""
    seconds = _seconds(job)
    took = "" if seconds is None else f"{seconds:.1f} s"
    message = str((job.execution_error or {}).get("exception_message") or "").strip().partition("\n")[0]
    return (
        when_text(job.create_time),
        job.id,
        job.status,
        took,
        message or (short_text(job.preview_text) if job.preview_text else _made(job)),
        label_text(job.labels),
    )


def _whole_number(milliseconds: Any) -> Any:
    """Return a time as a whole number, as queue and history both have it; other things as they are."""
    return round(milliseconds) if isinstance(milliseconds, float) else milliseconds


def _made(job: Any) -> str:
    """Return how much a job made."""
    return counted(job.outputs_count or 0, "output")


def _seconds(job: Any) -> float | None:
    """Return how long a job ran."""
    if job.execution_start_time is None or job.execution_end_time is None:
        return None
    return float(job.execution_end_time - job.execution_start_time) / 1000
