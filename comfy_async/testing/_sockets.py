"""The WebSockets of the server: one for each client id, all served by one publish loop.

The registry behaves as ComfyUI's does (server.py, the /ws handler), its faults included:
a second socket under an id replaces the first, and the handler that ends first removes
whatever stands under that id then, so that the new socket gets nothing any more.
"""

from __future__ import annotations

import asyncio
import collections
import json
import socket
import struct
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import aiohttp
from aiohttp import web

from ._books import Books
from ._messages import text_frame

__all__ = ["Connection", "DropKind", "SocketHub", "TextBytes", "reset_transport"]

DropKind: TypeAlias = Literal["close", "cut", "reset", "half_open"]
"""With a close frame, with the end of the TCP connection alone, with a TCP reset, or unnoticed."""

_SENDS_BEFORE_YIELD = 64


class TextBytes(bytes):
    """Bytes that are sent as a text frame, valid UTF-8 or not."""


class Connection:
    """One open WebSocket, registered or silent.

    Attributes:
        sid: The client id it was opened under.
        half_open: The network is gone but the server has not noticed: nothing is read from
            it, so pings stay unanswered, and what is sent to it goes nowhere.
    """

    __slots__ = ("half_open", "sid", "transport", "ws")

    def __init__(self, ws: web.WebSocketResponse, *, sid: str, transport: asyncio.Transport | None) -> None:
        """Wrap a socket whose upgrade is done."""
        self.ws = ws
        self.sid = sid
        self.transport = transport
        self.half_open = False

    async def send(self, payload: str | bytes) -> None:
        """Send one frame, and say nothing when the peer is gone (as the server only logs it)."""
        if self.half_open:
            return
        try:
            if isinstance(payload, str):
                await self.ws.send_str(payload)
            elif isinstance(payload, TextBytes):
                await self.ws.send_frame(bytes(payload), aiohttp.WSMsgType.TEXT)
            else:
                await self.ws.send_bytes(payload)
        except (aiohttp.ClientError, ConnectionError):
            pass

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        if self.transport is not None:
            reset_transport(self.transport)

    def abandon(self) -> None:
        """Make it half-open: the peer gets nothing any more, not even a pong."""
        self.half_open = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()


