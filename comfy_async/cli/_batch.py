"""`comfy-async batch`: many workflows, a few at a time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import Connection, fake_server, opened
from ._failure import EXIT_FAILED, describe
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._prepare import partner_options
from ._report import failure_lines
from ._variants import Variant, read_rows, read_varied, variants

if TYPE_CHECKING:
    from comfy_async import ComfySession, Job, Workflow

    from ._report import Report

__all__ = ["BatchRequest", "run_batch"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """What `batch` was asked for."""

    workflows: tuple[str, ...]
    settings: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    rows: Path | None = None
    seeds: int | None = None
    seed: int | None = None
    limit: int = 4
    out: Path | None = None
    results: Path | None = None
    stop: bool = False
    fake: bool = False
    step_seconds: float = 0.05


async def run_batch(
    request: BatchRequest, connection: Connection, report: Report, *, interrupts: Interrupts
) -> int:
    """Run all variants and return the exit code.

    Raises:
        ComfyError: The server cannot be reached.
        UsageError: An option makes no sense.
        OSError: A file cannot be read or written.
    """
    from comfy_async import Workflow

    loaded = [Workflow.load(Path(name)) for name in request.workflows]
    fake = fake_server(step_seconds=request.step_seconds) if request.fake else None
    if fake is not None:
        interrupts.last_words.append(fake.folders.remove)
    interrupts.last_words.append(report.restore)
    interrupts.on_ask = lambda: report.note("cancelling; Ctrl-C again leaves at once")
    try:
        async with report.watching(), opened(connection, fake=fake) as comfy:
            done, failed = await _run_all(
                comfy, await _variants(comfy, loaded, request), request, report=report
            )
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        again = "; the same command goes on from the results file" if request.results else ""
        report.item({"event": "batch", "ok": False, "interrupted": True}, f"interrupted{again}")
        return EXIT_INTERRUPTED
    fields = {"event": "batch", "ok": not failed, "interrupted": False, "done": done, "failed": failed}
    report.item(fields, f"{done} done, {failed} failed")
    return EXIT_FAILED if failed else 0


async def _variants(comfy: ComfySession, loaded: list[Workflow], request: BatchRequest) -> list[Variant]:
    """Return what is to be run."""
    from ._values import apply_values

    made = []
    for workflow in loaded:
        if workflow.format == "editor":
            workflow = workflow.converted(await comfy.nodes.catalog())
        made.append(apply_values(workflow, request.settings))
    return variants(
        made,
        varied=read_varied(request.vary),
        rows=[] if request.rows is None else read_rows(request.rows),
        seeds=request.seeds,
        first_seed=request.seed,
    )


async def _run_all(
    comfy: ComfySession, made: Sequence[Variant], request: BatchRequest, *, report: Report
) -> tuple[int, int]:
    """Run them, save and tell each as it ends; return how many completed and how many did not."""
    places = max(3, len(str(len(made) - 1)))
    batch = comfy.map(
        [workflow for _, workflow in made],
        limit=request.limit,
        on_error="stop" if request.stop else "continue",
        results=request.results,
        **await partner_options(comfy, made[0][1]),
    )
    async with batch as finished:
        report.batch(finished)
        async for job in finished:
            index = job.index or 0
            folder = None if request.out is None else request.out / f"{index:0{places}d}"
            await _tell(job, made[index][0], report, folder=folder)
        progress = finished.progress
    return progress.done, progress.failed


async def _tell(job: Job, values: dict[str, str], report: Report, *, folder: Path | None) -> None:
    """Save what one job made, and tell it."""
    from comfy_async import ComfyError

    fields: dict[str, Any] = {
        "event": "item",
        "index": job.index,
        "prompt_id": job.prompt_id,
        "status": job.status,
        "values": values,
        "files": [],
        "error": None,
    }
    label = f"{job.index}  {job.status}"
    try:
        result = await job
        if folder is None:
            paths = [str(file.url or file.filename) for file in result.files]
        else:
            # After a resume what was saved before the interruption is there already.
            paths = _present(folder) or list(map(str, await result.save(folder)))
    except ComfyError as error:
        failure = describe(error)
        assert failure is not None
        told = [f"{label}  {failure.message}", *failure_lines(failure)[1:]]
        report.item({**fields, "error": failure.fields()}, "\n".join(told))
        return
    report.item({**fields, "files": paths}, "\n".join([*paths] or [label]))


def _present(folder: Path) -> list[str]:
    """Return the files that are in a folder."""
    return sorted(map(str, folder.iterdir())) if folder.is_dir() else []
