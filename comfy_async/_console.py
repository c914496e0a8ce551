"""A job's progress in a terminal; takes rich (the extra `cli`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .types import JobProgress

if TYPE_CHECKING:
    from ._job import Job

__all__ = ["JobDisplay", "clock_text"]

_BAR_CELLS = 40
_FRAMES_PER_SECOND = 10.0


class JobDisplay:
    """Two live lines: the whole job with bar and time to go, and the node that runs.

    It draws when it is told to, from the loop that runs the job, and never from a thread of
    its own: a snapshot of progress is read where it is made.

    Example:
        >>> with JobDisplay(Console(stderr=True)) as display:
        ...     async for event in job:
        ...         display.update(job)
    """

    def __init__(self, console: Console) -> None:
        """Draw on this console."""
        self._console = console
        self._progress = JobProgress()
        self._status = "connecting"
        self._note = ""
        self._spinner = Spinner("line" if console.options.ascii_only else "dots", style="cyan")
        self._drawn_at = 0.0
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._render,
        )

    def __enter__(self) -> JobDisplay:
        """Begin to draw."""
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the lines away and show the cursor again."""
        self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the lines away while the block lasts."""
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def update(self, job: Job) -> None:
        """Show where the job stands; draws at most ten times a second."""
        self._progress = job.progress
        self._status = _status(job)
        self.draw()

    def note(self, text: str) -> None:
        """Show a state that is not the job's: connecting, uploading, cancelling."""
        self._note = text
        self.draw(force=True)

    def draw(self, *, force: bool = False) -> None:
        """Draw, unless it was just done."""
        now = time.monotonic()
        if force or now - self._drawn_at >= 1 / _FRAMES_PER_SECOND:
            self._drawn_at = now
            self._live.refresh()

    def print(self, text: RenderableType) -> None:
        """Print a line that stays, above the live ones."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def restore(self) -> None:
        """Show the cursor; for the way out in a hurry."""
        self._console.show_cursor(True)

    def _render(self) -> RenderableType:
        """Return both lines."""
        return Group(self._overall(), self._running())

    def _overall(self) -> RenderableType:
        """Return the line of the whole job."""
        progress = self._progress
        bar = ProgressBar(
            total=1.0, completed=progress.fraction, width=min(_BAR_CELLS, max(10, self._console.width - 40))
        )
        line = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [
            self._spinner,
            Text(self._note or self._status, style="bold"),
            bar,
            Text(f"{int(progress.fraction * 100)} %", style="cyan"),
        ]
        if progress.eta is not None and progress.fraction < 1.0:
            cells.append(Text(f"{clock_text(progress.eta)} to go", style="dim"))
        line.add_row(*cells)
        return line

    def _running(self) -> RenderableType:
        """Return the line of the node that runs."""
        progress = self._progress
        line = Text("  ", no_wrap=True, overflow="ellipsis")
        if progress.node is None:
            return line
        line.append(progress.title or progress.node, style="bold green")
        line.append(f" [{progress.node}]", style="dim")
        if progress.steps > 1:
            line.append(f"  step {progress.step:g}/{progress.steps:g}")
        if progress.total:
            line.append(f"  node {min(progress.done + 1, progress.total)} of {progress.total}", style="dim")
        return line


def clock_text(seconds: float) -> str:
    """Return a duration as a clock shows it: `0:08`, `2:05`, `1:03:00`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _status(job: Job) -> str:
    """Return what the job does, in a word or two."""
    if job.status == "pending" and job.queue_position:
        return f"waiting, {job.queue_position} before it"
    return {"submitting": "submitting", "pending": "waiting"}.get(job.status, job.status)
