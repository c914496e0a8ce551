"""Files to and from a real server: COMFY_LIVE_URL, or FakeComfy where there is none."""

from __future__ import annotations

import asyncio
import io
import os
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import route_tour
from PIL import Image

from comfy_async import ComfySession, Settings, UploadTooLargeError, Workflow
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy

GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}, "_meta": {"title": "Face"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "tour/live"}},
}


URL = os.environ.get("COMFY_LIVE_URL")


@pytest.fixture(params=["live"] if URL else ["local", "cloud"])
async def comfy(request: pytest.FixtureRequest) -> AsyncIterator[ComfySession]:
    """A session with the real server, or with stand-ins for a local one and for the cloud."""
    if URL:
        async with ComfySession(URL, headers=await route_tour.user_headers(URL)) as session:
            yield session
        return
    async with FakeComfy(mode=request.param) as fake, fake.session() as session:
        yield session


def local_only(comfy: ComfySession) -> None:
    """Leave a test out where it has no meaning."""
    if comfy.server.cloud:
        pytest.skip("the cloud names files by their content, and serves them from elsewhere")


async def test_picture_through_the_server(comfy: ComfySession, tmp_path: Path) -> None:
    """A numpy picture among the inputs comes out of the workflow as it went in."""
    pixels = np.random.default_rng().integers(0, 256, (24, 32, 3), dtype=np.uint8)
    result = await comfy.run(Workflow.load(GRAPH).with_inputs({"Face.image": pixels}))
    (path,) = await result.save(tmp_path)
    assert path.is_relative_to(tmp_path / "tour")
    assert np.array_equal(np.asarray(Image.open(path).convert("RGB")), pixels)


async def test_names_of_every_alphabet(comfy: ComfySession) -> None:
    """What was uploaded under an odd name is found under the name that came back."""
    data = uuid.uuid4().bytes
    for name in ("Grüße 写真.bin", "a b+c&d=e%20.bin", "quote'.bin"):
        file = await comfy.files.upload(data, name=f"{uuid.uuid4()} {name}", subfolder="tour/ü")
        assert await comfy.files.read(file.name, subfolder=file.subfolder, type=file.type) == data


async def test_taken_names(comfy: ComfySession) -> None:
    """The same content keeps its name, another one gets a new name."""
    local_only(comfy)
    name = f"{uuid.uuid4()}.bin"
    first = await comfy.files.upload(b"one", name=name, subfolder="tour")
    other = await comfy.files.upload(b"two", name=name, subfolder="tour")
    assert (first.name, other.name) == (name, name.replace(".bin", " (1).bin"))
    replaced = await comfy.files.upload(b"three", name=name, subfolder="tour", overwrite=True)
    assert replaced.name == name
    assert await comfy.files.read(name, subfolder="tour", type="input") == b"three"


async def test_mask_and_preview(comfy: ComfySession) -> None:
    """A mask is joined with its picture; thumbnails and channels are made by the server."""
    local_only(comfy)
    face = await comfy.files.upload(Image.new("RGB", (64, 48), "red"), subfolder="tour")
    mask = Image.new("RGBA", (64, 48), (0, 0, 0, 77))
    masked = await comfy.files.upload_mask(mask, face, name=f"{uuid.uuid4()}.png", subfolder="tour")
    where = {"subfolder": masked.subfolder, "type": masked.type}
    picture = Image.open(io.BytesIO(await comfy.files.read(masked.name, **where)))
    assert picture.convert("RGBA").getpixel((5, 5)) == (255, 0, 0, 77)
    small = Image.open(io.BytesIO(await comfy.files.read(masked.name, preview="jpeg;50", **where)))
    assert small.format == "JPEG"
    rgb = Image.open(io.BytesIO(await comfy.files.read(masked.name, channel="rgb", **where)))
    assert rgb.mode == "RGB"


async def test_resumed_download(comfy: ComfySession, tmp_path: Path) -> None:
    """A download that breaks goes on by Range, on aiohttp's own file answers too."""
    local_only(comfy)
    data = random.randbytes(900_000)
    file = await comfy.files.upload(data, subfolder="tour")
    broken = await _Breaking(comfy).save(file.name, tmp_path / "x.bin", subfolder="tour", type="input")
    assert broken.read_bytes() == data


class _Breaking:
    """Breaks the first answer to a download in the middle, by a relay on a port of its own."""

    def __init__(self, comfy: ComfySession) -> None:
        self._scheme, self._host, self._port = engine_of(comfy).http.address.origin
        self._left = 300_000

    async def save(self, name: str, path: Path, *, subfolder: str, type: str) -> Path:
        """Download through the relay."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, ComfySession(f"http://127.0.0.1:{port}", settings=Settings()) as comfy:
            return await comfy.files.save(name, path, subfolder=subfolder, type=type)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        try:
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer, limited=True))
        except ConnectionError:
            pass
        finally:
            for one in (writer, far_writer):
                one.transport.abort()

    async def _copy(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, limited: bool = False
    ) -> None:
        while chunk := await source.read(1 << 16):
            if limited and self._left > 0:
                self._left -= len(chunk)
                if self._left <= 0:
                    target.write(chunk)
                    await target.drain()
                    raise ConnectionError("as planned")
            target.write(chunk)
            await target.drain()
        raise ConnectionError("ended")


async def test_too_large(comfy: ComfySession) -> None:
    """A server with a small limit says so before a byte is sent, and says so itself when asked."""
    features = await comfy.system.features()
    limit = int(features["max_upload_size"])
    if limit > 10_000_000:
        pytest.skip("this server takes large uploads")
    with pytest.raises(UploadTooLargeError) as caught:
        await comfy.files.upload(bytes(limit + 1))
    assert (caught.value.limit, caught.value.size) == (limit, limit + 1)
    engine_of(comfy).api.learn({**features, "max_upload_size": 1 << 40})
    with pytest.raises(UploadTooLargeError, match="max-upload-size") as said:
        await comfy.files.upload(random.randbytes(limit * 3))
    assert said.value.status == 413
