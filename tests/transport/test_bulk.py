"""The connection that cuts frames by itself: the same messages as websockets, however they come."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from comfy_async._transport.bulk import BulkConnection

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(first: int, payload: bytes, *, mask: int = 0) -> bytes:
    """Return a frame as a server writes it; `mask` is the bit that servers must not set."""
    size = len(payload)
    if size < 126:
        return bytes([first, size | mask]) + payload
    return struct.pack("!BBH", first, 126 | mask, size) + payload


async def opened(port: int, *, largest: int | None = None) -> BulkConnection:
    """Connect as the library does."""
    connection = await connect(
        f"ws://127.0.0.1:{port}",
        compression=None,
        max_size=largest,
        close_timeout=0.5,
        create_connection=functools.partial(BulkConnection, largest=largest),  # type: ignore[arg-type]
    )
    assert isinstance(connection, BulkConnection)
    return connection


def told(connection: BulkConnection) -> int | None:
    """Return the code that the server was told to close with."""
    close = connection.protocol.close_sent
    return None if close is None else close.code


async def everything(connection: BulkConnection) -> list[bytes]:
    """Return all messages until the connection is closed."""
    messages: list[bytes] = []
    while taken := await connection.take():
        messages += taken
    await connection.close()
    return messages


@asynccontextmanager
async def writing(
    talk: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serve one socket whose bytes, the answer to the handshake too, are written by `talk`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        key = next(line[19:] for line in lines if line.lower().startswith(b"sec-websocket-key: "))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        await talk(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n",
            writer,
        )
        # The client answers a close frame, or sends one for what it cannot take.
        await reader.read(1)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_every_size_fragments_and_pings_in_between() -> None:
    """What a server of websockets sends arrives whole and in order."""
    chance = random.Random(5)
    sizes = [0, 1, 125, 126, 127, 300, 65535, 65536, 200_000]
    sent = [chance.randbytes(chance.choice(sizes)) for _ in range(300)]

    async def handle(socket: ServerConnection) -> None:
        for number, message in enumerate(sent):
            if number % 7 == 3:
                await socket.ping()
            await socket.send([message[:3], message[3:10], message[10:]] if number % 11 == 0 else message)

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        connection = await opened(server.sockets[0].getsockname()[1])
        assert await everything(connection) == sent


async def test_byte_by_byte() -> None:
    """Frames, fragments and control frames that come a byte at a time are put together."""
    frames = [
        frame(0x81, b"abc"),
        frame(0x02, b"x" * 200),
        frame(0x89, b"ping"),
        frame(0x00, b"y"),
        frame(0x80, b"z"),
        frame(0x82, b"q" * 300),
        frame(0x81, b""),
        frame(0x88, b"\x03\xe8"),
    ]

    async def talk(answer: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in answer + b"".join(frames):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with writing(talk) as port:
        got = await everything(await opened(port))
    assert got == [b"abc", b"x" * 200 + b"yz", b"q" * 300, b""]


async def test_frames_behind_the_handshake_in_one_write() -> None:
    """What came together with the answer to the handshake is not lost."""

    async def talk(answer: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + frame(0x81, b"first") + frame(0x82, b"\0second") + frame(0x88, b"\x03\xe8"))

    async with writing(talk) as port:
        assert await everything(await opened(port)) == [b"first", b"\0second"]


async def test_too_large_closes_with_1009() -> None:
    """A message beyond the limit ends the connection, as with websockets itself."""

    async def talk(answer: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + frame(0x81, b"fits") + frame(0x81, b"x" * 1001))

    async with writing(talk) as port:
        connection = await opened(port, largest=1000)
        assert await everything(connection) == [b"fits"]
        assert told(connection) == 1009


async def test_a_masked_frame_is_a_protocol_error() -> None:
    """A server must not mask: 1002."""

    async def talk(answer: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + frame(0x81, b"fits") + frame(0x81, b"masked", mask=0x80) + bytes(4))

    async with writing(talk) as port:
        connection = await opened(port)
        assert await everything(connection) == [b"fits"]
        assert told(connection) == 1002


async def test_a_message_within_a_message_is_a_protocol_error() -> None:
    """A new message before the last fragment of another one: 1002."""

    async def talk(answer: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + frame(0x01, b"begun") + frame(0x81, b"another"))

    async with writing(talk) as port:
        connection = await opened(port)
        assert await everything(connection) == []
        assert told(connection) == 1002


async def test_thousands_of_fragments_are_one_message() -> None:
    """However many parts a message comes in."""

    async def talk(answer: bytes, writer: asyncio.StreamWriter) -> None:
        parts = b"".join(frame(0x00, b"b") for _ in range(3000))
        writer.write(answer + frame(0x02, b"a") + parts + frame(0x80, b"c") + frame(0x88, b"\x03\xe8"))

    async with writing(talk) as port:
        assert await everything(await opened(port)) == [b"a" + b"b" * 3000 + b"c"]


async def test_a_reader_may_be_cancelled() -> None:
    """A cancelled wait loses nothing."""
    go = asyncio.Event()

    async def talk(answer: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await go.wait()
        writer.write(frame(0x81, b"late") + frame(0x88, b"\x03\xe8"))

    async with writing(talk) as port:
        connection = await opened(port)
        waiting = asyncio.create_task(connection.take())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        go.set()
        assert await everything(connection) == [b"late"]


async def test_a_connection_lost_as_soon_as_it_was_made_sends_no_pings() -> None:
    """websockets begins with its pings a few turns after the handshake: nobody would end them any more."""

    async def talk(handshake: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake)

    async with writing(talk) as port:
        connection = await opened(port)
        pings = connection.keepalive_task
        assert pings is not None
        await everything(connection)
        connection.start_keepalive()
        assert connection.keepalive_task is None
    assert pings.cancelled()
