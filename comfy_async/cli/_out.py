"""Where `--out` puts files: a folder of this machine, or a URL of a store behind fsspec."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .._base.places import hide_password, where
from ..types import FileUrl
from ._connection import MissingExtraError, UsageError

__all__ = ["OutPlace", "demand_place"]

_STORE_S: Final = 30.0


class OutPlace:
    """The value of `--out`; a text with `scheme://` at its beginning is a URL."""

    def __init__(self, text: str | os.PathLike[str]) -> None:
        """Read the option.

        Raises:
            ValueError: It is the address of another machine's files.
        """
        self._text = os.fspath(text)
        self._path = where(self._text)

    @property
    def place(self) -> Path | FileUrl:
        """What `save` takes."""
        return FileUrl(self._text) if self._path is None else self._path

    @property
    def path(self) -> Path | None:
        """The folder on this machine, None for a URL."""
        return self._path

    def below(self, name: str) -> OutPlace:
        """Return a folder in it."""
        return OutPlace(f"{self._text.rstrip('/')}/{name}" if self._path is None else self._path / name)

    async def still_has(self, places: Sequence[str]) -> list[Path | FileUrl] | None:
        """Return files of an earlier batch, if all of them lie below it and are still there."""
        if self._path is None:
            url = f"{hide_password(self._text).rstrip('/')}/"
            below = all(place.startswith(url) for place in places)
            return [FileUrl(place) for place in places] if below and await self._has(places) else None
        return await asyncio.to_thread(_still_has, self._path, places)

    async def _has(self, urls: Sequence[str]) -> bool:
        """Return whether all of these are in the store; False when the store does not answer."""
        from .._job.storing import has_all

        try:
            return await has_all(self._text, urls)
        except OSError:
            return False

    def __str__(self) -> str:
        """Return it as it was given, without a password."""
        return hide_password(self._text)


async def demand_place(out: OutPlace | None) -> None:
    """Check before a long run that its files can be saved after it; leaves nothing behind.

    A file is really made, in the nearest folder that exists or in the store: permissions alone
    do not show a read-only or full disk.

    Raises:
        MissingExtraError: What the store needs is not installed.
        UsageError: Nothing can be written there.
    """
    if out is None:
        return
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
