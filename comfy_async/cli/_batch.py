"""`comfy-async batch`: many workflows, a few at a time."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from .._batch.batch import journal_of
from .._batch.steered import when_paused
from ._base import VERBS_OF_BATCH
from ._connection import Connection, UsageError, opened
from ._failure import EXIT_FAILED, Failure, describe
from ._fake import embedded
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._labels import read_labels
from ._out import OutPlace, demand_names, demand_place
from ._prepare import partner_options
from ._report import failure_lines
from ._rows import Row, values_text
from ._tables import prose
from ._values import apply_values, classes_of, parse_settings, read_workflow
from ._variants import Seeds, Variant, draw_seed, read_rows, read_varied, variants
from ._watch import unsaved
from ._words import in_a_terminal

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
        UsageError: An option is invalid.
        OSError: A file cannot be read or written.
    """
    _demand_no_verb(request.workflows)
    from .._batch.results import WORDS

    if request.elsewhere not in WORDS["elsewhere"]:
        known = ", ".join(WORDS["elsewhere"])
        raise UsageError(f"--results-elsewhere takes {known}, not {request.elsewhere!r}")
    await demand_place(request.out, index=0)
    read_labels(request.labels)
    loaded = [read_workflow(name, prefer=request.prefer) for name in request.workflows]
    fake = embedded(request, report, interrupts)
    try:
        async with report.watching(), opened(connection, fake=fake) as comfy:
            bases = await _converted(comfy, loaded)
            made = await _variants(comfy, bases, request)
            _demand_fields(request.out, made)
            options = await partner_options(comfy, *bases)
            later = None if fake is not None else connection
            done, failed = await _run_all(comfy, made, request, report=report, later=later, **options)
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        again = "; the same command goes on from the results file" if request.results else ""
        report.item({"event": "batch", "ok": False, "interrupted": True}, f"interrupted{again}")
        return EXIT_INTERRUPTED
    fields = {"event": "batch", "ok": not failed, "interrupted": False, "done": done, "failed": failed}
    report.item(fields, f"{done} done, {failed} failed")
    return EXIT_FAILED if failed else 0


def _demand_no_verb(workflows: Sequence[str]) -> None:
    """Check that no subcommand such as `batch pause` is taken for a workflow.

    Raises:
        UsageError: One is.
    """
    if workflows[0] in VERBS_OF_BATCH and not os.path.exists(workflows[0]):
        word = workflows[0]
        raise UsageError(f"`{word}` stands right after `batch`: comfy-async batch {word} FILE")


def _demand_fields(out: OutPlace | None, made: Sequence[Variant]) -> None:
    """Check that a pattern for names can be filled for every job.

    Raises:
        UsageError: It cannot.
    """
    if out is not None and (names := out.pattern()) is not None and names.wants_workflow:
        for index, (_, workflow) in enumerate(made):
            demand_names(out, workflow, index=index)


async def _converted(comfy: ComfySession, loaded: Sequence[Workflow]) -> list[Workflow]:
    """Return the workflows in API format."""
    return [
        workflow if workflow.format == "api" else workflow.converted(await comfy.nodes.catalog())
        for workflow in loaded
    ]


async def _variants(comfy: ComfySession, bases: Sequence[Workflow], request: BatchRequest) -> list[Variant]:
    """Return what is to be run."""
    varied = read_varied(request.vary or ())
    rows = [] if request.rows is None else read_rows(request.rows)
    settings = parse_settings(request.settings)
    named = any("." not in name for row in rows for name in row)
    # What an app is, the editor's file says, and that takes the whole catalog.
    known = await (comfy.nodes.catalog() if named else classes_of(comfy, *bases))
    made = [apply_values(workflow, settings, catalog=known) for workflow in bases]
    return variants(
        made,
        varied=varied,
        rows=rows,
        rows_name=f"--rows {request.rows}",
        seeds=await asyncio.to_thread(_seeds, request, made, known),
        catalog=known,
    )


