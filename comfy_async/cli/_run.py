"""`comfy-async run`: a workflow from its file to saved results."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import Connection, fake_server, opened
from ._failure import EXIT_FAILED, describe
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._values import apply_values, seeded

if TYPE_CHECKING:
    from comfy_async import ComfySession, Job, JobResult, Workflow

    from ._report import Report

__all__ = ["RunRequest", "run", "watch_to_end"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What `run` was asked for."""

    workflow: str
    settings: tuple[str, ...] = ()
    seed: int | None = None
    randomize: bool = False
    out: Path | None = None
    fake: bool = False
    step_seconds: float = 0.05
    previews: str = "none"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


async def run(request: RunRequest, connection: Connection, report: Report, interrupts: Interrupts) -> int:
    """Run a workflow and return the exit code.

    Raises:
        ComfyError: It could not be brought to the server.
        UsageError: An option makes no sense.
        OSError: A file cannot be read or written.
    """
    from comfy_async import Workflow

    workflow = Workflow.load(Path(request.workflow))
    fake = fake_server(step_seconds=request.step_seconds) if request.fake else None
    if fake is not None:
        interrupts.last_words.append(fake.folders.remove)
    interrupts.last_words.append(report.restore)
    interrupts.on_ask = lambda: report.note("cancelling; Ctrl-C again leaves at once")
    async with opened(connection, fake=fake) as comfy, report.watching():
        try:
            prepared = await prepare(comfy, workflow, request)
            stream = comfy.stream(prepared, previews=request.previews, **request.options)
            job = await stream.__aenter__()
        except asyncio.CancelledError:
            report.interrupted()
            return EXIT_INTERRUPTED
        try:
            report.submitted(job)
            return await watch_to_end(job, report, interrupts, out=request.out)
        finally:
            await stream.__aexit__(None, None, None)


async def prepare(comfy: ComfySession, workflow: Workflow, request: RunRequest) -> Workflow:
    """Return the workflow in API format with its new values."""
    if workflow.format == "editor":
        workflow = workflow.converted(await comfy.nodes.catalog())
    return seeded(apply_values(workflow, request.settings), request.seed, randomize=request.randomize)


async def watch_to_end(job: Job, report: Report, interrupts: Interrupts, *, out: Path | None) -> int:
    """Show a job until it ends, save what it made, and return the exit code.

    The first Ctrl-C cancels the job on the server and waits for its true end.
    """
    showing = asyncio.create_task(_show(job, report), name="comfy-async events")
    try:
        await asyncio.shield(showing)
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        await job.cancel()
    finally:
        if not job.done:
            showing.cancel()
        await asyncio.wait([showing])
    return await _finish(job, report, out=out)


async def _show(job: Job, report: Report) -> None:
    """Tell every event."""
    async for event in job:
        report.event(event, job)


async def _finish(job: Job, report: Report, *, out: Path | None) -> int:
    """Tell the end."""
    from comfy_async import ComfyError, JobCancelledError

    if not job.done:
        report.say(f"the server has not stopped it; later: comfy-async cancel {job.prompt_id}")
        return EXIT_INTERRUPTED
    try:
        result = await job
    except ComfyError as error:
        failure = describe(error)
        assert failure is not None
        report.ended(job, failure)
        return EXIT_INTERRUPTED if isinstance(error, JobCancelledError) else EXIT_FAILED
    await _save(result, report, out=out)
    report.completed(job, result)
    return 0


async def _save(result: JobResult, report: Report, *, out: Path | None) -> None:
    """Save every file, or only name them."""
    if out is None:
        for file in result.files:
            report.file(file, None)
        return
    paths = await result.save(out)
    for file, path in zip(result.files, paths, strict=True):
        report.file(file, path)
