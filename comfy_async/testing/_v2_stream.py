"""Server-sent events of one job to one client."""

from __future__ import annotations

import asyncio
import collections
import json
import time
from typing import Any

from aiohttp import web

from ._sockets import reset_transport
from ._v2_live import LiveJob
from ._v2_manners import ApiV2

__all__ = ["Stream"]

_LOOK_SECONDS = 0.1


class Stream:
    """One open stream.

    Attributes:
        job: Whose events it carries.
        base: Scheme, host and prefix under which the client asked.
        told: The last status that was sent, with its place in the queue.
        outputs: The ids of the outputs that were sent.
        deaf: It gets nothing of its job, but for what it finds out when it was silent for long.
        ended: No more events come, once what is waiting was sent.
        stalled: Nothing is sent; comments are when `breathing`.
        cut_after: Cut the connection after so many events, None never.
    """

    def __init__(self, job: LiveJob, manners: ApiV2, *, base: str) -> None:
        """Make a stream that has not begun."""
        self.job = job
        self.base = base
        self.told: tuple[str, int | None] | None = None
        self.outputs: set[str] = set()
        self.deaf = False
        self.ended = False
        self.stalled = False
        self.breathing = True
        self.cut_after: int | None = None
        self.cut_how = "cut"
        self._manners = manners
        self._frames: collections.deque[bytes] = collections.deque()
        self._news = asyncio.Event()
        self._sent = 0
        self._number = 0
        self._last: dict[str, float] = {}

    def is_due(self, event: str) -> bool:
        """Whether an event is sent, or comes too soon after the last of its kind."""
        now = time.monotonic()
        if now - self._last.get(event, -1e9) < self._manners.throttle_seconds:
            return False
        self._last[event] = now
        return True

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Send an event."""
        if self.ended:
            return
        if self._manners.strange_events:
            self._number += 1
            for strange in _strange(self._number):
                self._frames.append(_written(strange, self._manners.newline))
        self._frames.append(_frame(event, data, self._manners))
        self._news.set()

    def send_raw(self, payload: bytes) -> None:
        """Send bytes as they are."""
        self._frames.append(payload)
        self._news.set()

    def end(self) -> None:
        """End the stream in good order, after what is waiting."""
        self.ended = True
        self._news.set()

    def drop(self) -> None:
        """End the stream now, without what is waiting."""
        self._frames.clear()
        self.stalled = False
        self.end()

    def cut(self, how: str) -> None:
        """Break the connection now."""
        self.cut_after, self.cut_how = self._sent, how
        self._news.set()

    def stall(self, *, breathing: bool) -> None:
        """Send nothing more, or only comments."""
        self.stalled, self.breathing = True, breathing

    def unstall(self) -> None:
        """Send again what has gathered, and all that comes."""
        self.stalled = False
        self._news.set()

    async def serve(self, request: web.Request, response: web.StreamResponse, *, quiet: Any) -> None:
        """Send what there is until the end, the client's leave or a cut.

        Args:
            request: The client's.
            response: The answer, whose headers were sent.
            quiet: Called when it was silent for the time of a keepalive.
        """
        silent = 0.0
        while True:
            if self.cut_after is not None and self._sent >= self.cut_after:
                _break(request, self.cut_how)
                return
            if self._frames and not self.stalled:
                await self._write(response, self._frames.popleft())
                self._sent += 1
                silent = 0.0
                continue
            if self.ended and not self.stalled:
                return
            if not self._manners.lingering and _gone(request):
                return
            look = min(_LOOK_SECONDS, self._manners.keepalive_seconds)
            if await self._waited(look):
                continue
            silent += look
            if silent >= self._manners.keepalive_seconds:
                silent = 0.0
                if not self.stalled or self.breathing:
                    await response.write(_written([": keepalive"], self._manners.newline))
                if not self.stalled:
                    quiet()

    async def _waited(self, seconds: float) -> bool:
        """Wait for news; False when there was none."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return not self.stalled or self.cut_after is not None

    async def _write(self, response: web.StreamResponse, frame: bytes) -> None:
        """Send a frame, in pieces where that is wanted."""
        size = self._manners.piece_bytes or len(frame)
        for start in range(0, len(frame), size):
            await response.write(frame[start : start + size])
            if self._manners.piece_bytes:
                await asyncio.sleep(0)


def _frame(event: str, data: dict[str, Any], manners: ApiV2) -> bytes:
    """Return an event as it is written."""
    if manners.multiline:
        lines = json.dumps(data, indent=1).split("\n")
    else:
        lines = [json.dumps(data, separators=(",", ":"))]
    return _written([f"event: {event}", *(f"data: {line}" for line in lines)], manners.newline)


def _written(lines: list[str], newline: str) -> bytes:
    return "".join(f"{line}{newline}" for line in [*lines, ""]).encode()


def _strange(number: int) -> list[list[str]]:
    """Return what a client has to pass over: it is lawful, and says nothing to it."""
    return [
        [": a comment"],
        ["event: of_tomorrow", f'data: {{"number": {number}}}'],
        ["event:log", 'data:{"level": "info", "message": "hello"}'],
        [f"id: {number}", "retry: 60000", "data: without a name"],
        ["event: without_data"],
        ["event", "field: unknown", "data: [1, 2]"],
    ]


def _gone(request: web.Request) -> bool:
    """Whether the client has left."""
    return request.transport is None or request.transport.is_closing()


def _break(request: web.Request, how: str) -> None:
    """Break a connection: by a reset, or by its end without the end of the answer."""
    if how == "reset":
        reset_transport(request.transport)
    elif how == "cut" and request.transport is not None:
        request.transport.close()
