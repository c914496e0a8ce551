"""Files that go to a store behind fsspec: streamed, whole or not at all, and nothing overwritten."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from session_tools import eventually, picture
from store_tools import (
    Faults,
    FaultyFileSystem,
    MovingFileSystem,
    PartsFileSystem,
    files_in,
    store,  # noqa: F401 - a fixture
)

from comfy_async import ComfySession, SaveError, TransportError
from comfy_async._base import hand
from comfy_async._job import storing
from comfy_async._job.result import JobResult
from comfy_async.testing import FakeComfy
from comfy_async.types import FileUrl, NodeInfo

pytestmark = pytest.mark.usefixtures("store")

KINDS = [("faulty", FaultyFileSystem), ("moving", MovingFileSystem), ("s3", PartsFileSystem)]
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 7}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
}


class Reader:
    """Stands for the session's `files`: as many chunks of as many bytes, and breaks when told."""

    def __init__(self, chunk: bytes = b"bytes", count: int = 1, breaks: int = 0) -> None:
        self.chunk, self.count, self.breaks = chunk, count, breaks
        self.opened = 0
        self.closed = 0

    def url(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> str:
        return f"http://h/view?filename={filename}"

    async def read(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> bytes:
        return b"".join([chunk async for chunk in self.open(filename)])

    async def open(
        self, filename: str, *, subfolder: str = "", type: str = "output", asset: str | None = None
    ) -> AsyncIterator[bytes]:
        self.opened += 1
        try:
            for _ in range(self.count):
                yield self.chunk
            if self.breaks:
                self.breaks -= 1
                raise TransportError("the connection broke", retryable=True)
        finally:
            self.closed += 1

    async def save(
        self,
        filename: str,
        path: Path,
        *,
        subfolder: str = "",
        type: str = "output",
        asset: str | None = None,
    ) -> Path:
        raise AssertionError("nothing goes by the disk")


def result_of(*names: str, reader: Any = None) -> JobResult:
    """A result with these files."""
    from comfy_async import Workflow

    files = [{"filename": name, "subfolder": "", "type": "output"} for name in names]
    return JobResult(
        "p" * 36,
        outputs={"9": {"images": files}},
        nodes={"9": NodeInfo("9", "Save", "SaveImage")},
        reader=reader or Reader(),
        images={},
        workflow=Workflow.load(GRAPH),
    )


async def test_a_run_saved_to_memory(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """The same bytes as on the disk, below the folder, and URLs come back."""
    result = await comfy.run(picture(3, prefix="sub/pic"))
    on_disk = await result.save(tmp_path)
    places = await result.save("memory://pictures/out")
    assert places == ["memory://pictures/out/sub/pic_00001_.png"]
    assert all(isinstance(place, FileUrl) for place in places)
    assert [place.name for place in places] == ["pic_00001_.png"]
    assert files_in() == {"/pictures/out/sub/pic_00001_.png": on_disk[0].read_bytes()}
    await eventually(lambda: not [one for one in threading.enumerate() if one.name == "comfy_async store"])


@pytest.mark.parametrize(
    ("place", "options", "expected"),
    [
        ("memory://out", {}, "memory://out/a.png"),
        ("memory://out/", {}, "memory://out/a.png"),
        ("memory://", {}, "memory://a.png"),
        ("memory://x.png", {}, "memory://x.png"),
        ("memory://out/cat_{seed}.png", {}, "memory://out/cat_7.png"),
        ("memory://out.v2/", {"name": "{seed}_{index:02d}"}, "memory://out.v2/7_00.png"),
        ("memory://out", {"name": "{kind}/{filename}"}, "memory://out/image/a.png"),
        ("memory://out/a b [1]*.png", {}, "memory://out/a b [1]_.png"),
        ("s3://my.bucket", {}, "s3://my.bucket/a.png"),
        ("s3://my.bucket/x.png", {}, "s3://my.bucket/x.png"),
        ("moving://out/[x]", {"name": "{filename} [1]"}, "moving://out/[x]/a [1].png"),
    ],
)
async def test_places_and_patterns(place: str, options: Any, expected: str) -> None:
    """One rule for folders and patterns, as on the disk (FAULTS C7)."""
    assert await result_of("a.png").save(place, **options) == [expected]
    found = {**files_in(), **files_in(FaultyFileSystem), **files_in(PartsFileSystem)}
    assert [name.strip("/") for name in found] == [expected.partition("://")[2]]


@pytest.mark.parametrize("pattern", ["memory://{seed}/out", "memory://out/{nothing}.png"])
async def test_patterns_that_say_nothing_certain(pattern: str) -> None:
    """Before anything is fetched."""
    reader = Reader()
    with pytest.raises(ValueError, match="name"):
        await result_of("a.png", reader=reader).save(pattern)
    assert (reader.opened, files_in()) == (0, {})


async def test_a_lone_file() -> None:
    """Follows the same rules."""
    one = result_of("a.png").files[0]
    assert await one.save("memory://out") == "memory://out/a.png"
    assert await one.save("memory://out/b.png") == "memory://out/b.png"
    assert await one.save("memory://out/", overwrite=True) == "memory://out/a.png"
    assert sorted(files_in()) == ["/out/a.png", "/out/b.png"]


async def test_file_urls_are_this_machine(tmp_path: Path) -> None:
    """With all that holds there; the path comes back."""
    result = result_of("a.png")
    result.files[0]._reader = LocalReader()
    url = (tmp_path / "my out").as_uri()
    assert await result.save(url) == [tmp_path / "my out" / "a.png"]
    assert await result.files[0].save(f"{url}.v2/") == tmp_path / "my out.v2" / "a.png"
    assert await result.save(f"{url}/cat_{{seed}}.png") == [tmp_path / "my out" / "cat_7.png"]


class LocalReader(Reader):
    """Writes to the disk too."""

    async def save(
        self,
        filename: str,
        path: Path,
        *,
        subfolder: str = "",
        type: str = "output",
        asset: str | None = None,
    ) -> Path:
        path.write_bytes(b"bytes")  # noqa: ASYNC240
        return path


async def test_objects_as_places() -> None:
    """An `OpenFile` names its file, a file system's folder is a folder."""
    result = result_of("a.png")
    assert await result.save(fsspec.open("memory://out/b.png", "wb")) == ["memory:///out/b.png"]
    assert await result.save(fsspec.open("memory://out", "wb")) == ["memory:///out/a.png"]
    with pytest.raises(ValueError, match="has its own"):
        await result.save(fsspec.open("memory://out", "wb"), storage_options={"key": "k"})


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
async def test_nothing_is_overwritten(scheme: str, kind: Any) -> None:
    """Another content gets a number, the very same is kept, and `overwrite` is asked for."""
    place = f"{scheme}://b/out"
    assert await result_of("a.png").save(place) == [f"{place}/a.png"]
    assert await result_of("a.png").save(place) == [f"{place}/a.png"]
    other = result_of("a.png", reader=Reader(b"other"))
    assert await other.save(place) == [f"{place}/a (1).png"]
    assert await other.save(place) == [f"{place}/a (1).png"]
    assert await result_of("a.png").save(place) == [f"{place}/a.png"]
    longer = result_of("a.png", reader=Reader(b"longer than both"))
    assert await longer.save(place, overwrite=True) == [f"{place}/a.png"]
    assert list(files_in(kind).values()) == [b"other", b"longer than both"]


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
async def test_two_of_one_name(scheme: str, kind: Any) -> None:
    """Within a result each has a file, however alike, also with `overwrite`."""
    names = ["a.png", "a.png", "b.png", "noending", "noending"]
    for overwrite in (False, True):
        places = await result_of(*names).save(f"{scheme}://b/out", overwrite=overwrite)
        ends = [place.name for place in places]
        assert ends == ["a.png", "a (1).png", "b.png", "noending", "noending (1)"]
    assert len(files_in(kind)) == 5


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
async def test_savers_at_once(scheme: str, kind: Any) -> None:
    """Of one process: as many files as savers, each of them whole."""
    made = [result_of("a.png", reader=Reader(str(n).encode() * 9)) for n in range(6)]
    places = await asyncio.gather(*(one.save(f"{scheme}://b/out") for one in made))
    assert len({place for (place,) in places}) == 6
    assert sorted(files_in(kind).values()) == [str(n).encode() * 9 for n in range(6)]


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
async def test_a_write_that_fails(scheme: str, kind: Any, store: Faults) -> None:  # noqa: F811
    """Nothing is left, under no name, and the error names the place; the others are saved."""
    store.write_error = (0, PermissionError(13, "Access denied"))
    reader = Reader(b"x" * (3 << 20), count=4)
    with pytest.raises(PermissionError, match=f"{scheme}://b/out/a.png"):
        await result_of("a.png", reader=reader).save(f"{scheme}://b/out")
    assert files_in(kind) == {}
    assert not PartsFileSystem.open_uploads
    assert reader.opened == reader.closed == 1
    store.write_error = (0, RuntimeError("odd"))
    store.written = 0
    with pytest.raises(SaveError, match="RuntimeError: odd") as caught:
        await result_of("a.png", "b.png").save(f"{scheme}://b/out")
    assert len(caught.value.saved) == len(files_in(kind)) == 1
    assert isinstance(next(iter(caught.value.failed.values())), OSError)


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
async def test_the_server_breaks(scheme: str, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is begun anew, with nothing of the first try in it; after some tries it fails, and is gone."""
    monkeypatch.setattr("comfy_async._job.storing._FIRST_PAUSE_S", 0.0)
    reader = Reader(b"abc", count=3, breaks=2)
    await result_of("a.png", reader=reader).save(f"{scheme}://b/out")
    assert list(files_in(kind).values()) == [b"abc" * 3]
    assert reader.opened == 3
    with pytest.raises(TransportError):
        await result_of("c.png", reader=Reader(breaks=99)).save(f"{scheme}://b/out")
    assert len(files_in(kind)) == 1
    assert not PartsFileSystem.open_uploads


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
async def test_cancelled(scheme: str, kind: Any, store: Faults) -> None:  # noqa: F811
    """In the middle of a write that then goes on: nothing is left."""
    store.stall = threading.Event()
    saving = asyncio.create_task(
        result_of("a.png", reader=Reader(b"x" * (9 << 20), count=3)).save(f"{scheme}://b/out")
    )
    await asyncio.to_thread(store.stalled.wait, 20)
    saving.cancel()
    store.stall.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert files_in(kind) == {}
    assert not PartsFileSystem.open_uploads


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
async def test_a_store_that_hangs(
    scheme: str,
    kind: Any,
    store: Faults,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A cancelled save ends in bounded time, says what may be left, and the thread tidies up when it can."""
    monkeypatch.setattr(hand, "_PATIENCE_S", 0.05)
    store.stall = threading.Event()
    saving = asyncio.create_task(
        result_of("a.png", reader=Reader(b"x" * (9 << 20), count=3)).save(f"{scheme}://b/out")
    )
    await asyncio.to_thread(store.stalled.wait, 20)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert f"{scheme}://b/out does not answer" in caplog.text
    threads = [one for one in threading.enumerate() if one.name == "comfy_async store"]
    assert all(one.daemon for one in threads)
    store.stall.set()
    for one in threads:
        await asyncio.to_thread(one.join, 20)
    assert files_in(kind) == {}
    assert not PartsFileSystem.open_uploads


async def test_the_loop_is_never_blocked(store: Faults) -> None:  # noqa: F811
    """Every call is made in a thread of its own, and memory is bounded: a batch and the next."""
    reader = Reader(b"x" * 70_000, count=200)
    await result_of("a.png", reader=reader).save("faulty://b/out")
    assert threading.get_ident() not in store.threads
    assert store.largest < 2 << 20
    assert [len(data) for data in files_in(FaultyFileSystem).values()] == [14_000_000]


async def test_never_half_written_under_its_name(store: Faults) -> None:  # noqa: F811
    """Until the last byte only a part is there, under another name; of an S3 file nothing at all."""
    store.stall = threading.Event()
    for scheme, kind in KINDS:
        store.stalled.clear()
        store.stall.clear()
        reader = Reader(b"x" * (9 << 20), count=2)
        saving = asyncio.create_task(result_of("a.png", reader=reader).save(f"{scheme}://b/out"))
        await asyncio.to_thread(store.stalled.wait, 20)
        names = [name.rpartition("/")[2] for name in files_in(kind)]
        assert names == [] if scheme == "s3" else all(name.endswith(".part") for name in names)
        store.stall.set()
        await saving
        assert [name.rpartition("/")[2] for name in files_in(kind)] == ["a.png"]
        FaultyFileSystem.store.clear()


async def test_a_store_that_can_do_little(store: Faults) -> None:  # noqa: F811
    """Without move and copy it is written once more; one that takes nothing says so before anything."""
    store.lacks = {"copy"}
    await result_of("a.png").save("faulty://b/out")
    assert files_in(FaultyFileSystem) == {"/b/out/a.png": b"bytes"}
    store.lacks = {"open"}
    reader = Reader()
    with pytest.raises(OSError, match="nothing can be written there"):
        await result_of("a.png", reader=reader).save("faulty://b/new")
    assert reader.opened == 0


async def test_another_is_faster(store: Faults) -> None:  # noqa: F811
    """Where the store takes a name only once, the second saver gets a number; an old library looks first."""
    others = iter([b"theirs"])

    def faster() -> None:
        for data in others:
            PartsFileSystem.files["b/out/a.png"] = data

    store.before_commit = faster
    reader = Reader()
    assert await result_of("a.png", reader=reader).save("s3://b/out") == ["s3://b/out/a (1).png"]
    assert files_in(PartsFileSystem) == {"b/out/a (1).png": b"bytes", "b/out/a.png": b"theirs"}
    assert reader.opened == 2
    assert not PartsFileSystem.open_uploads
    store.lacks = {"xb"}
    assert await result_of("a.png", reader=Reader(b"3")).save("s3://b/out") == ["s3://b/out/a (2).png"]


async def test_a_commit_that_fails(store: Faults) -> None:  # noqa: F811
    """Leaves no parts behind."""
    store.commit_error = RuntimeError("500 Internal Error")
    with pytest.raises(OSError, match=r"RuntimeError: 500 Internal Error: 's3://b/out/a.png'"):
        await result_of("a.png").save("s3://b/out")
    assert files_in(PartsFileSystem) == {}
    assert not PartsFileSystem.open_uploads


async def test_keys_are_nowhere(store: Faults, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    """In no error, repr or log, wherever the store's library puts them."""
    key = "AKIA-very-secret"
    store.commit_error = RuntimeError(f"InvalidAccessKeyId {key} at http://127.0.0.1:1/")
    options = {"key": key, "client_kwargs": {"endpoint_url": "http://127.0.0.1:1/", "session": ["t0ken-too"]}}
    with pytest.raises(OSError, match="InvalidAccessKeyId ••• at http://127.0.0.1:1/") as caught:
        await result_of("a.png").save("s3://b/out", storage_options=options)
    frames = [frame.frame for frame in inspect.getinnerframes(caught.value.__traceback__)]  # type: ignore[arg-type]
    assert key not in repr([frame.f_locals for frame in frames if frame.f_code.co_filename != __file__])
    assert key not in caplog.text
    assert "s3cret" not in repr(await storing.open_store("memory://anna:s3cret@h/x", None))


@pytest.mark.parametrize(
    ("place", "kind", "says"),
    [
        ("nosuch://bucket/out", ValueError, "unknown scheme nosuch://"),
        ("memory://out::s3://bucket", ValueError, "chain of file systems"),
        ("adl://bucket/out", ImportError, r"adl:// needs adlfs: pip install 'comfy-async\[fsspec\]' adlfs"),
    ],
)
async def test_said_before_anything_is_fetched(place: str, kind: type[Exception], says: str) -> None:
    """What is missing, with the command that brings it."""
    reader = Reader()
    with pytest.raises(kind, match=says):
        await result_of("a.png", reader=reader).save(place)
    assert reader.opened == 0


async def test_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to get it."""
    import sys

    monkeypatch.setitem(sys.modules, "fsspec.registry", None)
    with pytest.raises(ImportError, match=r"memory:// needs fsspec: pip install 'comfy-async\[fsspec\]'"):
        await result_of("a.png").save("memory://out")


def test_urls_have_parts() -> None:
    """As paths do, and are texts."""
    place = FileUrl("s3://b/out/cat.tar.gz")
    assert (place.name, place.stem, place.suffix) == ("cat.tar.gz", "cat.tar", ".gz")
    assert os.path.basename(place) == place.name
