"""What lets no WebSocket through is named in the log once, and in `connection.reason`; jobs are polled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from session_tools import eventually, picture
from websockets.exceptions import ProxyError

from comfy_async import ComfySession, Settings
from comfy_async._base.secrets import Secret, Veil
from comfy_async._transport.options import Handshake
from comfy_async._transport.proxy import Proxy
from comfy_async._transport.socket import _proxy_refusal
from comfy_async.testing import FakeComfy, FastClock

FAR = "http://comfy.invalid:8188"


class Guard:
    """A proxy that forwards requests, and answers each CONNECT in its own way."""

    def __init__(self, target: str, answer: bytes) -> None:
        self._host, _, self._port = target.removeprefix("http://").partition(":")
        self._answer = answer
        self.asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            if method == "CONNECT":
                self.asked += 1
                writer.write(self._answer)
                await writer.drain()
            else:
                far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
                path = "/" + target.removeprefix("http://").partition("/")[2]
                far_writer.write(head.replace(target.encode(), path.encode(), 1))
                await asyncio.wait(
                    [
                        asyncio.create_task(self._copy(reader, far_writer)),
                        asyncio.create_task(self._copy(far_reader, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                far_writer.transport.abort()
        writer.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            target.write(chunk)


@contextlib.asynccontextmanager
async def guarded(fake: FakeComfy, answer: bytes) -> AsyncIterator[tuple[ComfySession, Guard]]:
    """A session behind such a proxy, which has a password."""
    guard = Guard(fake.url, answer)
    server = await asyncio.start_server(guard.serve, "127.0.0.1", 0)
    proxy = f"http://anna:s3cret-word@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = Settings(proxy=proxy, clock=FastClock(20))
    try:
        async with ComfySession(FAR, settings=settings) as comfy:
            yield comfy, guard
    finally:
        server.close()


@pytest.mark.parametrize("status", [403, 405, 407, 502])
async def test_a_proxy_that_refuses(status: int, fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """One warning with the proxy and its status, without its password; the result comes by polling."""
    async with guarded(fake, f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n".encode()) as (comfy, guard):
        events = comfy.events()
        assert (await comfy.run(picture())).images
        await eventually(lambda: guard.asked >= (3 if status == 502 else 1))
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(told) == 1
        assert f"refused the WebSocket to {FAR} with status {status}; polling instead" in told[0]
        assert "the proxy http://127.0.0.1:" in told[0]
        assert "s3cret" not in caplog.text + comfy.connection.reason
        assert comfy.connection.state in ({"down", "connecting"} if status == 502 else {"refused"})
        await events.aclose()


async def test_a_proxy_that_speaks_nonsense(fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """What does not answer as a proxy is named all the same."""
    async with guarded(fake, b"go away\r\n\r\n") as (comfy, _):
        assert (await comfy.run(picture())).images
        assert "refused the WebSocket to" in comfy.connection.reason
        assert "polling instead" in caplog.text


def test_a_refusal_of_socks() -> None:
    """Its cause says why; the password in it is masked."""
    proxy = Proxy(Secret("socks5://anna:s3cret-word@10.0.0.1:1080"), "socks5://10.0.0.1:1080", "ALL_PROXY")
    knock = Handshake(
        url=Secret("ws://h/ws"),
        headers=Secret({}),
        server=FAR,
        ssl_context=True,
        proxy=proxy,
        veil=Veil(proxy.secrets),
    )
    error = ProxyError("failed to connect to SOCKS proxy")
    error.__cause__ = RuntimeError("not allowed by ruleset for s3cret-word")
    said = str(_proxy_refusal(knock, error).args[0])
    assert said.startswith(
        f"the proxy socks5://10.0.0.1:1080 (ALL_PROXY) refused the WebSocket to {FAR}: not al"
    )
    assert "s3cret" not in said


@pytest.mark.parametrize("status", [400, 502])
async def test_a_gateway_without_sockets(
    status: int, fake: FakeComfy, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at once, since a server may be restarting; but when none has opened for seconds, and once."""
    rule = fake.faults.refuse_upgrades(status)
    async with fake.session(settings=Settings(clock=FastClock(20), reconnect_cap=1.0)) as comfy:
        events = comfy.events()
        await eventually(lambda: "polling instead" in caplog.text)
        hits = rule.hits
        await eventually(lambda: rule.hits >= hits + 3)
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert told == [f"{fake.url} refused the WebSocket with status {status}; polling instead"]
        await events.aclose()
