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
from session_tools import fast, picture, two_outputs

from comfy_async import (
    ComfySession,
    ConnectError,
    JobError,
    NotFoundError,
    OutputFile,
    ResponseError,
    SaveError,
    Workflow,
)
from comfy_async._base.paths import write_whole
from comfy_async._job.result import JobResult, _title
from comfy_async.testing import FakeComfy
from comfy_async.types import NodeInfo


class Reader:
    """Stands for the session's `files`."""

    def __init__(self, said: bytes = b"bytes") -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.said = said

    def url(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> str:
        return f"http://h/view?filename={filename}"

    async def read(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> bytes:
        self.asked.append((filename, subfolder, type))
        return self.said + b" of " + filename.encode("utf-8", "replace")

    async def open(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> AsyncIterator[bytes]:
        yield await self.read(filename, subfolder=subfolder, type=type)

    async def save(
        self,
        filename: str,
        path: Path,
        *,
        subfolder: str = "",
        type: str = "output",
        asset: str | None = None,
    ) -> Path:
        data = await self.read(filename, subfolder=subfolder, type=type)
        await asyncio.sleep(0)
        write_whole(path, data)
        return path


def result_of(
    outputs: dict[str, Any], *, said: bytes = b"bytes", reader: Reader | None = None, **options: Any
) -> JobResult:
    """A result with these outputs."""
    nodes = {key: NodeInfo(key, f"Title {key}", "SaveImage") for key in outputs}
    reader = reader or Reader(said)
    return JobResult("p" * 36, outputs=outputs, nodes=nodes, reader=reader, images={}, **options)


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
    assert [f.filename for f in result.images] == ["a.png"]
    assert [f.filename for f in result.videos] == ["b.mp4", "strange"]
    assert [f.filename for f in result.audio] == ["c.flac", "noending"]
    assert [f.filename for f in result.models_3d] == ["d.glb"]
    assert len(result.files) == 8
    assert result.texts == ("one", "two")
    assert result.values == {"9": {"text": ["one", ["two"]], "animated": [True], "numbers": [1, 2]}}
    image = result.files[-1]
    assert image.is_preview
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
    both = asyncio.Barrier(2)

    class Together(Reader):
        """Two are under way before either has its name: a file that was there before would be kept."""

        async def save(self, filename: str, path: Path, **options: Any) -> Path:
            await both.wait()
            return await super().save(filename, path, **options)

    one = result_of(outputs, reader=Together()).files[0]
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


async def test_saved_files_come_first(tmp_path: Path) -> None:
    """What was only shown beside what was saved is in `files` alone; alone it is what there is."""
    shown, kept = file("p.png", type="temp"), file("s.png")
    result = result_of(
        {"1": {"images": [shown]}, "2": {"images": [kept], "gifs": [file("v.mp4", type="temp")]}}
    )
    assert [f.filename for f in result.files] == ["s.png", "p.png", "v.mp4"]
    assert [f.filename for f in result.images] == ["s.png"]
    assert [f.filename for f in result.videos] == ["v.mp4"]
    assert [f.filename for f in result_of({"1": {"images": [shown]}}).images] == ["p.png"]


MODEL = {"filename": "x.glb", "subfolder": "3d", "type": "output", "id": "asset-1"}


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ({"result": ["3d/x.glb", None, []]}, [("3d", "x.glb", "output", None)]),
        ({"result": ["x.ply [temp]", {"position": 1}, "temp/back.png"]}, [("", "x.ply", "temp", None)]),
        ({"result": ["3d/x.glb", None, []], "3d": [MODEL]}, [("3d", "x.glb", "output", "asset-1")]),
        ({"3d": [MODEL], "result": ["3d\\x.glb", None, ""]}, [("3d", "x.glb", "output", "asset-1")]),
    ],
)
def test_3d_previews_are_files(output: dict[str, Any], found: list[Any]) -> None:
    """A path in `result` is a file of kind 3D, once, and no text."""
    result = result_of({"9": output})
    assert [(f.subfolder, f.filename, f.type, f.id) for f in result.models_3d] == found
    assert len(result.files) == 1
    assert result.texts == ()


@pytest.mark.parametrize(
    "value", [["a text"], ["see x.glb\nthere"], [], ["x.png", None, []], [5], "3d/x.glb"]
)
def test_other_results_stay_values(value: Any) -> None:
    """What is no 3D path under `result` is what the node showed."""
    result = result_of({"9": {"result": value}})
    assert result.files == ()
    assert result.values == {"9": {"result": value}}


def test_what_the_asset_system_says() -> None:
    """Newer servers give files an id, a preview, a name for people and a hash."""
    info = file("a.png", id="i", preview_id="p", display_name="Cat", hash="blake3:1")
    made = result_of({"9": {"images": [info, file("b.png")]}}).files
    assert (made[0].id, made[0].preview_id, made[0].display_name, made[0].hash) == (
        "i",
        "p",
        "Cat",
        "blake3:1",
    )
    assert made[0].to_dict()["hash"] == "blake3:1"
    assert (made[1].id, made[1].preview_id, made[1].display_name, made[1].hash) == (None, None, "b.png", None)
    assert "hash" not in made[1].to_dict()


class Losing(Reader):
    """A server that has not all of its files any more."""

    def __init__(self, **lost: Exception) -> None:
        super().__init__()
        self.lost = lost

    async def read(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> bytes:
        if filename.partition(".")[0] in self.lost:
            raise self.lost[filename.partition(".")[0]]
        return await super().read(filename, subfolder=subfolder, type=type)


async def test_one_bad_file_of_three(tmp_path: Path) -> None:
    """The good ones are saved; the error names each other one and why, and that the run was cached."""
    outputs = {"9": {"images": [file("a.png"), file("b..b.png"), file("c.png"), file("d.png")]}}
    result = result_of(outputs, cached_nodes=("9",))
    for one in result.files:
        one._reader = Losing(b=ResponseError("refused", status=400), d=NotFoundError("gone", status=404))
    with pytest.raises(SaveError, match=r"2 of 4 .*b\.\.b\.png: refused; d\.png: gone.*cached") as caught:
        await result.save(tmp_path)
    assert names_in(tmp_path) == ["a.png", "c.png"]
    assert [Path(path).name for path in caught.value.saved] == ["a.png", "c.png"]
    assert {name: type(error) for name, error in caught.value.failed.items()} == {
        "b..b.png": ResponseError,
        "d.png": NotFoundError,
    }


@pytest.mark.parametrize("count", [1, 2])
async def test_files_whose_server_is_gone(count: int, fake: FakeComfy, tmp_path: Path) -> None:
    """No other server has them: the error says so, not how to start a ComfyUI; read, streamed or saved."""
    flow = picture() if count == 1 else two_outputs()
    async with fast(fake) as comfy:
        result = await comfy.run(flow)
        await fake.faults.go_down()
        for read in (result.files[0].read(), anext(result.files[0].stream()), result.save(tmp_path)):
            with pytest.raises(
                (ConnectError, SaveError), match="on that server alone.*again.*save"
            ) as caught:
                await read
            assert "Start ComfyUI" not in caught.value.hint
            assert caught.value.retryable
        await fake.faults.come_up()
        assert len(await result.save(tmp_path)) == count


async def test_a_file_of_a_server_that_came_back_empty(fake: FakeComfy) -> None:
    """The error names the file and says what to do, not to look in another folder."""
    async with fast(fake) as comfy:
        result = await comfy.run(picture())
        fake.faults.fail("GET", "/view", 404)
        with pytest.raises(NotFoundError, match=r"no output 'pic_00001_\.png' any more.*workflow again"):
            await result.files[0].read()


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Nothing half done stays; a lone file's error is the system's own, several are named."""
    alone = result_of({"9": {"images": [file("a.png")]}})
    alone.files[0]._reader = Losing(a=OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        await alone.save(tmp_path)
    both = result_of({"9": {"images": [file("a.png"), file("b.png")]}})
    both.files[0]._reader = both.files[1]._reader = Losing(a=OSError("disk full"), b=OSError("disk full"))
    with pytest.raises(SaveError, match=r"a\.png: disk full; b\.png: disk full"):
        await both.save(tmp_path)
    assert names_in(tmp_path) == []


async def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    """A lone surrogate is made safe like all that no file system takes, and the others are saved."""
    result = result_of({"9": {"images": [file("a\udcff.png", subfolder="s\ud800"), file("b.png")]}})
    paths = await result.save(tmp_path)
    assert [path.name for path in paths] == ["a?.png".replace("?", paths[0].name[1]), "b.png"]
    assert all(path.exists() for path in paths)
    repr(result.files).encode()
    json.dumps(result.to_dict()).encode()


GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 20, "model": ["4", 0]}},
    "4": {"class_type": "Load", "inputs": {"name": "sd/v1.5"}, "_meta": {"title": "The model"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
    "7": {"class_type": "KSampler", "inputs": {"seed": 7, "steps": 5}},
    "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "also": ["3", 0]}},
}


def named(*names: str, node: str = "9", graph: Any = GRAPH) -> JobResult:
    """A result with files of these names, of a known workflow."""
    workflow = None if graph is None else Workflow.load(graph)
    return result_of({node: {"images": [file(name, subfolder="sub") for name in names]}}, workflow=workflow)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{seed}_{index}.png", ["42_0.png", "42_1.mp4"]),
        ("{seed}", ["42.png", "42.mp4"]),
        ("cat_{index:03d}", ["cat_000.png", "cat_001.mp4"]),
        ("{kind}/{node}-{filename}", ["image/9-a.png", "video/9-b.mp4"]),
        ("{title}_{prompt_id}", ["Title 9_" + "p" * 36 + ending for ending in (".png", ".mp4")]),
        ("{4.name}", ["sd_v1.5.png", "sd_v1.5.mp4"]),
        ("{Load.name}.PNG", ["sd_v1.5.PNG", "sd_v1.5.mp4"]),
        ("./{{x}}", ["{x}.png", "{x}.mp4"]),
        ("{job:03d}_{label.user}", ["007_anna.png", "007_anna.mp4"]),
        ("x.png", ["x.png", "x.mp4"]),
    ],
)
async def test_names_by_pattern(pattern: str, expected: list[str], tmp_path: Path) -> None:
    """Fields are filled in and made safe; the ending is the file's own."""
    graph = {key: GRAPH[key] for key in ("3", "4", "9")}
    nodes = {key: NodeInfo(key, f"Title {key}", GRAPH[key]["class_type"]) for key in graph}
    made = JobResult(
        "p" * 36,
        outputs={"9": {"images": [file("a.png"), file("b.mp4")]}},
        nodes=nodes,
        reader=Reader(),
        images={},
        workflow=Workflow.load(graph),
        index=7,
        labels={"user": "anna"},
    )
    paths = await made.save(tmp_path, name=pattern)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == expected


async def test_a_path_with_an_ending_is_a_pattern(tmp_path: Path) -> None:
    """`save("out/cat_{seed}.png")` is a folder and a name; taken names get numbers unless told otherwise."""
    for _ in range(2):
        paths = await named("a.png", "b.png").save(tmp_path / "out" / "cat_{seed}.png")
        assert [path.name for path in paths] == ["cat_42.png", "cat_42 (1).png"]
    other = result_of({"9": {"images": [file("a.png")]}}, said=b"other", workflow=Workflow.load(GRAPH))
    (path,) = await other.save(tmp_path / "out", name="cat_{seed}", overwrite=True)
    assert path.read_bytes().startswith(b"other")
    assert names_in(tmp_path / "out") == ["cat_42 (1).png", "cat_42.png"]
    with pytest.raises(ValueError, match="name="):
        await named("a.png").save(tmp_path / "{seed}" / "x")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("{sede}", "no field"),
        ("{seed}", "several"),
        ("{KSampler.steps}", "several"),
        ("{3.nothing}", "no such input"),
        ("{index:x.y}", "index"),
        ("", "names no file"),
        ("{job}", "in a batch, and this job is of none"),
        ("{label.user}", "the job has the labels none"),
        ("../x", r"'\.\./x' leads out of the folder"),
        ("a/../../x.png", "leads out of the folder"),
        ("/tmp/x.png", "leads out of the folder"),
        (r"C:\x.png", "leads out of the folder"),
    ],
)
async def test_patterns_that_say_nothing_certain(pattern: str, says: str, tmp_path: Path) -> None:
    """What is unknown or could be several things is refused before anything is written."""
    with pytest.raises(ValueError, match=says):
        await named("a.png", node="8").save(tmp_path, name=pattern)
    with pytest.raises(ValueError, match="attached"):
        await named("a.png", graph=None).save(tmp_path, name="{seed}")
    assert names_in(tmp_path) == []


