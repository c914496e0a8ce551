"""The simulated network is TCP as asyncio shows it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

import httpx
import pytest
from sim_net import Net, SimTransport
from sim_time import Simulation, simulate

from comfy_async import RequestTimeoutError
from comfy_async._transport.address import Address
from comfy_async._transport.auth import Auth
from comfy_async._transport.http import HttpClient

HOME = ("127.0.0.1", 7000)
_VERIFY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, and close at the end of it."""
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(handler: Handler) -> asyncio.AbstractServer:
    """Listen at HOME."""
    return await asyncio.start_server(handler, *HOME)


async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, SimTransport]:
    """Connect to HOME."""
    reader, writer = await asyncio.open_connection(*HOME)
    assert isinstance(writer.transport, SimTransport)
    return reader, writer, writer.transport


def test_streams_and_half_close() -> None:
    """What is written comes in order, and one direction can end before the other."""

    async def main(sim: Simulation) -> bytes:
        sim.net.weather(HOME).pieces = 0.5
        async with await serve(echo):
            reader, writer, _ = await dial()
            for number in range(100):
                writer.write(b"%d " % number)
            writer.write_eof()
            everything = await reader.read()
            writer.close()
            return everything

    assert simulate(main) == b"".join(b"%d " % number for number in range(100))


def test_a_reader_that_does_not_read_stops_the_writer() -> None:
    """Buffers are finite: `drain` waits until the other end reads."""

    async def main(_sim: Simulation) -> tuple[bool, int]:
        reading = asyncio.Event()
        got = 0

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal got
            await reading.wait()
            got = len(await reader.read(-1))
            writer.close()

        async with await serve(slow):
            reader, writer, _ = await dial()
            writer.write(bytes(1_000_000))
            draining = asyncio.create_task(writer.drain())
            await asyncio.sleep(60.0)
            stuck = not draining.done()
            reading.set()
            await draining
            writer.write_eof()
            await reader.read()
            writer.close()
            return stuck, got

    assert simulate(main) == (True, 1_000_000)


def test_nobody_listens_and_nobody_knows_the_name() -> None:
    """Refusals and names that are not found are the errors that they always are."""

    async def main(sim: Simulation) -> None:
        with pytest.raises(ConnectionRefusedError):
            await dial()
        with pytest.raises(socket.gaierror):
            await asyncio.open_connection("nowhere.test", 80)
        sim.net.names["here.test"] = HOME[0]
        async with await serve(echo):
            _, writer = await asyncio.open_connection("here.test", HOME[1])
            writer.close()
            sim.net.weather(HOME).lost_names = True
            with pytest.raises(socket.gaierror):
                await asyncio.open_connection("here.test", HOME[1])

    simulate(main)


def test_a_connection_breaks() -> None:
    """A reset on the way is a reset at both ends."""

    async def main(sim: Simulation) -> None:
        errors: list[Exception] = []

        async def reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            except ConnectionError as error:
                errors.append(error)
            writer.close()

        async with await serve(reading):
            reader, writer, transport = await dial()
            sim.net.reset(transport)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            await asyncio.sleep(1.0)
            assert len(errors) == 1
            writer.close()

    simulate(main)


def test_who_writes_to_a_closed_end_is_reset() -> None:
    """A kernel answers data for nobody with a reset."""

    async def main(_sim: Simulation) -> None:
        async def closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with await serve(closing):
            reader, writer, _ = await dial()
            assert await reader.read() == b""
            writer.write(b"anybody?")
            await asyncio.sleep(1.0)
            writer.write(b"anybody?")
            with pytest.raises(ConnectionError):
                await writer.drain()
            writer.close()

    simulate(main)


def test_a_peer_vanishes_in_silence() -> None:
    """Nothing comes, nothing is told, and after ages the system gives up."""

    async def main(sim: Simulation) -> None:
        async with await serve(echo):
            reader, writer, transport = await dial()
            sim.net.vanish(transport)
            writer.write(b"hello?")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(600.0):
                    await reader.read(1)
            with pytest.raises(TimeoutError, match="timed out"):
                await reader.read(1)
            writer.close()

    simulate(main)


