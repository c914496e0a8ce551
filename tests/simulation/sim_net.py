"""A network in memory: TCP as asyncio shows it, with the weather of a bad day.

A connection is two transports and two pipes. A pipe keeps the order of what is written to it; chance
decides how long each piece takes, so that connections overtake each other. A full pipe fills the
writer's buffer, and `pause_writing` follows. What a kernel does is done here too: a closed end answers
data with a reset, unread data at closing resets, a dead process's sockets are closed.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import dataclasses
import errno
import ipaddress
import os
import socket
import struct
import zlib
from asyncio.transports import _FlowControlMixin
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias, cast

from sim_loop import PROCESS, Process, SimLoop

Address: TypeAlias = tuple[str, int]

_PIPE_BYTES: Final = 128 * 1024
_READ_BYTES: Final = 256 * 1024
_SYN_SECONDS: Final = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0)
_GIVING_UP_S: Final = 900.0


@dataclasses.dataclass
class Weather:
    """How the way to one server is; may change at any moment.

    Attributes:
        delay: The shortest and the longest time that a piece takes, in seconds.
        bandwidth: Bytes a second for each direction of each connection, None without limit.
        pieces: The chance that what is written comes in several pieces.
        down: Nothing comes through, and nobody is told; what was sent comes later.
        lost_names: The name is not found.
    """

    delay: tuple[float, float] = (0.0001, 0.001)
    bandwidth: float | None = None
    pieces: float = 0.0
    down: bool = False
    lost_names: bool = False


class _End:
    """What travels in a pipe besides bytes."""

    def __init__(self, name: str) -> None:
        self.name = name


FIN: Final = _End("fin")
RST: Final = _End("rst")
Piece: TypeAlias = bytes | _End


class _Descriptors:
    """One file descriptor that can be read, one that never can: for those who ask the system."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self.quiet, self._held = os.pipe()
        self.readable, closing = os.pipe()
        os.close(closing)


_descriptors: _Descriptors | None = None


def _shared_descriptors() -> _Descriptors:
    global _descriptors
    if _descriptors is None:
        _descriptors = _Descriptors()
    return _descriptors


class SimSocket:
    """What `get_extra_info("socket")` gives: options, names, and whether there is something to read."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, own: Address, peer: Address | None = None) -> None:
        self._own = own
        self._peer = peer
        self.transport: SimTransport | None = None
        self.lingers = True

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Know SO_LINGER, and let all others pass."""
        if level == socket.SOL_SOCKET and option == socket.SO_LINGER:
            self.lingers = struct.unpack("ii", value)[:2] != (1, 0)

    def getsockname(self) -> Address:
        """Return the own address."""
        return self._own

    def getpeername(self) -> Address:
        """Return the other's."""
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self._peer

    def fileno(self) -> int:
        """Return a descriptor that can be read when this socket could be."""
        if self.transport is None or self.transport.gone:
            return -1
        descriptors = _shared_descriptors()
        return descriptors.readable if self.transport.inbox else descriptors.quiet


