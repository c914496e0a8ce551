"""File names from a server, made safe: they stay in the folder and fit the file system."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["fresh_path", "part_of", "reserved", "safe_name", "safe_parts", "write_whole"]

# Windows keeps these for devices, with any ending (Microsoft, "Naming Files, Paths, and Namespaces").
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\]')
_MAX_BYTES = 200
_MAX_DEPTH = 16

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


@contextlib.contextmanager
def reserved(root: Path, names: Iterable[tuple[str, ...]]) -> Iterator[list[Path]]:
    """Find paths below `root` that no file has, for these names, and keep them until the block is left.

    Two savers of one process that run at the same time, for two servers that both count from
    `ComfyUI_00001_.png`, therefore never get the same path.
    """
    base = os.path.abspath(root)
    found: list[Path] = []
    try:
        with _LOCK:
            for parts in names:
                path = _fresh(Path(base, *parts))
                _RESERVED_PATHS.add(path)
                found.append(path)
        yield [root / path.relative_to(base) for path in found]
    finally:
        _RESERVED_PATHS.difference_update(found)


def fresh_path(root: Path, parts: tuple[str, ...]) -> Path:
    """Return a path below `root` that no file has at this moment."""
    base = os.path.abspath(root)
    return root / _fresh(Path(base, *parts)).relative_to(base)


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


def _fresh(path: Path) -> Path:
    """Return a path that no file has: `name (1).png` and so on when need be."""
    stem, suffix = path.stem, path.suffix
    count = 0
    while path in _RESERVED_PATHS or os.path.lexists(path):
        count += 1
        path = path.with_name(f"{stem} ({count}){suffix}")
    return path
