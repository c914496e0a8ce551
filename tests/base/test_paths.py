"""Names from a server stay inside the folder, whatever they are."""

from __future__ import annotations

import asyncio
import ntpath
import os
import subprocess
import sys
import threading
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_async._base.paths import (
    fresh_path,
    is_folder,
    part_of,
    safe_name,
    safe_parts,
    save_at,
    settle,
    write_whole,
)
from comfy_async._base.tasks import in_thread

HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows\\system32\\x.dll",
    "/etc/passwd",
    "//server/share/x",
    "\\\\server\\share\\x",
    "C:\\x.png",
    "C:x.png",
    "x\x00.png",
    "x.png:stream",
    "con",
    "CON.png",
    "nul.tar.gz",
    "com1.txt",
    "LPT9",
    "..",
    ".",
    "",
    " ",
    "...",
    "a\nb",
    "~",
    "~root/.ssh/id",
    "x" * 300 + ".png",
    "ü" * 300 + ".png",
    "写" * 200,
    "x." + "y" * 300,
    "trailing. ",
    "\ud800.png",
    "a/../../b",
    "%2e%2e%2fx",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_inside(name: str, tmp_path: Path) -> None:
    """As filename or as subfolder, a hostile name becomes a file below the folder."""
    for count, pair in enumerate([("", name), (name, "x.png"), (name, name)]):
        folder = tmp_path / str(count)
        path = folder.joinpath(*safe_parts(*pair))
        assert path.resolve().is_relative_to(folder.resolve())
        assert path != folder
        write_whole(path, b"data")
        assert path.read_bytes() == b"data"


def reserved_on_windows(name: str) -> bool:
    """Say it as Python 3.13 does, which looks closer, or as those before it."""
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(name)
    return PureWindowsPath(name).is_reserved()


@given(st.text(), st.text())
def test_every_name_stays_inside(subfolder: str, filename: str) -> None:
    """No text at all leads out, on either kind of system, or is longer than a file system takes."""
    parts = safe_parts(subfolder, filename)
    for part in parts:
        assert 0 < len(part.encode()) <= 255
        assert part not in {".", ".."}
        for flavour in (PurePosixPath, PureWindowsPath):
            assert flavour(part).parts == (part,)
            assert not flavour(part).is_absolute()
        assert not reserved_on_windows(part)


@given(st.text(alphabet="abcXYZ019-_ äß写().", min_size=1, max_size=40))
def test_harmless_names_stay_themselves(name: str) -> None:
    """A name that is safe is not changed."""
    if name == name.strip(" ."):
        assert safe_name(name) == name


def test_many_folders_end() -> None:
    """A thousand folders in one another are cut."""
    assert len(safe_parts("a/" * 1000, "x")) < 20


def test_endings_survive_long_names() -> None:
    """What is cut is the stem."""
    assert safe_name("x" * 500 + ".png").endswith(".png")


def test_fresh_names(tmp_path: Path) -> None:
    """A taken name gets a number, also when only a broken link has it."""
    assert fresh_path(tmp_path, ("a.png",)) == tmp_path / "a.png"
    (tmp_path / "a.png").touch()
    os.symlink(tmp_path / "nowhere", tmp_path / "a (1).png")
    assert fresh_path(tmp_path, ("a.png",)) == tmp_path / "a (2).png"


def part_with(folder: Path, data: bytes) -> Path:
    """A whole file that waits for its name."""
    part = part_of(folder / "a.png")
    part.write_bytes(data)
    return part


@pytest.mark.parametrize("links", [True, False])
def test_names_are_taken_by_making_them(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each whole file gets a name of its own, with links and on file systems that know none."""
    if not links:

        def refuse(*_: object) -> None:
            raise PermissionError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    wanted = tmp_path / "a.png"
    found = [settle(part_with(tmp_path, bytes([n])), wanted) for n in range(3)]
    assert [path.name for path in found] == ["a.png", "a (1).png", "a (2).png"]
    assert [path.read_bytes() for path in found] == [b"\x00", b"\x01", b"\x02"]
    assert settle(part_with(tmp_path, b"\x01"), wanted).name == "a (1).png"
    kept: set[Path] = set()
    twice = [settle(part_with(tmp_path, b"\x01"), wanted, kept=kept) for _ in range(2)]
    assert [path.name for path in twice] == ["a (1).png", "a (3).png"]
    assert settle(part_with(tmp_path, b"new"), wanted, overwrite=True).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 4


def test_two_processes_never_share_a_name(tmp_path: Path) -> None:
    """Two processes that save the same names into one folder lose no file of either."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom comfy_async._base.paths import part_of, settle\n"
        "root, me = Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(100):\n"
        "    wanted = root / f'{n}.png'\n    part = part_of(wanted)\n"
        "    part.write_text(f'{me} {n}')\n    settle(part, wanted)\n"
    )
    savers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), me]) for me in "ab"]
    assert [saver.wait() for saver in savers] == [0, 0]
    texts = sorted(path.read_text() for path in tmp_path.iterdir())
    assert texts == sorted(f"{me} {n}" for me in "ab" for n in range(100))


@pytest.mark.parametrize(
    ("path", "folder"), [("out", True), ("out/", True), ("x.png/", True), ("out/x.png", False), (".", True)]
)
def test_one_rule_for_folders(path: str, folder: bool, tmp_path: Path) -> None:
    """No ending, or a slash at the end, or a folder that is there."""
    assert is_folder(path) == folder
    (tmp_path / "v1.5").mkdir()
    assert is_folder(tmp_path / "v1.5")


async def test_nothing_stays_of_a_save_that_fails(tmp_path: Path) -> None:
    """Neither of one that raises, nor of one that is cancelled, however often."""

    def half(part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await save_at(tmp_path / "deep" / "a.png", lambda part: in_thread(half, part))
    started, release = asyncio.Event(), threading.Event()

    def slow(part: Path) -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(10)
        part.write_bytes(b"late")

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(save_at(tmp_path / "a.png", lambda part: in_thread(slow, part)))
    await started.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names_below(tmp_path) == ["deep"]


def names_below(folder: Path) -> list[str]:
    """Every name in a folder and those in it."""
    return [path.name for path in folder.rglob("*")]


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves neither half a file nor its temporary name."""
    target = tmp_path / "x"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(target, b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
    assert part_of(target) != part_of(target)
