"""How a command speaks: JSON lines, plain lines, or a live display."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._failure import Failure
from ._tables import counted

if TYPE_CHECKING:
    from comfy_async import Event, Job, JobResult, OutputFile

    from .._console import JobDisplay

__all__ = ["Report"]

_TICK_S: Final = 0.1
_LINE_EVERY_S: Final = 2.0


class Report:
    """Says things: results on stdout, everything else on stderr.

    The base is for plain output: one line for what matters, none that is ever drawn over.
    """

    @staticmethod
    def make(*, as_json: bool, quiet: bool = False) -> Report:
        """Return the kind that suits the output."""
        if as_json:
            return JsonReport(quiet=quiet)
        if quiet:
            return QuietReport()
        if sys.stderr.isatty():
            return LiveReport()
        return Report()

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
        """Draw nothing while the block lasts: somebody else writes to the terminal."""
        yield

    def note(self, text: str) -> None:
        """Say what is being done."""
        self.say(f"{text} ...")

    def submitted(self, job: Job) -> None:
        """Tell that a job is in the queue; the event comes later than the first ones of a quick run."""
        self.say(f"queued as {job.prompt_id}")

    def attached(self, job: Job) -> None:
        """Tell that a job was found that others submitted, or that is watched again."""
        self.say(f"job {job.prompt_id} on {job.ref['server']}")

    def event(self, event: Event, job: Job) -> None:
        """Tell one event of a job."""
        from comfy_async import NodeStarted, Progress

        match event:
            case NodeStarted(title=title, node=node):
                self.say(f"{int(job.progress.fraction * 100):3d} %  {title} [{node}]")
                self._said_at = time.monotonic()
            case Progress() if time.monotonic() - self._said_at >= _LINE_EVERY_S:
                self._said_at = time.monotonic()
                self.say(str(job.progress))
            case _:
                self.connection(event)

    def connection(self, event: Event) -> None:
        """Tell what happened to the connection."""
        from comfy_async import Disconnected, Reconnected

        match event:
            case Disconnected(reason=reason):
                self.say(f"connection lost ({reason}); the job goes on, and so does looking for it")
            case Reconnected():
                self.say("connected again")

    # The end.

    def completed(self, job: Job, result: JobResult) -> None:
        """Tell what came out, but for the files."""
        self.say(_summary(result))
        for text in result.texts:
            self.result(text)

    def file(self, file: OutputFile, path: Path | None) -> None:
        """Tell one file: where it was saved, else where it is."""
        self.result(str(path) if path is not None else str(file.url or file.filename))

    def failed(self, failure: Failure) -> None:
        """Tell what went wrong."""
        for line in failure_lines(failure):
            self.say(line)

    def ended(self, job: Job, failure: Failure) -> None:
        """Tell that a job ended otherwise than well."""
        if job.status == "cancelled":
            self.say(failure.message)
        else:
            self.failed(failure)

    def interrupted(self) -> None:
        """Tell that it was interrupted before there was a job."""
        self.say("interrupted; nothing was left running")

    def say(self, text: str) -> None:
        """Print a line for people."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def result(self, text: str) -> None:
        """Print a line that is what the command was called for."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def restore(self) -> None:
        """Leave the terminal as it was; may be called at any time."""


class QuietReport(Report):
    """Results and failures only."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def submitted(self, job: Job) -> None:
        """Say nothing."""

    def attached(self, job: Job) -> None:
        """Say nothing."""

    def event(self, event: Event, job: Job) -> None:
        """Say nothing."""

    def completed(self, job: Job, result: JobResult) -> None:
        """Print the texts."""
        for text in result.texts:
            self.result(text)


