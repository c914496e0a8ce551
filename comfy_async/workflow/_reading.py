"""Reading JSON from a path, text, bytes or a dict; errors say where the data is damaged."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._base.places import StoredPlace, is_stored
from .._base.stores import read_stored
from ..errors import WorkflowFormatError

__all__ = ["MAX_BYTES", "Source", "loads", "read_source", "unpack"]

Source = str | bytes | bytearray | memoryview | os.PathLike[str] | Mapping[Any, Any] | StoredPlace

MAX_BYTES = 512 * 2**20
"""The largest unpacked size of a compressed file, in bytes; an object_info has tens of megabytes."""

_GZIP = b"\x1f\x8b"

_LFS_POINTER = "version https://git-lfs.github.com/spec/"


def read_source(source: Any, *, what: str) -> tuple[Any, str]:
    """Return the content (a dict as it is, else bytes or JSON text), and its path or "".

    A string that begins with a brace or a bracket is JSON, any other is a path.

    Raises:
        WorkflowFormatError: The source is empty or of a type that cannot hold JSON.
        OSError: The file cannot be read.
    """
    if isinstance(source, Mapping):
        return source, ""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), ""
    if isinstance(source, str):
        start = source.lstrip("\ufeff \t\r\n")[:1]
        if start in {"{", "["}:
            return source, ""
        if not start or "\0" in source or "\n" in source:
            raise WorkflowFormatError(f"this text is not a {what}", hint="Pass a path, JSON or a dict.")
    if isinstance(source, str | os.PathLike):
        return Path(source).read_bytes(), os.fspath(source)
    if is_stored(source):
        return _stored(source)
    raise WorkflowFormatError(
        f"a {what} cannot be loaded from {type(source).__name__}", hint="Pass a path, JSON or a dict."
    )


def _stored(source: StoredPlace) -> tuple[bytes, str]:
    """Return the content of an `OpenFile` or a `UPath`, and its path.

    Raises:
        WorkflowFormatError: It is larger than `MAX_BYTES`.
        OSError: The store cannot read it.
    """
    content, name = read_stored(source, most=MAX_BYTES)
    if len(content) > MAX_BYTES:
        raise WorkflowFormatError(f"{name} has more than {MAX_BYTES} bytes", place=name)
    return content, name


def unpack(content: bytes, *, name: str = "") -> bytes:
    """Return the content of a gzip file, other content as it is.

    Raises:
        WorkflowFormatError: The gzip file is damaged or unpacks to more than `MAX_BYTES`.
    """
    if not content.startswith(_GZIP):
        return content
    plain = bytearray()
    try:
        while content:
            # Bounded, so that a small file cannot unpack to any size.
            member = zlib.decompressobj(wbits=31)
            plain += member.decompress(content, MAX_BYTES + 1 - len(plain))
            if len(plain) > MAX_BYTES:
                raise WorkflowFormatError(
                    f"{name or 'the data'} unpacks to more than {MAX_BYTES} bytes", place=name
                )
            if not member.eof:
                raise WorkflowFormatError(f"{name or 'the gzip data'} is cut off", place=name)
            content = member.unused_data
    except zlib.error as error:
        raise WorkflowFormatError(f"{name or 'the gzip data'} is damaged: {error}", place=name) from error
    return bytes(plain)


def loads(content: str | bytes, *, name: str = "", what: str = "workflow") -> Any:
    """Decode JSON.

    Raises:
        WorkflowFormatError: It is not valid JSON; `place` has line and column.
    """
    if isinstance(content, bytes):
        content = _text(content, name=name, what=what)
    if content.startswith(_LFS_POINTER):
        raise WorkflowFormatError(
            f"{name or f'the {what}'} is not the file itself but a Git LFS pointer to it",
            place=name,
            hint="`git lfs pull` fetches the file.",
        )
    try:
        return json.loads(content.lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise WorkflowFormatError(
            f"{name or f'the {what}'} is not valid JSON: {error.msg} at {place}", place=place
        ) from error
    except RecursionError as error:
        raise WorkflowFormatError(f"{name or f'the {what}'} is nested too deeply", place=name) from error
    except ValueError as error:
        # Integers of more than 4,300 digits.
        raise WorkflowFormatError(
            f"{name or f'the {what}'} is not valid JSON: {error}", place=name
        ) from error


def _text(content: bytes, *, name: str, what: str) -> str:
    if not content.strip():
        raise WorkflowFormatError(f"{name or f'the {what}'} is empty", place=name)
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise WorkflowFormatError(
            f"{name or f'the {what}'} is not text: byte {error.start} is not {error.encoding}",
            place=f"byte {error.start}",
            hint="It must be JSON, or a picture, video or audio file that ComfyUI saved.",
        ) from error
