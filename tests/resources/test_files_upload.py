"""Uploads: whatever people hold, each content once, flat in memory."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from comfy_async import ComfySession, ResponseError, UploadTooLargeError, Workflow
from comfy_async._resources import _headers, _sources, _uploads
from comfy_async._resources._pictures import png_of_array
from comfy_async._resources._transfer import Meter, Transfer
from comfy_async.testing import FakeComfy

GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}, "_meta": {"title": "Face"}},
    "2": {"class_type": "LoadImage", "inputs": {"image": "x.png"}, "_meta": {"title": "Hat"}},
    "3": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["2", 0]}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "both"}},
}


def png(colour: str = "red", size: int = 8) -> bytes:
    """A small picture as PNG bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def folder_of(fake: FakeComfy, kind: str) -> Path:
    """Return one of the server's folders."""
    folder = fake.folders.of_type(kind)
    assert folder is not None
    return folder


def picture_of(fake: FakeComfy, name: str) -> Image.Image:
    """Open a picture among the server's inputs."""
    image = Image.open(folder_of(fake, "input") / name)
    image.load()
    return image


class _Once(io.RawIOBase):
    """A stream that cannot go back, such as a pipe."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._inner.read(size)


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "bytearray", "file", "pipe", "pillow", "numpy"])
async def test_every_kind_of_source(kind: str, fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """Everything that holds a picture can be uploaded and arrives as it was."""
    path = tmp_path / "a face.png"
    path.write_bytes(png())
    sources: dict[str, Any] = {
        "path": path,
        "str": str(path),
        "bytes": png(),
        "bytearray": bytearray(png()),
        "file": io.BytesIO(png()),
        "pipe": _Once(png()),
        "pillow": Image.new("RGB", (8, 8), "red"),
        "numpy": np.tile(np.array([255, 0, 0], dtype=np.uint8), (8, 8, 1)),
    }
    face = await comfy.files.upload(sources[kind])
    assert face.name.endswith(".png")
    assert face.type == "input"
    assert picture_of(fake, face.name).convert("RGB").getpixel((3, 3)) == (255, 0, 0)
    assert face.name.startswith("a face-") == (kind in {"path", "str"})


async def test_same_content_is_sent_once(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """The name is made from the content; a second upload of it sends nothing."""
    path = tmp_path / "face.png"
    path.write_bytes(png())
    first, second = await asyncio.gather(comfy.files.upload(path), comfy.files.upload(path))
    third = await comfy.files.upload(io.BytesIO(png()))
    assert first == second == third
    assert len(fake.books.uploads) == 1
    async with fake.session() as other:
        assert await other.files.upload(path) == first
    assert [upload.written for upload in fake.books.uploads] == [True, False]


async def test_overwrite_sends_again(fake: FakeComfy, comfy: ComfySession) -> None:
    """`overwrite=True` replaces what is there, although the content was sent before."""
    await comfy.files.upload(png(), name="a.png")
    (folder_of(fake, "input") / "a.png").write_bytes(b"spoilt")
    again = await comfy.files.upload(png(), name="a.png", overwrite=True)
    assert again.name == "a.png"
    assert picture_of(fake, "a.png").size == (8, 8)


async def test_servers_name_is_used(fake: FakeComfy, comfy: ComfySession) -> None:
    """When the name is taken by another content, the name that the server says is the one."""
    await comfy.files.upload(png("red"), name="a b.png")
    other = await comfy.files.upload(png("blue"), name="a b.png")
    assert other.name == "a b (1).png"
    assert picture_of(fake, other.name_for_input).getpixel((0, 0)) == (0, 0, 255)


async def test_folders_and_types(fake: FakeComfy, comfy: ComfySession) -> None:
    """Subfolder and type stand in the input's value as LoadImage wants them."""
    face = await comfy.files.upload(png(), name="f.png", subfolder="people/anna")
    temp = await comfy.files.upload(png(), name="f.png", type="temp")
    assert face.name_for_input == str(face) == "people/anna/f.png"
    assert temp.name_for_input == "f.png [temp]"
    assert "f.png" in repr(temp)