def _seeds(request: BatchRequest, made: Sequence[Workflow], known: NodeCatalog) -> Seeds | None:
    """Return the request, and its first seed: by --seed, else that of the results file.

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
    **options: Any,
) -> tuple[int, int]:
    """Run them, save and report each as it ends; return how many are done and how many are not."""
    lost = 0
    elsewhere: Any = request.elsewhere
    places = max(3, len(str(len(made) - 1)))
    batch = comfy.map(
        [workflow for _, workflow in made],
        limit=request.limit,
        on_error="stop" if request.stop else "continue",
        results=request.results,
        results_elsewhere=elsewhere,
        results_failed="rerun" if request.retry_failed else "keep",
        results_missing="rerun" if request.retry_missing else "raise",
        labels=read_labels(request.labels),
        **options,
    )
    async with _entered(batch) as finished:
        if request.resume:
            await finished.resume()
        when_paused(finished, partial(report.steered, finished))
        report.batch(finished)
        async for job in finished:
            index = job.index or 0
            folder = None if request.out is None else request.out.of_item(index, digits=places)
            item = _Item(finished, job, made[index][0], folder)
            lost += not await item.tell(report, later=later) and job.status == "completed"
            report.ended_in(finished, job, values_text(item.values))
        progress = finished.progress
    return progress.done - lost, progress.failed + lost


@asynccontextmanager
async def _entered(batch: Batch) -> AsyncIterator[Batch]:
    """Enter a batch.

    Raises:
        UsageError: The results file is something else, damaged, or that of another server.
        OSError: It cannot be used.
    """
    try:
        await batch.__aenter__()
    except ValueError as error:
        raise UsageError(f"--results {in_a_terminal(str(error))}") from error
    async with AsyncExitStack() as stack:
        stack.push_async_exit(batch.__aexit__)
        yield batch


@dataclasses.dataclass(frozen=True, slots=True)
class _Item:
    """A job of the batch that has ended: its values, and the folder for its files."""

    batch: Batch
    job: Job
    values: Row
    folder: OutPlace | None

    async def tell(self, report: Report, *, later: Connection | None) -> bool:
        """Save what it made, and report it; return whether all of that succeeded."""
        from comfy_async import ComfyError

        self._note_values()
        try:
            paths = await self._saved()
        except (ComfyError, OSError, UsageError) as error:
            failure = self._failure(error, later=later)
            told = [f"{self.job.index}  {self.job.status}  {failure.message}"]
            if with_values := values_text(self.values):
                told += [f"  with {with_values}"]
            told += failure_lines(failure)[1:]
            report.item(self._fields(error=failure.fields()), prose("\n".join(told)), bad=True)
            return False
        report.item(self._fields(files=paths), "\n".join(paths or [f"{self.job.index}  {self.job.status}"]))
        return True

    def _note_values(self) -> None:
        """Note in the results file what makes this job another one, once."""
        journal = journal_of(self.batch)
        if journal is not None and self.values:
            journal.varied(self.job.index or 0, self.values)

    async def _saved(self) -> list[str]:
        """Return where its files are, on the disk when there is a folder for them.

        Raises:
            ComfyError: It did not complete, or the server does not give them.
            OSError: They cannot be written.
        """
        result = await self.job
        if self.folder is None:
            return [str(file.url or file.filename) for file in result.files]
        found = await self._saved_before(result, self.folder)
        if found:
            return found
        paths = await self.folder.save(result)
        journal = journal_of(self.batch)
        if journal is not None:
            journal.saved(self.job.index or 0, paths)
        return [str(path) for path in paths]

    async def _saved_before(self, result: JobResult, folder: OutPlace) -> list[str]:
        """Return this very job's files if an earlier batch saved them here, and they are still there."""
        journal = journal_of(self.batch)
        noted = [] if journal is None else journal.saved_files(self.job.index or 0)
        whole = len(noted) == len(result.files)
        found = await folder.still_has(noted, result, self.job.workflow) if whole else None
        return [str(path) for path in found or ()]

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
            **({"line": self.values.line} if self.values.line else {}),
            "files": list(files),
            "error": error,
        }
