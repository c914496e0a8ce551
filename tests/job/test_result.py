"""Results: every file of every node, saved without overwriting, and JSON of the rest."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from session_tools import picture

from comfy_async import ComfySession, JobError, NotFoundError, OutputFile
from comfy_async._base.paths import write_whole
from comfy_async._job.result import JobResult
from comfy_async.testing import FakeComfy
from comfy_async.types import NodeInfo


class Reader:
    """Stands for the session's `files`."""

    def __init__(self, said: bytes = b"bytes") -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.said = said

    def url(self, filename: str, *, subfolder: str = "", type: str = "output") -> str:
        return f"http://h/view?filename={filename}"

    async def read(self, filename: str, *, subfolder: str = "", type: str = "output") -> bytes:
        self.asked.append((filename, subfolder, type))
        return self.said + b" of " + filename.encode("utf-8", "replace")

    async def open(self, filename: str, *, subfolder: str = "", type: str = "output") -> AsyncIterator[bytes]:
        yield await self.read(filename, subfolder=subfolder, type=type)

    async def save(self, filename: str, path: Path, *, subfolder: str = "", type: str = "output") -> Path:
        data = await self.read(filename, subfolder=subfolder, type=type)
        await asyncio.sleep(0)
        write_whole(path, data)
        return path


def result_of(outputs: dict[str, Any], *, said: bytes = b"bytes", **options: Any) -> JobResult:
    """A result with these outputs."""
    nodes = {key: NodeInfo(key, f"Title {key}", "SaveImage") for key in outputs}
    return JobResult("p" * 36, outputs=outputs, nodes=nodes, reader=Reader(said), images={}, **options)


def file(name: str, **more: Any) -> dict[str, Any]:
    """What a node says of a file."""
    return {"filename": name, "subfolder": "", "type": "output", **more}


KINDS = {
    "images": [file("a.png"), file("t.webp", type="temp")],
    "gifs": [file("b.mp4", format="video/h264-mp4"), file("strange", format="video/x")],
    "audio": [file("c.flac"), file("noending")],
    "3d": [file("d.glb")],
    "other": [file("e.zip")],
    "text": ["one", ["two"]],
    "animated": [True],
    "numbers": [1, 2],
}


def test_kinds() -> None:
    """Files are told by name, format and key; what is no file stays a value."""
    result = result_of({"9": KINDS})
    assert [f.filename for f in result.images] == ["a.png", "t.webp"]
    assert [f.filename for f in result.videos] == ["b.mp4", "strange"]
    assert [f.filename for f in result.audio] == ["c.flac", "noending"]
    assert [f.filename for f in result.models_3d] == ["d.glb"]
    assert len(result.files) == 8
    assert result.texts == ("one", "two")
    assert result.values == {"9": {"text": ["one", ["two"]], "animated": [True], "numbers": [1, 2]}}
    image = result.images[1]
    assert (image.type, image.title, image.key, image.mime) == ("temp", "Title 9", "images", "image/webp")
    assert "t.webp" in repr(image)
    assert "8 files" in repr(result)


def test_json() -> None:
    """A result is JSON, with everything but the bytes."""
    made = json.loads(json.dumps(result_of({"9": KINDS}, duration=1.5, cached_nodes=("1",)).to_dict()))
    assert made["duration"] == 1.5
    assert made["files"][0]["url"] == "http://h/view?filename=a.png"
    assert made["outputs"]["9"]["text"] == ["one", ["two"]]


@pytest.mark.parametrize("odd", [{"images": [{"x": 1}]}, {"images": [{"filename": 5}]}, {"images": "a.png"}])
def test_odd_outputs(odd: dict[str, Any]) -> None:
    """What only resembles files is a value."""
    result = result_of({"9": odd})
    assert result.files == ()
    assert result.values == {"9": odd}


async def test_saved_under_safe_names(tmp_path: Path) -> None:
    """Hostile names and folders stay inside; the server is asked for the names that it gave."""
    names = ["../../evil.png", "/etc/passwd", "C:\\x.png", "n\x00ul.png", "con.png", "x" * 300 + ".png"]
    folder = tmp_path / "out"
    result = result_of({"9": {"images": [file(name, subfolder=f"../{name}") for name in names]}})
    paths = await result.save(folder)
    assert len(set(paths)) == len(names)
    assert all(path.resolve().is_relative_to(folder.resolve()) for path in paths)
    assert only_child(tmp_path) == "out"
    reader: Any = result.files[0]._reader
    assert sorted(name for name, _, _ in reader.asked) == sorted(names)


