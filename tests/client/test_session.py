"""A session: where the server is, how it is opened, and what can be read of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from session_tools import (
    first,
    library_tasks,
    picture,
    steps,
)

from comfy_async import (
    AuthError,
    ComfyError,
    ComfySession,
    ConnectError,
    NodeStarted,
    NotComfyUIError,
    TransportError,
)
from comfy_async.testing import FakeComfy


@asynccontextmanager
async def talker(answer: bytes) -> AsyncIterator[str]:
    """Serve the same bytes to everybody, and give the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, body: bytes, kind: str = "application/json") -> bytes:
    """Return an HTTP answer."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class TestOpening:
    """What entering a session does, and says when it cannot."""

    async def test_both_ways(self, fake: FakeComfy) -> None:
        """`async with`, and connect with aclose, in tasks of their own."""
        async with fake.session() as comfy:
            assert (await comfy.run(picture())).images
        session = fake.session()
        assert await asyncio.create_task(session.connect()) is session
        assert (await asyncio.create_task(session.run(picture(1)))).images
        await asyncio.create_task(session.aclose())
        assert not library_tasks()

    async def test_entered_in_one_task_left_in_another(self, fake: FakeComfy) -> None:
        """As pytest fixtures, notebook cells and web apps do, with jobs in between."""
        session = fake.session()
        comfy = await asyncio.create_task(session.__aenter__())
        job = await asyncio.create_task(comfy.submit(picture()))
        await asyncio.create_task(job.result())
        await asyncio.create_task(session.__aexit__(None, None, None))
        assert not library_tasks()

    async def test_nobody_answers(self, free_port: int) -> None:
        """ConnectError at once, with the address and how to start a server there."""
        url = f"http://127.0.0.1:{free_port}"
        with pytest.raises(ConnectError) as caught:
            async with ComfySession(url):
                pytest.fail("entered")
        assert url in str(caught.value)
        assert f"--port {free_port}" in str(caught.value)
        assert "main.py" in str(caught.value)
        assert (caught.value.server, caught.value.retryable) == (url, True)
        assert not library_tasks()

    async def test_lazy(self, free_port: int) -> None:
        """A lazy session enters all the same, and the first call says that nobody answers."""
        async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
            assert comfy.connection.state == "idle"
            for _ in range(2):
                with pytest.raises(ConnectError):
                    await comfy.submit(picture())

    async def test_a_lazy_session_finds_a_server_later(self, free_port: int) -> None:
        """What failed is asked again."""
        async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
            with pytest.raises(ConnectError):
                await comfy.run(picture())
            async with FakeComfy(port=free_port):
                assert (await comfy.run(picture())).images
                await comfy.aclose()

    @pytest.mark.parametrize(
        "answer",
        [
            http("200 OK", b"<html>hello</html>", "text/html"),
            http("404 Not Found", b"<html>nothing</html>", "text/html"),
            http("404 Not Found", b"{}"),
            http("200 OK", b'{"status": "ok"}'),
            http("200 OK", b"[1, 2]"),
            http("200 OK", b"not json"),
            http("200 OK", b""),
            http("200 OK", b'{"system": 5}'),
        ],
    )
    async def test_somebody_else_answers(self, answer: bytes) -> None:
        """NotComfyUIError, which no repetition helps."""
        async with talker(answer) as url:
            with pytest.raises(NotComfyUIError) as caught:
                async with ComfySession(url):
                    pytest.fail("entered")
            assert url in str(caught.value)
            assert not caught.value.retryable

    async def test_no_http_at_all(self) -> None:
        """A server of another protocol is a transport error, not a stranger's."""
        async with talker(b"SSH-2.0-OpenSSH_9.6\r\n") as url:
            with pytest.raises(TransportError) as caught:
                await ComfySession(url).connect()
            assert url in str(caught.value)

    async def test_wrong_credentials(self) -> None:
        """A gateway's 401 is an AuthError at the door."""
        async with talker(http("401 Unauthorized", b"{}")) as url:
            with pytest.raises(AuthError):
                async with ComfySession(url):
                    pytest.fail("entered")

    async def test_one_question_for_many(self, fake: FakeComfy) -> None:
        """Many that begin at once ask once what the server is."""
        async with fake.session(connect="lazy") as comfy:
            await asyncio.gather(*(comfy.run(picture(n)) for n in range(5)))
        assert fake.books.requests[("GET", "/system_stats")] == 1
        assert fake.books.sockets_opened == 1

    async def test_the_socket_opens_when_it_is_needed(self, fake: FakeComfy) -> None:
        """Not for HTTP alone."""
        async with fake.session() as comfy:
            assert comfy.connection.state == "idle"
            assert fake.books.sockets_opened == 0
            await comfy.run(picture())
            assert comfy.connection.state == "hearing"
            assert fake.books.sockets_opened == 1

    async def test_resources_work_before_entering(self, fake: FakeComfy) -> None:
        """HTTP needs no session to be open."""
        session = fake.session()
        with pytest.raises(ComfyError):
            await session.files.read("nothing.png")
        await session.aclose()


