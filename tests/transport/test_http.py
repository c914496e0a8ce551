"""The HTTP client: hostile and broken servers, limits, retries, credentials that stay at home."""

from __future__ import annotations

import asyncio
import json
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from raw_server import RawRequest, raw_server, reply

from comfy_async import (
    AuthError,
    ConnectError,
    NotComfyUIError,
    RequestTimeoutError,
    ResponseError,
    SessionClosedError,
    TransportError,
)
from comfy_async._transport.address import Address
from comfy_async._transport.auth import Auth
from comfy_async._transport.http import HttpClient, HttpOptions
from comfy_async._transport.options import known_authorities

SECRET = "s3cret-0123456789"
Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


def client(url: str, *, auth: Auth | None = None, **options: Any) -> HttpClient:
    """A client with known secrets everywhere that pauses take no time in."""

    async def no_pause(seconds: float) -> None:
        pauses.append(seconds)

    pauses: list[float] = []
    made = HttpClient(
        Address.parse(url),
        auth=auth or Auth({"X-API-Key": SECRET, "Authorization": f"Bearer {SECRET}"}, {"token": SECRET}),
        headers={"X-Gateway": SECRET},
        options=HttpOptions(sleep=no_pause, **options),
    )
    made.pauses = pauses  # type: ignore[attr-defined]
    return made


async def say(data: bytes) -> Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]:
    """A server that gives everybody the same bytes."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


async def test_credentials_go_home() -> None:
    """Headers and query reach the session's own server."""
    async with raw_server(await say(reply(b"{}"))) as server:
        http = client(server.url)
        assert (await http.request("GET", "/x", params={"a": "b"})).json() == {}
        await http.aclose()
    (request,) = server.requests
    assert request.headers["x-api-key"] == SECRET
    assert request.headers["x-gateway"] == SECRET
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert f"token={SECRET}" in request.target
    assert "a=b" in request.target


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("how", ["request", "stream", "post"])
async def test_redirects_to_another_host_carry_nothing(status: int, how: str) -> None:
    """Whatever a redirect says, no credential reaches another origin."""
    async with raw_server(await say(reply(b"stolen"))) as thief:
        location = reply(b"", status=status, location=f"{thief.url}/take?me=1")
        async with raw_server(await say(location)) as server:
            http = client(server.url)
            http._client.cookies.set("session", SECRET, domain="127.0.0.1")
            if how == "stream":
                async with http.stream("/view") as stream:
                    assert b"".join([chunk async for chunk in stream.chunks()]) == b"stolen"
            else:
                with pytest.raises(NotComfyUIError, match="redirects to http://127") as caught:
                    await http.request("GET" if how == "request" else "POST", "/x")
                assert "me=1" not in str(caught.value)
            await http.aclose()
    assert len(thief.requests) == (how == "stream")
    for request in thief.requests:
        # Cookies know no ports: 127.0.0.1 is one host to a cookie jar, and they are kept back by hand.
        assert SECRET not in json.dumps([request.target, request.headers])


