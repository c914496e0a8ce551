"""Blocking calls of foreign code that may never return: in a thread that nothing has to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

import anyio

__all__ = ["Hand"]

_T = TypeVar("_T")
_P = ParamSpec("_P")

_PATIENCE_S: Final = 5.0


class Hand:
    """One thread that makes calls one after the other; it keeps neither the loop nor the program from ending.

    The threads of asyncio will not do: `asyncio.run` and the interpreter wait for them, and a store
    that hangs would hang both.
    """

    def __init__(self, name: str) -> None:
        """Start the thread; `end` stops it."""
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def start(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Have a call made when those before it are done."""
        future: asyncio.Future[_T] = self._loop.create_future()
        # Whoever waited may have left.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

        def call() -> None:
            if future.cancelled():
                return
            try:
                made = work(*args, **kwargs)
            except BaseException as error:
                # A StopIteration cannot be set on a future.
                failure = RuntimeError(str(error)) if isinstance(error, StopIteration) else error
                self._tell(_fail, future, failure)
            else:
                self._tell(_settle, future, made)

        self._calls.put(call)
        return future

    async def call(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Make a call and return what it does; cancelled, it is waited for no more, and goes on.

        Raises:
            Exception: What the call raises.
        """
        return await self.start(work, *args, **kwargs)

    async def end(self, last: Callable[[], object] | None = None, *, seconds: float | None = None) -> bool:
        """Make a last call and stop; return whether it ended in time.

        Waits that long, by default five seconds, however often the caller is cancelled; what has not
        ended then goes on alone.

        Raises:
            CancelledError: The caller was cancelled meanwhile.
            Exception: What the last call raises.
        """
        future = None if last is None else self.start(last)
        self._calls.put(None)
        if future is None:
            return True
        cancelled: asyncio.CancelledError | None = None
        deadline = self._loop.time() + (_PATIENCE_S if seconds is None else seconds)
        with anyio.CancelScope(shield=True):
            while not future.done() and (left := deadline - self._loop.time()) > 0:
                try:
                    await asyncio.wait([future], timeout=left)
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled
        if not future.done():
            return False
        future.result()
        return True

    def _work(self) -> None:
        """Make the calls, in the thread."""
        while (call := self._calls.get()) is not None:
            call()

    def _tell(self, say: Callable[[asyncio.Future[Any], Any], None], future: Any, made: Any) -> None:
        """Schedule something on the loop, which may be closed by now."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(say, future, made)


def _settle(future: asyncio.Future[Any], made: Any) -> None:
    """Set the result of a call."""
    if not future.done():
        future.set_result(made)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Set the error of a call."""
    if not future.done():
        future.set_exception(error)
