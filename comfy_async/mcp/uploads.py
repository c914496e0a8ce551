"""Files that a caller brings: as base64, or by a path below the one folder that was opened for it."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from typing import Final

from .._base.paths import safe_name
from .._base.tasks import in_thread

__all__ = ["RefusedError", "brought", "named"]

_DATA_URI: Final = re.compile(r"data:[^,;]*(?:;[^,;]*)*,")


class RefusedError(Exception):
    """The request is refused; the text says why, and what is accepted."""


async def brought(content: str, *, most: int) -> bytes:
    """Return the bytes of base64, with or without `data:...;base64,` before them.

    Raises:
        RefusedError: They are too many, or it is no base64.
    """
    head = _DATA_URI.match(content[:200])
    text = content if head is None else content[head.end() :]
    if len(text) * 3 // 4 > most + 3:
        raise RefusedError(_too_large(most))
    try:
        data = await in_thread(base64.b64decode, "".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError("`content` is no base64: give the bytes of the file in base64") from None
    return _fitting(data, most)


async def named(given: str, folder: Path, *, most: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a file below a folder; whether a file exists elsewhere is not checked.

    Raises:
        RefusedError: It lies elsewhere, is no file, or is too large.
    """
    return await in_thread(_read, given, folder, most)


def _read(given: str, folder: Path, most: int) -> tuple[str, bytes]:
    """Read a file below a folder."""
    root = Path(os.path.realpath(folder))
    try:
        path = Path(os.path.realpath(root / given))
    except (OSError, ValueError):
        raise RefusedError(f"{given!r} is no path") from None
    if not path.is_relative_to(root):
        raise RefusedError(
            f"{given!r} does not lie below {folder}, the only folder that files are taken from"
        )
    try:
        # What a link was put in the place of since, and what would wait for a writer, is not opened.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise RefusedError(f"{given!r} cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RefusedError(f"{given!r} is no file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return safe_name(path.name), _fitting(file.read(most + 1), most)
    finally:
        os.close(descriptor)


def _fitting(data: bytes, most: int) -> bytes:
    """Return bytes that are some, and not too many.

    Raises:
        RefusedError: They are none, or too many.
    """
    if not data:
        raise RefusedError("the file is empty")
    if len(data) > most:
        raise RefusedError(_too_large(most))
    return data


def _too_large(most: int) -> str:
    """Say how large a file may be."""
    return f"the file is larger than {most / 1e6:.1f} MB, the most that is taken here"
