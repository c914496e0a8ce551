"""`comfy-async run`: a workflow from its file to saved results."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import Connection, fake_server, opened
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._values import apply_values, seeded
from ._watch import Outcome, tell, watch

if TYPE_CHECKING:
    from comfy_async import ComfySession, Workflow

    from ._report import Report

__all__ = ["RunRequest", "prepare", "run"]


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
    async with opened(connection, fake=fake) as comfy:
        try:
            outcome = await _watched(comfy, workflow, request, report, interrupts)
        except asyncio.CancelledError:
            if not interrupts.asked:
                raise
            report.interrupted()
            return EXIT_INTERRUPTED
        return tell(outcome, report)


async def _watched(
    comfy: ComfySession, workflow: Workflow, request: RunRequest, report: Report, interrupts: Interrupts
) -> Outcome:
    """Submit the workflow and watch it to its end; whatever happens, it does not outlive this."""
    async with report.watching():
        prepared = await prepare(comfy, workflow, request)
        async with comfy.stream(prepared, previews=request.previews, **request.options) as job:
            report.submitted(job)
            return await watch(job, report, interrupts, out=request.out)


async def prepare(comfy: ComfySession, workflow: Workflow, request: RunRequest) -> Workflow:
    """Return the workflow in API format with its new values."""
    if workflow.format == "editor":
        workflow = workflow.converted(await comfy.nodes.catalog())
    return seeded(apply_values(workflow, request.settings), request.seed, randomize=request.randomize)