async def test_odd_names_arrive(fake: FakeComfy, comfy: ComfySession) -> None:
    """Quotes and other alphabets in a name do no harm to the request."""
    face = await comfy.files.upload(png(), name="Grüße 写真.png")
    assert face.name == "Grüße 写真.png"
    quoted = await comfy.files.upload(png(), name='a"b\r\nX-Evil: 1.png')
    assert "\n" not in quoted.name
    assert len(fake.books.uploads) == 2


async def test_inputs_of_a_workflow(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """Pictures among the input values are uploaded at submit, an object used twice once."""
    path = tmp_path / "face.png"
    path.write_bytes(png("lime"))
    workflow = Workflow.load(GRAPH).with_inputs({"Face.image": path, "Hat.image": path})
    result = await comfy.run(workflow)
    assert len(fake.books.uploads) == 1
    assert len(result.images) == 2
    picture = await result.images[0].image()
    assert picture.convert("RGB").getpixel((0, 0)) == (0, 255, 0)


async def test_upload_inputs_keeps_the_original(comfy: ComfySession) -> None:
    """The workflow with its handles is another one; its handles know what they were made of."""
    image = Image.new("RGB", (4, 4))
    workflow = Workflow.load(GRAPH).with_inputs({"Face.image": image})
    sent = await comfy.files.upload_inputs(workflow)
    assert not sent.uploads()
    assert workflow.uploads()
    assert sent.handles()["1", "image"].source is image


async def test_failing_upload_ends_the_others(comfy: ComfySession, tmp_path: Path) -> None:
    """A file that is missing comes out as the FileNotFoundError that it is, with its node and input."""
    inputs = {"Face.image": tmp_path / "no.png", "Hat.image": png()}
    with pytest.raises(FileNotFoundError) as caught:
        await comfy.run(Workflow.load(GRAPH).with_inputs(inputs))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(tmp_path / "no.png"))
    assert "node 1 \"Face\" (LoadImage), input 'image': No such file" in str(caught.value)


async def test_what_cannot_be_uploaded_names_its_place(tmp_path: Path) -> None:
    """An array that is no picture, a text file, and what is too large, too."""
    async with FakeComfy(max_upload_size=1000) as fake, fake.session() as comfy:
        for value, error, says in (
            (np.zeros((2, 2, 7)), ValueError, "is no picture"),
            (io.StringIO("text"), ValueError, "opened as text"),
            (tmp_path, IsADirectoryError, "Is a directory"),
            (bytes(1001), UploadTooLargeError, "1,001 bytes"),
        ):
            with pytest.raises(error, match=rf"node 2 \"Hat\" \(LoadImage\), input 'image': .*{says}"):
                await comfy.run(Workflow.load(GRAPH).with_inputs({"Hat.image": value, "Face.image": png()}))


async def test_mask(fake: FakeComfy, comfy: ComfySession) -> None:
    """A mask is joined with the picture that it belongs to."""
    face = await comfy.files.upload(png("red"), name="face.png")
    mask = Image.new("RGBA", (8, 8), (0, 0, 0, 77))
    masked = await comfy.files.upload_mask(mask, face, name="masked.png")
    assert picture_of(fake, masked.name).getpixel((2, 2)) == (255, 0, 0, 77)
    by_name = await comfy.files.upload_mask(mask, "face.png", name="m2.png")
    assert picture_of(fake, by_name.name).getpixel((2, 2)) == (255, 0, 0, 77)
    (folder_of(fake, "output") / "out.png").write_bytes(png("blue"))
    by_mapping = await comfy.files.upload_mask(
        mask, {"filename": "out.png", "subfolder": "", "type": "output"}, name="m3.png", overwrite=True
    )
    assert picture_of(fake, by_mapping.name).getpixel((2, 2)) == (0, 0, 255, 77)