class LiveReport(Report):
    """A live display on the terminal."""

    def __init__(self) -> None:
        """Prepare the console; it knows NO_COLOR, TERM=dumb and the like."""
        from rich.console import Console

        from .._console import JobDisplay

        super().__init__()
        self._console = Console(stderr=True)
        self._display: JobDisplay | None = (
            None if self._console.is_dumb_terminal else JobDisplay(self._console)
        )
        self._job: Job | None = None
        self._shown = False

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Draw while the block lasts, also while nothing happens."""
        if self._display is None:
            yield
            return
        ticking = asyncio.create_task(self._tick(self._display))
        self._shown = True
        try:
            with self._display:
                yield
        finally:
            self._shown = False
            ticking.cancel()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the live lines away while the block lasts."""
        if self._display is None or not self._shown:
            yield
            return
        self._shown = False
        with self._display.paused():
            yield
        self._shown = True

    async def _tick(self, display: JobDisplay) -> None:
        """Keep spinner and time to go moving."""
        while True:
            await asyncio.sleep(_TICK_S)
            if not self._shown:
                continue
            if self._job is not None:
                display.update(self._job)
            else:
                display.draw()

    def note(self, text: str) -> None:
        """Show it in the place of the job's status."""
        if self._shown and self._display is not None:
            self._display.note(text)
        elif self._display is None:
            super().note(text)

    def submitted(self, job: Job) -> None:
        """Begin to draw the job."""
        if self._display is None:
            super().submitted(job)
        else:
            self._draw(self._display, job)

    def attached(self, job: Job) -> None:
        """Begin to draw the job."""
        super().attached(job)
        if self._display is not None:
            self._draw(self._display, job)

    def _draw(self, display: JobDisplay, job: Job) -> None:
        """Begin to draw the job."""
        self._job = job
        display.note("")
        display.update(job)

    def event(self, event: Event, job: Job) -> None:
        """Draw the progress; lines are for what stays true."""
        if self._display is None:
            super().event(event, job)
            return
        self._display.update(job)
        self.connection(event)

    def completed(self, job: Job, result: JobResult) -> None:
        """Print the summary."""
        from rich.text import Text

        text = Text(_summary(result))
        text.stylize("green", 0, len("done"))
        self._console.print(text)
        for text in result.texts:
            self.result(text)

    def failed(self, failure: Failure) -> None:
        """Print what went wrong, the first line in red."""
        from rich.text import Text

        first, *rest = failure_lines(failure)
        self._console.print(Text(first, style="bold red"), soft_wrap=True)
        for line in rest:
            self._console.print(Text(line), soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line above the live ones."""
        from rich.text import Text

        self._console.print(Text(text), soft_wrap=True)

    def restore(self) -> None:
        """Show the cursor."""
        if self._display is not None:
            self._display.restore()


class JsonReport(Report):
    """One JSON object a line on stdout."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Say nothing yet; quiet means results and errors only."""
        super().__init__()
        from ._json_events import JsonEvents

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
        from ._json_events import queued_fields

        self.line(queued_fields(job))

    def note(self, text: str) -> None:
        """Say it to people."""
        if not self._quiet:
            self.say(f"{text} ...")

    def event(self, event: Event, job: Job) -> None:
        """Print the event's object, if it has one."""
        if self._quiet:
            return
        for line in self._events.lines(event, job):
            self.line(line)

    def completed(self, job: Job, result: JobResult) -> None:
        """Print everything that came out but the bytes."""
        self.line({"event": "completed", "status": job.status, **result.to_dict()})

    def file(self, file: OutputFile, path: Path | None) -> None:
        """Print one file."""
        what = "output" if path is None else "saved"
        where = {} if path is None else {"path": str(path)}
        self.line({"event": what, **where, **file.to_dict()})

    def failed(self, failure: Failure) -> None:
        """Print the error."""
        self.line({"event": "error", "error": failure.fields()})

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

    def line(self, fields: Mapping[str, Any]) -> None:
        """Print one object."""
        self.result(json.dumps(fields, ensure_ascii=False, default=str, separators=(", ", ": ")))


def _summary(result: JobResult) -> str:
    """Return in a line how it went; a run that ended before it was watched has no known length."""
    took = f" in {result.duration:.1f} s" if result.duration else ""
    cached = f", {counted(len(result.cached_nodes), 'node')} cached" if result.cached_nodes else ""
    return f"done{took}{cached}"


def failure_lines(failure: Failure) -> list[str]:
    """Return an error as lines: what, each finding with its place, what to do."""
    lines = [f"error: {failure.message}"]
    lines += [
        f"  {'' if problem.severity == 'error' else 'warning: '}{problem}" for problem in failure.problems
    ]
    candidates = failure.details.get("candidates")
    if candidates and not any(str(name) in failure.message for name in candidates):
        lines.append(f"  did you mean: {', '.join(map(str, candidates))}")
    if failure.hint:
        lines.append(failure.hint)
    return lines
