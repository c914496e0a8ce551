"""File names from a server, made safe: they stay in the folder and fit the file system."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import secrets
import stat
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

__all__ = ["Place", "fresh_path", "part_of", "reserved", "safe_name", "safe_parts", "save_at", "write_whole"]

# Windows keeps these for devices, with any ending (Microsoft, "Naming Files, Paths, and Namespaces").
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\]')
_MAX_BYTES = 200
_MAX_DEPTH = 16
_CHUNK = 1 << 20

_LOCK = threading.Lock()
_RESERVED_PATHS: set[Path] = set()


def safe_name(name: str) -> str:
    """Return a single path part that every file system takes and that leads nowhere else."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = _FORBIDDEN.sub("_", name).strip(" .")
    if name.split(".")[0].strip().lower() in _RESERVED:
        name = f"_{name}"
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 16:
        stem, dot, ending = name, "", ""
    room = _MAX_BYTES - len((dot + ending).encode())
    stem = stem.encode()[:room].decode("utf-8", "ignore")
    return f"{stem}{dot}{ending}" or "file"


def safe_parts(subfolder: str, filename: str) -> tuple[str, ...]:
    """Return the path below the target folder for a server's subfolder and filename.

    Absolute paths, `..`, drive letters and NUL lose their meaning; what is left of a name with
    folders in it is its last part.
    """
    folders = [part for part in re.split(r"[\\/]+", subfolder) if part.strip(" .")]
    leaf = re.split(r"[\\/]+", filename)[-1]
    return (*map(safe_name, folders[:_MAX_DEPTH]), safe_name(leaf))


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a file may be saved.

    Attributes:
        path: A path that no file has.
        taken: The files that have the names before it, `a.png` and `a (1).png` for `a (2).png`.
        kept: Which of them stand for a file of this saver already; shared by its places.
    """

    path: Path
    taken: tuple[Path, ...]
    kept: set[Path]


@contextlib.contextmanager
def reserved(root: Path, names: Iterable[tuple[str, ...]]) -> Iterator[list[Place]]:
    """Find paths below `root` that no file has, for these names, and keep them until the block is left.

    Two savers of one process that run at the same time, for two servers that both count from
    `ComfyUI_00001_.png`, therefore never get the same path.
    """
    base = os.path.abspath(root)
    found: list[tuple[Path, list[Path]]] = []
    kept: set[Path] = set()
    try:
        with _LOCK:
            for parts in names:
                path, taken = _fresh(Path(base, *parts))
                _RESERVED_PATHS.add(path)
                found.append((path, taken))

        def shown(path: Path) -> Path:
            return root / path.relative_to(base)

        yield [Place(shown(path), tuple(map(shown, taken)), kept) for path, taken in found]
    finally:
        _RESERVED_PATHS.difference_update(path for path, _ in found)


async def save_at(place: Place, save: Callable[[Path], Awaitable[Path]]) -> Path:
    """Save a file, unless one with the same name turns out to hold the very same; return where it is.

    Raises:
        OSError: The disk would not take it.
    """
    if not place.taken:
        return await save(place.path)
    part = part_of(place.path)
    try:
        await save(part)
        return await asyncio.to_thread(_settled, part, place)
    finally:
        part.unlink(missing_ok=True)


def fresh_path(root: Path, parts: tuple[str, ...]) -> Path:
    """Return a path below `root` that no file has at this moment."""
    base = os.path.abspath(root)
    return root / _fresh(Path(base, *parts))[0].relative_to(base)


def part_of(target: Path) -> Path:
    """Return a name beside `target` for what is not yet whole; nobody else gets the same."""
    return target.with_name(f"{target.name[:60]}.{secrets.token_hex(4)}.part")


def write_whole(target: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is whole.

    Raises:
        OSError: The disk would not take it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    try:
        part.write_bytes(data)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _fresh(path: Path) -> tuple[Path, list[Path]]:
    """Return a path that no file has, `name (1).png` and so on when need be, and the files passed over."""
    stem, suffix = path.stem, path.suffix
    count = 0
    taken: list[Path] = []
    while (held := path in _RESERVED_PATHS) or os.path.lexists(path):
        if not held:
            taken.append(path)
        count += 1
        path = path.with_name(f"{stem} ({count}){suffix}")
    return path, taken


def _settled(part: Path, place: Place) -> Path:
    """Give a whole file its name, or return the path of the same one that is there."""
    for path in place.taken:
        if _same(part, path):
            with _LOCK:
                if path in place.kept:
                    continue
                place.kept.add(path)
            return path
    os.replace(part, place.path)
    return place.path


def _same(first: Path, second: Path) -> bool:
    """Say whether two files hold the same; whatever cannot be read is another one."""
    try:
        one, other = os.stat(first), os.stat(second)
        if not stat.S_ISREG(other.st_mode) or one.st_size != other.st_size:
            return False
        with first.open("rb") as left, second.open("rb") as right:
            while chunk := left.read(_CHUNK):
                if chunk != right.read(_CHUNK):
                    return False
    except OSError:
        return False
    return True
