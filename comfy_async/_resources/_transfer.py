"""One upload or download under way: awaited for its result, iterated for its progress."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

__all__ = ["Meter", "Transfer", "TransferProgress"]

_T = TypeVar("_T")
_EVERY_S: Final = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far a transfer has come.

    Attributes:
        name: The file.
        done: Bytes so far.
        total: Bytes in all, None when the server does not say.
        seconds: Since it began.
    """

    name: str
    done: int
    total: int | None
    seconds: float

    @property
    def fraction(self) -> float | None:
        """Zero to one, None when the whole is unknown."""
        return None if self.total is None else min(1.0, self.done / max(self.total, 1))

    def __str__(self) -> str:
        """Return a line to print: `face.png: 62 %, 12.4 of 20.0 MB`."""
        done = f"{self.done / 1e6:.1f}"
        if self.total is None:
            return f"{self.name}: {done} MB"
        return f"{self.name}: {100 * (self.fraction or 0):.0f} %, {done} of {self.total / 1e6:.1f} MB"


class Meter:
    """Counts the bytes of one transfer, and wakes those that watch it."""

    def __init__(self, name: str) -> None:
        """Start at zero."""
        self.name = name
        self.done = 0
        self.total: int | None = None
        self._began = time.monotonic()
        self._moved = asyncio.Event()

    def add(self, count: int) -> None:
        """So many bytes more."""
        self.done += count
        self._moved.set()

    def restart(self, done: int = 0) -> None:
        """Keep so many bytes; the rest is fetched again."""
        self.done = done
        self._moved.set()

    async def moved(self) -> None:
        """Wait until more bytes have come than when this was last called."""
        await self._moved.wait()
        self._moved.clear()

    def progress(self) -> TransferProgress:
        """Return how far it is at this moment."""
        return TransferProgress(self.name, self.done, self.total, time.monotonic() - self._began)


class Transfer(Coroutine[Any, Any, _T], Generic[_T]):
    """A transfer that can be awaited like any coroutine, or iterated for its progress first.

    Example:
        >>> transfer = comfy.files.save("ComfyUI_00001_.png", "first.png")
        >>> async for progress in transfer:
        ...     print(progress)
        ComfyUI_00001_.png: ...
        >>> path = await transfer
    """

    def __init__(self, work: Callable[[Meter], Coroutine[Any, Any, _T]], *, name: str) -> None:
        """Prepare; nothing is sent before it is awaited or iterated."""
        self._meter = Meter(name)
        self._work = work(self._meter)
        self._task: asyncio.Task[_T] | None = None

    @property
    def progress(self) -> TransferProgress:
        """How far it is at this moment."""
        return self._meter.progress()

    def __await__(self) -> Generator[Any, Any, _T]:
        """Wait for the result; after iterating, the same value every time."""
        return (self._work if self._task is None else self._joined(self._task)).__await__()

    @staticmethod
    async def _joined(task: asyncio.Task[_T]) -> _T:
        """Wait for the task that iterating has started."""
        return await asyncio.shield(task)

    async def __aiter__(self) -> AsyncIterator[TransferProgress]:
        """Yield how far it is, a few times a second, the end included; leaving the loop ends the transfer.

        Raises:
            ComfyError: The transfer failed.
            OSError: The disk failed.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._work, name=f"comfy_async transfer {self._meter.name}")
        task = self._task
        try:
            while not task.done():
                moved = asyncio.ensure_future(self._meter.moved())
                try:
                    await asyncio.wait({task, moved}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    moved.cancel()
                if not task.done():
                    yield self._meter.progress()
                    await asyncio.wait({task}, timeout=_EVERY_S)
            await task
            yield self._meter.progress()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    # A coroutine for asyncio: `create_task`, `gather` and task groups take it.

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._work.send(value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        """Raise inside, as a coroutine does."""
        return self._work.throw(typ if val is None else val)

    def close(self) -> None:
        """End it, as a coroutine does."""
        self._work.close()

    def __repr__(self) -> str:
        """Return how far it is."""
        return f"<Transfer {self._meter.progress()}>"
