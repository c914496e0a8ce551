"""A folder of workflows as apps: loaded when they are first needed, and again when their files change."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final, Generic, TypeVar

from .._base.tasks import in_thread
from ..errors import WorkflowError
from .app import App
from .client import Client

__all__ = ["AppFolder", "WatchedFolder"]

T = TypeVar("T")

_log = logging.getLogger("comfy_async")

_ENDINGS: Final = frozenset({".json", ".png", ".webp"})


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded(Generic[T]):
    """What was made of one file, and of which state of it."""

    stamp: tuple[int, int]
    made: T | None
    reason: str = ""


class WatchedFolder(Generic[T]):
    """The workflow files of a folder, or one file, each as what is made of it, and again when it changes.

    A file of which nothing can be made is named in `broken`, and keeps nothing else from working.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        make: Callable[[Path], Awaitable[T]],
        complain: Callable[[str, Exception], None],
    ) -> None:
        """Check that the folder is there; nothing is read yet.

        Args:
            path: The folder, or a workflow file.
            make: Makes something of a file.
            complain: Logs that a file cannot be used; takes its name and the reason.

        Raises:
            FileNotFoundError: It is not there.
        """
        self._path = Path(path)
        self._make = make
        self._complain = complain
        self._files: dict[Path, _Loaded[T]] = {}
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()
        if not self._path.exists():
            raise FileNotFoundError(2, "there is no such file or folder", os.fspath(path))

    async def look(self, *, rest: float = 0.0) -> dict[Path, T]:
        """Return what is made of the files, in order; a scan in the last `rest` seconds is not repeated.

        Raises:
            ComfyError: The server cannot be asked for what the workflows need.
            OSError: The folder cannot be read.
        """
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._looked_at is None or now - self._looked_at >= rest:
                found = await in_thread(_stamps, self._path)
                for path, stamp in found.items():
                    known = self._files.get(path)
                    if known is None or known.stamp != stamp:
                        self._files[path] = await self._load(path, stamp)
                self._files = {path: self._files[path] for path in found}
                self._looked_at = now
        return {path: one.made for path, one in self._files.items() if one.made is not None}

    @property
    def broken(self) -> dict[Path, str]:
        """The files that cannot be used, and why."""
        return {path: one.reason for path, one in self._files.items() if one.made is None}

    async def _load(self, path: Path, stamp: tuple[int, int]) -> _Loaded[T]:
        """Make something of a file.

        Raises:
            ComfyError: The request failed.
        """
        try:
            return _Loaded(stamp, await self._make(path))
        except (WorkflowError, OSError, ValueError) as error:
            self._complain(path.name, error)
            return _Loaded(stamp, None, str(error))


class AppFolder:
    """The workflows of a folder, or one file, as apps by name.

    They are loaded when they are first needed, since that takes the server's catalog. A file that is no
    workflow is named in `broken`, and keeps nothing else from working.

    Example:
        >>> folder = AppFolder("examples/workflows", comfy)
        >>> list(await folder.apps())
        ['partner_flux_ultra_api', ...]
    """

    def __init__(
        self, path: str | os.PathLike[str], comfy: Client, *, reserved: Collection[str] = ()
    ) -> None:
        """Check that the folder is there; nothing is read yet.

        Args:
            path: The folder, or a workflow file.
            comfy: Where the apps run.
            reserved: Names that no app gets.

        Raises:
            FileNotFoundError: It is not there.
        """
        self._files = WatchedFolder(path, comfy.app, _complain)
        self._reserved = frozenset(reserved)

    async def apps(self) -> dict[str, App]:
        """Return the apps by name, those of files that have changed loaded anew.

        Names hold ASCII letters, digits, `_` and `-`, 64 at the most; where two files would have
        one name the later gets a number.

        Raises:
            ComfyError: The server cannot be asked for what the workflows need.
            OSError: The folder cannot be read.
        """
        named: dict[str, App] = {}
        for app in (await self._files.look()).values():
            named[self._free(app.tool()["name"], named)] = app
        return named

    @property
    def broken(self) -> dict[str, str]:
        """The files that became no apps, and why."""
        return {path.name: reason for path, reason in self._files.broken.items()}

    def _free(self, name: str, taken: Collection[str]) -> str:
        """Return a name, with a number when it is taken."""
        number, free = 1, name
        while free in taken or free in self._reserved:
            number += 1
            free = f"{name[:60]}_{number}"
        return free


def _complain(name: str, error: Exception) -> None:
    """Log that a file is no app."""
    _log.warning("%s is no app: %s", name, error)


def _stamps(path: Path) -> dict[Path, tuple[int, int]]:
    """Return the workflow files in order, and what tells one state of each from another."""
    found = {}
    for one in [path] if path.is_file() else sorted(path.iterdir()):
        if one.suffix.lower() in _ENDINGS and not one.name.startswith(".") and one.is_file():
            about = one.stat()
            found[one] = (about.st_mtime_ns, about.st_size)
    return found