class _Pipe:
    """One direction of a connection; one that goes to a server knows to which."""

    def __init__(self, net: Net, weather: Weather, name: str, *, goes_to: Address | None = None) -> None:
        self.net = net
        self.name = name
        self.goes_to = goes_to
        self.seen = b""
        self.reader: SimTransport
        self.writer: SimTransport
        self.in_flight = 0
        self.lost = False
        self._weather = weather
        self._pieces: collections.deque[Piece] = collections.deque()
        self._last = 0.0
        self._held = 0

    @property
    def room(self) -> int:
        """How many bytes it takes now."""
        return _PIPE_BYTES - self.in_flight

    def send(self, piece: Piece) -> None:
        """Let a piece travel."""
        if isinstance(piece, bytes):
            self.net.watch(self, piece)
            self.in_flight += len(piece)
            rng = self.net.loop.rng
            if len(piece) > 1 and self._weather.pieces and rng.random() < self._weather.pieces:
                cut = rng.randrange(1, len(piece))
                self._travel(piece[:cut])
                piece = piece[cut:]
        self._travel(piece)

    def _travel(self, piece: Piece) -> None:
        if self.lost:
            return
        weather, loop = self._weather, self.net.loop
        when = max(self._last, loop.now + loop.rng.uniform(*weather.delay))
        if weather.bandwidth is not None and isinstance(piece, bytes):
            when += len(piece) / weather.bandwidth
        self._last = when
        self._pieces.append(piece)
        loop.call_at(when, self._arrive, context=self.reader.context)

    def _arrive(self) -> None:
        if self.lost or not self._pieces:
            return
        if self._weather.down:
            self._held += 1
            self.net.wait_for(self._weather, self)
            return
        piece = self._pieces.popleft()
        self.net.note(self.name, piece)
        self.reader.arrived(piece)

    def go_on(self) -> None:
        """Bring what was held up."""
        held, self._held = self._held, 0
        pause = self.net.loop.rng.uniform(0.0, 1.0)
        self._last = max(self._last, self.net.loop.now + pause)
        for _ in range(held):
            self.net.loop.call_at(self._last, self._arrive, context=self.reader.context)

    def vanish(self) -> None:
        """Lose everything from now on, in silence."""
        self.lost = True
        self._pieces.clear()


