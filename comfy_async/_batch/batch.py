"""Many workflows, a few at a time: `async with comfy.map(...) as finished`."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sized
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from .._base.cleanups import Work
from .._base.clock import Clock
from .._base.words import demand_word
from .._job.core import JobCore
from .._job.job import MapJob, map_handle
from ..types import renderer_of
from .gate import Gate
from .items import Item
from .journal import Journal
from .progress import BatchProgress
from .results import Results
from .source import Source, Workflows
from .steered import Steered

__all__ = ["Batch", "BatchRunner", "cut_jobs", "journal_of", "when_left"]

_log = logging.getLogger("comfy_async")

# A consumer that is slower than the server holds it back only when so much waits to be read.
_UNREAD_PER_PLACE = 4
_UNREAD_LEAST = 16
_BUSY_S = 1.0


class BatchRunner(Protocol):
    """What a batch needs of a session, a pool or a fleet."""

    clock: Clock
    gate: Gate | None

    async def run_item(self, item: Any, index: int, journal: Journal | None, **options: Any) -> Item:
        """Bring one workflow to a job that is under way, or that ended long ago."""
        ...

    def elsewhere(self, servers: Collection[str]) -> list[str]:
        """Return those of these servers whose jobs and files cannot be reached from here."""
        ...

    def leave(self, job: JobCore) -> asyncio.Task[None] | None:
        """Begin to cancel a job, in bounded time; None when there is nothing to be done."""
        ...

    async def clean_up(self, work: Work[None], *, name: str) -> None:
        """Do something to its end, however often its caller is cancelled."""
        ...


class Batch(Steered):
    """The jobs of a `map`, as they end; leaving the block cancels what is still open.

    Entering raises OSError or ValueError when the results file cannot be used. Iterating raises what
    the iterable of workflows raised, and with `on_error="stop"` the first failure.

    Example:
        >>> variants = [flow.with_seed(seed) for seed in range(4)]
        >>> async with comfy.map(variants, limit=2) as finished:
        ...     async for job in finished:
        ...         print(job.index, job.status, "|", finished.progress)
        0 completed | ...
    """

    def __init__(
        self,
        runner: BatchRunner,
        workflows: Workflows,
        *,
        limit: int,
        total: int | None = None,
        ordered: bool,
        on_error: Literal["continue", "stop"],
        results: Results,
        options: dict[str, Any],
    ) -> None:
        """Prepare; nothing is read from the iterable before the block is entered.

        Raises:
            ValueError: `limit` is below one, a word is unknown, or `results` is a place in a store.
        """
        if limit < 1:
            raise ValueError(f"limit must be 1 or more, not {limit}")
        demand_word("on_error", on_error, ("continue", "stop"))
        super().__init__(runner.clock, runner.leave)
        self._runner = runner
        runner.gate = self._gate
        self._limit = limit
        self._ordered = ordered
        self._on_error = on_error
        self._results = results
        self._options = options
        self._total = len(workflows) if isinstance(workflows, Sized) else total
        self._source = Source(workflows)
        self._journal: Journal | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._entered = False
        # What was open when it ended, None before; and who wants to know of that end.
        self._cut: list[Item] | None = None
        self._to_note: list[Item] = []
        self._going: list[asyncio.Task[None]] = []
        self._when_left: list[Callable[[], object]] = []
        self._ready: deque[JobCore] = deque()
        self._waiting: dict[int, JobCore] = {}
        self._next_index = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Semaphore(max(_UNREAD_LEAST, _UNREAD_PER_PLACE * limit))
        self._stopped: Exception | None = None
        self._done = 0
        self._failed = 0
        self._ran = 0
        self._began: float | None = None

    async def __aenter__(self) -> Batch:
        """Begin to submit.

        Raises:
            BlockingIOError: Another batch uses the results file.
            OSError: The results file cannot be read or written.
            ValueError: It is something else than a results file, or that of another server.
        """
        if self._results.path is not None:
            self._journal = await self._opened(self._results.path)
            try:
                self._journal.settle(self._runner.elsewhere, self._results)
                self._journal.counted(self._total)
            except BaseException:
                self._journal.close()
                raise
            self._gate.attach(self._journal.path)
        self._entered = True
        self._watch()
        self._workers = [
            asyncio.create_task(self._work(), name=f"comfy_async map {number}")
            for number in range(min(self._limit, self._total or self._limit))
        ]
        return self

    async def _opened(self, path: Path) -> Journal:
        """Open the results file, as soon as no other batch uses it.

        Raises:
            BlockingIOError: Another batch uses it, and this one does not wait.
            OSError: It cannot be read or written.
            ValueError: It is something else than a results file.
        """
        patience = min(self._limit, self._total or self._limit)
        while True:
            try:
                return await asyncio.to_thread(
                    Journal, path, patience=patience, damaged=self._results.damaged
                )
            except BlockingIOError as error:
                if self._results.busy == "raise":
                    raise
                _log.info("a batch waits for its results file: %s", error)
                await self._runner.clock.sleep(_BUSY_S)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel what is still open, in bounded time."""
        if self._is_through:
            self._gate.forget()
        self._stop()
        await self._runner.clean_up(self._leave, name="comfy_async map left")

    async def _leave(self, seconds: float | None) -> None:
        """End everything."""
        try:
            await self._end(seconds)
        finally:
            await self._source.aclose()
            if self._journal is not None:
                self._journal.close()
            calls, self._when_left = self._when_left, []
            for call in calls:
                call()

    def __aiter__(self) -> AsyncIterator[MapJob]:
        """Return itself: the jobs as they end."""
        return self

    async def __anext__(self) -> MapJob:
        """Return the next job that has ended.

        Raises:
            StopAsyncIteration: Every workflow has had its end.
            JobError: A job did not complete, with `on_error="stop"`; the others are cancelled.
            RuntimeError: The block was not entered.
            Exception: What the iterable of workflows raised.
        """
        if not self._entered:
            raise RuntimeError("a map runs inside its block: `async with comfy.map(...) as finished`")
        while not self._ready:
            if self._stopped is not None:
                self._stop()
                await self._runner.clean_up(self._end, name="comfy_async map stopped")
                raise self._stopped
            if all(worker.done() for worker in self._workers):
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        self._room.release()
        return map_handle(self._ready.popleft())

    @property
    def jobs(self) -> list[MapJob]:
        """The jobs on the server at this moment."""
        return [map_handle(item.job) for item in self._open.values()]

    @property
    def progress(self) -> BatchProgress:
        """How far the whole batch is."""
        ended = self._done + self._failed
        now = self._runner.clock.unix()
        shares = [(item.job.state.progress(now).fraction, item.recalled) for item in self._open.values()]
        share = ended + sum(fraction for fraction, _ in shares)
        fraction = eta = None
        if self._total is not None:
            fraction = min(1.0, share / self._total) if self._total else 1.0
            ran = self._ran + sum(fraction for fraction, recalled in shares if not recalled)
            goes_on = self._cut is None and not self.paused
            if ran > 0 and self._total > share and goes_on and self._began is not None:
                worked = self._runner.clock.monotonic() - self._began - self._gate.held_s
                eta = max(0.0, worked) / ran * (self._total - share)
            elif self._total <= share:
                eta = 0.0
        running = len(self._open)
        return BatchProgress(self._done, self._failed, running, self._total, fraction, eta, self.paused)

    async def show(self, *, every: float = 0.3) -> list[MapJob]:
        """Show a grid that fills, in a notebook (extra `notebook`); in a terminal bars and lines.

        It reads the batch to its end, in the place of the loop over it, and returns the jobs in
        the order of the workflows. Failures are shown among them.

        Args:
            every: Seconds between two frames.

        Raises:
            JobError: A job did not complete, with `on_error="stop"`.

        Example:
            >>> async with comfy.map([flow.with_seed(seed) for seed in range(3)]) as batch:
            ...     jobs = await batch.show()
            >>> [job.status for job in jobs]
            ['completed', 'completed', 'completed']
        """
        jobs: list[MapJob] = await renderer_of(self, "show")(self, every=every)
        return jobs

    async def _work(self) -> None:
        """Take one workflow after the other to its end."""
        try:
            while self._stopped is None:
                await self._room.acquire()
                await self._gate.passed()
                # In the order of the workflows nobody overtakes: what is read early would have to wait.
                found = await self._source.next(() if self._ordered else self._gate.first)
                if found is None:
                    return
                while not await self._one(*found):
                    pass
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._stopped = self._stopped or error
        finally:
            self._changed.set()

    async def _one(self, index: int, workflow: Any) -> bool:
        """Take one workflow to its end; False when it was taken back, and has to run again."""
        await self._gate.passed()
        since = self._runner.clock.monotonic()
        options = {**self._options, **self._gate.options_of(index)}
        item = await self._runner.run_item(workflow, index, self._journal, **options)
        if self._began is None and not item.recalled:
            # What an earlier batch had done or left running says nothing of how long the rest takes.
            self._began = since
        if not item.restored:
            self._open[index] = item
            try:
                await item.job.ended.wait()
            finally:
                if item.job.ended.is_set():
                    self._open.pop(index, None)
        if self._was_taken_back(item):
            self._note_end(item)
            return False
        self._ended(item)
        return True

    @property
    def _is_through(self) -> bool:
        """True when every workflow has had its end."""
        over = all(worker.done() and not worker.cancelled() for worker in self._workers)
        return over and self._stopped is None and not self._open

    def _ended(self, item: Item) -> None:
        """Count a job that has ended, note it, and give it to the consumer."""
        job = item.job
        if not job.done:
            # The session was closed: the job goes on, and a later batch picks it up.
            self._stopped = self._stopped or job.error
            return
        if not item.restored:
            self._note_end(item)
        self._ran += not item.recalled
        if job.status == "completed":
            self._done += 1
        else:
            self._failed += 1
        self._hand_over(job)
        if self._on_error == "stop" and job.error is not None:
            self._stopped = self._stopped or job.error

    def _note_end(self, item: Item) -> None:
        """Write how a job ended into the results file."""
        if self._journal is not None:
            self._journal.ended(item.job, item.key)

    def _hand_over(self, job: JobCore) -> None:
        """Give a job to the consumer: at once, or when its turn has come."""
        if not self._ordered:
            self._ready.append(job)
        else:
            assert job.index is not None
            self._waiting[job.index] = job
            while self._next_index in self._waiting:
                self._ready.append(self._waiting.pop(self._next_index))
                self._next_index += 1
        self._changed.set()

    def _stop(self) -> None:
        """Stop the workers, which take back what they are posting, and begin to cancel the open jobs."""
        if self._cut is None:
            # Now: a worker that is cancelled forgets its job when that has just ended.
            self._cut = list(self._open.values())
            self._to_note = list(self._cut)
            for worker in self._workers:
                worker.cancel()
            self._watch_no_more()
            going = [self._runner.leave(item.job) for item in self._cut]
            self._going = [task for task in going if task is not None]

    async def _end(self, _seconds: float | None) -> None:
        """Wait until everything is stopped, and note how it ended."""
        waiting = [*self._workers, *self._going, *self._steering]
        if waiting:
            await asyncio.wait(waiting)
        while self._to_note:
            item = self._to_note.pop(0)
            if item.job.done:
                self._note_end(item)
        self._open.clear()

    def __repr__(self) -> str:
        """Return the progress."""
        return f"<Batch {self.progress}>"


def journal_of(batch: Batch) -> Journal | None:
    """Return the results file of a batch that was entered."""
    return batch._journal


def cut_jobs(batch: Batch) -> list[MapJob] | None:
    """Return the jobs that were open when a batch was ended early, None while it goes on."""
    return None if batch._cut is None else [map_handle(item.job) for item in batch._cut]


def when_left(batch: Batch, call: Callable[[], object]) -> None:
    """Register a call for when the block is left."""
    batch._when_left.append(call)