def test_a_partition_heals() -> None:
    """What was sent meanwhile comes later, and who dials meanwhile gets through."""

    async def main(sim: Simulation) -> None:
        async with await serve(echo):
            reader, writer, _ = await dial()
            sim.net.weather(HOME).down = True
            writer.write(b"hello?")
            dialling = asyncio.create_task(dial())
            await asyncio.sleep(10.0)
            assert not dialling.done()
            sim.net.heal(HOME)
            assert await reader.read(100) == b"hello?"
            _, other, _ = await dialling
            other.close()
            writer.close()

    simulate(main)


def test_a_slow_link_is_slow() -> None:
    """Bytes take the time that the bandwidth says."""

    async def main(sim: Simulation) -> float:
        sim.net.weather(HOME).bandwidth = 1_000.0
        async with await serve(echo):
            reader, writer, _ = await dial()
            begin = sim.loop.time()
            writer.write(bytes(5_000))
            await reader.readexactly(5_000)
            writer.close()
            return sim.loop.time() - begin

    assert 9.0 < simulate(main) < 12.0


def test_an_idle_connection_that_the_server_closed_is_not_used_again() -> None:
    """httpx asks the system whether a connection can be read, and gets the right answer."""

    async def main(sim: Simulation) -> list[int]:
        requests: list[int] = []

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            requests.append(1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            await asyncio.sleep(1.0)
            writer.close()

        async with await serve(once), httpx.AsyncClient(trust_env=False, verify=False) as client:
            for _ in range(3):
                assert (await client.get(f"http://{HOME[0]}:{HOME[1]}/")).text == "hi"
                await asyncio.sleep(5.0)
        await asyncio.sleep(1.0)
        assert not sim.net.connections
        return requests

    assert len(simulate(main)) == 3


def test_a_secret_that_goes_astray_is_seen() -> None:
    """In however many pieces it is sent; at home it may be said, and a server may say it back."""

    async def main(sim: Simulation) -> list[str]:
        async with await serve(echo), await asyncio.start_server(echo, HOME[0], 7001):
            sim.net.guard("a-secret", [HOME])
            for port, words in ((7000, ("a-secret",)), (7001, ("a-sec", "ret")), (7001, ("a-sec", "a-ret"))):
                reader, writer = await asyncio.open_connection(HOME[0], port)
                for word in words:
                    writer.write(word.encode())
                    await reader.read(100)
                writer.close()
        return sim.net.leaks

    assert simulate(main) == ["the key went to 127.0.0.1:7001, on 7001.2>"]


def test_dead_connections_cost_one_timeout() -> None:
    """Who vanished without a word, and is there again, answers the next request, not the one after all."""

    async def main(sim: Simulation) -> float:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /fast"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            await reader.read()

        async with await serve(answer):
            http = HttpClient(
                Address.parse(f"http://{HOME[0]}:{HOME[1]}"), auth=Auth(), verify=_VERIFY, trust_env=False
            )
            begin = sim.loop.now
            slow = asyncio.create_task(http.request("GET", "/slow", root=True))
            await asyncio.sleep(1.0)
            await asyncio.gather(*(http.request("GET", "/fast", root=True) for _ in range(3)))
            for end in sim.net.ends(HOME):
                sim.net.vanish(end)
            with pytest.raises(RequestTimeoutError):
                await slow
            await http.request("GET", "/fast", root=True)
            seconds = sim.loop.now - begin
            await http.aclose()
            return seconds

    assert 30.0 < simulate(main) < 31.0


def test_a_trace_has_everything() -> None:
    """Each piece is a line: when, where, how much, and a checksum."""

    async def main(sim: Simulation) -> Net:
        async with await serve(echo):
            reader, writer, _ = await dial()
            writer.write(b"hello")
            await reader.readexactly(5)
            writer.close()
        return sim.net

    lines = simulate(main).lines().splitlines()
    assert [line.split()[1:] for line in lines[:3]] == [
        ["7000.1", "open", "00000000"],
        ["7000.1>", "5", "3610a686"],
        ["7000.1<", "5", "3610a686"],
    ]
