"""A job that is shown: one display that lives while the job runs, then shows what it made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from .._job.job import core_of
from ..events import (
    Disconnected,
    NodeStarted,
    PollingStarted,
    Preview,
    ProgressText,
    Reconnected,
)
from .cards import job_parts, result_card, result_parts
from .console_show import TerminalShow, print_result
from .html import box, card, data_uri, line
from .media import shelf
from .screen import Screen, in_notebook

if TYPE_CHECKING:
    from .._job.job import Job
    from .._job.result import JobResult

__all__ = ["draw_job", "show_job", "show_result"]

_SECONDS_BETWEEN_FRAMES: Final = 0.2


async def show_job(
    job: Job,
    *,
    on_interrupt: Literal["cancel", "leave"] = "cancel",
    previews: bool = True,
    every: float = _SECONDS_BETWEEN_FRAMES,
) -> None:
    """Show a job until it has ended, then what it made, or what went wrong.

    In a terminal that is a bar, or plain lines, and the names of the files in the end.

    Args:
        job: The job.
        on_interrupt: What becomes of the job when the cell is interrupted: "cancel" stops it on
            the server, "leave" lets it run. The session lives on in both cases.
        previews: Show the latest preview.
        every: Seconds between two frames.

    Raises:
        SessionClosedError: The session was closed before the end.
        CancelledError: The cell was interrupted.
    """
    if on_interrupt not in ("cancel", "leave"):
        raise ValueError(f'on_interrupt is "cancel" or "leave", not {on_interrupt!r}')
    show = _JobShow(job, Screen(), previews=previews) if in_notebook() else TerminalShow(job)
    try:
        await _while_drawing(show.follow(), show.draw, every=every)
        await show.finish()
    except (asyncio.CancelledError, KeyboardInterrupt):
        if on_interrupt == "cancel":
            await core_of(job).owner.abandon(core_of(job))
        else:
            show.note = "Interrupted; the job goes on. Show it again, or await it."
        raise
    finally:
        show.close()


async def draw_job(job: Job, screen: Screen, *, every: float = _SECONDS_BETWEEN_FRAMES) -> None:
    """Draw a job on a screen until it has ended, then what it made; a cancelled display leaves it alone.

    Raises:
        SessionClosedError: The session was closed before the end.
    """
    show = _JobShow(job, screen, previews=True)
    try:
        await _while_drawing(show.follow(), show.draw, every=every)
        await show.finish()
    finally:
        show.close()


async def show_result(result: JobResult) -> None:
    """Show what a job made, with the files themselves; they stay in the result's own repr."""
    if not in_notebook():
        print_result(result)
        return
    screen = Screen()
    result.shown = await shelf(result.files)
    screen.draw(result_card(result), repr(result))


class _JobShow:
    """What is known of a job that is being shown."""

    def __init__(self, job: Job, screen: Screen, *, previews: bool) -> None:
        self.job = job
        self.note = ""
        self._screen = screen
        self._veil = core_of(job).owner.veil
        self._previews = previews
        self._preview: Preview | None = None
        self._said = ""
        self._away = ""
        self._made: list[str] = []

    async def follow(self) -> None:
        """Process the job's events until it ends."""
        async for event in self.job.events():
            match event:
                case Preview(delivered=False):
                    self._preview = event
                case ProgressText():
                    self._said = event.text
                case NodeStarted():
                    self._said = ""
                case Disconnected() | PollingStarted():
                    self._away = str(event.data.get("reason") or "the connection is down")
                case Reconnected():
                    self._away = ""

    async def finish(self) -> None:
        """Fetch what the job made."""
        if self.job.status == "completed":
            result = await self.job
            result.shown = await shelf(result.files)
            self._made = [*result_parts(result), result.shown]

    def draw(self) -> None:
        """Draw the job as it is now."""
        job = self.job
        parts = job_parts(job, veil=self._veil)
        if not job.done:
            if self._said:
                parts.append(line("", self._veil(self._said)))
            if self._away:
                parts.append(box("", self._veil(f"Following it by polling: {self._away}."), note=True))
            if self._previews and self._preview is not None:
                address = data_uri(self._preview.mime, self._preview.image)
                parts.append(
                    f'<div class="ca-shelf"><figure><img src="{address}" alt="preview"></figure></div>'
                )
        if self.note:
            parts.append(box("", self.note, note=True))
        self._screen.draw(card(*parts, *self._made), self._words())

    def close(self) -> None:
        """Draw it for the last time."""
        self.draw()

    def _words(self) -> str:
        """Return a line for front ends without HTML."""
        job = self.job
        if job.error is not None:
            return self._veil(f"{job.status}: {job.error}")
        return (
            f"{job.status}: {job.progress}"
            if job.status == "running"
            else f"job {job.prompt_id} {job.status}"
        )


async def _while_drawing(work: object, draw: Callable[[], None], *, every: float) -> None:
    """Run a coroutine to its end and draw from time to time: however much happens, so often and no more."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    try:
        while not task.done():
            draw()
            await asyncio.wait([task], timeout=every)
        await task
    finally:
        task.cancel()