def stored(image: Image.Image, kind: str, **how: Any) -> bytes:
    """A picture as the bytes of its file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


GREY = Image.new("L", (8, 8), 255)
CLEAR = Image.new("RGBA", (8, 8), (0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (GREY, "a picture of mode L has none.*\\n.*\\npicture.putalpha"),
        (Image.new("RGB", (8, 8)), "a picture of mode RGB has none"),
        (np.full((8, 8), 255, dtype=np.uint8), r"an array of shape \(8, 8\) has none.*\n.*\n.*np\.dstack"),
        (np.ones((8, 8), dtype=bool), r"an array of shape \(8, 8\) has none"),
        (stored(GREY, "PNG"), "this picture has none"),
        (io.BytesIO(stored(GREY, "PNG")), "this picture has none"),
        (stored(GREY, "JPEG"), "this picture has none"),
        (stored(GREY, "WEBP"), "this picture has none"),
        (b"no picture", "cannot be told whether this picture has an alpha channel: send a mask as PNG"),
        (Path("mask.png"), "the file mask.png has none"),
        ("mask.png", "the file mask.png has none"),
    ],
)
async def test_what_masks_nothing(
    fake: FakeComfy,
    comfy: ComfySession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mask: Any,
    says: str,
) -> None:
    """A picture without alpha would mask nothing: it is refused, with the lines that make one that does."""
    (tmp_path / "mask.png").write_bytes(stored(GREY, "PNG"))
    monkeypatch.chdir(tmp_path)
    face = await comfy.files.upload(png())
    with pytest.raises(ValueError, match=f"(?s){says}"):
        await comfy.files.upload_mask(mask, face)
    assert fake.books.count("POST", "/upload/mask") == 0


async def test_the_lines_that_make_a_mask(fake: FakeComfy, comfy: ComfySession) -> None:
    """What the error says makes the white of a grey picture, or of an array, the part that is repainted."""
    face = await comfy.files.upload(png())
    half = Image.new("L", (8, 8), 0)
    half.paste(255, (0, 0, 4, 8))
    for mask in (half, np.asarray(half)):
        with pytest.raises(ValueError, match="has none") as caught:
            await comfy.files.upload_mask(mask, face)
        names: dict[str, Any] = {"mask": mask, "np": np, "Image": Image, "ImageOps": ImageOps}
        exec(str(caught.value).partition("\n")[2], names)
        made = picture_of(fake, (await comfy.files.upload_mask(names["picture"], face)).name)
        assert (made.getpixel((1, 1)), made.getpixel((6, 1))) == ((255, 0, 0, 0), (255, 0, 0, 255))


@pytest.mark.parametrize(
    "mask",
    [
        CLEAR,
        CLEAR.convert("LA"),
        np.zeros((8, 8, 4), dtype=np.uint8),
        np.zeros((8, 8, 2)),
        stored(CLEAR, "PNG"),
        stored(CLEAR, "WEBP", lossless=True),
        stored(Image.new("P", (8, 8)), "PNG", transparency=0),
        stored(Image.new("L", (8, 8)), "PNG", transparency=0),
        stored(CLEAR, "GIF"),
    ],
)
async def test_every_form_of_alpha_masks(fake: FakeComfy, comfy: ComfySession, mask: Any) -> None:
    """Alpha channels and transparent colours count, as the server reads them."""
    face = await comfy.files.upload(png())
    masked = await comfy.files.upload_mask(mask, face)
    assert picture_of(fake, masked.name).getpixel((2, 2)) == (255, 0, 0, 0)


@pytest.mark.parametrize("original", [png(), stored(GREY, "JPEG"), GREY])
async def test_a_mask_of_another_size(fake: FakeComfy, comfy: ComfySession, original: Any) -> None:
    """The server would answer 500; of an original that is not known here only the server knows the size."""
    face = await comfy.files.upload(original, name="face.png")
    assert face.pixels == (8, 8)
    with pytest.raises(ValueError, match="the mask has 9 x 4 pixels and its picture 8 x 8"):
        await comfy.files.upload_mask(Image.new("RGBA", (9, 4)), face)
    assert fake.books.count("POST", "/upload/mask") == 0
    with pytest.raises(ResponseError, match="500"):
        await comfy.files.upload_mask(Image.new("RGBA", (9, 4)), "face.png")


async def test_a_mask_that_is_opaque_is_told(comfy: ComfySession, caplog: pytest.LogCaptureFixture) -> None:
    """A white picture that was made RGBA has alpha, and still masks nothing."""
    face = await comfy.files.upload(png())
    await comfy.files.upload_mask(GREY.convert("RGBA"), face)
    assert "masks nothing: the alpha channel of a picture of mode RGBA is 255 everywhere" in caplog.text


def test_a_header_of_many_parts_is_given_up() -> None:
    """Files that are made to be read for ever are not."""
    chunks = b"\0\0\0\0none\0\0\0\0" * 5000
    head = stored(GREY, "PNG")[:33]
    assert _headers.has_alpha(io.BytesIO(head + chunks + b"\0\0\0\0tRNS")) is False
    assert _headers.pixels_of(io.BytesIO(b"\xff\xd8\xff" + b"\xff" * 5000)) is None
    assert _headers.pixels_of(io.BytesIO(b"\xff\xd8\xff\xe0\0\x02" + b"no frame at all")) is None


async def test_too_large_is_known_before_sending() -> None:
    """The server's limit is asked for once, and nothing is sent beyond it."""
    async with FakeComfy(max_upload_size=1000) as fake, fake.session() as comfy:
        for _ in range(2):
            with pytest.raises(UploadTooLargeError, match="1,001 bytes") as caught:
                await comfy.files.upload(bytes(1001))
        assert (caught.value.limit, caught.value.size) == (1000, 1001)
        assert "--max-upload-size" in str(caught.value)
        assert fake.books.count("POST", "/upload/image") == 0
        assert fake.books.count("GET", "/features") == 1


