"""Names from a server stay inside the folder, whatever they are."""

from __future__ import annotations

import ntpath
import os
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_async._base.paths import (
    fresh_path,
    part_of,
    reserved,
    safe_name,
    safe_parts,
    write_whole,
)

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


def test_two_savers_get_two_names(tmp_path: Path) -> None:
    """While one saver holds a name nobody else gets it, although no file has it yet."""
    with reserved(tmp_path, [("a.png",), ("a.png",)]) as first, reserved(tmp_path, [("a.png",)]) as second:
        assert [place.path.name for place in [*first, *second]] == ["a.png", "a (1).png", "a (2).png"]
        assert not any(place.taken for place in [*first, *second])
    with reserved(tmp_path, [("a.png",)]) as third:
        assert third[0].path.name == "a.png"


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves neither half a file nor its temporary name."""
    target = tmp_path / "x"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(target, b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
    assert part_of(target) != part_of(target)
