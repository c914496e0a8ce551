"""Where the workflows of a batch come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, TypeAlias

__all__ = ["Source", "Workflows"]

Workflows: TypeAlias = Iterable[Any] | AsyncIterable[Any]


class Source:
    """Hands out an iterable's items one by one, numbered; lazily."""

    def __init__(self, workflows: Workflows) -> None:
        """Begin with the first one; nothing is read yet."""
        if isinstance(workflows, AsyncIterable):
            self._async: AsyncIterator[Any] | None = aiter(workflows)
            self._sync: Iterator[Any] = iter(())
        else:
            self._async = None
            self._sync = iter(workflows)
        self._lock = asyncio.Lock()
        self._index = 0
        self._over = False

    async def next(self) -> tuple[int, Any] | None:
        """Return the next item with its index, None at the end."""
        async with self._lock:
            if self._over:
                return None
            try:
                item = next(self._sync) if self._async is None else await anext(self._async)
            except (StopIteration, StopAsyncIteration):
                self._over = True
                return None
            except BaseException:
                self._over = True
                raise
            self._index += 1
            return self._index - 1, item

    async def aclose(self) -> None:
        """Close an async generator that was left in the middle."""
        self._over = True
        close = getattr(self._async, "aclose", None)
        if close is not None:
            await close()
