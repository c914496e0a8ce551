"""A batch that can be paused, resumed and given priorities: by its own process, or by another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from .._base.clock import Clock
from .._job.core import JobCore
from .control import Priority
from .gate import Gate
from .items import Item

__all__ = ["Steered", "when_paused"]


class Steered:
    """What `pause()` and its kind do to the items of a batch that are open."""

    def __init__(self, clock: Clock, leave: Callable[[JobCore], asyncio.Task[None] | None]) -> None:
        """Begin open; `leave` begins to cancel a job."""
        self._gate = Gate(clock)
        self._open: dict[int, Item] = {}
        self._leave_job = leave
        # What is taken back from the server's queue, to run when the batch goes on.
        self._taken_back: dict[int, asyncio.Task[None] | None] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._heeds = True

    @property
    def paused(self) -> bool:
        """True while nothing further is submitted, by `pause()` or by another process."""
        return self._gate.paused

    async def pause(self, *, now: bool = False) -> None:
        """Submit nothing further; jobs in hand go on to their ends, and are yielded.

        What is being submitted in this moment is in hand, and so is what waits for a free server
        of a fleet; what waits for one of a pool goes on waiting.

        With a results file that holds for other processes too, and outlives this one: a batch that
        is started again is still paused. `comfy-async batch pause FILE` does the same from outside.

        Args:
            now: Take back what still waits in the server's queue; it runs when the batch goes on.
                What begins to run in that very moment is stopped, and runs again.

        Raises:
            OSError: The results file's control file cannot be written.
            ValueError: It is damaged.
        """
        await self._gate.change(lambda control: control.pause(now=now))
        self._take_back()
        if going := [task for task in self._taken_back.values() if task is not None]:
            await asyncio.wait(going)

    async def resume(self) -> None:
        """Go on after `pause()`, or after another process paused it.

        Raises:
            OSError: The results file's control file cannot be written.
            ValueError: It is damaged.
        """
        await self._gate.change(lambda control: control.resume())

    async def prioritize(
        self, indices: Iterable[int], *, front: bool = False, number: float | None = None
    ) -> None:
        """Let these items go first, in this order; what is submitted already stays where it is.

        A list is read out of its order for it; of a generator, and with `ordered=True`, the order
        stays, and only `front` and `number` count.

        Args:
            indices: Their places in the batch, from 0.
            front: And put them before all others in the server's queue.
            number: And give them this number there; lower runs first.

        Raises:
            OSError: The results file's control file cannot be written.
            ValueError: It is damaged.

        Example:
            >>> async with comfy.map([flow.randomized(n) for n in range(8)], limit=2) as finished:
            ...     await finished.prioritize([7, 6])
            ...     jobs = [job async for job in finished]
        """
        chosen = [Priority(index, front, number) for index in indices]
        await self._gate.change(lambda control: control.prefer(chosen))

    def _watch(self) -> None:
        """Begin to follow the control file."""
        self._watcher = asyncio.create_task(self._gate.watch(self._take_back), name="comfy_async map control")

    def _watch_no_more(self) -> None:
        """Follow the control file no more, and take nothing back."""
        self._heeds = False
        if self._watcher is not None:
            self._watcher.cancel()

    @property
    def _steering(self) -> list[asyncio.Task[None]]:
        """What is under way of this."""
        tasks = [self._watcher, *self._taken_back.values()]
        return [task for task in tasks if task is not None]

    def _take_back(self) -> None:
        """Begin to take back what still waits on the server, when that is wanted."""
        if not (self._heeds and self._gate.paused and self._gate.control.now):
            return
        for index, item in self._open.items():
            if item.job.status == "pending" and index not in self._taken_back:
                self._taken_back[index] = self._leave_job(item.job)

    def _was_taken_back(self, item: Item) -> bool:
        """Say whether a job that has ended was taken back, so that it has to run again."""
        if item.index not in self._taken_back:
            return False
        del self._taken_back[item.index]
        return item.job.status == "cancelled"


def when_paused(batch: Steered, call: Callable[[], object]) -> None:
    """Register a call for whenever the batch is paused, by whomever, or resumed."""
    batch._gate.changed.append(call)
