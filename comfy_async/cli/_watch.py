"""From a job on the server to its end on the screen and its files on the disk."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .._display.replay import ProgressReplay
from .._job.job import core_of
from ..types import FileUrl
from ._connection import Connection, UsageError
from ._failure import EXIT_FAILED, Failure, describe
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._later import wait_command, waited_place, withheld
from ._out import OutPlace

if TYPE_CHECKING:
    from PIL.Image import Image

    from comfy_async import Job, JobResult, OutputFile

    from ._report import Report

__all__ = ["Outcome", "saved", "tell", "unsaved", "watch"]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, and where its files are.

    Attributes:
        job: The job.
        result: What it made, None when it did not complete.
        failure: Why it did not.
        files: Each file with the path that it was saved under.
        running: Ctrl-C was pressed, and the server has not stopped it.
        interrupted: Ctrl-C was pressed.
        reason: Why it has not, "" when it only goes on.
        pictures: What is to be shown in the terminal, by its place among the files.
        unsaved: Why the files could not be saved, None when they were, or were not to be.
    """

    job: Job
    result: JobResult | None = None
    failure: Failure | None = None
    files: tuple[tuple[OutputFile, Path | FileUrl | None], ...] = ()
    running: bool = False
    interrupted: bool = False
    reason: str = ""
    pictures: Mapping[int, Image] = dataclasses.field(default_factory=dict, repr=False)
    unsaved: Failure | None = None

    @property
    def exit_code(self) -> int:
        """0 when it completed, 130 when it was cancelled by Ctrl-C here, 1 otherwise."""
        if self.running or (self.interrupted and self.job.status == "cancelled"):
            return EXIT_INTERRUPTED
        whole = self.failure is None and self.unsaved is None
        whole = whole and not (self.result is not None and self.result.missing)
        return 0 if whole else EXIT_FAILED


async def watch(job: Job, report: Report, interrupts: Interrupts, *, cancel: bool = True) -> Outcome:
    """Show a job until it ends; its files are only named.

    Args:
        job: The job.
        report: What prints its events.
        interrupts: The first one cancels the job on the server and waits for its true end.
        cancel: False leaves the job running at an interrupt, as for one that others submitted.

    Raises:
        CancelledError: Interrupted, and `cancel` is False.
        ComfyError: The server cannot be reached any more.
    """
    reason = ""
    showing = asyncio.create_task(_show(job, report), name="comfy-async events")
    try:
        await asyncio.shield(showing)
    except asyncio.CancelledError:
        if not (interrupts.asked and cancel):
            raise
        reason = await _cancelled(job)
    finally:
        if not job.done:
            showing.cancel()
        await asyncio.wait([showing])
    outcome = dataclasses.replace(await _ended(job, reason), interrupted=interrupts.asked)
    if outcome.failure is not None and not cancel and not core_of(job).seen and job.status == "lost":
        # Nothing shows that it ever was there: who mistyped an id must not run the job twice.
        hint = "The id is another one, or the server was restarted, or its history cleared, since."
        return dataclasses.replace(outcome, failure=dataclasses.replace(outcome.failure, hint=hint))
    return outcome


async def _cancelled(job: Job) -> str:
    """Stop the job on the server; return why that cannot be done, "" otherwise."""
    from comfy_async import ComfyError

    try:
        await job.cancel()
    except ComfyError as error:
        return str(error.args[0])
    return ""


async def _show(job: Job, report: Report) -> None:
    """Report every event, and how to find out how far the job was then."""
    replay = ProgressReplay(job)
    async for event in job:
        report.event(event, job, replay)


async def _ended(job: Job, reason: str) -> Outcome:
    """Collect how it ended."""
    from comfy_async import JobError

    if not job.done:
        return Outcome(job, running=True, reason=reason)
    try:
        result = await job
    except JobError as error:
        return Outcome(job, failure=describe(error))
    return Outcome(job, result=result, files=tuple((file, None) for file in result.files))


async def saved(
    outcome: Outcome, report: Report, out: OutPlace | None, *, later: Connection | None
) -> Outcome:
    """Save every file, if there are any and there is a folder for them.

    When that fails the run is not lost: the files are named, and how to fetch them is said.

    Args:
        outcome: How the job ended.
        report: What prints it.
        out: The folder.
        later: The connection to the server that has them, None when it ends with this command.
    """
    from comfy_async import ComfyError

    if out is None or outcome.result is None or not outcome.files:
        return outcome
    report.note("saving")
    try:
        # What may be lost is told in the end; what came is not to be lost with it.
        paths = await out.save(outcome.result, allow_missing=True)
    except (ComfyError, OSError, UsageError) as error:
        return dataclasses.replace(outcome, unsaved=unsaved(error, outcome.job, out, later=later))
    return dataclasses.replace(outcome, files=tuple(zip(outcome.result.files, paths, strict=True)))


def unsaved(error: Exception, job: Job, out: OutPlace, *, later: Connection | None) -> Failure:
    """Return the failure of files that could not be saved, with the command that tries again."""
    failure = describe(error)
    assert failure is not None
    details = {**failure.details, "prompt_id": job.prompt_id}
    hint = "The job itself completed."
    if later is not None:
        # A pattern that cannot be filled would not be filled then either.
        place = out.folder if isinstance(error, UsageError) else waited_place(out)
        details["command"] = wait_command(job.prompt_id, later, out=place)
        without = withheld(later)
        hint = (
            f"It completed and has its files on the server; to save them{f', {without}' if without else ''}:"
        )
    return dataclasses.replace(
        failure,
        message=f"the files could not be saved: {failure.message}",
        hint=hint,
        details=details,
        exit_code=EXIT_FAILED,
    )


def tell(outcome: Outcome, report: Report) -> int:
    """Say how it ended, and return the exit code."""
    job = outcome.job
    if outcome.running:
        report.failed(
            Failure(
                "cancel_unconfirmed",
                f"the server has not stopped job {job.prompt_id}{outcome.reason and ': '}{outcome.reason}",
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
        if outcome.result.missing:
            nodes = ", ".join(outcome.result.missing)
            report.say(f"images of {nodes} may be lost: only the socket carries them, and it broke")
        if outcome.unsaved is not None:
            report.failed(outcome.unsaved)
    return outcome.exit_code