async def test_413_of_comfyui_and_of_a_proxy(fake: FakeComfy, comfy: ComfySession) -> None:
    """A server that says 413 by itself, and a proxy that does, are told apart."""
    fake.faults.fail("POST", "/upload/image", 413, count=1)
    with pytest.raises(UploadTooLargeError, match="max-upload-size") as caught:
        await comfy.files.upload(bytes(10))
    assert caught.value.size == 10
    fake.faults.fail("POST", "/upload/image", 413, count=1, headers={"Server": "nginx/1.25"})
    with pytest.raises(UploadTooLargeError, match="proxy"):
        await comfy.files.upload(bytes(10))


async def test_session_keeps_no_pictures(comfy: ComfySession, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent is remembered, by its name and up to a number; the picture itself is not kept."""
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    gone = weakref.ref(image)
    first = await comfy.files.upload(image)
    assert first.source is image
    del image, first
    gc.collect()
    assert gone() is None
    monkeypatch.setattr(_uploads, "_REMEMBERED", 3)
    for n in range(6):
        await comfy.files.upload(bytes([n]))
    assert len(comfy.files._uploader._sent) <= 4
    assert len(comfy.files._uploader._sending) == 0


async def test_failed_upload_is_not_remembered(fake: FakeComfy, comfy: ComfySession) -> None:
    """After a failure the same content is sent anew."""
    fake.faults.fail("POST", "/upload/image", 500, count=1)
    with pytest.raises(Exception, match="500"):
        await comfy.files.upload(png())
    assert (await comfy.files.upload(png())).name
    assert len(fake.books.uploads) == 1


async def test_broken_upload_is_sent_again(fake: FakeComfy, comfy: ComfySession) -> None:
    """When the answer is lost the file is sent anew, and is no second file on the server."""
    fake.faults.fail("POST", "/upload/image", "reset", count=1, after_effect=True)
    face = await comfy.files.upload(png())
    assert [upload.name for upload in fake.books.uploads] == [face.name] * 2
    assert [upload.written for upload in fake.books.uploads] == [True, False]
    fake.faults.fail("POST", "/upload/mask", 503, count=1)
    with pytest.raises(ResponseError, match="503"):
        await comfy.files.upload_mask(Image.new("RGBA", (8, 8)), face)


async def test_cancelled_upload_leaves_the_other_alone(fake: FakeComfy, comfy: ComfySession) -> None:
    """Two uploads of one content wait for each other; when one is cancelled the other sends."""
    await comfy.nodes.catalog()
    fake.faults.fail("POST", "/upload/image", "hang", count=1)
    first = asyncio.create_task(comfy.files.upload(png()))
    await fake.wait_for(lambda books: books.count("POST", "/upload/image"))
    second = asyncio.create_task(comfy.files.upload(png()))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second).name


class _Slow(_Once):
    """A pipe that says nothing until the test lets it."""

    def __init__(self) -> None:
        super().__init__(b"late")
        self.asked, self.go_on = threading.Event(), threading.Event()

    def read(self, size: int = -1, /) -> bytes:
        if size:
            self.asked.set()
            assert self.go_on.wait(10)
        return super().read(size)


@pytest.mark.parametrize("route", ["files", "assets"])
async def test_cancelled_while_a_pipe_is_silent(
    comfy: ComfySession, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    """The caller leaves at once, and the copy is closed by the thread when that is done."""
    closed = threading.Event()
    close = _sources.Payload.close

    def noted(payload: _sources.Payload) -> None:
        close(payload)
        closed.set()

    monkeypatch.setattr(_sources.Payload, "close", noted)
    pipe = _Slow()
    sending = asyncio.ensure_future(getattr(comfy, route).upload(pipe))
    assert await asyncio.to_thread(pipe.asked.wait, 10)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not closed.is_set()
    pipe.go_on.set()
    assert await asyncio.to_thread(closed.wait, 10)


async def test_cancelled_when_the_copy_is_just_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has ended, and its caller does not know it yet: the copy is closed all the same."""
    closed: list[int] = []
    close = _sources.Payload.close

    def noted(payload: _sources.Payload) -> None:
        close(payload)
        closed.append(payload.size)

    async def ended(work: Callable[[], None]) -> None:
        work()
        raise asyncio.CancelledError

    monkeypatch.setattr(_sources.Payload, "close", noted)
    monkeypatch.setattr(asyncio, "to_thread", ended)
    with pytest.raises(asyncio.CancelledError):
        await _sources.prepared(_Once(b"data"))
    assert closed == [4]


async def test_progress_of_an_upload(comfy: ComfySession) -> None:
    """A transfer can be iterated: its progress rises to the whole, then it holds the result."""
    transfer = comfy.files.upload(bytes(3_000_000), name="zeros.bin")
    seen = [progress async for progress in transfer]
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].fraction == 1.0
    assert str(seen[-1]) == "zeros.bin: 100 %, 3.0 of 3.0 MB"
    assert (await transfer).name == (await transfer).name == "zeros.bin"
    assert "zeros.bin" in repr(transfer)