def only_child(folder: Path) -> str:
    """The one name in a folder."""
    (path,) = folder.iterdir()
    return path.name


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """The same name twice, before and at the same time, becomes numbered names."""
    outputs = {"9": {"images": [file("a.png"), file("a.png", type="temp")]}}
    saved = await asyncio.gather(*(result_of(outputs, said=bytes([n])).save(tmp_path) for n in range(3)))
    assert len({path for paths in saved for path in paths}) == 6
    again = await result_of(outputs, said=b"other").save(tmp_path)
    assert [path.name for path in again] == ["a (6).png", "a (7).png"]
    one = result_of(outputs).files[0]
    first, second = await asyncio.gather(one.save(tmp_path), one.save(tmp_path))
    assert first != second


async def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    """The same bytes under the same name are that file; each of two alike has its own."""
    (tmp_path / "a.png").write_bytes(b"mine")
    outputs = {"9": {"images": [file("a.png"), file("a.png")]}}
    saved = await result_of(outputs).save(tmp_path)
    assert [path.name for path in saved] == ["a (1).png", "a (2).png"]
    assert sorted(await result_of(outputs).save(tmp_path)) == saved
    assert await result_of(outputs).files[0].save(tmp_path) == saved[0]
    assert len(os.listdir(tmp_path)) == 3
    # As long, and yet another.
    other = await result_of({"9": {"images": [file("a.png")]}}, said=b"BYTES").save(tmp_path)
    assert [path.name for path in other] == ["a (3).png"]
    assert (tmp_path / "a.png").read_bytes() == b"mine"


async def test_a_link_to_nowhere_and_a_folder_are_others(tmp_path: Path) -> None:
    """What has the name and cannot be read stays, and the file goes beside it."""
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a (1).png").mkdir()
    saved = await result_of({"9": {"images": [file("a.png")]}}).save(tmp_path)
    assert [path.name for path in saved] == ["a (2).png"]
    assert not (tmp_path / "nowhere").exists()


async def test_files_are_compared_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is never held whole to find out that it is there already, down to its last byte."""
    monkeypatch.setattr("comfy_async._base.paths._CHUNK", 4)
    await result_of({"9": {"images": [file("a.bin")]}}).save(tmp_path)
    (kept,) = await result_of({"9": {"images": [file("a.bin")]}}).save(tmp_path)
    assert kept.name == "a.bin"
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    (beside,) = await result_of({"9": {"images": [file("a.bin")]}}).save(tmp_path)
    assert beside.name == "a (1).bin"


async def test_relative_folders_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths come back as they were asked for."""
    monkeypatch.chdir(tmp_path)
    result = result_of({"9": {"images": [file("a.png", subfolder="s")]}})
    assert await result.save("out") == [Path("out/s/a.png")]
    assert await result.files[0].save("mine.png") == Path("mine.png")
    assert await result.files[0].save("out") == Path("out/a.png")


async def test_missing_images(tmp_path: Path) -> None:
    """Where images of the socket may be lost, neither `images` nor `save` pretends to be whole."""
    result = result_of({"9": {"images": [file("a.png")]}}, missing=("7",))
    with pytest.raises(JobError, match="only the socket"):
        _ = result.images
    with pytest.raises(JobError, match="allow_missing"):
        await result.save(tmp_path)
    assert len(await result.save(tmp_path, allow_missing=True)) == 1
    assert len(result.files) == 1


async def test_output_file(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """A file is read, streamed, decoded, saved and named by its address."""
    result = await comfy.run(picture())
    (output,) = result.images
    assert isinstance(output, OutputFile)
    data = await output.read()
    assert b"".join([chunk async for chunk in output.stream()]) == data
    assert (await output.image()).size == Image.open(io.BytesIO(data)).size
    assert (await output.save(tmp_path / "deep" / "x.png")).read_bytes() == data
    assert output.url is not None
    assert output.url.startswith(f"{fake.url}/api/view?")


async def test_images_of_the_socket(comfy: ComfySession, tmp_path: Path) -> None:
    """Images that only the socket carries are files like others, without an address."""
    graph = {
        **picture(),
        "3": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    result = await comfy.run(graph)
    (sent,) = [file for file in result.files if file.type == "websocket"]
    assert sent.url is None
    data = await sent.read()
    assert (await sent.image()).size == (16, 16)
    assert [chunk async for chunk in sent.stream()] == [data]
    assert (await sent.save(tmp_path / "a" / "x.png")).read_bytes() == data
    assert len(await result.save(tmp_path)) == 2


async def test_one_failing_file(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """A file that the server lost is an error, and leaves nothing half done behind."""
    result = await comfy.run(picture())
    fake.faults.fail("GET", "/view", 404)
    with pytest.raises(NotFoundError):
        await result.save(tmp_path)
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