class TestAddresses:
    """Wherever the server is."""

    @pytest.mark.parametrize("prefix", ["/comfy", "/a/b/"])
    @pytest.mark.parametrize("slash", ["", "/"])
    async def test_a_prefix(self, prefix: str, slash: str) -> None:
        """A path prefix is kept for HTTP and the socket; a trailing slash changes nothing."""
        async with FakeComfy(prefix=prefix) as fake, ComfySession(fake.url + slash) as comfy:
            assert comfy.base_url == fake.url
            result = await comfy.run(picture())
            assert (await result.images[0].read()).startswith(b"\x89PNG")
            assert comfy.connection.state == "hearing"

    async def test_ipv6(self) -> None:
        """A host in brackets."""
        async with FakeComfy(host="::1") as fake, fake.session() as comfy:
            assert "[::1]" in comfy.base_url
            assert (await comfy.run(picture())).images
            assert comfy.connection.state == "hearing"

    async def test_https(self) -> None:
        """wss follows https, with the same trust."""
        authority = trustme.CA()
        serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(serving)
        authority.configure_trust(trusting)
        async with FakeComfy(ssl_context=serving) as fake:
            async with fake.session(verify=trusting) as comfy:
                assert comfy.base_url.startswith("https://")
                assert (await comfy.run(picture())).images
                assert comfy.connection.state == "hearing"
            async with fake.session(verify=False) as comfy:
                assert (await comfy.run(picture(2))).images
                assert comfy.connection.state == "hearing"
            with pytest.raises(ConnectError, match="verify"):
                await fake.session().connect()

    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """COMFY_LOCAL_URL, COMFY_BASE_URL, then ComfyUI's own port."""
        assert ComfySession().base_url == "http://127.0.0.1:8188"
        monkeypatch.setenv("COMFY_BASE_URL", "https://example.org/c/")
        assert ComfySession().base_url == "https://example.org/c"
        monkeypatch.setenv("COMFY_LOCAL_URL", "localhost:9999")
        assert ComfySession().base_url == "http://localhost:9999"
        assert ComfySession("http://h:1").base_url == "http://h:1"

    @pytest.mark.parametrize("url", ["ftp://x", "http://", "http://[::1", "http://h:99999999"])
    def test_no_url(self, url: str) -> None:
        """What is no URL is said before anything is sent."""
        with pytest.raises(ValueError, match="URL"):
            ComfySession(url)

    def test_the_cloud_wants_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From the argument, or one of two variables."""
        with pytest.raises(ValueError, match="API key"):
            ComfySession.cloud()
        monkeypatch.setenv("COMFY_API_KEY", "k")
        assert ComfySession.cloud().base_url == "https://cloud.comfy.org"


async def test_connection(fake: FakeComfy) -> None:
    """How the session hears, at any moment."""
    comfy = fake.session()
    now = comfy.connection
    assert (now.state, now.polling, now.reconnects, now.last_heard, now.reason) == (
        "idle",
        False,
        0,
        None,
        "",
    )
    await comfy.run(picture())
    now = comfy.connection
    assert (now.state, now.reconnects) == ("hearing", 0)
    assert now.last_heard is not None
    assert 0 <= now.last_heard < 10
    await comfy.aclose()
    assert comfy.connection.state == "closed"


async def test_reprs(fake: FakeComfy) -> None:
    """Address, connection, open jobs."""
    graph = steps(fake, 1)
    comfy = fake.session()
    assert repr(comfy) == f"<ComfySession {fake.url} new>"
    with fake.gate("Steps"):
        job = await comfy.submit(graph)
        await first(job, NodeStarted)
        assert repr(comfy) == f"<ComfySession {fake.url} hearing 1 jobs>"
    await job
    await comfy.aclose()
    assert repr(comfy) == f"<ComfySession {fake.url} closed>"