async def test_cancelled_progress_leaves_no_task() -> None:
    """Whoever is cancelled while waiting for progress leaves nothing that waits on."""
    started = asyncio.Event()

    async def work(_meter: Meter) -> None:
        started.set()
        await asyncio.Event().wait()

    async def watch() -> None:
        async for _ in Transfer(work, name="x"):
            pass

    before = asyncio.all_tasks()
    watching = asyncio.create_task(watch())
    await started.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_leaving_the_progress_ends_the_transfer(fake: FakeComfy, comfy: ComfySession) -> None:
    """Whoever leaves the loop early wants no transfer any more."""
    fake.faults.fail("POST", "/upload/image", "hang")
    transfer = comfy.files.upload(bytes(3_000_000))
    steps = aiter(transfer)
    await anext(steps)
    await steps.aclose()  # type: ignore[attr-defined]
    with pytest.raises(asyncio.CancelledError):
        await transfer


async def test_transfer_is_a_coroutine(comfy: ComfySession) -> None:
    """Task groups and `create_task` take a transfer like any coroutine."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(comfy.files.upload(bytes([n]))) for n in range(3)]
    assert len({task.result().name for task in tasks}) == 3
    unused = comfy.files.upload(b"never sent")
    unused.close()


async def test_uploads_at_once_are_limited(fake: FakeComfy) -> None:
    """No more than `Settings.transfers` uploads run at the same time."""
    from comfy_async import Settings

    async with fake.session(settings=Settings(transfers=2)) as comfy:
        await comfy.system.features()
        fake.faults.delay("POST", "/upload/image", 0.05)
        tasks = [asyncio.ensure_future(comfy.files.upload(bytes([n]))) for n in range(6)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert len(fake.books.uploads) <= 2
        await asyncio.gather(*tasks)


async def test_large_files_are_told_by_samples(
    comfy: ComfySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a size not every byte is read for the name, and the session's memory goes by the file."""
    monkeypatch.setattr(_sources, "SAMPLED_FROM", 1 << 20)
    path = tmp_path / "film.bin"
    data = bytearray(40 << 20)
    path.write_bytes(data)
    first = _sources.prepare(path)
    data[(2 << 20) + 77] = 1
    other = tmp_path / "other.bin"
    other.write_bytes(data)
    second = _sources.prepare(other)
    assert first.digest == second.digest
    assert first.key != second.key
    assert _sources.prepare(path).key == first.key
    assert _sources.prepare(bytes(data)).key != _sources.prepare(bytes(data)).key


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (3.5, TypeError),
        (io.StringIO("text"), ValueError),
        (np.zeros((2, 2, 7)), ValueError),
        (np.zeros((0, 2, 3)), ValueError),
        (np.zeros((2, 4, 4, 3)), ValueError),
    ],
)
async def test_what_cannot_be_uploaded(comfy: ComfySession, source: Any, error: type[Exception]) -> None:
    """What is no file and no picture is refused before anything is sent."""
    with pytest.raises(error):
        await comfy.files.upload(source)


