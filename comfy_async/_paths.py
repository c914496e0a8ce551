"""File names from a server, made safe: they stay in the folder and fit the file system."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

__all__ = ["fresh_path", "safe_name", "safe_parts"]

# Windows keeps these for devices, with any ending (Microsoft, "Naming Files, Paths, and Namespaces").
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\]')
_MAX_BYTES = 200
_MAX_DEPTH = 16


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


def fresh_path(root: Path, parts: tuple[str, ...], taken: Collection[Path] = ()) -> Path:
    """Return a path below `root` that no file has: `name (1).png` and so on when need be."""
    path = root.joinpath(*parts)
    stem, suffix = path.stem, path.suffix
    count = 0
    while path in taken or path.exists():
        count += 1
        path = path.with_name(f"{stem} ({count}){suffix}")
    return path
