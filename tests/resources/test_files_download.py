"""Downloads: whole or not at all, resumed where they broke, and nowhere but where they were sent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from raw_server import raw_server

from comfy_async import ComfyError, ComfySession, NotFoundError, SessionClosedError, Settings
from comfy_async._base.clock import Clock
from comfy_async.testing import FakeComfy

DATA = random.Random(7).randbytes(5_000_000)


class QuickClock(Clock):
    """Pauses take no time."""

    async def sleep(self, seconds: float) -> None:
        """Let others have a turn."""
        await asyncio.sleep(0)


def put(fake: FakeComfy, name: str, data: bytes) -> None:
    """Lay a file into the server's output folder."""
    folder = fake.folders.of_type("output")
    assert folder is not None
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def parts_in(folder: Path) -> list[Path]:
    """What unfinished files lie around."""
    return list(folder.rglob("*.part"))


async def test_read_open_save(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """The three ways to get a file all get its bytes."""
    put(fake, "a/film.bin", DATA)
    assert await comfy.files.read("film.bin", subfolder="a") == DATA
    chunks = [chunk async for chunk in comfy.files.open("film.bin", subfolder="a")]
    assert b"".join(chunks) == DATA
    assert len(chunks) > 5
    path = await comfy.files.save("film.bin", tmp_path / "deep" / "film.bin", subfolder="a")
    assert path.read_bytes() == DATA
    assert not parts_in(tmp_path)


async def test_leaving_a_stream_early(fake: FakeComfy, comfy: ComfySession) -> None:
    """Whoever has read enough just stops; the connection is let go, and the next request works."""
    put(fake, "film.bin", DATA)
    for _ in range(40):
        async for chunk in comfy.files.open("film.bin"):
            assert chunk
            break
    assert await comfy.files.read("film.bin") == DATA


async def test_save_replaces_at_the_end(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """The old file stays until the new one is whole."""
    put(fake, "x.bin", b"new")
    target = tmp_path / "x.bin"
    target.write_bytes(b"old")
    fake.faults.fail("GET", "/view", 404, count=1)
    with pytest.raises(NotFoundError):
        await comfy.files.save("x.bin", target)
    assert target.read_bytes() == b"old"
    await comfy.files.save("x.bin", target)
    assert target.read_bytes() == b"new"
    assert not parts_in(tmp_path)


async def test_missing_file(comfy: ComfySession, tmp_path: Path) -> None:
    """What the server has not is a NotFoundError, and leaves nothing behind."""
    for attempt in (comfy.files.read("no.png"), comfy.files.save("no.png", tmp_path / "no.png")):
        with pytest.raises(NotFoundError):
            await attempt
    assert not names_in(tmp_path)


async def test_preview_and_channel(fake: FakeComfy, comfy: ComfySession) -> None:
    """Thumbnails and single channels come as the server makes them."""
    buffer = io.BytesIO()
    Image.new("RGBA", (32, 32), (255, 0, 0, 99)).save(buffer, "PNG")
    put(fake, "x.png", buffer.getvalue())
    webp = Image.open(io.BytesIO(await comfy.files.read("x.png", preview="webp;50")))
    assert webp.format == "WEBP"
    rgb = Image.open(io.BytesIO(await comfy.files.read("x.png", channel="rgb")))
    assert rgb.mode == "RGB"
    assert "preview=jpeg" in comfy.files.url("x.png", preview="jpeg")


async def test_url_has_no_credentials(fake: FakeComfy) -> None:
    """A file's address can be shown: it holds neither key nor token."""
    async with ComfySession(fake.url.replace("http://", "http://u:s3cret@"), api_key="s3cret") as comfy:
        assert "s3cret" not in comfy.files.url("a b&c.png", subfolder="x/y")
        assert "filename=a+b%26c.png&subfolder=x%2Fy&type=output" in comfy.files.url(
            "a b&c.png", subfolder="x/y"
        )


async def test_progress_of_a_download(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """A download tells how far it is, the end included."""
    put(fake, "film.bin", DATA)
    transfer = comfy.files.save("film.bin", tmp_path / "film.bin")
    seen = [progress async for progress in transfer]
    assert (seen[-1].done, seen[-1].total, seen[-1].fraction) == (len(DATA), len(DATA), 1.0)
    assert (await transfer).read_bytes() == DATA


async def test_failed_download_raises_from_the_loop(comfy: ComfySession, tmp_path: Path) -> None:
    """Whoever iterates a transfer sees its error there."""
    transfer = comfy.files.save("no.bin", tmp_path / "no.bin")
    with pytest.raises(NotFoundError):
        async for _ in transfer:
            pass


async def test_cancelled_download_leaves_nothing(
    fake: FakeComfy, comfy: ComfySession, tmp_path: Path
) -> None:
    """A cancelled download takes its unfinished file along."""
    fake.faults.fail("GET", "/view", "hang")
    task = asyncio.create_task(comfy.files.save("x.bin", tmp_path / "x.bin"))
    await fake.wait_for(lambda books: books.count("GET", "/view"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not names_in(tmp_path)


async def test_after_the_session(fake: FakeComfy, tmp_path: Path) -> None:
    """Files are fetched while the session is open; later the error says so."""
    async with fake.session() as comfy:
        pass
    with pytest.raises(SessionClosedError):
        await comfy.files.save("x", tmp_path / "x")
    with pytest.raises(SessionClosedError):
        await comfy.files.read("x")


# A server whose connections break.


class Breaking:
    """Serves DATA, and breaks each answer after some bytes."""

    def __init__(self, *breaks: int, **quirks: Any) -> None:
        self.breaks = list(breaks)
        self.quirks = quirks
        self.data = DATA
        self.etag = '"one"'
        self.ranges: list[str] = []

    async def __call__(self, request: Any, writer: asyncio.StreamWriter) -> None:
        wanted = request.headers.get("range", "")
        self.ranges.append(wanted)
        start = int(wanted[6:-1]) if wanted and not self.quirks.get("no_ranges") else 0
        if self.quirks.get("changes") and len(self.ranges) == 2:
            self.data, self.etag = DATA[::-1], '"two"'
            if request.headers["if-range"] != self.etag and not self.quirks.get("ignores_if_range"):
                start = 0
        lines = [f"HTTP/1.1 {206 if start else 200} X", f"ETag: {self.etag}"]
        if start:
            claimed = start - 1 if self.quirks.get("wrong_place") else start
            lines.append(f"Content-Range: bytes {claimed}-{len(self.data) - 1}/{len(self.data)}")
        if self.quirks.get("chunked"):
            lines.append("Transfer-Encoding: chunked")
        else:
            lines.append(f"Content-Length: {len(self.data) - start}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        body = self.data[start:]
        if self.breaks:
            body = body[: self.breaks.pop(0)]
            end = b""
        else:
            end = b"0\r\n\r\n" if self.quirks.get("chunked") else b""
        if self.quirks.get("chunked") and body:
            body = f"{len(body):x}\r\n".encode() + body + b"\r\n"
        writer.write(body + end)


@pytest.fixture
async def breaking() -> AsyncIterator[Callable[..., Any]]:
    """Make such a server and a session with it."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(*breaks: int, **quirks: Any) -> tuple[Breaking, ComfySession]:
            answers = Breaking(*breaks, **quirks)
            server = await stack.enter_async_context(raw_server(answers))
            comfy = ComfySession(server.url, settings=Settings(clock=QuickClock()))
            return answers, await stack.enter_async_context(comfy)

        yield make


async def test_resumed_after_each_break(breaking: Callable[..., Any], tmp_path: Path) -> None:
    """A broken download goes on at the byte where it broke, as often as it takes."""
    server, comfy = await breaking(*[500_000] * 8)
    path = await comfy.files.save("film.bin", tmp_path / "film.bin")
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(DATA).digest()
    starts = [int(re.findall(r"\d+", wanted)[0]) for wanted in server.ranges[1:]]
    assert len(starts) == 8
    assert starts == sorted(starts)
    assert starts[-1] > 3_000_000
    assert not parts_in(tmp_path)


@pytest.mark.parametrize(
    "quirks",
    [
        {"no_ranges": True},
        {"changes": True},
        {"changes": True, "ignores_if_range": True},
        {"wrong_place": True},
        {"chunked": True},
    ],
)
async def test_never_joined_wrongly(
    breaking: Callable[..., Any], tmp_path: Path, quirks: dict[str, Any]
) -> None:
    """Whatever the server makes of a range, the file is one state of the original and whole."""
    server, comfy = await breaking(900_000, **quirks)
    if quirks.get("wrong_place"):
        server.breaks = [900_000, 0]
    path = await comfy.files.save("film.bin", tmp_path / "film.bin")
    assert path.read_bytes() == server.data


async def test_gives_up_without_progress(breaking: Callable[..., Any], tmp_path: Path) -> None:
    """A server that sends nothing any more is not asked for ever."""
    server, comfy = await breaking(1000, *[0] * 100)
    with pytest.raises(ComfyError):
        await comfy.files.save("film.bin", tmp_path / "film.bin")
    assert len(server.ranges) < 12
    assert not names_in(tmp_path)


async def test_short_read_is_an_error(breaking: Callable[..., Any]) -> None:
    """A body that ends too early is tried again, and never returned as if it were whole."""
    server, comfy = await breaking(1000)
    assert await comfy.files.read("film.bin") == DATA
    server.breaks = [1000] * 100
    with pytest.raises(ComfyError):
        await comfy.files.read("film.bin")
