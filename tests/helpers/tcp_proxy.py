"""A small TCP proxy that treats a real server's connections badly."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

DropKind = Literal["close", "reset"]


class TcpProxy:
    """Stands before a server on loopback: drops, stalls, half-opens and delays what passes.

    A WebSocket connection is told by its request line, so that faults can be meant for it alone.
    """

    def __init__(self, target: str) -> None:
        """Prepare a proxy for a server's URL."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay = 0.0
        self.refusing = False
        self.connections = 0
        self.upgrades = 0

    @property
    def url(self) -> str:
        """Where to connect instead."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> TcpProxy:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        assert self._server is not None
        self._server.close()
        for pipe in list(self._pipes):
            pipe.end("reset")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def drop(self, how: DropKind = "reset", *, sockets_only: bool = True) -> int:
        """End connections on both sides; returns how many."""
        found = self._found(sockets_only)
        for pipe in found:
            pipe.end(how)
        return len(found)

    def half_open(self, *, sockets_only: bool = True) -> int:
        """Let the network vanish: nothing passes any more, and nobody is told."""
        found = self._found(sockets_only)
        for pipe in found:
            pipe.flowing.clear()
        return len(found)

    def stall(self) -> None:
        """Hold back everything that passes, until `unstall`."""
        for pipe in self._pipes:
            pipe.flowing.clear()

    def unstall(self) -> None:
        """Let everything pass again."""
        for pipe in self._pipes:
            pipe.flowing.set()

    def _found(self, sockets_only: bool) -> list[_Pipe]:
        return [pipe for pipe in self._pipes if pipe.is_socket or not sockets_only]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        if self.refusing:
            _reset(writer)
            return
        try:
            back_reader, back_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        pipe = _Pipe(writer, back_writer)
        self._pipes.add(pipe)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(pipe, reader, back_writer, first=True))
                group.create_task(self._pump(pipe, back_reader, writer))
        except* OSError:
            pass
        finally:
            self._pipes.discard(pipe)
            for end in (writer, back_writer):
                end.close()

    async def _pump(
        self, pipe: _Pipe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, first: bool = False
    ) -> None:
        """Pass bytes one way."""
        while True:
            data = await reader.read(1 << 16)
            if first and b"upgrade: websocket" in data.lower():
                pipe.is_socket = True
                self.upgrades += 1
            if self.delay:
                await asyncio.sleep(self.delay)
            await pipe.flowing.wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()


class _Pipe:
    """One connection with both its ends."""

    def __init__(self, front: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        self.ends = (front, back)
        self.is_socket = False
        self.flowing = asyncio.Event()
        self.flowing.set()

    def end(self, how: DropKind) -> None:
        """End both sides."""
        self.flowing.set()
        for writer in self.ends:
            if how == "reset":
                _reset(writer)
            else:
                writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Send an RST instead of a FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
