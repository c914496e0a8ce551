"""Files that go to S3, as moto plays it; runs after `pip install s3fs 'moto[s3,server]'`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from test_storing import Reader, result_of

moto_server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

KEY = "AKIA-test-key"


@pytest.fixture
def s3() -> Iterator[dict[str, Any]]:
    """A server with one bucket, and the options that lead there."""
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": KEY, "secret": "s3cret", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    try:
        httpx.post(f"http://{host}:{port}/moto-api/reset", trust_env=False)
        s3fs.S3FileSystem(**options).mkdir("pictures")
        yield options
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


def uploads(options: dict[str, Any]) -> list[Any]:
    """Return the uploads that were begun and neither ended nor broken off."""
    return list(s3fs.S3FileSystem(**options).list_multipart_uploads("pictures") or ())


async def test_saved_and_kept(s3: dict[str, Any]) -> None:
    """Small and large, once more, another content, and by overwriting."""
    for count in (0, 1, 5 << 20):
        name = f"{count}.png"
        result = result_of(name, reader=Reader(b"abc", count=count))
        for _ in range(2):
            assert await result.save("s3://pictures/out", storage_options=s3) == [f"s3://pictures/out/{name}"]
        fs = s3fs.S3FileSystem(**s3, skip_instance_cache=True)
        assert await asyncio.to_thread(fs.cat_file, f"pictures/out/{name}") == b"abc" * count
    other = result_of("1.png", reader=Reader(b"xyz"))
    assert await other.save("s3://pictures/out", storage_options=s3) == ["s3://pictures/out/1 (1).png"]
    assert await other.save("s3://pictures/out", storage_options=s3, overwrite=True) == [
        "s3://pictures/out/1.png"
    ]
    assert await asyncio.to_thread(uploads, s3) == []


async def test_another_is_faster(s3: dict[str, Any]) -> None:
    """S3 takes a name once (If-None-Match), so two processes get two files."""
    fs = s3fs.S3FileSystem(**s3, skip_instance_cache=True)

    class Faster(Reader):
        async def open(self, filename: str, **place: str | None) -> Any:
            async for chunk in super().open(filename):
                yield chunk
            if self.opened == 1:
                await asyncio.to_thread(fs.pipe_file, "pictures/out/a.png", b"theirs")

    result = result_of("a.png", reader=Faster())
    assert await result.save("s3://pictures/out", storage_options=s3) == ["s3://pictures/out/a (1).png"]
    assert await asyncio.to_thread(fs.cat_file, "pictures/out/a.png") == b"theirs"
    assert await asyncio.to_thread(uploads, s3) == []


async def test_cancelled(s3: dict[str, Any]) -> None:
    """In the middle of a large file: no file, and no parts that cost money for ever."""
    sent = asyncio.Event()

    class Endless(Reader):
        async def open(self, filename: str, **place: str | None) -> Any:
            for number in range(10_000):
                yield b"x" * (1 << 20)
                if number == 20:
                    sent.set()

    result = result_of("a.png", reader=Endless())
    saving = asyncio.create_task(result.save("s3://pictures/out", storage_options=s3))
    await sent.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    fs = s3fs.S3FileSystem(**s3, skip_instance_cache=True)
    assert await asyncio.to_thread(fs.find, "pictures") == []
    assert await asyncio.to_thread(uploads, s3) == []


async def test_refused(s3: dict[str, Any]) -> None:
    """A bucket that is not there is not made, and nothing is fetched twice; no key is in what is said."""
    with pytest.raises(OSError, match="s3://nowhere/out/a.png") as caught:
        await result_of("a.png").save("s3://nowhere/out", storage_options=s3)
    assert KEY not in str(caught.value)
    fs = s3fs.S3FileSystem(**s3, skip_instance_cache=True)
    with contextlib.suppress(FileNotFoundError):
        assert await asyncio.to_thread(fs.ls, "") == ["pictures"]
