"""`comfy.request` and `comfy.request_stream`: any route, with everything that our own verbs have."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from comfy_async import (
    AuthError,
    ComfySession,
    NotComfyUIError,
    NotFoundError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    SessionClosedError,
    Settings,
    TransportError,
    UnsupportedError,
)
from comfy_async.testing import FakeComfy, FastClock

KEY = "s3cret-key"


class Pack:
    """A ComfyUI with a custom node's routes, which remembers what it was asked."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[web.StreamResponse] = []
        self.url = ""
        self.elsewhere = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        body = await request.read()
        self.asked.append((request.method, request.path_qs, dict(request.headers), body))
        if request.path.endswith("/system_stats"):
            return web.json_response({"system": {"comfyui_version": "0.33.0"}, "devices": []})
        if request.path.endswith("/away"):
            raise web.HTTPFound(f"{self.elsewhere}/stolen")
        if request.path.endswith("/big"):
            return await self.big(request)
        return self.answers.pop(0) if self.answers else web.json_response({"path": request.path})

    async def big(self, request: web.Request) -> web.StreamResponse:
        """Send sixty-four megabytes in pieces."""
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(bytes(1 << 20))
        return response

    @property
    def last(self) -> tuple[str, str, dict[str, str], bytes]:
        """The last request."""
        return self.asked[-1]


@asynccontextmanager
async def serving(*, prefix: str = "") -> AsyncIterator[Pack]:
    """Serve a pack, and another origin that notes who comes."""
    pack = Pack()
    runners = []
    for path in ("url", "elsewhere"):
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{tail:.*}", pack.take)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        setattr(pack, path, f"http://127.0.0.1:{port}{prefix}")
        runners.append(runner)
    try:
        yield pack
    finally:
        for runner in runners:
            await runner.cleanup()


def session(pack: Pack, **options: Any) -> ComfySession:
    """Return a session whose pauses last a tenth."""
    return ComfySession(pack.url, api_key=KEY, settings=Settings(clock=FastClock(10), **options))


