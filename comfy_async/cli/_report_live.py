"""A live display in a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from .._display.console import Display
from ._failure import Failure
from ._report import Report, failure_lines, summary
from ._tables import fitted, without_controls

if TYPE_CHECKING:
    from PIL.Image import Image

    from comfy_async import Event, Job, JobResult

    from .._batch.batch import Batch
    from .._display.replay import ProgressReplay

__all__ = ["LiveReport"]

_TICK_S: Final = 0.1
_PICTURE_CELLS: Final = 60


class LiveReport(Report):
    """A live display on the terminal."""

    def __init__(self, console: Console | None = None) -> None:
        """Draw on stderr, or on another console; it knows NO_COLOR, TERM=dumb and the like."""
        super().__init__()
        self._console = console or Console(stderr=True)
        self._display: Display | None = None if self._console.is_dumb_terminal else Display(self._console)
        self._update: Callable[[], None] | None = None
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
        try:
            with self._display.paused():
                yield
        finally:
            self._shown = True

    async def _tick(self, display: Display) -> None:
        """Keep spinner and time to go moving."""
        while True:
            await asyncio.sleep(_TICK_S)
            if not self._shown:
                continue
            if self._update is not None:
                self._update()
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

    def _draw(self, display: Display, job: Job) -> None:
        """Begin to draw the job."""
        self._update = partial(display.update, job)
        display.note("")
        display.update(job)

    def batch(self, batch: Batch) -> None:
        """Begin to draw the batch."""
        if self._display is not None:
            self._update = partial(self._display.update_batch, batch)
            self._display.note("")
        else:
            super().batch(batch)

    def ended_in(self, batch: Batch, job: Job, told: str = "") -> None:
        """Say nothing where the batch is drawn."""
        if self._display is None:
            super().ended_in(batch, job, told)

    def result(self, text: str, *, colours: bool = False) -> None:
        """Print a line; it may share the terminal with the live ones."""
        with self.paused():
            super().result(text, colours=colours)

    def event(self, event: Event, job: Job, replay: ProgressReplay) -> None:
        """Draw the progress of now; lines are for what stays true."""
        if self._display is None:
            super().event(event, job, replay)
            return
        self._display.update(job)
        self.connection(event)

    def completed(self, job: Job, result: JobResult) -> None:
        """Print the summary."""
        line = Text(summary(result))
        line.stylize("green", 0, len("done"))
        self._console.print(line)
        for text in result.texts:
            self.result(text)

    def picture(self, picture: Image) -> None:
        """Draw it."""
        _print_picture(picture)

    def failed(self, failure: Failure) -> None:
        """Print what went wrong, the message in red."""
        first, *rest = failure_lines(failure)
        self._print(first, style="bold red")
        for line in rest:
            self.say(line)

    def say(self, text: str) -> None:
        """Print lines above the live ones, broken between words where they are too long."""
        self._print(text)

    def _print(self, text: str, *, style: str = "") -> None:
        for line in without_controls(text).split("\n"):
            for part in fitted(line, self._console.width):
                self._console.print(Text(part, style=style), soft_wrap=True)

    def restore(self) -> None:
        """Show the cursor."""
        if self._display is not None:
            self._display.restore()


def _print_picture(picture: Image) -> None:
    """Draw a picture by what the terminal says that it can: sixels, kitty's protocol, or half cells.

    textual_image asks the terminal when it is imported, so this must not happen while anything
    else draws, nor when nobody would answer.
    """
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return
    console = Console()
    try:
        from textual_image.renderable import Image as Renderable

        console.print(Renderable(picture, width=min(_PICTURE_CELLS, console.width), height="auto"))
    except Exception as error:
        # Terminals answer strangely; a run that completed must not fail of its picture.
        sys.stderr.write(f"the picture cannot be drawn here: {error}\n")