async def test_a_long_name_keeps_what_tells_files_apart(tmp_path: Path) -> None:
    """The longest fields are shortened, never the seed or the number at the end."""
    graph = {**GRAPH, "4": {"class_type": "Load", "inputs": {"name": "ä" * 300, "also": "b" * 150}}}
    made = named("a.png", "b.png", graph=graph)
    paths = await made.save(tmp_path, name="{4.name}-{4.also}-{seed}_{index}")
    assert all(len(path.name.encode()) <= 200 for path in paths)
    assert [path.name.rpartition("-")[2] for path in paths] == ["42_0.png", "42_1.png"]
    name, also, _ = paths[0].name.split("-")
    assert (set(name), set(also)) == ({"ä"}, {"b"})
    assert abs(len(name.encode()) - len(also)) <= 2


async def test_an_ending_that_no_file_has_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is converted: that `.jpg` becomes `.png` is said, once for all files."""
    made = named("a.png", "b.mp4")
    await made.save(tmp_path, name="pic_{index}.png")
    assert not caplog.records
    paths = await made.save(tmp_path, name="pic_{index}.jpg")
    assert [path.suffix for path in paths] == [".png", ".mp4"]
    assert [record.getMessage() for record in caplog.records] == [
        "files are saved as the server made them, .mp4 and .png, not as 'pic_{index}.jpg' says: "
        "nothing is converted"
    ]


async def test_names_of_a_batch(comfy: ComfySession, tmp_path: Path) -> None:
    """`{job}` is the place of the job, `{index}` the place of the file in it; labels are known too."""
    async with comfy.map([picture(n) for n in range(3)], labels={"user": "7"}) as finished:
        async for job in finished:
            await (await job).save(tmp_path, name="{label.user}_{job}_{index}")
    assert names_in(tmp_path) == ["7_0_0.png", "7_1_0.png", "7_2_0.png"]


async def test_a_lone_file_follows_the_same_rules(tmp_path: Path) -> None:
    """A folder by its form is made; what is there is not overwritten unless asked for."""
    one = result_of({"9": {"images": [file("a.png")]}}).files[0]
    other = result_of({"9": {"images": [file("a.png")]}}, said=b"other").files[0]
    assert await one.save(f"{tmp_path}/new.v1/") == tmp_path / "new.v1" / "a.png"
    assert await one.save(tmp_path / "x.png") == tmp_path / "x.png"
    assert await one.save(tmp_path / "x.png") == tmp_path / "x.png"
    assert await other.save(tmp_path / "x.png") == tmp_path / "x (1).png"
    assert await other.save(tmp_path / "x.png", overwrite=True) == tmp_path / "x.png"
    assert (tmp_path / "x.png").read_bytes().startswith(b"other")


async def test_names_of_a_run(comfy: ComfySession, tmp_path: Path) -> None:
    """What was submitted is known to the result of a real run."""
    result = await comfy.run(picture(7))
    (path,) = await result.save(tmp_path, name="{1.color}-{EmptyImage.width}-{Keep it.filename_prefix}")
    assert path.name == "7-16-pic.png"


async def test_a_pattern_is_the_results(tmp_path: Path) -> None:
    """The name of a single file has no fields; braces that are none, and Paths, are taken as they are."""
    (one,) = result_of({"9": {"images": [file("a.png")]}}).files
    for name in ("f_{seed}.png", "{6.text}/x.png", "{index:03d}.png"):
        with pytest.raises(ValueError, match=r"result\.save\(folder, name="):
            await one.save(str(tmp_path / name))
        assert await one.save(tmp_path / name) == tmp_path / name
    assert await one.save(str(tmp_path / "{x}.png")) == tmp_path / "{x}.png"


def test_what_a_node_was_expanded_to_has_its_title() -> None:
    """`12.0.0.1` was made by node 12; a node of its own title keeps that, an unknown one its id."""
    nodes = {"12": NodeInfo("12", "Many times", "Loop"), "12.0": NodeInfo("12.0", "", "Show")}
    assert [_title(nodes, node) for node in ("12", "12.0", "12.0.0.1", "7")] == [
        *("Many times", "Show", "Many times"),
        "7",
    ]
