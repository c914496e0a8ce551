"""The apps that a site offers: given as they are, or loaded from files and looked after."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from .._base.tasks import in_thread
from ..errors import WorkflowError
from ..workflow import Workflow

__all__ = ["AppLike", "AppSource", "InputLike", "Maker", "OutputLike", "Shelf", "slug_of"]

_log = logging.getLogger("comfy_async")

_ENDINGS: Final = frozenset({".json", ".png", ".webp"})
_LOOK_S: Final = 2.0
_LONGEST_SLUG: Final = 80


class InputLike(Protocol):
    """An input of an app, as far as a form and its check need it."""

    @property
    def name(self) -> str:
        """What callers name it by."""
        ...

    @property
    def type(self) -> str:
        """ComfyUI's word for what it takes."""
        ...

    @property
    def default(self) -> Any:
        """What it has when nobody gives a value."""
        ...

    @property
    def choices(self) -> Sequence[Any] | None:
        """What can be chosen, None when it is free."""
        ...

    @property
    def minimum(self) -> float | None:
        """The lowest number."""
        ...

    @property
    def maximum(self) -> float | None:
        """The highest number."""
        ...

    @property
    def step(self) -> float | None:
        """From one number to the next."""
        ...

    @property
    def multiline(self) -> bool:
        """A text of several lines."""
        ...

    @property
    def required(self) -> bool:
        """It must be given."""
        ...

    @property
    def description(self) -> str:
        """What it is for."""
        ...

    @property
    def upload(self) -> str | None:
        """The kind of file that it takes: "image", "video" or "audio"; None when it takes none."""
        ...

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def is_seed(self) -> bool:
        """A number that makes one run unlike the next."""
        ...

    def parse(self, text: str) -> Any:
        """Return the value that a form's text means; what none can mean as it came."""
        ...


class OutputLike(Protocol):
    """An output of an app."""

    @property
    def node(self) -> str:
        """The node that makes it."""
        ...


class AppLike(Protocol):
    """A workflow as a function: `App`, as far as a site needs it."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def inputs(self) -> Mapping[str, InputLike]:
        """What it takes."""
        ...

    @property
    def outputs(self) -> Mapping[str, OutputLike]:
        """What it gives."""
        ...

    def workflow(self, /, **values: Any) -> Workflow:
        """Return what is to be run; checks the values first."""
        ...

    def json_schema(self) -> dict[str, Any]:
        """Return the inputs as a JSON schema."""
        ...


class Maker(Protocol):
    """What makes apps of files: a session, a pool or a fleet."""

    async def app(self, workflow: Any, /) -> AppLike:
        """Return a workflow as an app."""
        ...


AppSource: TypeAlias = "AppLike | Mapping[str, AppLike] | Iterable[AppLike] | str | os.PathLike[str]"
"""What a site is made of: one app, several, or a file or folder of workflows."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded:
    """What became of one file, and which state of it that was."""

    stamp: tuple[int, int]
    app: AppLike | None
    reason: str = ""


class Shelf:
    """The apps of a site by the names in their addresses.

    Those of a folder are loaded when somebody first asks, since that takes the server's catalog, and
    again when their file changes. A file that is no workflow is named, and keeps nothing else from working.
    """

    def __init__(self, source: AppSource, maker: Maker) -> None:
        """Take what is there; nothing is read yet.

        Raises:
            FileNotFoundError: There is no such file or folder.
            ValueError: It has no app in it.
        """
        self._maker = maker
        self._given: dict[str, AppLike] = {}
        self._folder: Path | None = None
        self._files: dict[Path, _Loaded] = {}
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()
        if isinstance(source, (str, os.PathLike)):
            self._folder = Path(source)
            if not self._folder.exists():
                raise FileNotFoundError(2, "there is no such file or folder", str(self._folder))
        elif isinstance(source, Mapping):
            self._given = {slug_of(name): app for name, app in source.items()}
        elif isinstance(source, Iterable):
            self._given = _named(list(source))
        else:
            self._given = _named([source])
        if self._folder is None and not self._given:
            raise ValueError("a site needs an app")

    async def apps(self) -> dict[str, AppLike]:
        """Return all apps by name.

        Raises:
            ComfyError: The ComfyUI cannot be asked for what the workflows need.
            OSError: The folder cannot be read.
        """
        if self._folder is None:
            return self._given
        await self._look(self._folder)
        loaded = {path: one.app for path, one in self._files.items() if one.app is not None}
        return _by_slug(loaded)

    @property
    def broken(self) -> dict[str, str]:
        """The files that became no apps, and why."""
        return {path.name: one.reason for path, one in self._files.items() if one.app is None}

    async def _look(self, folder: Path) -> None:
        """Load what is new or has changed since the last look, which was not just now."""
        now = asyncio.get_running_loop().time()
        async with self._looking:
            if self._looked_at is not None and now - self._looked_at < _LOOK_S:
                return
            found = await in_thread(_stamps, folder)
            for path, stamp in found.items():
                known = self._files.get(path)
                if known is None or known.stamp != stamp:
                    self._files[path] = await self._load(path, stamp)
            self._files = {path: one for path, one in self._files.items() if path in found}
            self._looked_at = now

    async def _load(self, path: Path, stamp: tuple[int, int]) -> _Loaded:
        """Make an app of a file.

        Raises:
            ComfyError: The ComfyUI cannot be asked.
        """
        try:
            return _Loaded(stamp, await self._maker.app(path))
        except (WorkflowError, OSError, ValueError) as error:
            _log.warning("web: %s is not offered: %s", path.name, error)
            # The folder is nobody's business.
            reason = str(error).replace(str(path.parent) + os.sep, "")
            return _Loaded(stamp, None, reason)


def slug_of(name: str) -> str:
    """Return a name as it stands in an address: small letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG] or "app"


def _named(apps: Sequence[AppLike]) -> dict[str, AppLike]:
    """Return apps by their own names, each made unique."""
    found: dict[str, AppLike] = {}
    for app in apps:
        found[_free(slug_of(app.name), found)] = app
    return found


def _by_slug(loaded: Mapping[Path, AppLike]) -> dict[str, AppLike]:
    """Return apps by the names of their files, each made unique."""
    found: dict[str, AppLike] = {}
    for path, app in loaded.items():
        found[_free(slug_of(path.stem), found)] = app
    return found


def _free(name: str, taken: Mapping[str, object]) -> str:
    """Return a name, with a number when it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the workflow files of a folder in order, and what tells one state of each from another."""
    paths = [folder] if folder.is_file() else sorted(folder.iterdir())
    found = {}
    for path in paths:
        if path.suffix.lower() in _ENDINGS and not path.name.startswith(".") and path.is_file():
            about = path.stat()
            found[path] = (about.st_mtime_ns, about.st_size)
    return found
