"""Server-sent events: the state first, then what happens, and at last the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from starlette.types import Message, Receive, Scope, Send

from .._base.tasks import look_at
from .desk import Desk, Entry
from .hub import Reader, packed
from .limits import Limits

__all__ = ["EventResponse", "Teller"]

_log = logging.getLogger("comfy_async")

Teller: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
"""Returns the state of a job as JSON."""

# Twenty times a second is as much as anybody sees; what comes between is told together.
_PACE_S: Final = 0.05
_RETRY_MS: Final = 2000
_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # It keeps nginx from holding the events back.
    (b"x-accel-buffering", b"no"),
)


class EventResponse:
    """Sends one reader what happens to a job, until its end or until the reader leaves.

    An ASGI app of its own, since here lies the knowledge of who is there: a body that is merely a
    generator may never be begun when its reader leaves first.
    """

    def __init__(self, desk: Desk, entry: Entry, tell: Teller, *, after: str, bound: bool | None) -> None:
        """Prepare; `bound` says whether the job lives no longer than its readers, None for no word on it."""
        self._desk = desk
        self._entry = entry
        self._tell = tell
        self._after = after
        self._bound = bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end."""
        desk, entry = self._desk, self._entry
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            await send({"type": "http.response.body", "body": b""})
            return
        reader = await desk.join(entry, after=self._after, bound=self._bound)
        try:
            sending = asyncio.create_task(self._send(reader, send), name="comfy_async web reader")
            leaving = asyncio.create_task(_left(receive), name="comfy_async web leaving")
            try:
                await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.add_done_callback(look_at)
                    task.cancel()
            if sending.done() and not sending.cancelled():
                sending.result()
        except (OSError, TimeoutError):
            # It is gone, and said nothing.
            _log.debug("web: a reader of job %s reads nothing any more", entry.id)
        finally:
            desk.leave(entry, reader)

    async def _send(self, reader: Reader, send: Send) -> None:
        """Send the state, then what happens, then the end."""
        limits = self._desk.limits
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        last_id = None if self._after else self._entry.last_id
        first = f"retry: {_RETRY_MS}\n\n".encode()
        await _write(send, first + packed("state", await self._tell(), id=last_id), limits)
        while True:
            try:
                async with asyncio.timeout(limits.keep_alive_seconds):
                    await reader.wait()
            except TimeoutError:
                await _write(send, b": still here\n\n", limits)
                continue
            over = reader.over
            await _write(send, reader.take(), limits)
            if over:
                break
            await asyncio.sleep(_PACE_S)
        ended = self._entry.job.done and not reader.behind
        await _write(send, packed("end", await self._tell()) if ended else b": come again\n\n", limits)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _write(send: Send, body: bytes, limits: Limits) -> None:
    """Send a part, to a reader that reads it.

    Raises:
        TimeoutError: It does not.
    """
    if body:
        async with asyncio.timeout(limits.stalled_seconds):
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _left(receive: Receive) -> None:
    """Return when the reader has left."""
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
