"""Work that has to be done even if its caller stops waiting: cancelling a job, closing a connection.

A block that is left because of a cancellation may be cancelled again while it cleans up: by an outer
time limit, by a task group that aborts, or by `asyncio.run`, which cancels every task when `main`
has ended. anyio's shields hold its own scopes off, and no native `Task.cancel()`. So what cleans up
is a task of its own, which nobody can cancel: it does the work in a second one, and begins that
again, with little time, when it was cancelled or interrupted. A coroutine that catches its own
cancellation would not do: a task that is cancelled before its first step never enters it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias, TypeVar

import anyio

from .tasks import look_at

__all__ = ["HURRIED_S", "Cleanups", "Work"]

_T = TypeVar("_T")

_log = logging.getLogger("comfy_async")

Work: TypeAlias = Callable[[float | None], Coroutine[Any, Any, _T]]
"""Makes the coroutine that does it, within so many seconds; None takes its time.

It is made again when it was cancelled, so it begins with what is still to be done.
"""

HURRIED_S: Final = 4.0
"""How long a clean-up may take when the program wants to end."""

_MOST_ATTEMPTS: Final = 8


class Cleanups:
    """The tasks that clean up for one owner."""

    def __init__(self) -> None:
        """Start without any."""
        self._tasks: set[_Firm[Any]] = set()

    async def see_to(self, work: Work[_T], *, name: str) -> _T:
        """Do something to its end, and wait for it; being cancelled stops the waiting only.

        Raises:
            asyncio.CancelledError: Whoever waits was cancelled; the work goes on.
            Exception: What the work raises.
        """
        return await self.wait_for(self.start(work, name=name))

    def start(self, work: Work[_T], *, name: str) -> asyncio.Task[_T]:
        """Begin to do something to its end, as a task of that name."""
        task = _Firm(work, name, on_interrupt=self._hurry)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    async def wait_for(self, task: asyncio.Task[_T]) -> _T:
        """Wait for such a task, in a cancelled scope too.

        Raises:
            asyncio.CancelledError: Whoever waits was cancelled; the task goes on.
            Exception: What the work raises.
        """
        try:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
        except asyncio.CancelledError:
            task.add_done_callback(_say_how_it_failed)
            raise
        return task.result()

    async def finish(self) -> None:
        """Wait until nothing is left but the work that asks; never raises for how it went."""
        asking = asyncio.current_task()
        while waiting := [task for task in self._tasks if task.attempt is not asking]:
            await asyncio.wait(waiting)

    def _hurry(self) -> None:
        """Leave little time to all that is under way: the program is to end at once."""
        for task in self._tasks:
            if task.attempt is not None:
                task.attempt.cancel()

    def _over(self, task: asyncio.Task[Any]) -> None:
        """Forget a task; its failure is raised to a caller that waits, else logged."""
        self._tasks.discard(task)
        look_at(task)


class _Firm(asyncio.Task[_T]):
    """A task that ends when the work is done, whoever cancels it: `asyncio.run` waits for it.

    Attributes:
        attempt: The task beside this one that is at it, None before the first.
    """

    def __init__(self, work: Work[_T], name: str, *, on_interrupt: Callable[[], None]) -> None:
        """Begin; `on_interrupt` is told when a second Ctrl-C has hit the work."""
        self.attempt: asyncio.Task[_T] | None = None
        self._on_interrupt = on_interrupt
        super().__init__(self._to_the_end(work, f"{name}, at work"), name=name)

    def cancel(self, msg: Any | None = None) -> bool:
        """Do nothing, before the first step too, and say so."""
        return False

    async def _to_the_end(self, work: Work[_T], name: str) -> _T:
        """Do it, and again when that was cut off: nobody but the program's end does so."""
        seconds: float | None = None
        attempts = 0
        while True:
            self.attempt = attempt = asyncio.create_task(work(seconds), name=name)
            await asyncio.wait([attempt])
            attempts += 1
            is_cut_off = attempt.cancelled() or _is_interrupt(attempt.exception())
            if not is_cut_off or attempts == _MOST_ATTEMPTS:
                return attempt.result()
            if not attempt.cancelled():
                # asyncio may not have heard of it: anyio makes a RuntimeError or a group of it.
                self._on_interrupt()
            seconds = HURRIED_S


def _is_interrupt(error: BaseException | None) -> bool:
    """Return whether it comes from a Ctrl-C in the middle of a step, which is no failure of the work."""
    if error is None or isinstance(error, KeyboardInterrupt | SystemExit):
        return error is not None
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return any(_is_interrupt(one) for one in (error.__cause__, error.__context__, *inner))


def _say_how_it_failed(task: asyncio.Task[Any]) -> None:
    """Log a failure that nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s failed: %s: %s", task.get_name(), type(error).__name__, error, exc_info=error)
