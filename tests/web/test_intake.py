"""Bodies: how large, how long, of which kind; refused while they come in."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from web_tools import Web, offered, png

from comfy_async.testing import FakeComfy
from comfy_async.web import Limits

KIB = 1024


async def posted(web: Web, path: str, kind: str, parts: AsyncIterator[bytes]) -> str:
    """Send a body without a length for as long as it goes on, and return the answer that comes meanwhile."""
    port = int(web.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked"
    writer.write(f"{head}\r\n\r\n".encode())

    async def send() -> None:
        async for part in parts:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        answer = await reader.readuntil(b"}}")
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        writer.close()
    return answer.decode()


async def endless() -> AsyncIterator[bytes]:
    """Yield a form whose file never ends."""
    yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
    while True:
        yield b"\0" * 64 * KIB


async def test_a_form_without_end_is_refused_on_its_way(
    fake: FakeComfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """413 after the limit, not when all has come; nothing stays on the disk, the place is free again."""
    # Other tests that run meanwhile have folders of their requests in the usual place.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limits = Limits(body_bytes=200 * KIB, open_jobs=1)
    async with offered(fake, limits=limits) as web:
        answer = await posted(web, "/apps/invert", "multipart/form-data; boundary=x", endless())
        assert answer.startswith("HTTP/1.1 413 ")
        assert "connection: close" in answer
        assert '"too_large"' in answer
        await web.post("paint")
    assert os.listdir(tmp_path) == []


async def test_what_says_itself_that_it_is_too_large_is_not_read(fake: FakeComfy) -> None:
    """413 by the Content-Length; for JSON and forms alike."""
    async with offered(fake, limits=Limits(body_bytes=KIB)) as web:
        files = {"photo": ("a.png", png() + b"\0" * 2 * KIB)}
        assert (await web.http.post("/apps/invert", files=files)).status_code == 413
        assert (await web.http.post("/apps/paint", json={"prefix": "x" * 2 * KIB})).status_code == 413
        assert not fake.books.uploads


async def test_a_body_that_trickles_is_refused(fake: FakeComfy) -> None:
    """408 after a while, and the place is free again."""

    async def trickle() -> AsyncIterator[bytes]:
        yield b'{"color":'
        await asyncio.Event().wait()

    async with offered(fake, limits=Limits(upload_seconds=0.1, open_jobs=1)) as web:
        answer = await posted(web, "/apps/paint", "application/json", trickle())
        assert answer.startswith("HTTP/1.1 408 ")
        assert '"too_slow"' in answer
        await web.post("paint")


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("text/plain", b"{}", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", b"color=1", 415, "unsupported_media_type"),
        ("application/json", b"{", 400, "no_json"),
        ("application/json", b'{"color": NaN}', 400, "no_json"),
        ("application/json", b"[" * 100_000, 400, "no_json"),
        ("application/json", b"\xff", 400, "no_json"),
        ("application/json", b"[1]", 400, "no_object"),
        ("multipart/form-data", b"", 400, "no_form"),
        ("multipart/form-data; boundary=x", b"--x\r\nnothing", 400, "no_form"),
    ],
)
async def test_what_is_no_json_and_no_form(
    fake: FakeComfy, kind: str, body: bytes, status: int, code: str
) -> None:
    """Each is told for what it is; nothing is logged as an error of ours."""
    async with offered(fake) as web:
        answer = await web.http.post("/apps/paint", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


async def test_a_file_is_what_its_bytes_say(fake: FakeComfy) -> None:
    """415 for HTML that calls itself a picture, whatever name and type come with it."""
    async with offered(fake) as web:
        files = {"photo": ("a.png", b"<html>", "image/png")}
        answer = await web.http.post("/apps/invert", files=files)
        assert answer.status_code == 415
        assert answer.json()["error"]["problems"][0]["input"] == "photo"
        files = {"color": ("a.png", png(), "image/png")}
        assert (await web.http.post("/apps/paint", files=files)).status_code == 422
        assert not fake.books.uploads


async def test_more_parts_than_anybody_needs(fake: FakeComfy) -> None:
    """400 for a form of many fields or files."""
    async with offered(fake, limits=Limits(fields=2)) as web:
        many = dict.fromkeys("abc", (None, "1"))
        assert (await web.http.post("/apps/paint", files=many)).status_code == 400


async def test_an_empty_field_is_no_value(fake: FakeComfy) -> None:
    """A file that nobody chose and a number that nobody wrote leave the workflow's own."""
    async with offered(fake) as web:
        answer = await web.http.post("/apps/paint", files={"color": (None, ""), "prefix": (None, "own")})
        assert answer.status_code == 202, answer.text


def test_limits_let_something_through() -> None:
    """Nothing and less than nothing are refused when they are written."""
    with pytest.raises(ValueError, match="open_jobs must be above 0"):
        Limits(open_jobs=0)
