"""What was uploaded is remembered, and doubted: a server may lose its files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from raw_server import RawRequest, raw_server, reply
from session_tools import JumpClock

from comfy_async import ComfySession, PromptRejectedError, Settings, Workflow
from comfy_async.testing import FakeComfy


def png(color: int = 0) -> bytes:
    """A small picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def mask(color: int = 0) -> bytes:
    """A small picture with an alpha channel."""
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (color, 0, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def flow(value: Any) -> Workflow:
    """A workflow that loads a picture and saves it."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "p"}},
    }
    return Workflow.load(graph).with_inputs({"1.image": value})


def empty(fake: FakeComfy) -> None:
    """Lose every input, as a container does that is replaced."""
    folder = fake.folders.of_type("input")
    assert folder is not None
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize("how", ["bytes", "path", "picture", "handle", "named", "map"])
async def test_a_server_that_loses_its_inputs(how: str, tmp_path: Path) -> None:
    """The file is sent again and the prompt once more, and the caller sees a result."""
    path = tmp_path / "face.png"
    path.write_bytes(png())
    async with FakeComfy() as fake, fake.session() as comfy:
        sources = {"bytes": png(), "path": path, "picture": Image.open(io.BytesIO(png())), "map": path}
        if how == "handle":
            sources[how] = await comfy.files.upload(png())
        elif how == "named":
            sources[how] = await comfy.files.upload(path, name="faces/anna.png")
        value = sources[how]
        assert len((await comfy.run(flow(value))).images) == 1
        for count in range(2, 4):
            empty(fake)
            if how == "map":
                async with comfy.map([flow(value)]) as finished:
                    results = [await job async for job in finished]
                assert len(results[0].images) == 1
            else:
                assert len((await comfy.run(flow(value))).images) == 1
            assert len(fake.books.uploads) == count
        await comfy.run(flow(value))
        assert len(fake.books.uploads) == 3


async def test_what_is_refused_for_another_reason(tmp_path: Path) -> None:
    """A file that is there and no picture is sent once, and the refusal is told."""
    async with FakeComfy() as fake, fake.session() as comfy:
        value = await comfy.files.upload(b"no picture", name="x.txt")
        with pytest.raises(PromptRejectedError):
            await comfy.submit(flow(value).with_inputs({"2.filename_prefix": ["1", 7]}))
        assert len(fake.books.uploads) == 1
        # A handle whose bytes can be read only once cannot be sent again.
        spent = await comfy.files.upload(io.BytesIO(png()))
        empty(fake)
        with pytest.raises(PromptRejectedError):
            await comfy.submit(flow(spent))


async def test_memory_is_doubted_after_a_while() -> None:
    """What was sent long ago is asked for before it counts; a mask is never sent as a picture."""
    clock = JumpClock()
    async with FakeComfy() as fake, fake.session(settings=Settings(clock=clock)) as comfy:
        first = await comfy.files.upload(png())
        clock.jump(60)
        assert await comfy.files.upload(png()) == first
        assert len(fake.books.uploads) == 1
        empty(fake)
        assert await comfy.files.upload(png()) == first
        assert len(fake.books.uploads) == 1
        clock.jump(60)
        assert await comfy.files.upload(png()) == first
        assert len(fake.books.uploads) == 2
        masked = await comfy.files.upload_mask(mask(1), first)
        assert masked.source is None


async def test_folders_within_names() -> None:
    """A name with a folder before it is a folder and a name, going in and coming out."""
    async with FakeComfy() as fake, fake.session() as comfy:
        sent = await comfy.files.upload(png(), name="faces/anna.png", subfolder="all")
        assert (sent.subfolder, sent.name) == ("all/faces", "anna.png")
        assert sent.name_for_input == "all/faces/anna.png"
        assert await comfy.files.read("all/faces/anna.png", type="input") == png()
        assert await comfy.files.read("faces/anna.png", subfolder="all/", type="input") == png()
        assert "filename=anna.png&subfolder=all%2Ffaces" in comfy.files.url("all/faces/anna.png")
        masked = await comfy.files.upload_mask(mask(), "all/faces/anna.png", name="m/x.png")
        assert (masked.subfolder, masked.name) == ("m", "x.png")


async def test_what_the_asset_system_says_of_an_upload() -> None:
    """Newer servers answer with an asset, which the handle keeps."""

    async def answer(request: RawRequest, writer: Any) -> None:
        if request.path.endswith("/upload/image"):
            body = b'{"name": "a.png", "subfolder": "", "type": "input", "asset": {"id": "i", "hash": "h"}}'
        else:
            body = b"{}"
        writer.write(reply(body, type_="application/json"))

    async with raw_server(answer) as server, ComfySession(server.url) as comfy:
        handle = await comfy.files.upload(png())
        assert handle.asset == {"id": "i", "hash": "h"}
        assert hash(handle) == hash(handle)
