"""What `watch`, `wait` and `cancel` do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ._connection import Connection, UsageError, opened
from ._failure import EXIT_FAILED, Failure
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._labels import read_labels
from ._out import OutPlace, demand_place
from ._refs import plain, read_refs, toward, whole_refs
from ._watch import saved, tell, watch

if TYPE_CHECKING:
    from comfy_async import ComfySession, Job

    from ._report import Report

__all__ = ["cancel_jobs", "wait_jobs", "watch_job"]


async def watch_job(
    word: str, connection: Connection, report: Report, *, interrupts: Interrupts, out: OutPlace | None
) -> int:
    """Watch one job to its end and return the exit code.

    Raises:
        ComfyError: The request failed.
        UsageError: That is no job.
        OSError: A file cannot be read or written.
    """
    await demand_place(out, attached=True)
    refs = read_refs([word])
    if len(refs) > 1:
        raise UsageError("watch takes one job; wait takes several")
    (ref,) = refs
    # Under a client_id that somebody else still listens with, each would deafen the other.
    options = {"client_id": ref["client_id"]} if ref.get("detached") else {}
    interrupts.last_words.append(report.restore)
    try:
        connection = toward(connection, refs)
        async with report.watching(), opened(connection, **options) as comfy:
            (ref,) = await whole_refs(comfy, [ref])
            job = await comfy.attach(plain(ref))
            report.attached(job)
            outcome = await watch(job, report, interrupts, cancel=False)
            outcome = await saved(outcome, report, out, later=connection)
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        report.say(f"job {ref['prompt_id']} goes on")
        return EXIT_INTERRUPTED
    return tell(outcome, report)


async def wait_jobs(
    words: list[str], connection: Connection, report: Report, *, out: OutPlace | None, seconds: float | None
) -> int:
    """Wait for all jobs and return the worst exit code.

    Raises:
        ComfyError: The request failed.
        UsageError: One is no job.
        OSError: A file cannot be read or written.
    """
    await demand_place(out, attached=True)
    refs = read_refs(words)
    connection = toward(connection, refs)
    code = 0
    async with opened(connection, transport="poll") as comfy:
        jobs = [await comfy.attach(plain(ref)) for ref in await whole_refs(comfy, refs)]
        waiting = [asyncio.create_task(watch(job, report, Interrupts(), cancel=False)) for job in jobs]
        try:
            async with asyncio.timeout(seconds):
                for next_one in asyncio.as_completed(waiting):
                    outcome = await saved(await next_one, report, out, later=connection)
                    code = max(code, tell(outcome, report))
        except TimeoutError:
            report.failed(_too_long(seconds, jobs))
            code = max(code, EXIT_FAILED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    return code


async def cancel_jobs(
    words: Iterable[str], connection: Connection, report: Report, *, labels: Iterable[str] | None = None
) -> int:
    """Cancel jobs, or the open ones that have some labels; print how each ended, return the exit code.

    Raises:
        ComfyError: The request failed.
        UsageError: One is no job, or jobs are named in both ways or in none.
        OSError: A file cannot be read.
    """
    refs, wanted = read_refs(words), read_labels(labels)
    if bool(refs) == bool(wanted):
        raise UsageError("cancel takes jobs, or --label NAME=TEXT for those that are open and have it")
    code = 0
    async with opened(toward(connection, refs), transport="poll") as comfy:
        if wanted:
            refs = [{"prompt_id": prompt_id} for prompt_id in await _open_ones(comfy, wanted)]
            if not refs:
                report.say("no open job has these labels")
        for ref in await whole_refs(comfy, refs):
            job = await _known(comfy, ref)
            if job is None:
                report.failed(_unknown(ref["prompt_id"], comfy.base_url))
                code = EXIT_FAILED
                continue
            status = await job.cancel()
            fields = {"event": "cancel", "prompt_id": job.prompt_id, "status": status}
            report.item(fields, f"{job.prompt_id}  {status}")
            if status not in {"cancelled", "completed", "failed"}:
                code = EXIT_FAILED
    return code


async def _open_ones(comfy: ComfySession, labels: Mapping[str, str]) -> list[str]:
    """Return the open jobs that have some labels, those that wait first: no one begins meanwhile."""
    found: dict[str, list[str]] = {"pending": [], "in_progress": []}
    async for job in comfy.jobs.find(labels=labels, status=list(found)):
        found[str(job.status)].append(job.id)
    return [*found["pending"], *found["in_progress"]]


async def _known(comfy: ComfySession, ref: Mapping[str, Any]) -> Job | None:
    """Attach to a job, None when the server knows none of this id: that is no cancelled one."""
    from comfy_async import NotFoundError

    try:
        await comfy.jobs.get(ref["prompt_id"])
    except NotFoundError:
        return None
    return await comfy.attach(plain(ref))


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
