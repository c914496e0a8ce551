"""File names from a server, made safe: they stay in the folder and fit the file system."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import stat
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator
from pathlib import Path

from .tasks import in_thread

__all__ = [
    "MAX_BYTES",
    "fresh_path",
    "is_folder",
    "part_of",
    "safe_name",
    "safe_parts",
    "save_at",
    "settle",
    "write_whole",
]

# Windows keeps these for devices, with any ending (Microsoft, "Naming Files, Paths, and Namespaces").
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\]')
MAX_BYTES = 200
_MAX_DEPTH = 16
_CHUNK = 1 << 20

_LOCK = threading.Lock()


def safe_name(name: str) -> str:
    """Return a single path part that every file system takes and that leads nowhere else."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    name = _FORBIDDEN.sub("_", name).strip(" .")
    if name.split(".")[0].strip().lower() in _RESERVED:
        name = f"_{name}"
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 16:
        stem, dot, ending = name, "", ""
    room = MAX_BYTES - len((dot + ending).encode())
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


def settle(
    part: Path,
    wanted: Path,
    *,
    there: Collection[Path] | None = None,
    kept: set[Path] | None = None,
    overwrite: bool = False,
) -> Path:
    """Give a whole file its name and return where it is: `name (1).png` and so on when that is taken.

    The name is taken by making it, never by looking first: two processes that save the same names
    into one folder get two files. A file of that name that holds the very same is that file.

    Args:
        part: The whole file, in the same folder; it is gone afterwards.
        wanted: The name.
        there: The files that were there when this saver began: only they can be the very same; None
            means any.
        kept: Which files stand for one of this saver's already; two alike have a file each.
        overwrite: Replace what has the name.

    Raises:
        OSError: The disk would not take it.
    """
    kept = set() if kept is None else kept
    if overwrite:
        os.replace(part, wanted)
        kept.add(wanted)
        return wanted
    for path in _names(wanted):
        if _takes(part, path):
            kept.add(path)
            return path
        with _LOCK:
            known = path not in kept and (there is None or path in there)
            if same := known and _same(part, path):
                kept.add(path)
        if same:
            part.unlink()
            return path
    raise AssertionError("there is always another number")


def _there(wanted: Path) -> set[Path]:
    """Return the files that have a name or one of its numbers."""
    return set(itertools.takewhile(os.path.lexists, _names(wanted)))


def _names(wanted: Path) -> Iterator[Path]:
    """Yield a name, and then its numbers."""
    yield wanted
    for count in itertools.count(1):
        yield wanted.with_name(f"{wanted.stem} ({count}){wanted.suffix}")


def _takes(part: Path, path: Path) -> bool:
    """Move a whole file to a name unless something has it, in one step; say whether it was free."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:
        # FAT, and some file systems of networks, know no links: the name is held by an empty file.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        try:
            os.replace(part, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    else:
        part.unlink()
    return True


async def save_at(
    wanted: Path,
    fetch: Callable[[Path], Awaitable[object]],
    *,
    kept: set[Path] | None = None,
    overwrite: bool = False,
) -> Path:
    """Fetch a file under a name of its own, then give it the one that is wanted, or the next free one.

    Whatever happens on the way, and however often the caller is cancelled, nothing half done stays.

    Raises:
        OSError: The disk would not take it.
    """
    await in_thread(wanted.parent.mkdir, parents=True, exist_ok=True)
    there = await in_thread(_there, wanted)
    part = part_of(wanted)
    try:
        await fetch(part)
        return await in_thread(settle, part, wanted, there=there, kept=kept, overwrite=overwrite)
    finally:
        part.unlink(missing_ok=True)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Say whether a path means a folder: it is one, or has a trailing slash, or no ending."""
    text = os.fspath(path)
    return text.endswith(("/", os.sep)) or not Path(text).suffix or os.path.isdir(text)


def fresh_path(root: Path, parts: tuple[str, ...]) -> Path:
    """Return a path below `root` that no file has at this moment."""
    return next(path for path in _names(Path(root, *parts)) if not os.path.lexists(path))


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
