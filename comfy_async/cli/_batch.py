"""`comfy-async batch`: many workflows, a few at a time."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._batch.batch import journal_of
from ._connection import Connection, UsageError, opened
from ._failure import EXIT_FAILED, Failure, describe
from ._fake import embedded
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._prepare import partner_options
from ._report import failure_lines
from ._values import apply_values, classes_of, parse_settings, read_workflow
from ._variants import Seeds, Variant, draw_seed, read_rows, read_varied, variants
from ._watch import demand_folder, unsaved

if TYPE_CHECKING:
    from comfy_async import ComfySession, Job, JobResult, NodeCatalog, Workflow

    from .._batch.batch import Batch
    from ._report import Report
    from ._requests import BatchRequest

__all__ = ["run_batch"]


async def run_batch(
    request: BatchRequest, connection: Connection, report: Report, *, interrupts: Interrupts
) -> int:
    """Run all variants and return the exit code.

    Raises:
        ComfyError: The server cannot be reached.
        UsageError: An option makes no sense.
        OSError: A file cannot be read or written.
    """
    demand_folder(request.out)
    loaded = [read_workflow(name, prefer=request.prefer) for name in request.workflows]
    fake = embedded(request, report, interrupts)
    try:
        async with report.watching(), opened(connection, fake=fake) as comfy:
            made = await _variants(comfy, loaded, request)
            later = None if fake is not None else connection
            done, failed = await _run_all(comfy, made, request, report=report, later=later)
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
    varied = read_varied(request.vary or ())
    rows = [] if request.rows is None else read_rows(request.rows)
    settings = parse_settings(request.settings)
    made = [
        workflow if workflow.format == "api" else workflow.converted(await comfy.nodes.catalog())
        for workflow in loaded
    ]
    named = any("." not in name for row in rows for name in row)
    # What an app is, the editor's file says, and that takes the whole catalog.
    known = await (comfy.nodes.catalog() if named else classes_of(comfy, *made))
    made = [apply_values(workflow, settings, catalog=known) for workflow in made]
    return variants(
        made,
        varied=varied,
        rows=rows,
        rows_name=f"--rows {request.rows}",
        seeds=await asyncio.to_thread(_seeds, request, made, known),
        catalog=known,
    )


def _seeds(request: BatchRequest, made: Sequence[Workflow], known: NodeCatalog) -> Seeds | None:
    """Return what was asked for, and where that begins: by --seed, else where the results file does.

    Raises:
        UsageError: That is no results file, or the workflows have no such seeds.
        OSError: It cannot be read or written.
    """
    from .._batch.journal import Journal

    if request.seeds is None:
        return None if request.seed is None else Seeds(request.seed)
    if request.results is None:
        first = draw_seed(made, request.seeds, catalog=known) if request.seed is None else request.seed
        return Seeds(first, request.seeds)
    try:
        journal = Journal(request.results)
    except ValueError as error:
        raise UsageError(f"--results {error}") from error
    try:
        before = journal.seed if request.seed is None else request.seed
        first = draw_seed(made, request.seeds, catalog=known) if before is None else before
        journal.begin(first)
    finally:
        journal.close()
    return Seeds(first, request.seeds)


async def _run_all(
    comfy: ComfySession,
    made: Sequence[Variant],
    request: BatchRequest,
    *,
    report: Report,
    later: Connection | None,
) -> tuple[int, int]:
    """Run them, save and tell each as it ends; return how many are done and how many are not."""
    lost = 0
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
            item = _Item(finished, job, made[index][0], folder)
            lost += not await item.tell(report, later=later) and job.status == "completed"
            report.ended_in(finished, job)
        progress = finished.progress
    return progress.done - lost, progress.failed + lost


@dataclasses.dataclass(frozen=True, slots=True)
class _Item:
    """A job of the batch that has ended: its values, and the folder for its files."""

    batch: Batch
    job: Job
    values: dict[str, str]
    folder: Path | None

    async def tell(self, report: Report, *, later: Connection | None) -> bool:
        """Save what it made, and tell it; say whether all of that went well."""
        from comfy_async import ComfyError

        try:
            paths = await self._saved()
        except (ComfyError, OSError) as error:
            failure = self._failure(error, later=later)
            told = [f"{self.job.index}  {self.job.status}  {failure.message}", *failure_lines(failure)[1:]]
            report.item(self._fields(error=failure.fields()), "\n".join(told), bad=True)
            return False
        report.item(self._fields(files=paths), "\n".join(paths or [f"{self.job.index}  {self.job.status}"]))
        return True

    async def _saved(self) -> list[str]:
        """Return where its files are, on the disk when there is a folder for them.

        Raises:
            ComfyError: It did not complete, or the server does not give them.
            OSError: They cannot be written.
        """
        result = await self.job
        if self.folder is None:
            return [str(file.url or file.filename) for file in result.files]
        paths = self._saved_before(result, self.folder)
        if not paths:
            paths = await result.save(self.folder)
            journal = journal_of(self.batch)
            if journal is not None:
                journal.saved(self.job.index or 0, paths)
        return [str(path) for path in paths]

    def _saved_before(self, result: JobResult, folder: Path) -> list[Path]:
        """Return this very job's files if an earlier batch saved them here, and they are still there."""
        journal = journal_of(self.batch)
        root = os.path.abspath(folder)
        paths = [] if journal is None else journal.saved_files(self.job.index or 0)
        whole = len(paths) == len(result.files) and all(
            path.is_relative_to(root) and path.is_file() for path in paths
        )
        return [folder / path.relative_to(root) for path in paths] if whole else []

    def _failure(self, error: Exception, *, later: Connection | None) -> Failure:
        """Return what went wrong with the job, or with saving its files."""
        if self.job.status == "completed" and self.folder is not None:
            return unsaved(error, self.job, self.folder, later=later)
        failure = describe(error)
        assert failure is not None
        return failure

    def _fields(self, *, files: Sequence[str] = (), error: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "event": "item",
            "index": self.job.index,
            "prompt_id": self.job.prompt_id,
            "status": self.job.status,
            "values": self.values,
            "files": list(files),
            "error": error,
        }
