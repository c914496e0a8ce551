"""TLS: a private CA and client certificates for HTTP and the socket alike, and proxies."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from session_tools import picture

from comfy_async import ComfySession, ConnectError, ResponseError, Settings, TransportError
from comfy_async.testing import FakeComfy


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """A private CA."""
    return trustme.CA()


@pytest.fixture
async def secure(ca: trustme.CA) -> AsyncIterator[FakeComfy]:
    """A server with https and wss, and a certificate of that CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    async with FakeComfy(ssl_context=context) as fake:
        yield fake


async def enter(session: ComfySession) -> None:
    """Open a session and close it."""
    async with session:
        pass


async def test_private_ca(secure: FakeComfy, ca: trustme.CA, tmp_path: Path) -> None:
    """A CA file is enough for both protocols."""
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    async with ComfySession(secure.url, verify=str(path)) as comfy:
        result = await comfy.run(picture())
        assert await result.images[0].read()
        assert comfy.connection.state == "hearing"


async def test_unknown_ca(secure: FakeComfy) -> None:
    """A certificate of nobody that is trusted is refused, with the way out."""
    with pytest.raises(ConnectError, match="private CA"):
        await enter(ComfySession(secure.url))


async def test_no_verification(secure: FakeComfy) -> None:
    """`verify=False` takes any certificate, for both protocols."""
    async with ComfySession(secure.url, verify=False) as comfy:
        await comfy.run(picture())
        assert comfy.connection.state == "hearing"


async def test_the_other_scheme(secure: FakeComfy, fake: FakeComfy) -> None:
    """http to a port of TLS, and https to one of http: the error says which address to try."""
    plain = secure.url.replace("https:", "http:")
    with pytest.raises(TransportError, match=f"may speak TLS: try {secure.url}"):
        await enter(ComfySession(plain))
    with pytest.raises(ConnectError, match=f"speaks http and no TLS: try {fake.url}") as caught:
        await enter(ComfySession(fake.url.replace("http:", "https:")))
    assert "private CA" not in str(caught.value)


async def test_a_gateway_that_says_so(fake: FakeComfy) -> None:
    """nginx answers plain HTTP on a port of TLS, and its page says what is wrong."""
    page = "<html>400 The plain HTTP request was sent to HTTPS port</html>"
    fake.faults.fail("GET", "*", 400, json={"error": page})
    with pytest.raises(ResponseError, match=f"may speak TLS: try {fake.url.replace('http', 'https')}"):
        await enter(ComfySession(fake.url))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none(content: str | None, tmp_path: Path) -> None:
    """The error names the file."""
    path = tmp_path / "nope.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OSError, match="nope.pem"):
        ComfySession("https://127.0.0.1:8188", verify=str(path))


async def test_client_certificate(ca: trustme.CA) -> None:
    """A server that wants a certificate gets the one of the SSLContext, from HTTP and socket."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(server_side)
    ca.configure_trust(server_side)
    server_side.verify_mode = ssl.CERT_REQUIRED
    async with FakeComfy(ssl_context=server_side) as fake:
        mine = ssl.create_default_context()
        ca.configure_trust(mine)
        ca.issue_cert("anna@example").configure_cert(mine)
        async with ComfySession(fake.url, verify=mine) as comfy:
            await comfy.run(picture())
            assert comfy.connection.state == "hearing"
        stranger = ssl.create_default_context()
        ca.configure_trust(stranger)
        with pytest.raises(Exception, match="broke|answers"):
            await enter(ComfySession(fake.url, verify=stranger))


class Proxy:
    """A proxy that notes whom it was asked for, and lets everybody through to one server."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.removeprefix("http://").partition(":")
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection: CONNECT, or a request with the whole URL."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.asked.append(f"{method} {target.partition('?')[0]}")
        far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            path = "/" + target.removeprefix("http://").partition("/")[2]
            far_writer.write(head.replace(target.encode(), path.encode(), 1))
        try:
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        except ConnectionError:
            pass
        finally:
            for one in (writer, far_writer):
                one.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            target.write(chunk)
            await target.drain()
        raise ConnectionError("ended")


@pytest.fixture
async def proxy(fake: FakeComfy) -> AsyncIterator[Proxy]:
    """A proxy before the server."""
    made = Proxy(fake.url)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@pytest.mark.parametrize("how", ["explicit", "environment"])
async def test_proxy_for_both(
    fake: FakeComfy, proxy: Proxy, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP and socket go through the same proxy: the one that is given, or the environment's."""
    url = "http://comfy.invalid:8188"
    settings = Settings()
    if how == "explicit":
        settings = Settings(proxy=proxy.url)
    else:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
    async with ComfySession(url, settings=settings) as comfy:
        await comfy.run(picture())
        assert comfy.connection.state == "hearing"
    assert any("system_stats" in asked for asked in proxy.asked)
    assert any(asked.startswith("CONNECT comfy.invalid:8188") for asked in proxy.asked)


async def test_no_proxy_for_this_machine(
    fake: FakeComfy, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine is never reached through the environment's proxy, nor anything with trust_env=False."""
    monkeypatch.setenv("http_proxy", proxy.url)
    async with fake.session() as comfy:
        await comfy.run(picture())
    with pytest.raises(ConnectError):
        await enter(ComfySession("http://comfy.invalid:8188", trust_env=False))
    assert proxy.asked == []
