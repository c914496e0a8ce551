"""What comes in answer to a request for a file is that file, or an error, and never a page on disk."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawRequest, raw_server, reply

from comfy_async import ComfyError, ComfySession, NotComfyUIError, ResponseError, Settings, TransportError
from comfy_async._resources._answered import demand_file
from comfy_async._transport.answers import Answer

LOGIN = b"<!DOCTYPE html><html><form><input type=password></form></html>"
Reply = Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]


def always(data: bytes) -> Reply:
    """A server that gives everybody the same bytes."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


PAGES = {
    "a login page": reply(LOGIN, type_="text/html; charset=utf-8"),
    "a page without a type": reply(LOGIN, type_="application/octet-stream"),
    "data": reply(b'{"error": "log in"}', type_="application/json"),
    "xml": reply(b"<Error>AccessDenied</Error>", type_="application/xml"),
    "a file of another kind": reply(b"RIFF", type_="audio/wav"),
    "words": reply(b"Unauthorized", type_="text/plain"),
    "a page that says it is a picture": reply(LOGIN, type_="image/png"),
    "a page after a comment": reply(b"<!-- sso -->\n" + LOGIN, type_="application/octet-stream"),
    "a page as XML": reply(b'\xef\xbb\xbf<?xml version="1.0"?><html/>', type_="application/octet-stream"),
    "a page that is a script": reply(b"<script>location='/login'</script>", type_="text/plain"),
    "data without a type": reply(b'{"error": "log in"}', type_="application/octet-stream"),
    "nothing": reply(b"", status=204),
    "elsewhere": reply(b"", status=304, location="http://sso.invalid/login?token=x"),
}


@pytest.mark.parametrize("what", PAGES)
async def test_what_is_no_file(what: str, tmp_path: Path) -> None:
    """A page, data or nothing in place of a picture is an error, however it is asked for."""
    async with raw_server(always(PAGES[what])) as server, ComfySession(server.url) as comfy:
        for attempt in (
            comfy.files.read("x.png"),
            comfy.files.save("x.png", tmp_path / "x.png"),
            anext(comfy.files.open("x.png")),
        ):
            with pytest.raises(NotComfyUIError) as caught:
                await attempt
            assert "token" not in str(caught.value)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("ask", ["history", "catalog", "class"])
async def test_what_is_no_list(ask: str) -> None:
    """A gateway's own JSON is no history in which the job is missing, and no catalog of strange classes."""
    answer = reply(b'{"error": {"message": "log in"}}', type_="application/json")
    async with raw_server(always(answer)) as server, ComfySession(server.url) as comfy:
        asked: dict[str, Callable[[], Awaitable[object]]] = {
            "history": lambda: comfy.history.get("a1"),
            "catalog": comfy.nodes.catalog,
            "class": lambda: comfy.nodes.info("KSampler"),
        }
        with pytest.raises(NotComfyUIError, match="no history|no node classes"):
            await asked[ask]()


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("place", ["home", "abroad"])
async def test_a_redirect_to_a_login_page(place: str, tmp_path: Path) -> None:
    """Whether the page is the server's own or another host's: nothing on disk, and the way out is said."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        where = other.url if place == "abroad" else ""
        if request.path == "/login":
            writer.write(reply(LOGIN, type_="text/html"))
        else:
            writer.write(reply(b"", status=302, location=f"{where}/login"))

    async with (
        raw_server(always(reply(LOGIN, type_="text/html"))) as other,
        raw_server(answer) as server,
        ComfySession(server.url) as comfy,
    ):
        with pytest.raises(NotComfyUIError, match="login page.*auth="):
            await comfy.files.save("x.png", tmp_path / "x.png")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "kind", "head"),
    [
        ("x.png", "image/png", b""),
        ("x.png", "image/webp", b""),
        ("x.png", "", b"\x89PNG"),
        ("x.png", "text/plain", b"\x89PNG\r\n\x1a\n"),
        ("x.jpg", "text/plain", b"\xff\xd8\xff\xe0"),
        ("x.svg", "application/octet-stream", b"<svg>"),
        ("x.txt", "text/plain", b"{}"),
        ("x.glb", "application/octet-stream", b"glTF"),
        ("x.png", "binary/octet-stream", b""),
        ("x.svg", "image/svg+xml", b"<svg>"),
        ("x.svg", "text/xml", b"<?xml"),
        ("x.mp4", "audio/mp4", b""),
        ("x.json", "application/json", b"{}"),
        ("x.gltf", "application/json", b"{}"),
        ("x.html", "text/html", b"<html>"),
        ("x.html", "application/octet-stream", b"<html>"),
        ("x.latent", "application/octet-stream", b"{"),
        ("noending", "application/octet-stream", b""),
        ("", "application/json", b"{}"),
    ],
)
def test_what_may_be_the_file(name: str, kind: str, head: bytes) -> None:
    """General types, kin and files that are text themselves pass."""
    demand_file(Answer(200, {"content-type": kind}, b"", "GET", "/view", "http://h"), name, head=head)


# Compressed and endless bodies.


def bomb(size: int, *, encoding: str = "gzip") -> bytes:
    """Zeros, packed as well as they can be."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + packer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_bombs(encoding: str, tmp_path: Path) -> None:
    """A few kilobytes that stand for far more are refused after a part of it, wherever they come."""
    packed = reply(bomb(1 << 27, encoding=encoding), type_="application/json", content_encoding=encoding)
    async with raw_server(always(packed)) as server, ComfySession(server.url) as comfy:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for attempt in (
            comfy.files.read("x.json"),
            comfy.files.save("x.json", tmp_path / "x.json"),
            comfy.history.get("x"),
            comfy.nodes.catalog(),
        ):
            with pytest.raises(TransportError, match="unpacks to"):
                await attempt
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000, f"{grown} kB"
    assert names_in(tmp_path) == []