async def test_redirects_at_home_are_followed() -> None:
    """A redirect within the server is followed for GET, with the credentials."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if request.path == "/old":
            writer.write(reply(b"", status=302, location="/new"))
        else:
            writer.write(reply(b'"here"'))

    async with raw_server(answer) as server:
        http = client(server.url)
        assert await http.get_json("/old") == "here"
        await http.aclose()
    assert server.of("/new")[0].headers["x-api-key"] == SECRET


async def test_cookies_of_others_are_not_kept() -> None:
    """The own server's cookies come back to it, along its redirects too; those of others are not kept."""

    async def abroad(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"a file", set_cookie="theirs=1; Path=/"))

    async def home(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        match request.path:
            case "/login":
                writer.write(reply(b"", status=302, location="/welcome", set_cookie="ours=2; Path=/"))
            case "/file":
                writer.write(reply(b"", status=302, location=f"{other.url}/signed"))
            case _:
                writer.write(reply(b"{}"))

    async with raw_server(abroad) as other, raw_server(home) as server:
        http = client(server.url)
        await http.request("GET", "/login")
        async with http.stream("/file") as stream:
            assert await stream.whole() == b"a file"
        await http.request("GET", "/after")
        assert http.cookies == "ours=2"
        await http.aclose()
    assert "cookie" not in server.of("/login")[0].headers
    assert server.of("/welcome")[0].headers["cookie"] == "ours=2"
    assert server.of("/after")[0].headers["cookie"] == "ours=2"
    assert "cookie" not in other.requests[0].headers


async def test_endless_redirects_end() -> None:
    """A circle of redirects is an error, not a loop."""
    async with raw_server(await say(reply(b"", status=302, location="/again"))) as server:
        http = client(server.url)
        with pytest.raises(TransportError):
            await http.request("GET", "/x")
        with pytest.raises(TransportError, match="too often"):
            async with http.stream("/x"):
                pass
        await http.aclose()
    assert len(server.requests) < 15


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://[::bad/", "//"])
async def test_redirects_to_nowhere(where: str) -> None:
    """A redirect to what is no http address is an error of ours."""
    async with raw_server(await say(reply(b"", status=302, location=where))) as server:
        http = client(server.url)
        with pytest.raises(TransportError):
            await http.request("GET", "/x")
        with pytest.raises(TransportError):
            async with http.stream("/x"):
                pass
        transport: Any = http._client._transport
        assert not transport._pool.connections, "an answer was not put away"
        await http.aclose()


@pytest.mark.parametrize("how", ["GET", "POST", "stream"])
async def test_redirects_to_a_port_that_no_machine_has(how: str) -> None:
    """They are not followed, and the error is one of ours."""
    async with raw_server(
        await say(reply(b"", status=302, location="http://127.0.0.1:99999/?me=1"))
    ) as server:
        http = client(server.url)

        async def ask() -> None:
            if how != "stream":
                await http.request(how, "/x")
                return
            async with http.stream("/x"):
                pass

        with pytest.raises(NotComfyUIError, match="redirects to what is no address"):
            await ask()
        await http.aclose()
    assert len(server.requests) == 1


@pytest.mark.parametrize("page", [b"<html>Sign in</html>", b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
async def test_no_json(page: bytes) -> None:
    """HTML, nothing, halves and rubbish in place of JSON are named as what they are."""
    async with raw_server(await say(reply(page, type_="text/html"))) as server:
        http = client(server.url)
        with pytest.raises(NotComfyUIError, match="no JSON") as caught:
            await http.get_json("/x")
        await http.aclose()
    assert "proxy" in str(caught.value)


async def test_html_error_page() -> None:
    """The page of a gateway is not taken for the server's words."""
    page = reply(b"<html>" + SECRET.encode() * 0 + b"Bad Gateway</html>", status=502, type_="text/html")
    async with raw_server(await say(page)) as server:
        http = client(server.url)
        with pytest.raises(ResponseError, match="proxy before it") as caught:
            await http.request("GET", "/x")
        assert caught.value.retryable
        await http.aclose()


@pytest.mark.parametrize(
    "data",
    [
        reply(b"{}", content_length=100),
        reply(b"{}", content_length=-1),
        reply(b"{}", content_length="many"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    ],
)
async def test_broken_answers(data: bytes) -> None:
    """Wrong lengths, wrong encodings and other protocols end as our own transport error."""
    async with raw_server(await say(data)) as server:
        http = client(server.url)
        with pytest.raises(TransportError):
            await http.request("GET", "/x")
        await http.aclose()


async def test_endless_body() -> None:
    """A body that never ends is cut off at the limit, and an error's body long before."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        status = b"500 X" if request.path == "/bad" else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with raw_server(answer) as server:
        http = client(server.url, max_body=3_000_000)
        with pytest.raises(TransportError, match="larger than 3000000 bytes"):
            await http.request("GET", "/x")
        with pytest.raises(ResponseError) as caught:
            await http.request("GET", "/bad")
        assert len(caught.value.body) <= 500
        with pytest.raises(ResponseError):
            async with http.stream("/bad"):
                pass
        await http.aclose()


async def test_zip_bomb() -> None:
    """What a small body unpacks to counts against the limit."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(bytes(20_000_000)) + packer.flush()
    async with raw_server(await say(reply(bomb, content_encoding="gzip"))) as server:
        http = client(server.url, max_body=1_000_000)
        with pytest.raises(TransportError, match="larger"):
            await http.request("GET", "/x")
        await http.aclose()


async def test_time_limits() -> None:
    """An answer that drips for ever ends at the limit for the whole, as no builtin TimeoutError."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(answer) as server:
        http = client(server.url, request_seconds=0.2)
        with pytest.raises(RequestTimeoutError, match=r"within 0\.2 s") as caught:
            await http.request("GET", "/x")
        assert not isinstance(caught.value, TimeoutError)
        await http.aclose()


async def test_nobody_listens() -> None:
    """The error for a closed port says how to start a server there."""
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    http = client(f"http://127.0.0.1:{port}")
    with pytest.raises(ConnectError, match=f"--port {port}"):
        await http.request("GET", "/x", retry=True)
    await http.aclose()


# Retries.


@pytest.fixture
async def flaky() -> AsyncIterator[Any]:
    """Make a server that gives its answers one after the other, the last one for ever."""
    async with _Stack() as stack:
        yield stack.make


class _Stack:
    def __init__(self) -> None:
        import contextlib

        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> _Stack:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def make(self, *answers: bytes) -> tuple[Any, HttpClient]:
        """The server, and a client of it."""
        left = list(answers)

        async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
            writer.write(left.pop(0) if len(left) > 1 else left[0])

        server = await self._stack.enter_async_context(raw_server(answer))
        http = client(server.url)
        self._stack.push_async_callback(http.aclose)
        return server, http


BROKEN = reply(b"{}", content_length=100)


@pytest.mark.parametrize("failure", [reply(b"", status=status) for status in (429, 502, 503, 504)] + [BROKEN])
async def test_passing_failures_are_tried_again(flaky: Any, failure: bytes) -> None:
    """What may pass by itself is tried again, with growing pauses that differ."""
    server, http = await flaky(failure, failure, failure, reply(b"7"))
    assert await http.get_json("/x", retry=True) == 7
    assert len(server.requests) == 4
    pauses = http.pauses
    assert len(set(pauses)) == 3
    assert all(0 <= pause <= 0.25 * 2**n for n, pause in enumerate(pauses))


async def test_tries_are_bounded(flaky: Any) -> None:
    """What does not pass is raised as it is after some tries."""
    server, http = await flaky(reply(b"", status=503))
    with pytest.raises(ResponseError, match="503"):
        await http.request("GET", "/x", retry=True)
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 500, 501])
async def test_lasting_failures_are_not_tried_again(flaky: Any, status: int) -> None:
    """An error that the same request will meet again is raised at once."""
    server, http = await flaky(reply(b"", status=status))
    with pytest.raises(ResponseError):
        await http.request("GET", "/x", retry=True)
    assert len(server.requests) == 1


@pytest.mark.parametrize("failure", [reply(b"", status=503), BROKEN])
async def test_nothing_is_tried_again_unasked(flaky: Any, failure: bytes) -> None:
    """Without `retry` there is one try: polling and POST /prompt rely on it."""
    server, http = await flaky(failure)
    with pytest.raises((ResponseError, TransportError)):
        await http.request("POST", "/prompt", content=b"{}")
    assert len(server.requests) == 1
    assert http.pauses == []


async def test_retry_after_is_kept(flaky: Any) -> None:
    """The pause that the server asks for is kept, and jitter comes on top; a long one is not waited for."""
    server, http = await flaky(reply(b"", status=429, retry_after=7), reply(b"7"))
    assert await http.get_json("/x", retry=True) == 7
    assert 7 <= http.pauses[0] <= 7.25
    server, http = await flaky(reply(b"", status=503, retry_after=7), reply(b"7"))
    assert await http.get_json("/x", retry=True) == 7
    assert 7 <= http.pauses[0] <= 7.25
    server, http = await flaky(reply(b"", status=429, retry_after=3600))
    with pytest.raises(ResponseError, match="429"):
        await http.request("GET", "/x", retry=True)
    assert http.pauses == []


async def test_timeouts_are_not_tried_again() -> None:
    """A request that took its whole time is not begun anew."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_server(answer) as server:
        http = client(server.url, request_seconds=1.0)
        with pytest.raises(RequestTimeoutError):
            await http.request("GET", "/x", retry=True)
        await http.aclose()
    assert len(server.requests) == 1


async def test_bodies_are_sent_anew(flaky: Any) -> None:
    """A body that is read while it is sent is whole in the second try too."""

    class Body:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

    server, http = await flaky(reply(b"", status=503), reply(b"7"))
    await http.request("PUT", "/x", content=Body(), headers={"Content-Length": "6"}, retry=True)
    assert [request.body for request in server.requests] == [b"onetwo"] * 2


# Renewing.


class Renewer:
    """Hands out one token after the other."""

    def __init__(self, *, fails: bool = False) -> None:
        self.count = 0
        self._fails = fails

    async def __call__(self) -> str:
        await asyncio.sleep(0)
        self.count += 1
        if self._fails:
            raise RuntimeError(f"no more {SECRET}")
        return f"token{self.count}"


def gate(wanted: str) -> Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]:
    """A server that lets one token in."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        ok = request.headers.get("authorization") == f"Bearer {wanted}"
        writer.write(reply(b"7", status=200 if ok else 401))

    return answer


async def test_renewed_before_the_first_request_and_after_401() -> None:
    """The callback is asked once however many requests wait, and again when a token has expired."""
    renew = Renewer()
    async with raw_server(gate("token2")) as server:
        http = client(server.url, auth=Auth.renewing(renew))
        assert await asyncio.gather(*(http.get_json("/x") for _ in range(8))) == [7] * 8
        assert renew.count == 2
        async with http.stream("/x") as stream:
            assert [chunk async for chunk in stream.chunks()] == [b"7"]
        await http.aclose()
    assert renew.count == 2
    assert all(request.headers["x-gateway"] == SECRET for request in server.requests)


async def test_renewed_for_streams() -> None:
    """A download whose token has expired is begun anew with a fresh one."""
    renew = Renewer()
    async with raw_server(gate("token2")) as server:
        http = client(server.url, auth=Auth.renewing(renew))
        async with http.stream("/x") as stream:
            assert [chunk async for chunk in stream.chunks()] == [b"7"]
        await http.aclose()


async def test_renewed_in_vain() -> None:
    """When fresh credentials are refused too, the error comes out; there is no loop."""
    renew = Renewer()
    async with raw_server(gate("never")) as server:
        http = client(server.url, auth=Auth.renewing(renew))
        with pytest.raises(AuthError):
            await http.request("GET", "/x", retry=True)
        await http.aclose()
    assert (renew.count, len(server.requests)) == (2, 2)


async def test_failing_renewer() -> None:
    """A callback that raises is named by its kind only: its words may hold the secret."""
    async with raw_server(gate("x")) as server:
        http = client(server.url, auth=Auth.renewing(Renewer(fails=True)))
        with pytest.raises(AuthError, match="RuntimeError") as caught:
            await http.request("GET", "/x")
        assert SECRET not in str(caught.value)
        await http.aclose()
    assert server.requests == []


async def test_cookies_are_kept_for_the_socket() -> None:
    """A cookie that the server sets is sent along, and can be handed to the socket."""
    async with raw_server(await say(reply(b"7", set_cookie="session=abc; Path=/"))) as server:
        http = client(server.url)
        await http.request("GET", "/x")
        await http.request("GET", "/x")
        assert http.cookies == "session=abc"
        await http.aclose()
    assert server.requests[1].headers["cookie"] == "session=abc"


async def test_requests_that_are_cut_off_cost_no_place() -> None:
    """Wherever they stood, waiting, connecting, just connected: the next one is answered."""
    async with raw_server(await say(reply(b"{}"))) as server:
        http = client(server.url, max_connections=2, request_seconds=5.0)
        for turns in range(40):
            tasks = [asyncio.create_task(http.request("GET", f"/{number}")) for number in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert (await http.request("GET", "/x")).json() == {}
        await http.aclose()


async def test_a_server_that_hung_is_heard_again_however_many_requests_ran_out_of_time() -> None:
    """More than there are connections, all at the same moment."""
    hanging = asyncio.Event()

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        await hanging.wait()
        writer.write(reply(b"{}"))

    async with raw_server(answer) as server:
        http = client(server.url, max_connections=4, request_seconds=0.2)
        for _ in range(3):
            found = await asyncio.gather(
                *(http.request("GET", "/x") for _ in range(20)), return_exceptions=True
            )
            assert {type(error) for error in found} == {RequestTimeoutError}
        hanging.set()
        assert (await http.request("GET", "/x", seconds=5.0)).json() == {}
        await http.aclose()


async def test_a_request_that_is_under_way_ends_with_the_session() -> None:
    """While its connection is being made, too: nobody would close that one afterwards."""
    begun, cut_off = asyncio.Event(), asyncio.Event()

    class Connecting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cut_off.set()
            raise AssertionError

    address = Address.parse("http://127.0.0.1:1")
    http = HttpClient(address, auth=Auth({}, {}), headers={}, transport=Connecting())
    asking = asyncio.create_task(http.request("GET", "/x"))
    await begun.wait()
    await http.aclose()
    with pytest.raises(SessionClosedError):
        await asking
    assert cut_off.is_set()
    with pytest.raises(SessionClosedError):
        await http.request("GET", "/x")


async def test_certificates_are_read_once() -> None:
    """Reading them takes longer than all else that opens a session: sessions share what was read."""
    for url in ("http://127.0.0.1:1", "https://127.0.0.1:1"):
        http = client(url)
        transport: Any = http._client._transport
        assert transport._pool._ssl_context is known_authorities()
        await http.aclose()
    assert known_authorities().verify_mode is ssl.CERT_REQUIRED
    assert known_authorities().check_hostname
