"""Bounded reading of untrusted files."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["MAX_TEXT", "MediaDamageError", "Reader", "Texts", "as_text", "inflate"]

MAX_TEXT = 64 * 2**20
"""The largest metadata text, in bytes; a workflow of ten thousand nodes has ten megabytes."""

MAX_PARTS = 200_000
"""The most chunks, boxes or pages that are read of a file."""

Texts = Iterator[tuple[str, str]]
"""The metadata of a file: pairs of key and text, in file order."""


class MediaDamageError(ValueError):
    """Raised when a file is truncated or malformed.

    Attributes:
        offset: The byte at which it was noticed.
    """

    def __init__(self, message: str, *, offset: int) -> None:
        """Keep the message and the offset."""
        super().__init__(message)
        self.offset = offset


class Reader:
    """A seekable file that is read in bounded steps and never past its end."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the size of the file and seek to its beginning."""
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self._parts = 0
        file.seek(0)

    @property
    def offset(self) -> int:
        """The offset of the next read."""
        return self._file.tell()

    def seek(self, offset: int) -> None:
        """Seek to an offset, which counts as one part.

        Raises:
            MediaDamageError: It is outside the file, or there were more than `MAX_PARTS` parts.
        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MediaDamageError(f"it has more than {MAX_PARTS} parts", offset=self.offset)
        if not 0 <= offset <= self.size:
            raise MediaDamageError("it is cut off", offset=min(max(offset, 0), self.size))
        self._file.seek(offset)

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes.

        Raises:
            MediaDamageError: The file has fewer, or `count` is larger than `MAX_TEXT`.
        """
        start = self.offset
        if count > self.size - start:
            raise MediaDamageError("it is cut off", offset=self.size)
        if not 0 <= count <= MAX_TEXT:
            raise MediaDamageError(f"a part of {count} bytes is too large", offset=start)
        data = self._file.read(count)
        if len(data) != count:
            raise MediaDamageError("it is cut off", offset=start + len(data))
        return data

    def number(self, count: int, *, little: bool = False) -> int:
        """Return an unsigned integer of `count` bytes, big-endian unless `little`.

        Raises:
            MediaDamageError: The file ends first.
        """
        return int.from_bytes(self.read(count), "little" if little else "big")


def inflate(data: bytes, *, offset: int) -> bytes:
    """Return unpacked zlib data, at most `MAX_TEXT` bytes.

    Raises:
        MediaDamageError: It is damaged, or unpacks to more.
    """
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(data, MAX_TEXT)
    except zlib.error as error:
        raise MediaDamageError(f"a compressed text is damaged ({error})", offset=offset) from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise MediaDamageError("a compressed text is cut off or too large", offset=offset)
    return plain


def as_text(data: bytes) -> str:
    """Return a text decoded as UTF-8, else as Latin-1, which accepts all bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