async def test_files_are_asked_for_unpacked() -> None:
    """Pictures with `identity`, all else with what can be unpacked within a bound."""
    async with (
        raw_server(always(reply(b"{}", type_="image/png"))) as server,
        ComfySession(server.url) as comfy,
    ):
        await comfy.files.read("x.png")
        with pytest.raises(ComfyError):
            await comfy.history.get("x")
    assert server.of("/api/view")[0].headers["accept-encoding"] == "identity"
    assert server.of("/api/history/x")[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    "body",
    [
        (gzip.compress(b'{"a": 1}', mtime=0), "gzip"),
        (gzip.compress(b'{"a"', mtime=0) + gzip.compress(b": 1}", mtime=0), "x-gzip"),
        (gzip.compress(b'{"a": 1}', mtime=0) + b"\0\0", "gzip"),
        (zlib.compress(b'{"a": 1}'), "deflate"),
        (zlib.compress(b'{"a": 1}')[2:-4], "deflate"),
        (b'{"a": 1}', "identity"),
    ],
)
async def test_packed_answers_are_read(body: tuple[bytes, str]) -> None:
    """In each of the ways that servers pack."""
    packed = reply(body[0], content_encoding=body[1], type_="application/json")
    async with raw_server(always(packed)) as server, ComfySession(server.url) as comfy:
        assert await comfy.files.read("x.json") == b'{"a": 1}'


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "gzip"),
        (b"x", "br"),
        (b"x", "gzip, gzip"),
        (b"nonsense", "gzip"),
    ],
)
async def test_packed_answers_that_are_not_whole(body: bytes, encoding: str) -> None:
    """Halves, nonsense and what nobody asked for are errors."""
    packed = reply(body, content_encoding=encoding, type_="application/json")
    async with raw_server(always(packed)) as server, ComfySession(server.url) as comfy:
        with pytest.raises(TransportError):
            await comfy.system.extensions()


async def test_read_has_a_limit(tmp_path: Path) -> None:
    """What does not fit is refused before it is read; `save` and `open` take it."""
    data = bytes(3_000_000)
    async with raw_server(always(reply(data, type_="image/png"))) as server:
        async with ComfySession(server.url, settings=Settings(max_body=1_000_000)) as comfy:
            with pytest.raises(TransportError, match=r"larger than 1000000.*save"):
                await comfy.files.read("x.png")
            path = await comfy.files.save("x.png", tmp_path / "x.png")
            assert path.stat().st_size == len(data)


async def test_a_large_refusal_is_read_whole() -> None:
    """A refusal that repeats a picture of the prompt is understood, also beyond a megabyte."""
    error: dict[str, Any] = {"type": "required_input_missing", "message": "Required", "details": ""}
    error["extra_info"] = {"input_name": "image", "received_value": "A" * 3_000_000}
    node = {"errors": [error], "dependent_outputs": [], "class_type": "LoadImage"}
    body = {"error": {"type": "prompt_outputs_failed_validation", "message": "m"}, "node_errors": {"1": node}}

    async with raw_server(
        always(reply(json.dumps(body).encode(), status=400, type_="application/json"))
    ) as server:
        async with ComfySession(server.url, transport="poll") as comfy:
            with pytest.raises(ComfyError) as caught:
                await comfy.submit({"1": {"class_type": "LoadImage", "inputs": {"image": "A"}}})
    problems: Any = caught.value
    assert problems.problems[0].input == "image"


async def test_a_refusal_beyond_all_bounds() -> None:
    """What never ends is cut, and said to be too long when it is needed whole."""
    body = reply(b'{"error": "' + b"x" * 2_000_000 + b'"}', status=400, type_="application/json")
    async with raw_server(always(body)) as server:
        async with ComfySession(server.url, settings=Settings(max_body=1_000_000), transport="poll") as comfy:
            with pytest.raises(NotComfyUIError, match="longer than"):
                await comfy.submit({"1": {"class_type": "A", "inputs": {}}})
            with pytest.raises(ResponseError):
                await comfy.queue.clear()