def reset_transport(transport: asyncio.BaseTransport | None) -> None:
    """Close a TCP connection so that the peer sees a reset instead of an orderly end."""
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class SocketHub:
    """The registry of sockets and the one loop that publishes to them.

    Attributes:
        registered: The sockets that receive messages, by client id.
        flags: What each of those clients negotiated.
        connections: Every open socket, the silent ones too.
        flowing: While this is not set nobody gets an event: one slow reader stalls all.
        cleanup_delay: How long after its end a handler removes what stands under its id;
            a dropped network makes that minutes.
        closing_soon: How many sockets are closed as soon as they are greeted.
        greetings: What every socket is sent when it opens, after its `status`.
        broadcasting: Send everything to everybody, as the cloud does.
        taps: What receives the messages to a client id, besides its socket.
    """

    def __init__(
        self,
        books: Books,
        *,
        queue_info: Callable[[], dict[str, Any]],
        current_node: Callable[[str], str | None],
        server_features: Mapping[str, Any] | None,
    ) -> None:
        """Make an empty registry; `server_features` is None on servers that negotiate nothing."""
        self.registered: dict[str, Connection] = {}
        self.flags: dict[str, dict[str, Any]] = {}
        self.connections: set[Connection] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.cleanup_delay = 0.0
        self.closing_soon = 0
        self.closing_code = 1000
        self.broadcasting = False
        self.taps: dict[str, Callable[[str | bytes], None]] = {}
        self.greetings: list[str] = []
        self._books = books
        self._queue_info = queue_info
        self._current_node = current_node
        self._server_features = server_features
        self._outbox: collections.deque[tuple[str | bytes, str | None]] = collections.deque()
        self._filled = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()
        self._closings: set[asyncio.Task[None]] = set()

    def post(self, payload: str | bytes, sid: str | None) -> None:
        """Queue a frame for one client, or for all when `sid` is None.

        Who stands under the id is looked up when the frame is sent, not now.
        """
        if sid in self.taps:
            self.taps[sid](payload)
        self._outbox.append((payload, sid))
        self._filled.set()

    def supports(self, sid: str | None, feature: str) -> bool:
        """Whether the client under that id negotiated a feature."""
        if sid in self.taps:
            return True
        if self.broadcasting:
            return all(flags.get(feature) is True for flags in self.flags.values())
        return sid is not None and self.flags.get(sid, {}).get(feature) is True

    async def publish(self) -> None:
        """Send what is posted, one frame after the other, for ever."""
        sent = 0
        while True:
            while not self._outbox:
                self._filled.clear()
                await self._filled.wait()
            await self.flowing.wait()
            if not self._outbox:
                continue
            payload, sid = self._outbox.popleft()
            await self.send(payload, sid)
            sent += 1
            if sent % _SENDS_BEFORE_YIELD == 0:
                await asyncio.sleep(0)

    async def send(self, payload: str | bytes, sid: str | None) -> None:
        """Send a frame now to the socket under an id, or to all registered ones."""
        if sid is None or self.broadcasting:
            for connection in list(self.registered.values()):
                await connection.send(payload)
        elif (found := self.registered.get(sid)) is not None:
            await found.send(payload)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one WebSocket until it closes."""
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        sid = "" if self.broadcasting else request.query.get("clientId", "")
        if sid:
            self.registered.pop(sid, None)
        else:
            sid = uuid.uuid4().hex
        connection = Connection(ws, sid=sid, transport=request.transport)
        self.registered[sid] = connection
        self.flags[sid] = {}
        self.connections.add(connection)
        self._books.sockets_opened += 1
        self._books.sockets_now += 1
        self._books.touch()
        try:
            await self._converse(connection)
        finally:
            self.connections.discard(connection)
            self._books.sockets_now -= 1
            self._later(self.cleanup_delay, self.forget, sid)
            self._books.touch()
        return ws

    def forget(self, sid: str) -> None:
        """Remove whatever stands under an id now; its socket stays open and receives nothing more."""
        self.registered.pop(sid, None)
        self.flags.pop(sid, None)
        self._books.touch()

    def forget_later(self, sid: str, delay: float) -> None:
        """Remove whatever stands under an id after some seconds, at once when there are none."""
        self._later(delay, self.forget, sid)

    def call_later(self, delay: float, action: Callable[[], None]) -> None:
        """Do something in a while, unless the server has stopped by then."""
        self._later(delay, lambda _: action(), "")

    def drop(self, connection: Connection, how: DropKind, *, code: int) -> None:
        """End a connection from the server's side, or make it half-open."""
        if how == "half_open":
            connection.abandon()
        elif how == "reset":
            connection.reset()
        elif how == "cut" and connection.transport is not None:
            connection.transport.close()
        else:
            closing = asyncio.get_running_loop().create_task(
                self._close(connection, code), name="fake-comfy-close"
            )
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)

    async def _close(self, connection: Connection, code: int) -> None:
        """Close with a close frame, and do not insist on an answer."""
        try:
            await connection.ws.close(code=code)
        except (aiohttp.ClientError, ConnectionError, RuntimeError):
            connection.reset()

    def shut(self) -> None:
        """End every connection and forget all that was to be sent."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._outbox.clear()
        for closing in self._closings:
            closing.cancel()
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
        self.registered.clear()
        self.flags.clear()

    async def _converse(self, connection: Connection) -> None:
        """Greet a client, then read what it says: its first message may be its feature flags."""
        sid = connection.sid
        await self.send(text_frame("status", {"status": self._queue_info(), "sid": sid}), sid)
        node = self._current_node(sid)
        if node is not None:
            await self.send(text_frame("executing", {"node": node}), sid)
        for greeting in self.greetings:
            await self.send(greeting, sid)
        if self.closing_soon > 0:
            self.closing_soon -= 1
            await connection.ws.close(code=self.closing_code)
            return
        first = True
        async for message in connection.ws:
            if message.type is aiohttp.WSMsgType.TEXT and first:
                # What is no JSON object does not count as a first message.
                first = not await self._listen(message.data, sid)

    async def _listen(self, text: str, sid: str) -> bool:
        """Answer feature flags, anything else has no meaning; returns whether it was an object."""
        try:
            data = json.loads(text)
        except ValueError:
            return False
        if not isinstance(data, dict):
            return False
        if self._server_features is None:
            return True
        if data.get("type") == "feature_flags" and sid in self.flags:
            self.flags[sid] = data.get("data") or {}
            await self.send(text_frame("feature_flags", dict(self._server_features)), sid)
        return True

    def _later(self, delay: float, action: Callable[[str], None], sid: str) -> None:
        """Call an action after some seconds, or at once."""
        if delay <= 0:
            action(sid)
            return

        def run() -> None:
            self._timers.discard(timer)
            action(sid)

        timer = asyncio.get_running_loop().call_later(delay, run)
        self._timers.add(timer)
