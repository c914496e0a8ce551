"""The output of a command: JSON lines, plain lines, or a live display."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._display.console_lines import node_line
from ..types import FileUrl, counted
from ._failure import Failure
from ._rows import rows_lines
from ._tables import CUT, CUT_SIGN, columns, screen_width, without_controls
from ._words import in_a_terminal

if TYPE_CHECKING:
    from PIL.Image import Image

    from comfy_async import Event, Job, JobResult, OutputFile

    from .._batch.batch import Batch
    from .._display.replay import ProgressReplay

__all__ = ["Report", "failure_lines", "summary"]

_LINE_EVERY_S: Final = 2.0


class Report:
    """Prints: results on stdout, everything else on stderr.

    The base is for plain output: one line for what matters, none that is ever drawn over.

    Attributes:
        has_events: True when every event of a job is printed, previews too.
    """

    has_events = False

    def __init__(self) -> None:
        """Say nothing yet."""
        self._said_at = 0.0

    # Around a job.

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Show a job while the block lasts."""
        yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Draw nothing while the block lasts: something else writes to the terminal."""
        yield

    def note(self, text: str) -> None:
        """Say what is being done."""
        self.say(f"{text} ...")

    def submitted(self, job: Job) -> None:
        """Print that a job is in the queue; the event comes later than the first ones of a quick run."""
        self.say(f"queued as {job.prompt_id}")

    def attached(self, job: Job) -> None:
        """Print that a job was found that others submitted, or that is watched again."""
        self.say(f"job {job.prompt_id} on {job.ref['server']}")

    def batch(self, batch: Batch) -> None:
        """Print that a batch is under way; its jobs are printed as they end."""
        self.say(f"{batch.progress}")

    def ended_in(self, batch: Batch, job: Job, told: str = "") -> None:
        """Print that a job of a batch has ended, how far the batch is, and what is told of its values."""
        self.say(f"#{job.index} {job.status}, {batch.progress}{told and ': '}{told}")

    def steered(self, batch: Batch) -> None:
        """Print that a batch was paused, or goes on."""
        self.say(f"{'paused' if batch.paused else 'goes on'}: {batch.progress}")

    def event(self, event: Event, job: Job, replay: ProgressReplay) -> None:
        """Print one event of a job; `replay` says how far it was then, if it is called at every event."""
        from comfy_async import NodeStarted, Progress, ProgressState

        then = replay.take(event)
        match event:
            case NodeStarted(title=title, node=node):
                self.say(node_line(then, title, node))
                self._said_at = time.monotonic()
            case Progress() if self._due():
                self.say(str(then))
            case ProgressState() if then.activity and self._due():
                self.say(str(then))
            case _:
                self.connection(event)

    def _due(self) -> bool:
        """Say whether the last line was long enough ago, and count from now if so."""
        now = time.monotonic()
        is_due = now - self._said_at >= _LINE_EVERY_S
        if is_due:
            self._said_at = now
        return is_due

    def connection(self, event: Event) -> None:
        """Print what happened to the connection."""
        from comfy_async import Disconnected, Reconnected

        match event:
            case Disconnected(reason=reason):
                self.say(f"connection lost ({reason}); the job goes on, and is polled")
            case Reconnected():
                self.say("connected again")

    # What there is to list.

    def item(self, fields: Mapping[str, Any], text: str, *, colours: bool = False, bad: bool = False) -> None:
        """Print one thing: for scripts its fields, for people its text; bad news for both."""
        self.result(text, colours=colours)

    def table(
        self,
        items: Iterable[Mapping[str, Any]],
        rows: Iterable[Sequence[object]],
        *,
        empty: str,
        whole: int | None = None,
    ) -> None:
        """Print many things: for scripts their fields, for people aligned columns, one of them uncut."""
        lines = list(columns(rows, width=screen_width(), whole=whole))
        for line in lines:
            self.result(line)
        if not lines:
            self.say(empty)
        elif any(CUT_SIGN in line for line in lines):
            self.say(CUT)

    # The end.

    def completed(self, job: Job, result: JobResult) -> None:
        """Print what came out, except the files."""
        self.say(summary(result))
        for text in result.texts:
            self.result(text)

    def file(self, file: OutputFile, path: Path | FileUrl | None) -> None:
        """Print one file: where it was saved, else where it is."""
        self.result(str(path) if path is not None else str(file.url or file.filename))

    def picture(self, picture: Image) -> None:
        """Draw a picture, where there is a terminal that can."""

    def failed(self, failure: Failure) -> None:
        """Print what went wrong."""
        for line in failure_lines(failure):
            self.say(line)

    def ended(self, job: Job, failure: Failure) -> None:
        """Print that a job did not complete."""
        if job.status == "cancelled":
            self.say(failure.message)
        else:
            self.failed(failure)

    def interrupted(self) -> None:
        """Print that it was interrupted before there was a job."""
        self.say("interrupted; nothing was left running")

    def left(self, job: Job, command: str) -> None:
        """Print that a job may still run after a hasty exit; nothing is drawn any more."""
        if not job.done:
            Report.say(self, f"job {job.prompt_id} may still run; to stop it: {command}")

    def say(self, text: str) -> None:
        """Print a line for people."""
        sys.stderr.write(f"{without_controls(text)}\n")
        sys.stderr.flush()

    def result(self, text: str, *, colours: bool = False) -> None:
        """Print what the command was called for; a server's colours may stay in it."""
        sys.stdout.write(f"{without_controls(text, colours=colours)}\n")
        sys.stdout.flush()

    def restore(self) -> None:
        """Leave the terminal as it was; may be called at any time."""


class QuietReport(Report):
    """Results and failures only."""

    def batch(self, batch: Batch) -> None:
        """Say nothing."""

    def ended_in(self, batch: Batch, job: Job, told: str = "") -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def submitted(self, job: Job) -> None:
        """Say nothing."""

    def attached(self, job: Job) -> None:
        """Say nothing."""

    def event(self, event: Event, job: Job, replay: ProgressReplay) -> None:
        """Say nothing."""

    def completed(self, job: Job, result: JobResult) -> None:
        """Print the texts."""
        for text in result.texts:
            self.result(text)


def summary(result: JobResult) -> str:
    """Return in a line how it went; a run that ended before it was watched has no known length."""
    took = f" in {result.duration:.1f} s" if result.duration else ""
    cached = f", {counted(len(result.cached_nodes), 'node')} cached" if result.cached_nodes else ""
    return f"done{took}{cached}"


def failure_lines(failure: Failure) -> list[str]:
    """Return an error as lines: what, each finding with its place, what to do."""
    lines = [f"error: {failure.message}"]
    lines += [
        f"  {'' if problem.severity == 'error' else 'warning: '}{in_a_terminal(str(problem))}"
        for problem in failure.problems
    ]
    lines += [f"  {in_a_terminal(line)}" for line in rows_lines(failure.details.get("rows", ()))]
    candidates = failure.details.get("candidates")
    if candidates and not any(str(name) in failure.message for name in candidates):
        lines.append(f"  did you mean: {', '.join(map(str, candidates))}")
    # Of one problem the advice may be the hint of all.
    lines += [line for line in failure.hint.splitlines() if not any(line in told for told in lines)]
    if "command" in failure.details:
        lines.append(f"  {failure.details['command']}")
    return lines
