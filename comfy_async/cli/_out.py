"""Where `--out` puts files: a folder of this machine or of a store behind fsspec, and a pattern for names."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._base.places import hide_password, said, where
from ..types import FileUrl
from ._connection import MissingExtraError, UsageError

if TYPE_CHECKING:
    from comfy_async import JobResult, Workflow

    from .._job.patterns import NamePattern

__all__ = ["OutPlace", "demand_names", "demand_place"]

_STORE_S: Final = 30.0
# A field that this module fills by itself; doubled braces stand for one.
_PLACE: Final = re.compile(r"(?<!\{)\{job(?::([^{}]*))?\}(?!\})")
_NUMBERED: Final = re.compile(r" \(\d+\)(?=(\.[^.]*)?$)")


class OutPlace:
    """The value of `--out`; a text with `scheme://` at its beginning is a URL.

    From the first part of it on that has a brace it is a pattern for names: `out/{seed}.png`, and
    `out/{seed}/` for a folder for each, with the server's names.

    Attributes:
        name: The pattern, None when files keep the server's names.
    """

    def __init__(self, text: str | os.PathLike[str]) -> None:
        """Read the option.

        Raises:
            ValueError: It is the address of another machine's files.
        """
        self._text = os.fspath(text)
        self._path = where(self._text)
        given = self._text if self._path is None else said(self._text, self._path)
        self._folder, self.name = _split(given, local=self._path is not None)
        if self.name is not None and self._path is not None:
            self._path = Path(self._folder)

    @property
    def place(self) -> Path | FileUrl:
        """The folder, or a name in it without any brace: what `save` takes, beside the pattern."""
        return FileUrl(self._folder) if self._path is None else self._path

    @property
    def path(self) -> Path | None:
        """The folder on this machine, None for a URL."""
        return self._path

    @property
    def folder(self) -> str:
        """The folder as it was given, without a pattern and without a password."""
        return hide_password(self._folder)

    def pattern(self, workflow: Workflow | None = None, *, prompt_id: str = "") -> NamePattern | None:
        """Return how files are named, None when they keep the server's names.

        Raises:
            ValueError: That is no pattern.
        """
        from .._job.patterns import NamePattern

        if self.name is None:
            return None
        graph = None if workflow is None else workflow.to_api()
        return NamePattern(self.name, prompt_id=prompt_id, graph=graph)

    def of_item(self, index: int, *, digits: int) -> OutPlace:
        """Return where the files of one job of a batch go: a folder in it, or its place in the pattern.

        Raises:
            UsageError: A place has no such format.
        """
        if self.name is None:
            below = f"{index:0{digits}d}"
            return OutPlace(f"{self._text.rstrip('/')}/{below}" if self._path is None else self._path / below)
        made = OutPlace(self._text)
        try:
            made.name = _PLACE.sub(lambda found: format(index, found[1] or ""), self.name)
        except ValueError as error:
            raise UsageError(f"--out {self}: {{job}}: {error}") from None
        made._text = os.path.join(self._folder, made.name)
        return made

    async def save(self, result: JobResult, *, allow_missing: bool = False) -> list[Path] | list[FileUrl]:
        """Save the files of a result.

        Raises:
            UsageError: A field of the pattern could be several things, or has no value.
            ComfyError: The server does not give them.
            OSError: They cannot be written.
        """
        place: Any = self.place
        named: dict[str, Any] = {} if self.name is None else {"name": self.name}
        try:
            saved: list[Path] | list[FileUrl] = await result.save(place, allow_missing=allow_missing, **named)
            return saved
        except ValueError as error:
            raise UsageError(str(error)) from error

    async def still_has(
        self, places: Sequence[str], result: JobResult, workflow: Workflow | None
    ) -> list[Path | FileUrl] | None:
        """Return files of an earlier batch, if all lie where they would be saved, and are still there."""
        if not self._are_named(places, result, workflow):
            return None
        if self._path is None:
            url = f"{hide_password(self._folder).rstrip('/')}/"
            below = all(place.startswith(url) for place in places)
            return [FileUrl(place) for place in places] if below and await self._has(places) else None
        return await asyncio.to_thread(_still_has, self._path, places)

    def _are_named(self, places: Sequence[str], result: JobResult, workflow: Workflow | None) -> bool:
        """Say whether files have the names that the pattern gives, or those with a number behind them."""
        names = self.pattern(workflow, prompt_id=result.prompt_id)
        if names is None:
            return True
        try:
            wanted = ["/".join(names.parts(file, place)) for place, file in enumerate(result.files)]
        except ValueError:
            # Saving says what it is.
            return False
        found = [place.replace(os.sep, "/") for place in places]
        pairs = zip(wanted, found, strict=True)
        return all(place.endswith(f"/{name}") or _bare(place).endswith(f"/{name}") for name, place in pairs)

    async def _has(self, urls: Sequence[str]) -> bool:
        """Return whether all of these are in the store; False when the store does not answer."""
        from .._job.storing import has_all

        try:
            return await has_all(self._folder, urls)
        except OSError:
            return False

    def __str__(self) -> str:
        """Return it as it was given, without a password."""
        return hide_password(self._text)


def _split(text: str, *, local: bool) -> tuple[str, str | None]:
    """Return the folder and the pattern in it; a folder that is there may have braces in its name."""
    parts = re.split(r"(?<=[\\/])" if os.sep == "\\" and local else "(?<=/)", text)
    for place, part in enumerate(parts):
        if ("{" in part or "}" in part) and not (local and os.path.isdir("".join(parts[: place + 1]))):
            name = "".join(parts[place:])
            folder = "".join(parts[:place]) or "."
            return folder, f"{name}{{filename}}" if name.endswith(("/", os.sep)) else name
    return text, None


def _bare(place: str) -> str:
    """Return a name without the number that it got since the other one was taken."""
    return _NUMBERED.sub("", place)


def demand_names(out: OutPlace | None, workflow: Workflow | None = None, *, index: int | None = None) -> None:
    """Check before a job is submitted that a pattern can be filled, as far as that is known by then.

    Args:
        out: The value of --out.
        workflow: What is about to be submitted; without it only the form is checked, and the fields.
        index: Its place in a batch, None where there is none.

    Raises:
        UsageError: It cannot.
    """
    if out is None or out.name is None:
        return
    filled = out if index is None else out.of_item(index, digits=1)
    try:
        if (names := filled.pattern(workflow)) is not None:
            names.check()
    except ValueError as error:
        raise UsageError(f"--out {out}: {error}") from None


async def demand_place(out: OutPlace | None, *, attached: bool = False, index: int | None = None) -> None:
    """Check before a long run that its files can be saved after it; leaves nothing behind.

    A file is really made, in the nearest folder that exists or in the store: permissions alone
    do not show a read-only or full disk.

    Args:
        out: The value of --out.
        attached: The jobs were submitted by others: what they were submitted with is unknown.
        index: The place in a batch of the job that is tried, None where there is none.

    Raises:
        MissingExtraError: What the store needs is not installed.
        UsageError: Nothing can be written there, or the pattern is none.
    """
    if out is None:
        return
    demand_names(out, index=index)
    if attached and (names := out.pattern()) is not None and names.wants_workflow:
        raise UsageError(
            f"--out {out}: seeds and inputs are known to the command that submits, not to this one; "
            "{prompt_id}, {node}, {index} and {filename} are"
        )
    if out.path is not None:
        await asyncio.to_thread(_demand_folder, out.path)
        return
    from .._job.storing import probe

    try:
        async with asyncio.timeout(_STORE_S):
            await probe(out.place)
    except ImportError as error:
        raise MissingExtraError(f"--out {out}: {error}") from error
    except TimeoutError as error:
        raise UsageError(f"--out {out} does not answer within {_STORE_S:.0f} s") from error
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--out {out} cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from error


def _still_has(folder: Path, places: Sequence[str]) -> list[Path | FileUrl] | None:
    """Return the files if all of them lie below a folder of this machine, and are there."""
    root, paths = os.path.abspath(folder), [Path(place) for place in places]
    if not all(path.is_relative_to(root) and path.is_file() for path in paths):
        return None
    return [folder / path.relative_to(root) for path in paths]


def _demand_folder(folder: Path) -> None:
    """Check that a folder of this machine can be written to.

    Raises:
        UsageError: It cannot.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        where_ = f"{folder}" if there == folder else f"{folder} ({there})"
        raise UsageError(f"--out {where_} cannot be written: {error.strerror or error}") from error
