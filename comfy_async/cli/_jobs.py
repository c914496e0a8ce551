"""What `watch`, `wait`, `cancel`, `queue` and `history` do."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import Connection, UsageError, opened
from ._failure import EXIT_FAILED, Failure
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._report import JsonReport
from ._tables import age_text, columns, counted, when_text
from ._watch import saved, tell, watch

if TYPE_CHECKING:
    from comfy_async import ComfySession, Job

    from ._report import Report

__all__ = [
    "cancel_jobs",
    "clear_queue",
    "list_history",
    "list_queue",
    "read_refs",
    "show_history",
    "wait_jobs",
    "watch_job",
]


def read_refs(words: Iterable[str]) -> list[dict[str, Any]]:
    """Return the refs that ids, files, JSON texts and stdin (`-`) stand for.

    Raises:
        UsageError: One of them is none of these.
        OSError: A file cannot be read.
    """
    found: list[dict[str, Any]] = []
    for word in words:
        if word == "-":
            found += _refs_in(sys.stdin.read(), "stdin")
        elif word.lstrip().startswith("{"):
            found += _refs_in(word, "the argument")
        elif Path(word).is_file():
            found += _refs_in(Path(word).read_text(encoding="utf-8"), word)
        else:
            found.append({"prompt_id": word})
    return found


def _refs_in(text: str, where: str) -> list[dict[str, Any]]:
    """Return the refs among JSON lines; a plain line is an id.

    Raises:
        UsageError: There is none.
    """
    found: dict[str, dict[str, Any]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        try:
            value = json.loads(line)
        except ValueError:
            value = {"prompt_id": line}
        if isinstance(value, dict) and isinstance(value.get("prompt_id"), str):
            # Later lines of one job (events of `run --json`) know less than its first.
            found.setdefault(value["prompt_id"], value)
    if not found:
        raise UsageError(f"there is no job in {where}: it takes an id, or what `comfy-async submit` prints")
    return list(found.values())


def _toward(connection: Connection, refs: Sequence[Mapping[str, Any]]) -> Connection:
    """Return the way to the server that the refs name, unless the options name another.

    Raises:
        UsageError: They name several.
    """
    servers = {ref["server"] for ref in refs if isinstance(ref.get("server"), str)}
    if connection.server is not None or connection.cloud or not servers:
        return connection
    if len(servers) > 1:
        raise UsageError(
            f"these jobs are on several servers: {', '.join(sorted(servers))}; name one --server"
        )
    return dataclasses.replace(connection, server=servers.pop())


async def watch_job(
    word: str, connection: Connection, report: Report, interrupts: Interrupts, *, out: Path | None
) -> int:
    """Watch one job to its end and return the exit code.

    Raises:
        ComfyError: The server cannot be asked.
        UsageError: That is no job.
        OSError: A file cannot be read or written.
    """
    refs = read_refs([word])
    if len(refs) > 1:
        raise UsageError("watch takes one job; wait takes several")
    (ref,) = refs
    # Under a client_id that somebody else still listens with, each would deafen the other.
    options = {"client_id": ref["client_id"]} if ref.get("detached") else {}
    interrupts.last_words.append(report.restore)
    try:
        async with report.watching(), opened(_toward(connection, refs), **options) as comfy:
            job = await comfy.attach(_plain(ref))
            report.attached(job)
            outcome = await saved(await watch(job, report, interrupts, cancel=False), report, out)
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        report.say(f"job {ref['prompt_id']} goes on")
        return EXIT_INTERRUPTED
    return tell(outcome, report)


async def wait_jobs(
    words: list[str], connection: Connection, report: Report, *, out: Path | None, seconds: float | None
) -> int:
    """Wait for all jobs and return the worst exit code.

    Raises:
        ComfyError: The server cannot be asked.
        UsageError: One is no job.
        OSError: A file cannot be read or written.
    """
    refs = read_refs(words)
    code = 0
    async with opened(_toward(connection, refs), transport="poll") as comfy:
        jobs = [await comfy.attach(_plain(ref)) for ref in refs]
        waiting = [asyncio.create_task(watch(job, report, Interrupts(), cancel=False)) for job in jobs]
        try:
            async with asyncio.timeout(seconds):
                for next_one in asyncio.as_completed(waiting):
                    outcome = await saved(await next_one, report, out)
                    code = max(code, tell(outcome, report))
        except TimeoutError:
            report.failed(_too_long(seconds, jobs))
            code = max(code, EXIT_FAILED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    return code


async def cancel_jobs(words: list[str], connection: Connection, report: Report) -> int:
    """Cancel jobs, print how each ended, and return the exit code.

    Raises:
        ComfyError: The server cannot be asked.
        UsageError: One is no job.
        OSError: A file cannot be read.
    """
    refs = read_refs(words)
    code = 0
    async with opened(_toward(connection, refs), transport="poll") as comfy:
        for ref in refs:
            job = await _known(comfy, ref)
            if job is None:
                report.failed(_unknown(ref["prompt_id"], comfy.base_url))
                code = EXIT_FAILED
                continue
            status = await job.cancel()
            if isinstance(report, JsonReport):
                report.line({"event": "cancel", "prompt_id": job.prompt_id, "status": status})
            else:
                report.result(f"{job.prompt_id}  {status}")
            if status not in {"cancelled", "completed", "failed"}:
                code = EXIT_FAILED
    return code


async def _known(comfy: ComfySession, ref: Mapping[str, Any]) -> Job | None:
    """Attach to a job, None when the server knows none of this id: that is no cancelled one."""
    from comfy_async import NotFoundError

    try:
        await comfy.jobs.get(ref["prompt_id"])
    except NotFoundError:
        return None
    return await comfy.attach(_plain(ref))


async def list_queue(connection: Connection, report: Report) -> int:
    """Print what runs and what waits.

    Raises:
        ComfyError: The server cannot be asked.
    """
    async with opened(connection) as comfy:
        state = await comfy.queue.snapshot()
    rows = [("running", 0, job) for job in state.running]
    rows += [("pending", place, job) for place, job in enumerate(state.pending, 1)]
    if isinstance(report, JsonReport):
        for status, place, job in rows:
            report.line(
                {
                    "event": "job",
                    "prompt_id": job.prompt_id,
                    "status": status,
                    "position": place,
                    "number": job.number,
                    "nodes": len(job.prompt),
                    "client_id": job.extra_data.get("client_id"),
                    "create_time": job.extra_data.get("create_time"),
                }
            )
        return 0
    table = [
        (
            place or "now",
            job.prompt_id,
            status,
            counted(len(job.prompt), "node"),
            age_text(job.extra_data.get("create_time")),
        )
        for status, place, job in rows
    ]
    for line in columns(table):
        report.result(line)
    if not rows:
        report.say("the queue is empty")
    return 0


async def clear_queue(connection: Connection, report: Report) -> int:
    """Take all waiting jobs out of the queue.

    Raises:
        ComfyError: The server cannot be asked.
    """
    async with opened(connection) as comfy:
        await comfy.queue.clear()
        left = await comfy.queue.remaining()
    if isinstance(report, JsonReport):
        report.line({"event": "cleared", "remaining": left})
    else:
        report.say(f"cleared; {left} left (what runs goes on)")
    return 0


async def list_history(connection: Connection, report: Report, *, limit: int, status: str | None) -> int:
    """Print the latest finished jobs.

    Raises:
        ComfyError: The server cannot be asked.
        UsageError: There is no such status.
    """
    known = ("completed", "failed", "cancelled")
    if status is not None and status not in known:
        raise UsageError(f"--status takes {', '.join(known)}, not {status!r}")
    found: list[Any] = []
    async with opened(connection) as comfy:
        async for page in comfy.jobs.page(status=[status] if status else known, size=min(limit, 100)):
            found += page
            if len(found) >= limit:
                break
    for job in found[:limit]:
        if isinstance(report, JsonReport):
            report.line(_job_line(job))
    if not isinstance(report, JsonReport):
        for line in columns([_job_row(job) for job in found[:limit]]):
            report.result(line)
        if not found:
            report.say("nothing is in the history")
    return 0


async def show_history(word: str, connection: Connection, report: Report) -> int:
    """Print one finished job with what it made.

    Raises:
        NotFoundError: The server does not know it.
        ComfyError: The server cannot be asked.
        UsageError: That is no job.
        OSError: A file cannot be read.
    """
    from comfy_async import NotFoundError

    refs = read_refs([word])
    async with opened(_toward(connection, refs), transport="poll") as comfy:
        record = await comfy.jobs.get(refs[0]["prompt_id"])
        if not record.done:
            raise NotFoundError(f"job {record.id} has not ended: it is {record.status}")
        job = await comfy.attach(record.id)
        outcome = await watch(job, report, Interrupts(), cancel=False)
    tell(outcome, report)
    return 0


def _plain(ref: Mapping[str, Any]) -> dict[str, str]:
    """Return what `attach` takes."""
    return {key: ref[key] for key in ("prompt_id", "client_id") if isinstance(ref.get(key), str)}


def _too_long(seconds: float | None, jobs: Iterable[Job]) -> Failure:
    """Return the failure of a wait that took too long."""
    left = [job.prompt_id for job in jobs if not job.done]
    return Failure(
        "wait_timeout",
        f"{len(left)} of the jobs had not ended after {seconds:g} s",
        hint="They go on; `comfy-async wait` waits for them again.",
        details={"prompt_ids": left},
    )


def _unknown(prompt_id: str, server: str) -> Failure:
    """Return the failure for a job that the server does not know."""
    return Failure(
        "prompt_not_found",
        f"{server} does not know job {prompt_id}",
        hint="It was never there, or the server was restarted since.",
        details={"prompt_id": prompt_id, "server": server},
    )


def _job_line(job: Any) -> dict[str, Any]:
    """Return a finished job as a JSON object."""
    error = job.execution_error or {}
    return {
        "event": "job",
        "prompt_id": job.id,
        "status": job.status,
        "create_time": job.create_time,
        "seconds": _seconds(job),
        "outputs": job.outputs_count,
        "error": error.get("exception_message"),
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
        message or f"{job.outputs_count or 0} outputs",
    )


def _seconds(job: Any) -> float | None:
    """Return how long a job ran."""
    if job.execution_start_time is None or job.execution_end_time is None:
        return None
    return float(job.execution_end_time - job.execution_start_time) / 1000
