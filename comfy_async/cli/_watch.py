"""From a job on the server to its end on the screen and its files on the disk."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ._failure import EXIT_FAILED, Failure, describe
from ._interrupt import EXIT_INTERRUPTED, Interrupts

if TYPE_CHECKING:
    from PIL.Image import Image

    from comfy_async import Job, JobResult, OutputFile

    from ._report import Report

__all__ = ["Outcome", "saved", "tell", "watch"]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, and where its files are.

    Attributes:
        job: The job.
        result: What it made, None when it did not complete.
        failure: Why it did not.
        files: Each file with the path that it was saved under.
        running: Ctrl-C was pressed, and the server has not stopped it.
        pictures: What is to be shown in the terminal, by its place among the files.
    """

    job: Job
    result: JobResult | None = None
    failure: Failure | None = None
    files: tuple[tuple[OutputFile, Path | None], ...] = ()
    running: bool = False
    pictures: Mapping[int, Image] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def exit_code(self) -> int:
        """0 when it completed, 130 when it was cancelled, 1 otherwise."""
        if self.running or self.job.status == "cancelled":
            return EXIT_INTERRUPTED
        return 0 if self.failure is None else EXIT_FAILED


async def watch(job: Job, report: Report, interrupts: Interrupts, *, cancel: bool = True) -> Outcome:
    """Show a job until it ends; its files are only named.

    Args:
        job: The job.
        report: Where its events are told.
        interrupts: The first one cancels the job on the server and waits for its true end.
        cancel: False leaves the job running at an interrupt, as for one that others submitted.

    Raises:
        CancelledError: Interrupted, and `cancel` is False.
        ComfyError: The server cannot be reached any more.
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
    return await _ended(job)


async def _show(job: Job, report: Report) -> None:
    """Tell every event."""
    async for event in job:
        report.event(event, job)


async def _ended(job: Job) -> Outcome:
    """Collect how it ended."""
    from comfy_async import JobError

    if not job.done:
        return Outcome(job, running=True)
    try:
        result = await job
    except JobError as error:
        return Outcome(job, failure=describe(error))
    return Outcome(job, result=result, files=tuple((file, None) for file in result.files))


async def saved(outcome: Outcome, report: Report, out: Path | None) -> Outcome:
    """Save every file, if there are any and there is a folder for them.

    Raises:
        ComfyError: The server does not give them.
        OSError: They cannot be written.
    """
    if out is None or outcome.result is None or not outcome.files:
        return outcome
    report.note("saving")
    paths = await outcome.result.save(out)
    return dataclasses.replace(outcome, files=tuple(zip(outcome.result.files, paths, strict=True)))


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
        for place, (file, path) in enumerate(outcome.files):
            report.file(file, path)
            if place in outcome.pictures:
                report.picture(outcome.pictures[place])
        report.completed(job, outcome.result)
    return outcome.exit_code