@pytest.mark.parametrize(
    ("array", "mode", "pixel"),
    [
        (np.full((2, 3), 200, dtype=np.uint8), "L", 200),
        (np.full((2, 3, 2), 200, dtype=np.uint8), "LA", (200, 200)),
        (np.full((1, 2, 3, 3), 0.5, dtype=np.float32), "RGB", (127, 127, 127)),
        (np.full((2, 3, 4), 0.5), "RGBA", (127, 127, 127, 127)),
        (np.ones((2, 3), dtype=bool), "L", 255),
        (np.full((2, 3, 3), 255, dtype=np.int64), "RGB", (255, 255, 255)),
    ],
)
def test_png_of_array(array: Any, mode: str, pixel: Any) -> None:
    """Arrays become PNGs without Pillow, in the ways that ComfyUI's own tensors come."""
    image = Image.open(io.BytesIO(png_of_array(array)))
    assert (image.mode, image.size) == (mode, (3, 2))
    assert image.getpixel((1, 1)) == pixel


class _Tensor:
    """Looks like a torch tensor on a GPU."""

    shape = (2, 3, 3)
    dtype = "float32"

    def detach(self) -> _Tensor:
        return self

    def cpu(self) -> Any:
        return np.zeros((2, 3, 3), dtype=np.float32)


def test_png_of_tensor() -> None:
    """A tensor is brought to the CPU first."""
    assert Image.open(io.BytesIO(png_of_array(_Tensor()))).size == (3, 2)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "YCbCr"])
def test_pillow_modes(mode: str) -> None:
    """A Pillow image of any mode becomes a PNG."""
    payload = _sources.prepare(Image.new("RGB", (4, 4), "red").convert(mode))
    assert payload.name.endswith(".png")


async def test_file_from_where_it_stands(comfy: ComfySession, fake: FakeComfy) -> None:
    """An open file is sent from its position, stays open, and can be sent again."""
    file = io.BytesIO(b"skip" + png())
    file.seek(4)
    payload = await asyncio.to_thread(_sources.prepare, file)
    for _ in range(2):
        assert b"".join([chunk async for chunk in payload.chunks()]) == png()
    assert not file.closed


@pytest.mark.parametrize(
    ("head", "ending"),
    [
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"RIFF....WEBPVP8 ", ".webp"),
        (b"....ftypisom", ".mp4"),
        (b"\x1aE\xdf\xa3", ".webm"),
        (b"fLaC", ".flac"),
        (b"glTF", ".glb"),
        (b"", ".bin"),
    ],
)
def test_endings_by_content(head: bytes, ending: str) -> None:
    """Bytes without a name get the ending that their first bytes tell."""
    assert _sources.prepare(head).name.endswith(ending)
