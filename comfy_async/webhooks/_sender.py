"""Delivers messages in the background: a receiver that is dead or slow blocks nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from .._base.backoff import Backoff
from .._base.clock import Clock
from .._base.secrets import Secret
from .._transport.post import Poster
from ..errors import ComfyError
from ._signing import ID, SIGNATURE, TIMESTAMP, signature

__all__ = ["Message", "Sender"]

_log = logging.getLogger("comfy_async")

_FIRST_S: Final = 1.0
_CAP_S: Final = 60.0
_LONGEST_S: Final = 300.0
_AT_ONCE: Final = 4
_GONE: Final = 410
_NAMED: Final = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One message: the same in each attempt, but for its time.

    Attributes:
        id: By which receivers recognize it when they get it twice.
        about: What it is about, for the log.
        body: What is sent.
    """

    id: str
    about: str
    body: bytes


class Sender:
    """The messages that are under way to one receiver, in one event loop."""

    def __init__(
        self,
        poster: Poster,
        *,
        keys: Sequence[Secret[bytes]],
        headers: Mapping[str, str],
        limit: int,
        attempts: int,
        clock: Clock,
    ) -> None:
        """Start with nothing."""
        self._poster = poster
        self._keys = keys
        self._headers = Secret(dict(headers))
        self._limit = limit
        self._attempts = attempts
        self._clock = clock
        self._lines = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[asyncio.Task[None], Message] = {}
        self._is_full = False

    def __len__(self) -> int:
        """Return how many are under way."""
        return len(self._under_way)

    def send(self, message: Message) -> None:
        """Begin to deliver a message; one too many is dropped, and the log says so."""
        if len(self._under_way) >= self._limit:
            if not self._is_full:
                _log.warning(
                    "webhook %s: %d messages wait for the receiver, further ones are dropped",
                    self._poster.shown,
                    self._limit,
                )
            self._is_full = True
            return
        self._is_full = False
        task = asyncio.create_task(self._deliver(message), name="comfy_async webhook")
        self._under_way[task] = message
        task.add_done_callback(lambda done: self._under_way.pop(done, None))

    async def finish(self, seconds: float) -> None:
        """Wait so long for what is under way, then log what is not delivered, and drop it."""
        tasks = list(self._under_way)
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=seconds)
        finally:
            self._drop()
        if tasks:
            await asyncio.wait(tasks)
        await self._poster.aclose()

    def _drop(self) -> None:
        """End what is still under way."""
        if not self._under_way:
            return
        names = [message.about for message in self._under_way.values()]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        _log.warning(
            "webhook %s: not delivered when the session was closed: %s",
            self._poster.shown,
            ", ".join(names[:_NAMED]) + more,
        )
        for task in list(self._under_way):
            task.cancel()

    async def _deliver(self, message: Message) -> None:
        """Try until the receiver has it, or further tries are useless."""
        backoff = Backoff(first=_FIRST_S, cap=_CAP_S)
        reason = ""
        for attempt in range(1, self._attempts + 1):
            pause = 0.0
            try:
                async with self._lines:
                    status, retry_after = await self._poster.post(message.body, self._signed(message))
            except ComfyError as error:
                reason = str(error.args[0] if error.args else type(error).__name__)
            else:
                if 200 <= status < 300:
                    return
                reason = f"it answered {status}"
                if 300 <= status < 400 or status == _GONE:
                    # Elsewhere, or nowhere any more: the next attempt would hear the same.
                    break
                pause = min(float(retry_after), _LONGEST_S) if retry_after.isdecimal() else 0.0
            if attempt < self._attempts:
                await self._clock.sleep(max(pause, backoff.next()))
        _log.warning("webhook %s: %s was not delivered: %s", self._poster.shown, message.about, reason)

    def _signed(self, message: Message) -> dict[str, str]:
        """Return the headers of one attempt: each has its own time, and so its own signature."""
        timestamp = str(int(self._clock.unix()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "comfy-async",
            **self._headers.reveal(),
            ID: message.id,
            TIMESTAMP: timestamp,
        }
        if self._keys:
            signatures = (signature(key, message.id, timestamp, body=message.body) for key in self._keys)
            headers[SIGNATURE] = " ".join(signatures)
        return headers
