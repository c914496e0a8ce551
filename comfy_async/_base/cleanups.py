"""Work that has to be done whoever stops waiting for it: taking a job back, closing a connection.

A block that is left because of a cancellation may be cancelled again while it cleans up: by an outer
time limit, by a task group that aborts, or by `asyncio.run`, which cancels every task when `main`
is over. anyio's shields hold its own scopes off, and no native `Task.cancel()`. So what cleans up
is a task of its own, which goes on when it is cancelled, and has little time then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

import anyio

__all__ = ["HURRIED_S", "Cleanups", "Work"]

_T = TypeVar("_T")

Work: TypeAlias = Callable[[float | None], Coroutine[Any, Any, _T]]
"""Makes the coroutine that does it, within so many seconds; None takes its time.

It is made again when it was cancelled, so it begins with what is still to be done.
"""

HURRIED_S: Final = 4.0
"""How long a clean-up may take when the program wants to end."""

_MOST_CANCELLATIONS: Final = 8


class Cleanups:
    """The tasks that clean up for one owner."""

    def __init__(self) -> None:
        """Start without any."""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def see_to(self, work: Work[_T], *, name: str) -> _T:
        """Do something to its end, and wait for it; being cancelled stops the waiting only.

        Raises:
            asyncio.CancelledError: Whoever waits was cancelled; the work goes on.
            Exception: What the work raises.
        """
        return await self.wait_for(self.start(work, name=name))

    def start(self, work: Work[_T], *, name: str) -> asyncio.Task[_T]:
        """Begin to do something to its end, as a task of that name."""
        task = asyncio.create_task(_to_the_end(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    async def wait_for(self, task: asyncio.Task[_T]) -> _T:
        """Wait for such a task, in a cancelled scope too.

        Raises:
            asyncio.CancelledError: Whoever waits was cancelled; the task goes on.
            Exception: What the work raises.
        """
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        return task.result()

    async def finish(self) -> None:
        """Wait until nothing is left but the task that asks; never raises for how it went."""
        while waiting := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(waiting)

    def _over(self, task: asyncio.Task[Any]) -> None:
        """Let go of a task; how it failed is for whoever waited, or was logged by the work itself."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


async def _to_the_end(work: Work[_T]) -> _T:
    """Do it; when that is cancelled go on, with little time: nobody but the program's end cancels it."""
    seconds: float | None = None
    for _ in range(_MOST_CANCELLATIONS):
        try:
            return await work(seconds)
        except asyncio.CancelledError:
            seconds = HURRIED_S
    return await work(HURRIED_S)