class SimTransport(_FlowControlMixin):
    """One end of a connection.

    Attributes:
        context: The context in which its protocol is called.
        inbox: What has come and was not yet read.
        gone: The end is closed: no protocol, no kernel.
    """

    _buffer_size = 0

    def __init__(
        self,
        net: Net,
        protocol: asyncio.Protocol | None,
        sock: SimSocket,
        *,
        out: _Pipe,
        context: contextvars.Context,
    ) -> None:
        super().__init__(
            {"socket": sock, "sockname": sock.getsockname(), "peername": sock.getpeername()}, net.loop
        )
        sock.transport = self
        self.context = context
        self.inbox: collections.deque[Piece] = collections.deque()
        self.gone = False
        self.peer: SimTransport
        self._net = net
        self._sock = sock
        self._protocol: Any = protocol
        self._out = out
        self._buffer: collections.deque[bytes] = collections.deque()
        self._paused = True
        self._closing = False
        self._eof = False
        self._reset = False
        self._losing = False
        self._draining = False
        self._saw_end = False

    def __repr__(self) -> str:
        return f"<SimTransport {self._out.name}{' closing' if self._closing else ''}>"

    # What asyncio has

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who is told."""
        return cast(asyncio.BaseProtocol, self._protocol)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell somebody else from now on."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Say whether it closes, or is closed."""
        return self._closing

    def is_reading(self) -> bool:
        """Say whether data are handed on as they come."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Leave what comes where it is."""
        if not self._closing:
            self._paused = True

    def resume_reading(self) -> None:
        """Hand on what has come, and what comes."""
        if self._closing or not self._paused:
            return
        self._paused = False
        self._drain_soon()

    def get_write_buffer_size(self) -> int:
        """Return how much the network has not yet taken."""
        return self._buffer_size

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as much as the network takes, and the rest later."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._losing or self.gone:
            return
        if self._reset:
            self._fail(BrokenPipeError(errno.EPIPE, "Broken pipe"))
            return
        self._buffer.append(bytes(data))
        self._buffer_size += len(data)
        self.push()
        if self._buffer:
            self._maybe_pause_protocol()  # type: ignore[attr-defined]

    def writelines(self, list_of_data: Any) -> None:
        """Send several."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Close one direction, once all is sent."""
        if self._closing or self._eof:
            return
        self._eof = True
        if not self._buffer:
            self._out.send(FIN)

    def close(self) -> None:
        """Close, once all is sent."""
        if self._closing:
            return
        self._closing = True
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        """Close at once."""
        self._fail(None)

    # What the network does

    def start(self, protocol: asyncio.Protocol) -> None:
        """Begin to serve a protocol."""
        self._protocol = protocol
        self._net.loop.call_soon(self._made, context=self.context)

    def _made(self) -> None:
        if self.gone:
            return
        self._protocol.connection_made(self)
        if self._paused and not self._closing:
            self._net.loop.call_soon(self._first_reading, context=self.context)

    def _first_reading(self) -> None:
        """Begin to read, unless `connection_made` has paused it (which then has said so again)."""
        if not self._closing:
            self._paused = False
            self._drain_soon()

    def push(self) -> None:
        """Give the network what it takes."""
        while self._buffer and self._out.room > 0:
            data = self._buffer.popleft()
            room = self._out.room
            if len(data) > room:
                self._buffer.appendleft(data[room:])
                data = data[:room]
            self._buffer_size -= len(data)
            self._out.send(data)

    def acknowledged(self) -> None:
        """Hear that the other end has read something."""
        if self.gone or self._losing or not self._buffer:
            return
        self.push()
        self._maybe_resume_protocol()  # type: ignore[attr-defined]
        if not self._buffer:
            if self._closing:
                self._lose(None)
            elif self._eof:
                self._out.send(FIN)

    def arrived(self, piece: Piece) -> None:
        """Take a piece from the network."""
        if self.gone:
            if isinstance(piece, bytes):
                self._out.send(RST)
            return
        if piece is RST:
            self._reset = True
        self.inbox.append(piece)
        if self.is_reading() and not self._draining:
            self._read()

    def _drain_soon(self) -> None:
        if self.inbox and not self._draining:
            self._draining = True
            self._net.loop.call_soon(self._drain, context=self.context)

    def _drain(self) -> None:
        self._draining = False
        if self.is_reading() and self.inbox and not self.gone:
            self._read()

    def _read(self) -> None:
        """Read once, and again in the next turn if there is more."""
        piece = self.inbox.popleft()
        if isinstance(piece, bytes):
            parts, size = [piece], len(piece)
            while self.inbox and size < _READ_BYTES and isinstance(self.inbox[0], bytes):
                more = cast(bytes, self.inbox.popleft())
                parts.append(more)
                size += len(more)
            self._in_pipe_read(size)
            self._told(self._protocol.data_received, b"".join(parts))
        elif piece is FIN:
            if not self._saw_end:
                self._saw_end = True
                keep = self._told(self._protocol.eof_received)
                if not keep:
                    self.close()
        else:
            self._fail(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        self._drain_soon()

    def _in_pipe_read(self, size: int) -> None:
        pipe = self._in
        pipe.in_flight -= size
        if pipe.writer._buffer:
            self._net.loop.call_soon(pipe.writer.acknowledged, context=pipe.writer.context)

    @property
    def _in(self) -> _Pipe:
        return self.peer._out

    def _told(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call the protocol; its mistake ends the connection, as asyncio does it."""
        try:
            return method(*args)
        except Exception as error:
            self._net.loop.call_exception_handler(
                {"message": "Fatal error: protocol failed.", "exception": error, "transport": self}
            )
            self._fail(error)
            return None

    def _fail(self, error: Exception | None) -> None:
        """End at once; what was not sent is lost."""
        if self._losing or self.gone:
            return
        self._buffer.clear()
        self._buffer_size = 0
        self._closing = True
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if not self._losing:
            self._losing = True
            self._net.loop.call_soon(self._lost, error, context=self.context)

    def _lost(self, error: Exception | None) -> None:
        if self.gone:
            return
        try:
            if self._protocol is not None:
                self._protocol.connection_lost(error)
        finally:
            self.shut()

    def shut(self) -> None:
        """Close as the kernel does it."""
        if self.gone:
            return
        self.gone = True
        unread = any(isinstance(piece, bytes) for piece in self.inbox)
        if not self._reset:
            if unread or not self._sock.lingers:
                self._out.send(RST)
            elif not self._eof or self._buffer:
                self._out.send(FIN)
        self.inbox.clear()
        self._buffer.clear()
        self._net.forget(self)

    def time_out(self) -> None:
        """Give up a connection whose peer has not answered for ages."""
        self._fail(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))


class SimServer(asyncio.AbstractServer):
    """One open port."""

    def __init__(self, net: Net, factory: Callable[[], Any], address: Address) -> None:
        self._net = net
        self._factory = factory
        self.address = address
        self.context = contextvars.copy_context()
        self.serving = False
        self.sockets = (SimSocket(address),)

    def accept(self, transport: SimTransport) -> None:
        """Serve a connection."""
        transport.start(self._factory())

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._net.loop

    def is_serving(self) -> bool:
        """Say whether it accepts connections."""
        return self.serving

    async def start_serving(self) -> None:
        """Accept connections."""
        self.serving = True

    async def serve_forever(self) -> None:
        """Accept connections for ever."""
        self.serving = True
        await asyncio.Event().wait()

    def close(self) -> None:
        """Accept nobody any more."""
        self.serving = False
        self._net.unlisten(self)

    async def wait_closed(self) -> None:
        """Nothing is waited for."""


class Net:
    """All hosts, names, ports and connections.

    Attributes:
        names: Addresses by name.
        connections: The open ends.
        trace: What happened, one line each: `(seconds, connection, what, crc32)`.
        leaks: Where a guarded secret went although it may not.
    """

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        loop.net = self
        self.names: dict[str, str] = {"localhost": "127.0.0.1"}
        self.connections: dict[SimTransport, None] = {}
        self.trace: list[tuple[float, str, str, int]] = []
        self.leaks: list[str] = []
        self._secret = b""
        self._homes: frozenset[Address] = frozenset()
        self._listening: dict[Address, SimServer] = {}
        self._weather: dict[Address, Weather] = {}
        self._waiting: dict[int, list[_Pipe]] = {}
        self._next_port = 20_000
        self._made = 0

    def weather(self, address: Address) -> Weather:
        """Return the weather on the way to a server."""
        return self._weather.setdefault(address, Weather())

    def note(self, where: str, what: Piece | str) -> None:
        """Write something into the trace."""
        if isinstance(what, bytes):
            self.trace.append((self.loop.now, where, str(len(what)), zlib.crc32(what)))
        else:
            self.trace.append((self.loop.now, where, what.name if isinstance(what, _End) else what, 0))

    def lines(self) -> str:
        """Return the trace as text."""
        return "".join(f"{now!r} {where} {what} {crc:08x}\n" for now, where, what, crc in self.trace)

    # Faults

    def heal(self, address: Address) -> None:
        """Let everything through again that was held up on the way to a server."""
        weather = self.weather(address)
        weather.down = False
        for pipe in self._waiting.pop(id(weather), []):
            pipe.go_on()

    def wait_for(self, weather: Weather, pipe: _Pipe) -> None:
        """Remember a pipe that waits for better weather."""
        waiting = self._waiting.setdefault(id(weather), [])
        if pipe not in waiting:
            waiting.append(pipe)

    def ends(self, address: Address, *, side: Literal["client", "server"] = "client") -> list[SimTransport]:
        """Return the open ends of the connections with a server."""
        key = "peername" if side == "client" else "sockname"
        return [end for end in self.connections if end.get_extra_info(key) == address]

    def vanish(self, end: SimTransport) -> None:
        """Lose a connection without a word: nothing passes in either direction, and nobody is told."""
        self.note(end._out.name, "vanish")
        for one in (end, end.peer):
            one._out.vanish()
            self.loop.call_later(_GIVING_UP_S, one.time_out, context=one.context)

    def reset(self, end: SimTransport) -> None:
        """Let something on the way break a connection: both ends see a reset."""
        self.note(end._out.name, "break")
        for one in (end, end.peer):
            one._out._pieces.clear()
            one._out.send(RST)

    def guard(self, secret: str, homes: Iterable[Address]) -> None:
        """Watch over a secret that may go to these addresses, and to no other: see `leaks`."""
        self._secret, self._homes = secret.encode(), frozenset(homes)

    def watch(self, pipe: _Pipe, data: bytes) -> None:
        """See what leaves a client."""
        if not self._secret or pipe.goes_to is None or pipe.goes_to in self._homes:
            return
        seen = pipe.seen + data
        if self._secret in seen:
            host, port = pipe.goes_to
            self.leaks.append(f"the key went to {host}:{port}, on {pipe.name}")
        # It may come in pieces.
        pipe.seen = seen[-(len(self._secret) - 1) :]

    def crash(self, process: Process) -> None:
        """Close the sockets of a process, and tell it nothing."""
        for end in list(self.connections):
            if end.context.get(PROCESS) is process:
                end.shut()
        for server in [s for s in self._listening.values() if s.context.get(PROCESS) is process]:
            server.close()

    # What the loop asks for

    async def resolve(self, host: Any) -> str:
        """Return the address of a name.

        Raises:
            socket.gaierror: There is no such name.
        """
        name = host.decode("ascii") if isinstance(host, bytes) else str(host or "127.0.0.1")
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            pass
        await asyncio.sleep(self.loop.rng.uniform(0.0002, 0.01))
        address = self.names.get(name)
        failing = address is not None and any(
            weather.lost_names for (host, _), weather in self._weather.items() if host == address
        )
        if address is None or failing:
            code = socket.EAI_AGAIN if failing else socket.EAI_NONAME
            raise socket.gaierror(code, "the name is not known")
        return address

    def listen(self, factory: Callable[[], Any], host: str, port: int) -> SimServer:
        """Open a port."""
        if port == 0:
            port = self._new_port()
        if (host, port) in self._listening:
            raise OSError(errno.EADDRINUSE, f"the port {port} is taken")
        server = SimServer(self, factory, (host, port))
        self._listening[host, port] = server
        return server

    def unlisten(self, server: SimServer) -> None:
        """Close a port."""
        if self._listening.get(server.address) is server:
            del self._listening[server.address]

    async def connect(self, factory: Callable[[], Any], address: Address) -> tuple[asyncio.Transport, Any]:
        """Connect to a port.

        Raises:
            OSError: Nobody listens, or nothing comes back.
        """
        weather = self.weather(address)
        begin = self.loop.now
        process = PROCESS.get()
        if process is not None and process.dead:
            raise OSError(errno.ENETDOWN, "the dead have no network")
        await self._knock(weather)
        server = self._listening.get(address)
        if server is None or not server.serving:
            self.note(f"{address[1]}", "refused")
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {address}")
        client = self._pair(server, weather)
        try:
            await asyncio.sleep(self.loop.rng.uniform(*weather.delay))
            if weather.down:
                # The answer to the SYN waits too.
                await self._knock(weather, since=begin)
        except BaseException:
            client.shut()
            raise
        protocol = factory()
        client.start(protocol)
        waiter = self.loop.create_future()
        self.loop.call_soon(_settle, waiter)
        try:
            await waiter
        except BaseException:
            client.close()
            raise
        return client, protocol

    async def _knock(self, weather: Weather, since: float | None = None) -> None:
        """Send a SYN until one comes through."""
        begin = self.loop.now if since is None else since
        await asyncio.sleep(self.loop.rng.uniform(*weather.delay))
        for seconds in _SYN_SECONDS:
            if not weather.down:
                return
            await asyncio.sleep(max(0.0, begin + seconds - self.loop.now))
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    def _pair(self, server: SimServer, weather: Weather) -> SimTransport:
        """Make both ends; the server's begins at once."""
        own = ("127.0.0.1", self._new_port())
        self._made += 1
        name = f"{server.address[1]}.{self._made}"
        up = _Pipe(self, weather, f"{name}>", goes_to=server.address)
        down = _Pipe(self, weather, f"{name}<")
        client = SimTransport(
            self, None, SimSocket(own, server.address), out=up, context=contextvars.copy_context()
        )
        accepted = SimTransport(
            self, None, SimSocket(server.address, own), out=down, context=server.context.copy()
        )
        client.peer, accepted.peer = accepted, client
        up.writer = down.reader = client
        up.reader = down.writer = accepted
        self.connections[client] = self.connections[accepted] = None
        self.note(name, "open")
        server.context.copy().run(server.accept, accepted)
        return client

    def forget(self, transport: SimTransport) -> None:
        """Take an end off the list."""
        self.connections.pop(transport, None)

    def _new_port(self) -> int:
        self._next_port += 1
        return self._next_port


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
