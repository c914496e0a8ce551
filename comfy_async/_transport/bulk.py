"""A websockets connection whose messages are taken in bulk.

One read of the network may bring two thousand `progress` frames. websockets parses each through
generators and passes each through four coroutines, which costs more than all that is done with
it afterwards. Here whole data frames are cut out of the bytes as they are; the handshake, control
frames, fragments and everything odd go to websockets' own parser, which stays the authority.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import State

__all__ = ["BulkConnection"]

# The first byte of a data frame that is a whole message: text, binary.
_WHOLE: Final = (0x81, 0x82)
_MAX_HEAD: Final = 256 * 1024
_MAX_FRAGMENTS: Final = 1024


class BulkConnection(ClientConnection):
    """A client connection that is read by `take()` instead of `recv()`."""

    def __init__(self, *args: Any, largest: int | None, **kwargs: Any) -> None:
        """Take messages of at most `largest` bytes; websockets closes with 1009 beyond that."""
        super().__init__(*args, **kwargs)
        self._largest = largest
        self._inbox: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._over = False
        self._head = b""
        # What of a frame has come, and how much of it must have come before it is looked at again.
        self._parts: list[bytes] = []
        self._gathered = self._needed = 0
        self._fragments: list[bytes] = []
        self._stage: Literal["greeting", "cutting", "left"] = "greeting"

    async def take(self) -> list[bytes]:
        """Return the messages that have come, at least one; [] when the connection is closed."""
        while not self._inbox and not self._over:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        taken, self._inbox = self._inbox, []
        return taken

    def data_received(self, data: bytes) -> None:
        """Take in what the network brought."""
        if self._stage == "cutting":
            self._cut(data)
        elif self._stage == "greeting":
            self._greet(data)
        else:
            super().data_received(data)
        if self._inbox:
            self._wake()

    def start_keepalive(self) -> None:
        """Send pings, unless the connection was lost in the moment in which it was made.

        websockets ends the pings when a connection is lost; those that begin later run on, past the
        session's end, until the next ping fails with an error in the log.
        """
        if not self._over:
            super().start_keepalive()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake the reader."""
        super().connection_lost(exc)
        self._over = True
        self._wake()

    def process_event(self, event: Any) -> None:
        """Keep a message, or a part of one, that websockets has parsed."""
        if self.response is None or not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        if len(self._fragments) >= _MAX_FRAGMENTS:
            self._fragments = [b"".join(self._fragments)]
        self._fragments.append(bytes(event.data))
        if event.fin:
            self._inbox.append(b"".join(self._fragments))
            self._fragments = []

    def _greet(self, data: bytes) -> None:
        """Let websockets read the answer to the handshake, and no byte behind it."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) < _MAX_HEAD:
            return
        self._head = b""
        super().data_received(head + end)
        # A refusal has a body, which is websockets' to read.
        self._stage = "cutting" if self.protocol.state is State.OPEN else "left"
        if rest:
            self.data_received(rest)

    def _cut(self, data: bytes) -> None:
        """Cut whole frames out of the bytes, and keep the rest for later."""
        position = 0
        if self._parts:
            missing = self._needed - self._gathered
            self._parts.append(data[:missing] if 0 < missing < len(data) else data)
            self._gathered += len(data)
            if missing > len(data):
                return
            whole, self._parts = b"".join(self._parts), []
            if missing <= 0:
                data = whole
            else:
                # Only the frame that came in parts is joined; what follows it is cut where it is.
                self._cut(whole)
                position = missing
        self._cut_from(data, position)

    def _cut_from(self, data: bytes, position: int) -> None:
        """Cut from a place where a frame begins."""
        size = len(data)
        largest = self._largest
        while size - position >= 2:
            if self._stage != "cutting":
                return super().data_received(data[position:])
            length = data[position + 1]
            start = position + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                start += wide
                if size < start:
                    break
                size_field = int.from_bytes(data[start - wide : start], "big")
                if length > 127 or (largest is not None and size_field > largest):
                    # A server must not mask, nor send so much: websockets knows how to close for that.
                    self._stage = "left"
                    continue
                length = size_field
            end = start + length
            if end > size:
                return self._keep(data[position:], end - position)
            if data[position] in _WHOLE and not self._fragments:
                self._inbox.append(data[start:end])
            else:
                super().data_received(data[position:end])
            position = end
        if position < size:
            # Not even the header is whole: look again with the next byte.
            self._keep(data[position:], 0)
        return None

    def _keep(self, rest: bytes, needed: int) -> None:
        """Keep the beginning of a frame."""
        self._parts = [rest]
        self._gathered = len(rest)
        self._needed = needed

    def _wake(self) -> None:
        """Let the reader go on."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
