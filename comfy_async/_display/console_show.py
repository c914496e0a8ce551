"""`job.show()` and its kind in a terminal: a live bar where there can be one, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .._job.job import core_of
from ..events import (
    Disconnected,
    NodeStarted,
    PollingStarted,
    Progress,
    ProgressState,
    ProgressText,
    Reconnected,
)
from .console_lines import ending_lines, node_line, result_lines, without_controls
from .replay import ProgressReplay

if TYPE_CHECKING:
    from .._batch.batch import Batch
    from .._job.job import Job
    from .._job.result import JobResult
    from ..events import Event
    from ..types import JobProgress
    from .console import Display

__all__ = ["TerminalShow", "print_result", "show_batch_lines"]

_LINE_EVERY_S: Final = 2.0


class Terminal:
    """Where lines go, above a live display if there is one.

    There is one when stdout is a terminal that can move its cursor, and rich is installed.
    """

    def __init__(self) -> None:
        """Find out what there is; draw nothing yet."""
        self.display = _live_display()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw while the block lasts; only lines stay."""
        if self.display is None:
            yield
        else:
            with self.display:
                yield

    def say(self, text: str, *, style: str = "") -> None:
        """Write a line that stays; what a server said cannot move the cursor."""
        plain = without_controls(text)
        if self.display is None:
            sys.stdout.write(f"{plain}\n")
            sys.stdout.flush()
        else:
            self.display.say(plain, style=style)


class TerminalShow:
    """A job that is being shown in a terminal."""

    def __init__(self, job: Job) -> None:
        """Start before the first line."""
        self.job = job
        self.note = ""
        self._terminal = Terminal()
        self._veil = core_of(job).owner.veil
        self._said_at = 0.0
        self._away = False

    async def follow(self) -> None:
        """Print the job's events until it ends."""
        replay = ProgressReplay(self.job)
        with self._terminal.drawing():
            async for event in self.job.events():
                self._connection(event)
                if self._terminal.display is None:
                    self._line(event, replay.take(event))

    async def finish(self) -> None:
        """Collect what it made."""
        if self.job.status == "completed":
            await self.job

    def close(self) -> None:
        """Print how it ended, if it has."""
        if self.note:
            self._terminal.say(self.note)
        if not self.job.done:
            return
        style = {"completed": "green", "failed": "red"}.get(self.job.status, "yellow")
        first, *rest = ending_lines(self.job)
        self._terminal.say(self._veil(first), style=style)
        for line in rest:
            self._terminal.say(self._veil(line))

    def draw(self) -> None:
        """Draw the job as it is now."""
        if self._terminal.display is not None:
            self._terminal.display.update(self.job)

    def _connection(self, event: Event) -> None:
        """Print what happened to the connection."""
        match event:
            case Disconnected() | PollingStarted() if not self._away:
                self._away = True
                reason = event.data.get("reason") or "the connection is down"
                self._terminal.say(self._veil(f"following it by polling: {reason}"), style="yellow")
            case Reconnected():
                self._away = False
                self._terminal.say("connected again", style="yellow")

    def _line(self, event: Event, then: JobProgress) -> None:
        """Print a line where nothing can be drawn: every node, and its steps now and then."""
        match event:
            case NodeStarted(title=title, node=node):
                self._terminal.say(node_line(then, title, node))
            case ProgressText(text=text):
                self._terminal.say(f"       {text}")
            case Progress() if self._due():
                self._terminal.say(str(then))
            case ProgressState() if then.activity and self._due():
                self._terminal.say(str(then))
            case _:
                return
        self._said_at = time.monotonic()

    def _due(self) -> bool:
        """Say whether the last line was long enough ago."""
        return time.monotonic() - self._said_at >= _LINE_EVERY_S


async def show_batch_lines(batch: Batch, *, every: float) -> list[Job]:
    """Show a batch in a terminal: a line for each job that has ended, and below them those that run.

    Raises:
        JobError: A job did not complete, with `on_error="stop"`.
    """
    terminal = Terminal()
    ended: list[Job] = []
    said = ""
    ticker = asyncio.create_task(_tick(terminal, batch, every), name="comfy_async terminal grid")
    try:
        with terminal.drawing():
            async for job in batch:
                ended.append(job)
                text, style = await _line_of(job)
                terminal.say(text, style=style)
        if any((made := core_of(job).made) is not None and made.files for job in ended):
            said = "; show() saves nothing, and returns the jobs"
    except (asyncio.CancelledError, KeyboardInterrupt):
        said = "; interrupted: leaving the block cancels what is open"
        raise
    finally:
        ticker.cancel()
        progress = batch.progress
        terminal.say(f"{progress.done} done, {progress.failed} failed{said}")
    return sorted(ended, key=lambda job: job.index or 0)


async def _tick(terminal: Terminal, batch: Batch, every: float) -> None:
    """Draw from time to time, for ever."""
    while True:
        if terminal.display is not None:
            terminal.display.update_batch(batch)
        await asyncio.sleep(every)


async def _line_of(job: Job) -> tuple[str, str]:
    """Return a line about a job of a batch that has ended, and its style."""
    if job.error is not None:
        return core_of(job).owner.veil(f"#{job.index}  {job.status}: {job.error}"), "red"
    result = await job
    names = ", ".join(file.filename for file in result.files) or " ".join(result.texts)
    return f"#{job.index}  {names or 'done'}", ""


def print_result(result: JobResult) -> None:
    """Print what a job made."""
    for line in result_lines(result):
        sys.stdout.write(f"{without_controls(line)}\n")


def _live_display() -> Display | None:
    """Return a display on stdout, None where it would be nothing but noise."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console

        from .console import Display
    except ImportError:
        return None
    console = Console()
    return None if console.is_dumb_terminal else Display(console)
