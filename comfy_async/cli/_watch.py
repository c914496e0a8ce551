"""From a submitted job to its end on the screen and its files on the disk."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ._failure import EXIT_FAILED, Failure, describe
from ._interrupt import EXIT_INTERRUPTED, Interrupts

if TYPE_CHECKING:
    from comfy_async import Job, JobResult, OutputFile

    from ._report import Report

__all__ = ["Outcome", "tell", "watch"]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, and where its files are.

    Attributes:
        job: The job.
        result: What it made, None when it did not complete.
        failure: Why it did not.
        files: Each file with the path that it was saved under.
        running: Ctrl-C was pressed, and the server has not stopped it.
    """

    job: Job
    result: JobResult | None = None
    failure: Failure | None = None
    files: tuple[tuple[OutputFile, Path | None], ...] = ()
    running: bool = False

    @property
    def exit_code(self) -> int:
        """0 when it completed, 130 when it was cancelled, 1 otherwise."""
        if self.running or self.job.status == "cancelled":
            return EXIT_INTERRUPTED
        return 0 if self.failure is None else EXIT_FAILED


async def watch(
    job: Job, report: Report, interrupts: Interrupts, *, out: Path | None = None, cancel: bool = True
) -> Outcome:
    """Show a job until it ends, and save what it made.

    Args:
        job: The job.
        report: Where its events are told.
        interrupts: The first one cancels the job on the server and waits for its true end.
        out: The folder for its files, None to leave them on the server.
        cancel: False leaves the job running at an interrupt, as for one that others submitted.

    Raises:
        CancelledError: Interrupted, and `cancel` is False.
        ComfyError: The server cannot be reached any more.
        OSError: The files cannot be written.
    """
    showing = asyncio.create_task(_show(job, report), name="comfy-async events")
    try:
        await asyncio.shield(showing)
    except asyncio.CancelledError:
        if not (interrupts.asked and cancel):
            raise
        await job.cancel()
    finally:
        if not job.done:
            showing.cancel()
        await asyncio.wait([showing])
    return await _ended(job, report, out=out)


async def _show(job: Job, report: Report) -> None:
    """Tell every event."""
    async for event in job:
        report.event(event, job)


async def _ended(job: Job, report: Report, *, out: Path | None) -> Outcome:
    """Collect how it ended, and save its files."""
    from comfy_async import JobError

    if not job.done:
        return Outcome(job, running=True)
    try:
        result = await job
    except JobError as error:
        return Outcome(job, failure=describe(error))
    return Outcome(job, result=result, files=await _saved(result, report, out=out))


async def _saved(
    result: JobResult, report: Report, *, out: Path | None
) -> tuple[tuple[OutputFile, Path | None], ...]:
    """Save every file, if there is a folder for them."""
    if out is None:
        return tuple((file, None) for file in result.files)
    report.note("saving")
    return tuple(zip(result.files, await result.save(out), strict=True))


def tell(outcome: Outcome, report: Report) -> int:
    """Say how it ended, and return the exit code."""
    job = outcome.job
    if outcome.running:
        report.failed(
            Failure(
                "cancel_unconfirmed",
                f"the server has not stopped job {job.prompt_id}",
                hint=f"Later: comfy-async cancel {job.prompt_id}",
                details={"prompt_id": job.prompt_id},
            )
        )
    elif outcome.failure is not None:
        report.ended(job, outcome.failure)
    elif outcome.result is not None:
        for file, path in outcome.files:
            report.file(file, path)
        report.completed(job, outcome.result)
    return outcome.exit_code
