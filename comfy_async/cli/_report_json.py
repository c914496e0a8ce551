"""One JSON object a line on stdout, with stable names.

Every object has `event`. Of a job, in this order: `queued` (or `attached`), `started`,
`nodes_cached`, then `node_started`, `progress` (at most ten a second), `preview` (its size, not its
bytes), `text`, `node_blocked`, `other`, `node_finished`, `disconnected`, `reconnected` and
`polling_started` as they happen, then `saved` or `output` for each file, and last `completed`,
`failed`, `cancelled` or `lost`. What never became a job ends in `error`; so do files that could not be
saved, after `completed`. Errors are objects with `code`, `message` and `hint`; a `code` never changes
its meaning. What went wrong stands on stderr too, for people.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..types import FileUrl
from ._failure import Failure
from ._json_events import JsonEvents, queued_fields
from ._report import Report, failure_lines
from ._tables import json_text

if TYPE_CHECKING:
    from comfy_async import Event, Job, JobResult, OutputFile

    from .._batch.batch import Batch
    from .._display.replay import ProgressReplay

__all__ = ["JsonReport"]


class JsonReport(Report):
    """One JSON object a line on stdout."""

    has_events = True

    def __init__(self, *, quiet: bool = False) -> None:
        """Say nothing yet; quiet means results and errors only."""
        super().__init__()
        self._quiet = quiet
        self._events = JsonEvents()

    def attached(self, job: Job) -> None:
        """Print which job it is."""
        if not self._quiet:
            self.line(
                {
                    "event": "attached",
                    "prompt_id": job.prompt_id,
                    "server": job.ref["server"],
                    "status": job.status,
                }
            )

    def submitted(self, job: Job) -> None:
        """Print as what and where it was queued."""
        self.line(queued_fields(job))

    def note(self, text: str) -> None:
        """Say it to people."""
        if not self._quiet:
            self.say(f"{text} ...")

    def batch(self, batch: Batch) -> None:
        """Print how far it is at the beginning: what a results file had is done."""
        progress = batch.progress
        fields = {"event": "batch_started", "total": progress.total, "done": progress.done}
        self.line(fields)

    def steered(self, batch: Batch) -> None:
        """Print that it was paused, or goes on."""
        progress = batch.progress
        event = "batch_paused" if batch.paused else "batch_resumed"
        self.line({"event": event, "total": progress.total, "done": progress.done, "failed": progress.failed})

    def ended_in(self, batch: Batch, job: Job, told: str = "") -> None:
        """Say nothing: the job has a line of its own."""

    def event(self, event: Event, job: Job, replay: ProgressReplay) -> None:
        """Print the event's object, if it has one."""
        if self._quiet:
            return
        for line in self._events.lines(event, job, replay.take(event)):
            self.line(line)

    def item(self, fields: Mapping[str, Any], text: str, *, colours: bool = False, bad: bool = False) -> None:
        """Print its fields, and bad news for people too."""
        self.line(fields)
        if bad:
            self.say(text)

    def table(
        self,
        items: Iterable[Mapping[str, Any]],
        rows: Iterable[Sequence[object]],
        *,
        empty: str,
        whole: int | None = None,
    ) -> None:
        """Print the fields of each."""
        for fields in items:
            self.line(fields)

    def completed(self, job: Job, result: JobResult) -> None:
        """Print everything that came out but the bytes."""
        told = result.to_dict()
        seconds = {node: round(took, 3) for node, took in told["node_seconds"].items()}
        took = told["duration"] and round(told["duration"], 3)
        line = {"event": "completed", "status": job.status, **told, "node_seconds": seconds, "duration": took}
        self.line(line)

    def file(self, file: OutputFile, path: Path | FileUrl | None) -> None:
        """Print one file."""
        what = "output" if path is None else "saved"
        where = {} if path is None else {"path": str(path)}
        self.line({"event": what, **where, **file.to_dict()})

    def failed(self, failure: Failure) -> None:
        """Print the error."""
        self.line({"event": "error", "error": failure.fields()})
        super().failed(failure)

    def ended(self, job: Job, failure: Failure) -> None:
        """Print how the job ended."""
        self.line(
            {
                "event": job.status if job.done else "error",
                "prompt_id": job.prompt_id,
                "status": job.status,
                "error": failure.fields(),
            }
        )
        for text in [failure.message] if job.status == "cancelled" else failure_lines(failure):
            self.say(text)

    def interrupted(self) -> None:
        """Print that it was interrupted before there was a job."""
        self.line(
            {
                "event": "cancelled",
                "prompt_id": None,
                "status": "cancelled",
                "error": {"code": "cancelled", "message": "interrupted before it was queued", "hint": ""},
            }
        )
        super().interrupted()

    def line(self, fields: Mapping[str, Any]) -> None:
        """Print one object."""
        sys.stdout.write(f"{json_text(fields)}\n")
        sys.stdout.flush()
