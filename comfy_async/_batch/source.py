"""Where the workflows of a batch come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

__all__ = ["Source", "Workflows"]

Workflows: TypeAlias = Iterable[Any] | AsyncIterable[Any]


class Source:
    """Yields an iterable's items one by one, numbered; lazily."""

    def __init__(self, workflows: Workflows) -> None:
        """Begin with the first one; nothing is read yet."""
        self._async: AsyncIterator[Any] | None = None
        self._sync: Iterator[Any] = iter(())
        self._list: Sequence[Any] = ()
        if isinstance(workflows, AsyncIterable):
            self._async = aiter(workflows)
        else:
            self._sync = iter(workflows)
            self._list = workflows if isinstance(workflows, Sequence) else ()
        self._early: set[int] = set()
        self._lock = asyncio.Lock()
        self._index = 0
        self._over = False

    async def next(self, first: Iterable[int] = ()) -> tuple[int, Any] | None:
        """Return the next item with its index, None at the end.

        Args:
            first: What goes before the others. Only a sequence can be read out of its order.
        """
        async with self._lock:
            if self._over:
                return None
            for index in first:
                if self._index <= index < len(self._list) and index not in self._early:
                    self._early.add(index)
                    return index, self._list[index]
            while (found := await self._in_order()) is not None:
                if found[0] not in self._early:
                    return found
            return None

    async def _in_order(self) -> tuple[int, Any] | None:
        """Return the next item as the iterable has it."""
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
