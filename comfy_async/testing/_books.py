"""The server's own records: what ran, how often, how it ended, and what was requested."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

__all__ = ["Books", "RunEnd", "RunRecord", "Upload"]

RunEnd: TypeAlias = Literal["success", "error", "interrupted", "deleted", "lost"]
"""How one queued run ended. `deleted` was taken out of the queue before it started,
`lost` went down with the server (or its queue), running or not.

Example:
    >>> fake.hold()
    >>> job = await comfy.submit(flow)
    >>> await job.cancel()
    'cancelled'
    >>> end: RunEnd = fake.books.ends(job.prompt_id)[0]
    >>> end
    'deleted'
"""

_LOG_LENGTH = 20_000


@dataclasses.dataclass(slots=True)
class RunRecord:
    """One prompt that the server accepted: a prompt posted twice makes two of these.

    Attributes:
        prompt_id: The id it was queued under.
        client_id: The client that submitted it, None when the request named none.
        number: Its place in the queue, lower first.
        started: Whether it ever ran.
        end: How it ended, None while it has not.
        told: How its last event said that it ended. A server that goes down between that event
            and the history makes a run that was reported as a success and is lost.
        forgotten: Its history entry went, by a restart or because a client deleted it: since then
            no client can find out how it ended.
        executed: Ids of the nodes that ran to their end, in order.
        cached: Ids of the nodes that `execution_cached` named.
        extra_data: What was sent along and is stored.
        secrets: Keys of partner nodes that were sent along, stored and shown nowhere else.
        interrupts: Interrupts that were signalled while it ran.
        queued_at: Seconds of the monotonic clock; 0.0 when it has not happened, as below.
        started_at: When the worker took it.
        finished_at: When its last event was sent, before the history was written.
        ended_at: When the history was written, or it was deleted or lost.

    Example:
        >>> result = await comfy.run(flow)
        >>> record = fake.books.of(result.prompt_id)[0]
        >>> record.started, record.end, record.executed[-1], record.client_id == comfy.client_id
        (True, 'success', '9', True)
    """

    prompt_id: str
    client_id: str | None
    number: float
    started: bool = False
    end: RunEnd | None = None
    told: RunEnd | None = None
    forgotten: bool = False
    executed: list[str] = dataclasses.field(default_factory=list)
    cached: list[str] = dataclasses.field(default_factory=list)
    extra_data: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    secrets: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    interrupts: int = 0
    queued_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    ended_at: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """One file that was uploaded: its name on the server, and its size in bytes.

    Example:
        >>> face = await comfy.files.upload("face.png", name="anna.png")
        >>> fake.books.uploads
        [Upload(name='anna.png', subfolder='', type='input', size=69, written=True)]
    """

    name: str
    subfolder: str
    type: str
    size: int
    written: bool


class Books:
    """What truly happened on the server, for tests to read, whatever its clients were sent.

    Attributes:
        accepted: Every prompt that was queued, in order; one posted twice is here twice.
        requests: How often each route was requested, as `("GET", "/history/{prompt_id}")`.
            A prefix and `/api` are left out, so both spellings count as one route, except
            where only `/api` exists (`/api/jobs`).
        log: The last requests as `(method, path, status)`; status 0 when the answer was lost.
        uploads: Every accepted upload.
        sockets_opened: WebSockets that were ever opened.
        sockets_now: WebSockets that are open now.

    Example:
        >>> job = await comfy.submit(flow)
        >>> await fake.wait_for(lambda books: books.ends(job.prompt_id))
        >>> fake.books.starts(job.prompt_id), fake.books.ends(job.prompt_id)
        (1, ['success'])
        >>> fake.books.count("POST", "/prompt")
        2
    """

    def __init__(self) -> None:
        """Start without records."""
        self.accepted: list[RunRecord] = []
        self.requests: collections.Counter[tuple[str, str]] = collections.Counter()
        self.log: collections.deque[tuple[str, str, int]] = collections.deque(maxlen=_LOG_LENGTH)
        self.uploads: list[Upload] = []
        self.sockets_opened = 0
        self.sockets_now = 0
        self._by_id: dict[str, list[RunRecord]] = {}
        self._started = 0
        self._ended = 0
        self._waiters: list[tuple[Callable[[Books], object], asyncio.Future[None]]] = []

    @property
    def runs(self) -> list[RunRecord]:
        """The runs that the server really started, in the order they were queued."""
        return [record for record in self.accepted if record.started]

    @property
    def started(self) -> int:
        """How many runs were ever started."""
        return self._started

    @property
    def ended(self) -> int:
        """How many accepted prompts have ended, in whatever way."""
        return self._ended

    def of(self, prompt_id: str) -> list[RunRecord]:
        """Return the records under an id: one for each time it was queued."""
        return list(self._by_id.get(prompt_id, ()))

    def starts(self, prompt_id: str) -> int:
        """Return how often a prompt was started: 2 when it was posted twice and ran twice."""
        return sum(record.started for record in self._by_id.get(prompt_id, ()))

    def ends(self, prompt_id: str) -> list[RunEnd]:
        """Return how each of its runs ended, those without an end left out."""
        return [record.end for record in self._by_id.get(prompt_id, ()) if record.end is not None]

    def count(self, method: str, path: str) -> int:
        """Return how often a route was requested, e.g. `count("GET", "/history/{prompt_id}")`."""
        return self.requests[method, path]

    def accept(self, record: RunRecord) -> None:
        """Note a prompt that was queued."""
        record.queued_at = time.monotonic()
        self.accepted.append(record)
        self._by_id.setdefault(record.prompt_id, []).append(record)
        self.touch()

    def start(self, record: RunRecord) -> None:
        """Note that the worker took a prompt."""
        record.started = True
        record.started_at = time.monotonic()
        self._started += 1
        self.touch()

    def end(self, record: RunRecord, how: RunEnd) -> None:
        """Note how a prompt ended; its first end stands."""
        if record.end is None:
            record.end = how
            record.ended_at = time.monotonic()
            self._ended += 1
        self.touch()

    def forget(self, prompt_ids: Iterable[str]) -> None:
        """Note that the history entries of some prompts are gone."""
        for prompt_id in prompt_ids:
            for record in self._by_id.get(prompt_id, ()):
                record.forgotten = True

    def touch(self) -> None:
        """Wake those whose condition has come true."""
        if not self._waiters:
            return
        for predicate, future in self._waiters:
            if not future.done():
                _settle(predicate, future, self)
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]

    async def until(self, predicate: Callable[[Books], object]) -> None:
        """Wait until a condition on these records holds.

        Raises:
            Exception: Whatever the predicate raises.
        """
        if predicate(self):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((predicate, future))
        await future


def _settle(predicate: Callable[[Books], object], future: asyncio.Future[None], books: Books) -> None:
    """Resolve a waiter when its condition holds, or hand it the predicate's own error."""
    try:
        if predicate(books):
            future.set_result(None)
    except Exception as error:  # the predicate is a test's: its error belongs to that test
        future.set_exception(error)
