"""Files of API v2: assets in, assets out, and a key that never goes to another host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from session_tools import fast, picture

from comfy_async import ComfySession, NotFoundError, UnsupportedError, Workflow
from comfy_async.testing import ApiV2, FakeComfy

KEY = "comfyui-k3y-of-v2"
PNG = b"\x89PNG\r\n\x1a\n what a picture"
MASK = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06 with alpha"
LOAD = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}, "_meta": {"title": "Face"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "y"}},
}


@pytest.fixture(params=["served", "redirect", "signed"])
async def fake(request: pytest.FixtureRequest) -> AsyncIterator[FakeComfy]:
    """A server that keeps its files here, or elsewhere."""
    async with FakeComfy(dialect="api-v2", api_v2=ApiV2(links=request.param), api_key=KEY) as server:
        yield server


@pytest.fixture
async def comfy(fake: FakeComfy) -> AsyncIterator[ComfySession]:
    """A session whose pauses last a tenth."""
    async with fast(fake, api_key=KEY, dialect="api-v2") as session:
        yield session


def leaks(fake: FakeComfy) -> list[Any]:
    """Requests to the other host that carried a key."""
    return [] if fake.storage is None else list(fake.storage.leaks)


async def test_out(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """Files are read, streamed and saved, with what the server says of them; the key stays at home."""
    (file,) = (await comfy.run(picture())).files
    data = await file.read()
    assert data.startswith(b"\x89PNG")
    assert (file.size, file.mime, file.kind) == (len(data), "image/png", "image")
    assert file.hash is None or file.hash.startswith("blake3:")
    assert b"".join([chunk async for chunk in file.stream()]) == data
    path = await file.save(tmp_path / "a.png")
    assert path.read_bytes() == data
    assert leaks(fake) == []
    assert KEY not in str(file.url)


async def test_links_that_have_expired(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """A new link is asked for, however old the result is."""
    (file,) = (await comfy.run(picture())).files
    first = await file.read()
    fake.faults.expire_links()
    assert await file.read() == first
    fake.faults.expire_links()
    assert (await file.save(tmp_path / "a.png")).read_bytes() == first
    assert leaks(fake) == []


async def test_a_new_link_is_kept(fake: FakeComfy, comfy: ComfySession) -> None:
    """Until it has expired too: no read asks for another one."""
    (file,) = (await comfy.run(picture())).files
    fake.faults.expire_links()
    renewed = ("GET", "/api/v2/assets/{id}")
    counts = []
    for _ in range(3):
        await file.read()
        counts.append(fake.books.requests[renewed])
    assert counts[0] == counts[-1] <= 1


async def test_in(fake: FakeComfy, comfy: ComfySession) -> None:
    """A file becomes an asset, and the workflow refers to it."""
    made = await (await comfy.run(picture())).files[0].read()
    result = await comfy.run(Workflow.load(LOAD).with_inputs({"1.image": made}))
    assert result.images
    face = await comfy.files.upload(PNG, name="face.png")
    reference = face.reference
    assert reference is not None
    assert (reference["__type"], reference["info"]["id"]) == ("core/ASSET", face.asset_id)
    assert Workflow.load(LOAD).with_inputs({"1.image": face}).to_api()["1"]["inputs"]["image"] == reference


async def test_bytes_that_the_server_has(fake: FakeComfy, comfy: ComfySession) -> None:
    """Where blake3 is installed, what the server has is not sent again, by another session neither."""
    pytest.importorskip("blake3")
    await comfy.files.upload(PNG, name="face.png")
    async with fast(fake, api_key=KEY, dialect="api-v2") as other:
        again = await other.files.upload(PNG, name="other.png")
    posts = [path for method, path, _ in fake.books.log if method == "POST" and path.endswith("/assets")]
    assert len(posts) == 1
    assert again.asset_id


async def test_what_there_is_not(comfy: ComfySession) -> None:
    """Masks, folders other than inputs, names and smaller forms: said before anything is sent."""
    face = await comfy.files.upload(PNG, name="face.png")
    with pytest.raises(UnsupportedError, match="mask"):
        await comfy.files.upload_mask(MASK, face)
    with pytest.raises(UnsupportedError, match="temp"):
        await comfy.files.upload(PNG + b"!", type="temp")
    with pytest.raises(UnsupportedError, match="by its name"):
        await comfy.files.read("face.png")
    with pytest.raises(UnsupportedError, match="smaller"):
        await comfy.files.read("face.png", asset=face.asset_id, preview="webp")


async def test_gone(comfy: ComfySession) -> None:
    """An asset that is not there."""
    with pytest.raises(NotFoundError):
        await comfy.files.read("x.png", asset="9f8a1c0d-2b3e-4f56-8a7b-1c2d3e4f5a6b")
