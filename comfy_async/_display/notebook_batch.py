"""A batch in a notebook: a grid that fills."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .._batch.batch import cut_jobs, when_left
from .._job.job import core_of
from ..types import duration_text
from .console_show import show_batch_lines
from .differences import Differences
from .html import (
    advice,
    bar,
    box,
    card,
    chip,
    clamped,
    figure,
    headline,
    text,
)
from .media import embedded
from .screen import Screen, in_notebook

if TYPE_CHECKING:
    from .._batch.batch import Batch
    from .._batch.progress import BatchProgress
    from .._job.job import Job

__all__ = ["show_batch"]

_SECONDS_BETWEEN_FRAMES: Final = 0.3
_EDGE: Final = 320
_THUMBNAIL_BYTES: Final = 40_000
_TILES: Final = 120


async def show_batch(batch: Batch, *, every: float = _SECONDS_BETWEEN_FRAMES) -> list[Job]:
    """Show a batch until all its jobs have ended; return them in the order of the workflows.

    This reads the batch to its end, so it stands in the place of the loop over it. Failures
    are shown and returned like the rest; with `on_error="stop"` the first one is raised.

    Args:
        batch: An entered batch.
        every: Seconds between two frames.

    Raises:
        JobError: A job did not complete, with `on_error="stop"`.
    """
    if not in_notebook():
        return await show_batch_lines(batch, every=every)
    grid = _Grid(batch, Screen())
    ticker = asyncio.create_task(grid.tick(every), name="comfy_async notebook grid")
    try:
        async for job in batch:
            grid.take(job)
        await grid.filled()
        grid.end("done")
        return grid.jobs
    except (asyncio.CancelledError, KeyboardInterrupt):
        grid.end("interrupted")
        raise
    except BaseException:
        grid.end("stopped")
        raise
    finally:
        ticker.cancel()
        grid.leave()
        grid.draw()


class _Grid:
    """The tiles of a batch."""

    def __init__(self, batch: Batch, screen: Screen) -> None:
        self._batch = batch
        self._screen = screen
        self._end = ""
        self._seen: dict[int, Job] = {}
        self._ended: dict[int, Job] = {}
        self._tiles: dict[int, str] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._differences = Differences()

    @property
    def jobs(self) -> list[Job]:
        """The jobs that have ended, in the order of the workflows."""
        return [self._ended[index] for index in sorted(self._ended)]

    def take(self, job: Job) -> None:
        """A job has ended: fetch its picture for its tile."""
        index = len(self._ended) if job.index is None else job.index
        self._ended[index] = job
        if len(self._ended) > _TILES:
            return
        task = asyncio.create_task(self._fill(index, job), name="comfy_async notebook tile")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def filled(self) -> None:
        """Wait until every tile shows its picture."""
        if self._reading:
            await asyncio.wait(set(self._reading))

    def end(self, word: str) -> None:
        """The batch is not read any more: it is "done", or was "interrupted" or "stopped" before that."""
        progress = self._batch.progress
        self._end = "done" if progress.done + progress.failed == progress.total else word
        # What was open is cancelled when the block is left, which comes after this.
        when_left(self._batch, self.draw)

    def leave(self) -> None:
        """Fetch nothing more."""
        for task in self._reading:
            task.cancel()

    async def tick(self, every: float) -> None:
        """Draw from time to time, for ever."""
        while True:
            self.draw()
            await asyncio.sleep(every)

    def draw(self) -> None:
        """Draw every tile as it is now."""
        progress = self._batch.progress
        whole = self._end == "done" or progress.done + progress.failed == progress.total
        word = "done" if whole else self._end or ("paused" if progress.paused else "running")
        state = _ending(progress) if whole else "warning" if self._end else "running"
        self._seen |= {job.index: job for job in self._batch.jobs if job.index is not None}
        self._seen |= self._ended
        count = progress.total or max([*self._seen, -1]) + 1
        self._differences.learn(self._seen)
        tiles = [f"<div>{self._tile(i)}{self._differs(i)}</div>" for i in range(min(count, _TILES))]
        more = f'<div class="ca-line ca-dim">and {count - _TILES} more</div>' if count > _TILES else ""
        shown = bar(1.0 if whole else progress.fraction or 0.0, state)
        grid = f'<div class="ca-grid">{"".join(tiles)}</div>{more}'
        eta = "" if progress.eta is None or word != "running" else f"{duration_text(progress.eta)} to go"
        cut = bool(self._end) and not whole
        counts = self._cut_counts(progress) if cut else _counts(progress)
        head = headline(chip(word, state), counts, right=eta)
        said = f"{word}: {counts}" if cut else str(progress)
        self._screen.draw(card(head, shown, self._advice(whole), grid), said)

    def _advice(self, whole: bool) -> str:
        """Return what becomes of an interrupted batch, or of what a whole one made."""
        if whole:
            saves = 'await (await job).save("out")'
            files = any(
                (made := core_of(job).made) is not None and made.files for job in self._ended.values()
            )
            words = f"`show()` saves nothing; it returns the jobs: `{saves}` saves the files of one."
            return advice(words) if files else ""
        if self._end and cut_jobs(self._batch) is None:
            return box("", f"{self._end.capitalize()}; leaving the block cancels what is open.", note=True)
        return ""

    def _cut_counts(self, progress: BatchProgress) -> str:
        """Return what became of the jobs of a batch that was left before its end."""
        cut = [job.status for job in cut_jobs(self._batch) or ()]
        done = progress.done + cut.count("completed")
        failed = progress.failed + cut.count("failed") + cut.count("lost")
        cancelled = cut.count("cancelled")
        still = sum(not job.done for job in self._seen.values())
        words = [f"{done} done" if progress.total is None else f"{done} of {progress.total} done"]
        words += [f"{failed} failed"] if failed else []
        words += [f"{cancelled} cancelled"] if cancelled else []
        words += [f"{still} still on the server"] if still else []
        rest = (progress.total or 0) - done - failed - cancelled - still
        return ", ".join([*words, f"{rest} not run"] if rest > 0 else words)

    async def _fill(self, index: int, job: Job) -> None:
        """Make the tile of a job that has ended."""
        name = f"#{index}"
        if job.error is not None:
            # Of a refused workflow the first finding says more than that it was refused.
            problems = getattr(job.error, "problems", ()) or job.error.args or (job.status,)
            said = core_of(job).owner.veil(problems[0])
            tile = f'<div class="ca-tile ca-bad">{chip(job.status)}{clamped(said)}</div>'
            self._tiles[index] = figure(tile, name)
            return
        result = await job
        pictures = [file for file in result.files if file.kind == "image"] or list(result.files)
        if not pictures:
            words = clamped(" ".join(result.texts) or "done")
            self._tiles[index] = figure(f'<div class="ca-tile">{words}</div>', name)
            return
        made = await embedded(pictures[0], edge=_EDGE, image_bytes=_THUMBNAIL_BYTES, label=name)
        self._tiles[index] = made

    def _differs(self, index: int) -> str:
        """Return what the tile's workflow has other than the others, as a line below it."""
        told = self._differences.of(index)
        if not told:
            return ""
        told = core_of(self._seen[index]).owner.veil(told)
        return f'<div class="ca-line ca-dim" title="{text(told)}">{text(told)}</div>'

    def _tile(self, index: int) -> str:
        """Return what a tile shows now."""
        if index in self._tiles:
            return self._tiles[index]
        job = self._seen.get(index)
        if job is not None and job.done:
            return figure(f'<div class="ca-tile">{chip(job.status)}</div>', f"#{index}")
        if job is None:
            return figure('<div class="ca-tile"></div>', f"#{index}")
        progress = job.progress
        node = text(f"{progress.activity} {progress.title}".strip() or job.status)
        return figure(f'<div class="ca-tile"><div>{node}</div>{bar(progress.fraction)}</div>', f"#{index}")


def _ending(progress: BatchProgress) -> str:
    """Return the colour of a batch that has ended."""
    if not progress.failed:
        return "completed"
    return "warning" if progress.done else "failed"


def _counts(progress: BatchProgress) -> str:
    """Return how many jobs are where."""
    of = "" if progress.total is None else f" of {progress.total}"
    words = [f"{progress.done + progress.failed}{of}"]
    words += [f"{progress.failed} failed"] if progress.failed else []
    words += [f"{progress.running} on the server"] if progress.running else []
    return ", ".join(words)
