"""A bounded queue between the reader, which never waits, and one consumer, who may."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, cast

from ..events import BaseEvent, Event, Preview

__all__ = ["EventStream", "Mailbox", "Watchers", "is_lossy"]

# How long a consumer may read on without giving way: while frames pour in the reader goes first,
# since a client that does not drain its socket stalls the server for everybody (PROTOCOL 0.8).
_TURN_IN_A_BURST_S: Final = 0.0001
_TURN_S: Final = 0.002
_MOST_EXTRA_TURNS: Final = 3
# Places of events that are gone are kept up to so many beyond twice the bound.
_SPARE: Final = 64


def is_lossy(event: BaseEvent) -> bool:
    """Say whether a newer event may take this one's place: never for an output's image."""
    return event.lossy and not (type(event) is Preview and event.delivered)


class Mailbox:
    """Keeps every lifecycle event, and a bounded number of unread others: steps, previews, log lines.

    Beyond the bound an event is dropped for a newer one of its kind and node, unless a lifecycle
    event came between them; with `firm` bounds the oldest one is dropped then. What is dropped was
    never parsed, and is counted.
    """

    __slots__ = (
        "_bytes",
        "_closed",
        "_error",
        "_firm",
        "_items",
        "_latest",
        "_lossy",
        "_max_bytes",
        "_max_events",
        "_oldest",
        "_sequence",
        "_turn_ends",
        "_waiter",
        "dropped",
    )

    def __init__(self, *, max_events: int, max_bytes: int, firm: bool = False) -> None:
        """Start empty and open.

        Args:
            max_events: How many events that may be dropped are kept unread.
            max_bytes: How many bytes of them.
            firm: Keep these bounds however many lifecycle events come between: for a reader of
                the events of many jobs, who may never read.
        """
        self._firm = firm
        self._oldest: deque[int] = deque()
        self._items: OrderedDict[int, BaseEvent] = OrderedDict()
        self._latest: dict[object, int] = {}
        self._sequence = 0
        self._turn_ends = 0.0
        self._lossy = 0
        self._bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._error: Exception | None = None
        self.dropped = 0

    def __len__(self) -> int:
        """Return the number of unread events."""
        return len(self._items)

    @property
    def lossy(self) -> int:
        """How many events that may be dropped came and were not read."""
        return self.dropped + self._lossy

    def put(self, event: BaseEvent) -> None:
        """Add an event; never waits."""
        if self._closed:
            return
        sequence = self._sequence = self._sequence + 1
        if event.lossy and is_lossy(event):
            key = event.key
            if self._lossy >= self._max_events or self._bytes > self._max_bytes:
                self._give_way(key)
            self._lossy += 1
            if self._firm:
                self._oldest.append(sequence)
            if event.raw is not None:
                self._bytes += len(event.raw)
            self._latest[key] = sequence
        elif self._latest:
            self._latest.clear()
        self._items[sequence] = event
        if self._firm:
            self._keep_bounds()
        if self._waiter is not None:
            self._wake()

    def close(self, error: Exception | None = None) -> None:
        """End the stream behind what is unread; the consumer then gets the error, if any."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._wake()

    def discard(self) -> None:
        """Close and drop what is unread: it will not be read."""
        self._items.clear()
        self._latest.clear()
        self._lossy = self._bytes = 0
        self._error = None
        self.close()

    async def get(self) -> BaseEvent | None:
        """Return the oldest unread event, or None at the end of the stream.

        Raises:
            Exception: The error that the mailbox was closed with.
        """
        event = self.ready()
        while event is None:
            if self._items:
                await self._give_turn()
            elif self._closed:
                if self._error is not None:
                    # A copy for each: one error raised in many places tangles their tracebacks.
                    raise copy.copy(self._error)
                return None
            else:
                await self._wait()
            event = self._pop()
        return event

    def ready(self) -> BaseEvent | None:
        """Return the oldest unread event if it may be read without waiting."""
        return self._pop() if time.monotonic() < self._turn_ends else None

    def _pop(self) -> BaseEvent | None:
        """Take out the oldest unread event."""
        if not self._items:
            return None
        _, event = self._items.popitem(last=False)
        if event.lossy and is_lossy(event):
            self._lossy -= 1
            if event.raw is not None:
                self._bytes -= len(event.raw)
        return event

    async def _give_turn(self) -> None:
        """Yield to other tasks, and in a burst more than once after a long turn of its own."""
        late = time.monotonic() - self._turn_ends
        turn = _TURN_IN_A_BURST_S
        for _ in range(1 + min(_MOST_EXTRA_TURNS, int(late / turn))):
            sequence = self._sequence
            await asyncio.sleep(0)
            if self._sequence == sequence:
                # Nothing pours in.
                turn = _TURN_S
                break
        self._turn_ends = time.monotonic() + turn

    async def _wait(self) -> None:
        """Wait for the next event or the end."""
        waiter = self._waiter
        if waiter is None:
            waiter = self._waiter = asyncio.get_running_loop().create_future()
        # Shielded, since two tasks may read one mailbox and one of them may be cancelled.
        await asyncio.shield(waiter)
        self._turn_ends = time.monotonic() + _TURN_IN_A_BURST_S

    def _give_way(self, key: object) -> None:
        """Remove the unread event of the same kind and node, if there is one since the last milestone."""
        self._drop(self._latest.get(key, 0))

    def _keep_bounds(self) -> None:
        """Drop the oldest ones that no newer one could replace."""
        oldest = self._oldest
        while oldest and (self._lossy > self._max_events or self._bytes > self._max_bytes):
            self._drop(oldest.popleft())
        if len(oldest) > 2 * self._max_events + _SPARE:
            # Most of them were read or replaced long ago.
            self._oldest = deque(sequence for sequence in oldest if sequence in self._items)

    def _drop(self, sequence: int) -> None:
        """Remove one unread event that may be dropped, and count it."""
        old = self._items.pop(sequence, None)
        if old is not None:
            self.dropped += 1
            self._lossy -= 1
            if old.raw is not None:
                self._bytes -= len(old.raw)

    def _wake(self) -> None:
        """Wake the waiting consumer."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class EventStream:
    """An async iterator over a mailbox. Leaving it, even by `break`, closes the mailbox."""

    __slots__ = ("_box", "_drop")

    def __init__(self, box: Mailbox, drop: Callable[[Mailbox], None]) -> None:
        """Read from `box`; `drop` is called once when nobody reads any more."""
        self._box = box
        self._drop: Callable[[Mailbox], None] | None = drop

    @property
    def dropped(self) -> int:
        """How many events this reader was too slow for: newer ones of their kind took their places."""
        return self._box.dropped

    @property
    def unread(self) -> int:
        """How many events can be read without waiting."""
        return len(self._box)

    def __aiter__(self) -> EventStream:
        """Return itself."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            StopAsyncIteration: The stream has ended.
            SessionClosedError: The session was closed.
        """
        event = None
        if self._drop is not None:
            event = self._box.ready() or await self._box.get()
        if event is None:
            self._release()
            raise StopAsyncIteration
        return cast(Event, event)

    async def aclose(self) -> None:
        """Stop reading; whoever waits for the next event gets the end of the stream."""
        self._release()
        self._box.discard()

    def __del__(self) -> None:
        """A consumer that left by `break` costs nothing any more."""
        self._release()

    def _release(self) -> None:
        drop, self._drop = self._drop, None
        if drop is not None:
            drop(self._box)


class Watchers:
    """The readers of the events of a whole session: one mailbox each."""

    __slots__ = ("boxes",)

    def __init__(self) -> None:
        """Start without readers."""
        self.boxes: list[Mailbox] = []

    def show(self, event: BaseEvent) -> None:
        """Give an event to every reader."""
        for box in self.boxes:
            box.put(event)

    def drop(self, box: Mailbox) -> None:
        """Forget a reader."""
        # A new list: the garbage collector may come by in the middle of a loop over the old one.
        self.boxes = [other for other in self.boxes if other is not box]

    def close(self) -> None:
        """End every stream."""
        for box in self.boxes:
            box.close()
