"""Ctrl-C: the first one asks the work to end well, the second one ends it at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final

__all__ = ["EXIT_INTERRUPTED", "Interrupts", "run_loop"]

EXIT_INTERRUPTED: Final = 130


class Interrupts:
    """Watches SIGINT and SIGTERM while a command runs.

    Attributes:
        asked: True after the first one.
        on_ask: Called in the loop at the first one, to acknowledge it.
        last_words: Called, in reverse order and without a loop, before a second one ends the
            process: show the cursor, remove a temporary folder.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.asked = False
        self.on_ask: Callable[[], object] | None = None
        self.last_words: list[Callable[[], object]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[int] | None = None

    async def guard(self, work: Coroutine[Any, Any, int]) -> int:
        """Run the work as the task that the first signal cancels."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(work, name="comfy-async command")
        if self.asked:
            self._task.cancel()
        return await self._task

    def ask(self, prompt: str) -> str:
        """Return a line that the user types; Ctrl-C ends the wait, although the loop is blocked.

        Raises:
            CancelledError: It was pressed.
        """
        old = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            sys.stdout.write(prompt)
            sys.stdout.flush()
            _wait_for_line()
            return input()
        except (KeyboardInterrupt, EOFError):
            self.asked = True
            # What comes next begins on a line of its own.
            sys.stderr.write("\n")
            raise asyncio.CancelledError from None
        finally:
            signal.signal(signal.SIGINT, old)

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        """Ask at first, leave at the second time."""
        if self.asked:
            self._leave()
        self.asked = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ask)

    def _ask(self) -> None:
        """Tell the user, then the work."""
        if self.on_ask is not None:
            self.on_ask()
        if self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        """End the process without waiting for anything."""
        for word in reversed(self.last_words):
            with contextlib.suppress(Exception):  # The way out must not be barred.
                word()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(EXIT_INTERRUPTED)


def run_loop(work: Callable[[Interrupts], Coroutine[Any, Any, int]]) -> int:
    """Run a command's coroutine and return its exit code; 130 when a signal ended it."""
    interrupts = Interrupts()
    old = {number: signal.signal(number, interrupts.on_signal) for number in _signals()}
    try:
        return asyncio.run(interrupts.guard(work(interrupts)))
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _wait_for_line() -> None:
    """Wait until a line can be read, or a signal has come.

    `input()` alone may miss a signal that comes just before it begins to read: it would be
    seen at the next key only.
    """
    if sys.platform == "win32":
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    old = signal.set_wakeup_fd(writer)
    try:
        select.select([sys.stdin, reader], [], [])
    finally:
        signal.set_wakeup_fd(old)
        os.close(reader)
        os.close(writer)


def _signals() -> tuple[signal.Signals, ...]:
    """Return the signals that mean "end", where they may be watched."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        return ()
    return (signal.SIGINT, signal.SIGTERM)
