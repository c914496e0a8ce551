"""The queue of prompts and the history of those that ended (execution.py, PromptQueue)."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from ._books import RunRecord

__all__ = ["JobQueue", "QueueItem"]

HISTORY_LIMIT = 10_000


@dataclasses.dataclass(slots=True, eq=False)
class QueueItem:
    """One queued prompt, ordered as ComfyUI's heap of tuples is: by number, then by id."""

    number: float
    prompt_id: str
    prompt: dict[str, Any]
    extra_data: dict[str, Any]
    outputs: list[str]
    sensitive: dict[str, Any] = dataclasses.field(repr=False)
    record: RunRecord

    def __lt__(self, other: QueueItem) -> bool:
        """Order by number, then by prompt id."""
        return (self.number, self.prompt_id) < (other.number, other.prompt_id)

    def row(self) -> list[Any]:
        """Return the five columns that /queue and /history show; secrets are not among them."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]


class JobQueue:
    """Pending and running prompts, and what is known about the ended ones.

    Attributes:
        pending: A heap, so not in order beyond its first item; /queue shows it raw.
        running: What runs now; one item at most.
        history: Entries of ended prompts by id, the oldest first.
        updated: Called at every change that ComfyUI broadcasts a `status` for.
    """

    def __init__(self, updated: Callable[[], None]) -> None:
        """Make an empty queue."""
        self.pending: list[QueueItem] = []
        self.running: list[QueueItem] = []
        self.history: dict[str, dict[str, Any]] = {}
        self.updated = updated
        self._ready = asyncio.Event()
        self._released = asyncio.Event()
        self._released.set()

    @property
    def remaining(self) -> int:
        """Running and pending prompts."""
        return len(self.pending) + len(self.running)

    def hold(self) -> None:
        """Start nothing more until `release` is called."""
        self._released.clear()

    def release(self) -> None:
        """Let the worker take prompts again."""
        self._released.set()

    def put(self, item: QueueItem) -> None:
        """Queue a prompt."""
        heapq.heappush(self.pending, item)
        self.updated()
        self._ready.set()

    async def take(self) -> QueueItem:
        """Wait for the next prompt and move it to the running ones."""
        while True:
            await self._released.wait()
            if self.pending and self._released.is_set():
                break
            self._ready.clear()
            await self._ready.wait()
        item = heapq.heappop(self.pending)
        self.running.append(item)
        self.updated()
        return item

    def done(self, item: QueueItem, entry: Mapping[str, Any]) -> None:
        """Move a prompt from the running ones into the history.

        A second run under one id replaces the entry in place, so there is only ever one.
        """
        if item in self.running:
            self.running.remove(item)
        if len(self.history) > HISTORY_LIMIT:
            self.history.pop(next(iter(self.history)))
        self.history[item.prompt_id] = {"prompt": item.row(), "outputs": {}, **entry}
        self.updated()

    def delete(self, prompt_id: str) -> QueueItem | None:
        """Take one pending prompt out; a running one is not touched."""
        found = (index for index, item in enumerate(self.pending) if item.prompt_id == prompt_id)
        index = next(found, None)
        if index is None:
            return None
        item = self.pending[index]
        if len(self.pending) == 1:
            self.clear()
        else:
            self.pending.pop(index)
            heapq.heapify(self.pending)
        self.updated()
        return item

    def clear(self) -> list[QueueItem]:
        """Take all pending prompts out."""
        dropped, self.pending = self.pending, []
        self.updated()
        return dropped

    def lose(self, *, history: bool) -> list[QueueItem]:
        """Forget everything, as a process that ends does, without any message.

        Args:
            history: Keep the history.
        """
        lost = self.pending + self.running
        self.pending, self.running = [], []
        if not history:
            self.history = {}
        return lost

    def is_running(self, prompt_id: str) -> bool:
        """Whether a prompt runs right now."""
        return any(item.prompt_id == prompt_id for item in self.running)

    def page(self, max_items: int | None, offset: int) -> dict[str, dict[str, Any]]:
        """Return a part of the history: the last `max_items` of it when there is no offset."""
        if offset < 0:
            offset = 0 if max_items is None else max(0, len(self.history) - max_items)
        end = None if max_items is None else offset + max(1, max_items)
        return dict(itertools.islice(self.history.items(), offset, end))