class TestAsking:
    """What is sent, and what comes back."""

    async def test_a_route_of_a_pack(self) -> None:
        """It goes where our own requests go, with the session's credentials, query, headers and body."""
        async with serving(prefix="/comfy") as pack, session(pack) as comfy:
            answer = await comfy.request(
                "post", "/mypack/do?a=1", json={"x": 1}, params={"b": "ü&"}, headers={"X-Mine": "yes"}
            )
            method, path, headers, body = pack.last
            assert (method, path) == ("POST", "/comfy/api/mypack/do?a=1&b=%C3%BC%26")
            assert (headers["X-API-Key"], headers["X-Mine"], json.loads(body)) == (KEY, "yes", {"x": 1})
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert answer.json() == {"path": "/comfy/api/mypack/do"}
            assert answer.text == answer.content.decode()
            assert answer.headers["content-type"].startswith("application/json")
            assert KEY not in repr(answer)

    @pytest.mark.parametrize("path", ["/api/x", "/internal/x", "/extensions/mypack/x.js"])
    async def test_what_stands_outside(self, path: str) -> None:
        """What ComfyUI serves in one place only is asked for there."""
        async with serving() as pack, session(pack) as comfy:
            await comfy.request("GET", path)
            assert pack.last[1] == path

    async def test_by_url(self) -> None:
        """The URL of a route below the base URL means that route."""
        async with serving(prefix="/comfy") as pack, session(pack) as comfy:
            await comfy.request("GET", f"{pack.url}/mypack/x?a=1")
            assert pack.last[1] == "/comfy/api/mypack/x?a=1"

    @pytest.mark.parametrize(
        ("content", "sent"), [(b"\x00\x01", b"\x00\x01"), ("ü", "ü".encode()), (None, b"")]
    )
    async def test_other_bodies(self, content: Any, sent: bytes) -> None:
        """Bytes go as they are, text as UTF-8."""
        async with serving() as pack, session(pack) as comfy:
            await comfy.request("PUT", "/x", content=content)
            assert pack.last[3] == sent

    async def test_a_body_that_comes(self) -> None:
        """A body may be yielded; it can be read once, so it is sent once."""

        async def body() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"abc"

        async with serving() as pack, session(pack) as comfy:
            pack.answers = [web.Response(status=503)]
            with pytest.raises(ResponseError):
                await comfy.request("PUT", "/x", content=body())
            assert pack.last[3] == b"abc" * 3

    async def test_a_real_route(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """The server's own routes are asked just so, before the session is entered too."""
        async with fake.session() as other:
            assert (await other.request("GET", "/queue")).json()["queue_running"] == []
        assert (await comfy.request("HEAD", "/queue")).content == b""

    @pytest.mark.parametrize(
        ("method", "path", "options", "said"),
        [
            ("GET", "http://evil.example/x", {}, "this is another server, evil.example"),
            ("GET", "http://user:pw@evil.example/x", {}, "this is another server, evil.example"),
            ("GET", "//evil.example/x", {}, "this is another server, evil.example"),
            ("GET", "@evil.example/x", {}, "this is no path"),
            ("GET", ":99/x", {}, "this is no path"),
            ("GET", "queue", {}, "this is no path"),
            ("GET", "", {}, "this is no path"),
            ("GET", "/../x", {}, "without '..'"),
            ("GET", "/a b", {}, "percent-encode"),
            ("GET", "/a\r\nX: y", {}, "percent-encode"),
            ("GET", "/\\evil", {}, "percent-encode"),
            ("GET", "/ü", {}, "percent-encode"),
            ("GE T", "/x", {}, "no HTTP method"),
            ("POST", "/x", {"json": 1, "content": b"1"}, "one body"),
            ("GET", "/x", {"headers": {"X": "a\r\nb"}}, "cannot be sent"),
        ],
    )
    async def test_what_is_not_sent(self, method: str, path: str, options: Any, said: str) -> None:
        """Another server, what is no path, what no HTTP carries: refused before anything is sent."""
        async with serving() as pack, session(pack) as comfy:
            before = len(pack.asked)
            for ask in (comfy.request, comfy.request_stream):
                with pytest.raises(ValueError, match=said) as caught:
                    await opened(ask, method, path, **options)
                assert "pw" not in str(caught.value)
            assert len(pack.asked) == before

    async def test_another_port_is_another_server(self) -> None:
        """A URL of this host, but not of this origin or not below the base URL, is refused."""
        async with serving(prefix="/comfy") as pack, session(pack) as comfy:
            for url in (f"{pack.elsewhere}/x", f"{pack.url}x/y", pack.url.removesuffix("/comfy") + "/x"):
                with pytest.raises(ValueError, match="another server"):
                    await comfy.request("GET", url)


async def opened(ask: Any, method: str, path: str, **options: Any) -> None:
    """Ask in whichever way."""
    made = ask(method, path, **options)
    if asyncio.iscoroutine(made):
        await made
    else:
        async with made:
            pass


class TestGoingWrong:
    """Errors, tries, limits."""

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, ResponseError), (401, AuthError), (404, NotFoundError), (429, RateLimitError)],
    )
    async def test_a_refusal(self, status: int, kind: type[Exception]) -> None:
        """It is the error of our own verbs, or an answer where it is expected; the query stays out of it."""
        async with serving() as pack, session(pack) as comfy:
            pack.answers = [web.json_response({"error": f"no {KEY}"}, status=status) for _ in range(2)]
            with pytest.raises(kind) as caught:
                await comfy.request("POST", "/mypack/x?token=t0ken")
            assert "/mypack/x" in str(caught.value)
            assert "t0ken" not in str(caught.value)
            assert KEY not in str(caught.value)
            answer = await comfy.request("POST", "/mypack/x", expect=[status])
            assert (answer.status, "error" in answer.json()) == (status, True)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
    async def test_tries(self, method: str) -> None:
        """What is safe to send twice is tried again, nothing else is."""
        async with serving() as pack, session(pack) as comfy:
            pack.answers = [web.Response(status=503)]
            before = len(pack.asked)
            if method in ("POST", "PATCH"):
                with pytest.raises(ResponseError):
                    await comfy.request(method, "/x")
                assert len(pack.asked) - before == 1
            else:
                assert (await comfy.request(method, "/x")).status == 200
                assert len(pack.asked) - before == 2

    async def test_too_large(self) -> None:
        """The session's limit holds, or the one that is given."""
        async with serving() as pack, session(pack, max_body=1000) as comfy:
            pack.answers = [web.Response(body=bytes(size)) for size in (1001, 1001, 11)]
            with pytest.raises(TransportError, match="larger than 1000 bytes"):
                await comfy.request("POST", "/x")
            assert len((await comfy.request("POST", "/x", max_body=2000)).content) == 1001
            with pytest.raises(TransportError, match="larger than 10 bytes"):
                await comfy.request("POST", "/x", max_body=10)

    async def test_a_bomb(self) -> None:
        """What unpacks to more than the limit is stopped on the way."""
        packed = gzip.compress(bytes(10 << 20))
        async with serving() as pack, session(pack, max_body=1 << 20) as comfy:
            pack.answers = [web.Response(body=packed, headers={"Content-Encoding": "gzip"})]
            with pytest.raises(TransportError):
                await comfy.request("POST", "/x")

    async def test_no_json(self) -> None:
        """A page is no JSON, and the error says who answered what."""
        async with serving() as pack, session(pack) as comfy:
            pack.answers = [web.Response(text="<html>", content_type="text/html")]
            answer = await comfy.request("GET", "/x")
            with pytest.raises(NotComfyUIError, match="GET /x at .* is no JSON"):
                answer.json()

    async def test_a_limit_of_time(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """`seconds` holds for the whole exchange."""
        fake.faults.delay("GET", "/queue", 60)
        with pytest.raises(RequestTimeoutError):
            await comfy.request("GET", "/queue", seconds=0.05)

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_a_redirect_elsewhere(self, method: str) -> None:
        """Nobody there is asked; the error says where it led."""
        async with serving() as pack, session(pack) as comfy:
            with pytest.raises(NotComfyUIError, match="leads elsewhere"):
                await comfy.request(method, "/away")
            assert pack.last[1] == "/api/away"

    async def test_a_route_that_is_too_new(self) -> None:
        """As for our own verbs: the error names the version that has it."""
        async with FakeComfy(version="0.3.10") as fake, fake.session() as comfy:
            with pytest.raises(UnsupportedError, match="0.14.0"):
                await comfy.request("GET", "/node_replacements")

    async def test_closed(self, fake: FakeComfy) -> None:
        """A closed session asks nobody."""
        async with fake.session() as comfy:
            pass
        for ask in (comfy.request, comfy.request_stream):
            with pytest.raises(SessionClosedError):
                await opened(ask, "GET", "/queue")


class TestStreaming:
    """A body read piece by piece."""

    async def test_bounded_memory(self) -> None:
        """Sixty-four megabytes pass, and a few are held at once, whatever the session's limit."""
        async with serving() as pack, session(pack, max_body=1000) as comfy:
            tracemalloc.start()
            size = largest = 0
            async with comfy.request_stream("POST", "/big", json={"go": 1}) as answer:
                async for chunk in answer:
                    size += len(chunk)
                    largest = max(largest, len(chunk))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert (answer.status, size) == (200, 64 << 20)
            assert largest <= 1 << 18
            assert peak < 16 << 20
            assert pack.last[3] == b'{"go":1}'

    async def test_left_early(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Whoever leaves early frees the connection; the session goes on."""
        async with comfy.request_stream("GET", "/object_info") as answer:
            assert answer.content_type == "application/json"
            async for _ in answer:
                break
        assert (await comfy.request("GET", "/queue")).status == 200

    async def test_refused(self) -> None:
        """Entering raises what `request` raises, or hands out what is expected."""
        async with serving() as pack, session(pack) as comfy:
            pack.answers = [web.json_response({"error": "no"}, status=404) for _ in range(2)]
            with pytest.raises(NotFoundError):
                await opened(comfy.request_stream, "GET", "/x")
            async with comfy.request_stream("GET", "/x", expect=[404]) as answer:
                assert b"".join([chunk async for chunk in answer]) == b'{"error": "no"}'
            assert answer.status == 404

    async def test_a_redirect_elsewhere(self) -> None:
        """A GET is followed, as for the cloud's files, and no credential goes along; a POST is not."""
        async with serving() as pack, session(pack) as comfy:
            async with comfy.request_stream("GET", "/away") as answer:
                assert json.loads(b"".join([chunk async for chunk in answer])) == {"path": "/stolen"}
            _, path, headers, _ = pack.last
            assert path == "/stolen"
            assert KEY not in str(headers)
            with pytest.raises(NotComfyUIError, match="leads elsewhere"):
                await opened(comfy.request_stream, "POST", "/away")
            assert pack.last[1] == "/api/away"
