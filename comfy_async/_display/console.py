"""Progress of a job or a batch in a terminal; takes rich (the extra `cli`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..types import JobProgress, duration_text

if TYPE_CHECKING:
    from .._batch.batch import Batch
    from .._job.job import Job

__all__ = ["Display", "clock_text"]

_BAR_CELLS = 40
_SMALL_BAR_CELLS = 16
_SHORTEST_BAR = 6
# Spinner, percentage and time to go, with their gaps.
_BESIDE_THE_BAR = 24
_FRAMES_PER_SECOND = 10.0
_MAX_ROWS = 12
# A terminal shows the keys Ctrl-C as ^C: behind a full line they would begin another one, which stays.
_KEYS = 4


class Display:
    """A few live lines: the whole with bar and time to go, and below it what runs.

    It draws when it is called, from the loop that runs the job, and never from a thread of
    its own: a snapshot of progress is read where it is made.

    Example:
        >>> from rich.console import Console
        >>> with Display(Console(stderr=True)) as display:
        ...     async for event in job:
        ...         display.update(job)
    """

    def __init__(self, console: Console) -> None:
        """Draw on this console."""
        self._console = console
        self._status = "connecting"
        self._note = ""
        self._fraction: float | None = 0.0
        self._eta: float | None = None
        self._details: list[RenderableType] = []
        self._spinner = Spinner("line" if console.options.ascii_only else "dots", style="cyan")
        self._drawn_at = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Display:
        """Begin to draw."""
        self._begin()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the lines away and show the cursor again."""
        self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the lines away while the block lasts."""
        self._end()
        try:
            yield
        finally:
            self._begin()

    def update(self, job: Job) -> None:
        """Show where a job stands; draws at most ten times a second."""
        progress = job.progress
        self._status, self._fraction, self._eta = _status(job), progress.fraction, progress.eta
        self._details = [_node_line(progress)]
        self.draw()

    def update_batch(self, batch: Batch) -> None:
        """Show where a batch stands, with a line for each job that runs."""
        progress = batch.progress
        failed = f", {progress.failed} failed" if progress.failed else ""
        total = "" if progress.total is None else f" of {progress.total}"
        state = ", paused" if progress.paused else _waiting(batch)
        self._status = f"{progress.done + progress.failed}{total} done{failed}{state}"
        self._fraction, self._eta = progress.fraction, progress.eta
        running = [job for job in batch.jobs if job.status == "running"]
        self._details = [_job_line(job) for job in running[:_MAX_ROWS]]
        self.draw()

    def note(self, text: str) -> None:
        """Show a state that is not the job's: connecting, uploading, cancelling."""
        self._note = text
        self.draw(force=True)

    def say(self, text: str, *, style: str = "") -> None:
        """Print a line that stays, above the live ones."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def draw(self, *, force: bool = False) -> None:
        """Draw, unless it was just done."""
        now = time.monotonic()
        if force or now - self._drawn_at >= 1 / _FRAMES_PER_SECOND:
            self._drawn_at = now
            if self._live is not None:
                self._live.refresh()

    def restore(self) -> None:
        """Show the cursor, below what is drawn; for the way out in a hurry."""
        self._console.show_cursor(True)
        if self._live is not None:
            self._console.file.write("\n")

    def _begin(self) -> None:
        """Draw from here on: a Live that was stopped would draw over what was printed since."""
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._render,
        )
        self._live.start(refresh=True)

    def _end(self) -> None:
        """Take the lines away."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _render(self) -> RenderableType:
        """Return all lines."""
        return Constrain(Group(self._overall(), *self._details), self._console.width - _KEYS)

    def _overall(self) -> RenderableType:
        """Return the line of the whole."""
        said = Text(self._note or self._status, style="bold", no_wrap=True, overflow="ellipsis")
        cells: list[RenderableType] = [self._spinner, said]
        if self._fraction is not None:
            # What is said stays on one line: the bar takes what is left.
            width = min(_BAR_CELLS, self._console.width - _KEYS - _BESIDE_THE_BAR - said.cell_len)
            if width >= _SHORTEST_BAR:
                cells.append(ProgressBar(total=1.0, completed=self._fraction, width=width))
            cells.append(Text(f"{int(self._fraction * 100)} %", style="cyan"))
            if self._eta is not None and self._fraction < 1.0:
                cells.append(Text(f"{clock_text(self._eta)} to go", style="dim"))
        line = Table.grid(padding=(0, 1))
        line.add_row(*cells)
        return line


def _node_line(progress: JobProgress) -> RenderableType:
    """Return the line of the node that runs."""
    line = Text("  ", no_wrap=True, overflow="ellipsis")
    if progress.node is None:
        return line
    if progress.activity:
        line.append(f"{progress.activity} ")
    line.append(progress.title or progress.node, style="bold green")
    rest = Text.assemble((f" [{progress.node}]", "dim"))
    if progress.steps > 1:
        rest.append(f"  step {progress.step:g}/{progress.steps:g}")
    elif progress.activity:
        rest.append(f"  {duration_text(progress.activity_seconds)}")
    if progress.total:
        rest.append(f"  node {min(progress.done + 1, progress.total)} of {progress.total}", style="dim")
    return _titled([], line, rest)


def _job_line(job: Job) -> RenderableType:
    """Return the line of one job of a batch."""
    progress = job.progress
    activity = f"{progress.activity} " if progress.activity else ""
    steps = f" {progress.step:g}/{progress.steps:g}" if progress.steps > 1 else ""
    return _titled(
        [
            Text(f"  #{job.index} ", style="dim"),
            ProgressBar(total=1.0, completed=progress.fraction, width=_SMALL_BAR_CELLS),
            Text(f" {int(progress.fraction * 100):3d} % "),
        ],
        Text(f"{activity}{progress.title}", no_wrap=True, overflow="ellipsis"),
        Text(steps),
    )


def _titled(before: list[RenderableType], title: Text, rest: Text) -> RenderableType:
    """Return a line of which the title is cut where it is too long, and nothing else."""
    line = Table.grid()
    for _ in before:
        line.add_column(no_wrap=True)
    line.add_column()
    line.add_column(no_wrap=True)
    line.add_row(*before, title, rest)
    return line


def clock_text(seconds: float) -> str:
    """Return a duration as a clock shows it: `0:08`, `2:05`, `1:03:00`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _waiting(batch: Batch) -> str:
    """Return that none of the jobs runs yet, and how many come before them where that is known."""
    jobs = batch.jobs
    if not jobs or any(job.status != "pending" for job in jobs):
        return ""
    before = min((place for job in jobs if (place := job.queue_position) is not None), default=0)
    return f", waiting, {before} before it" if before else ", waiting"


def _status(job: Job) -> str:
    """Return what the job does, in a word or two."""
    if job.status == "pending" and job.queue_position:
        return f"waiting, {job.queue_position} before it"
    return {"submitting": "submitting", "pending": "waiting"}.get(job.status, job.status)
