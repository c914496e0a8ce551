"""A multipart body that is read from disk while it is sent, and can be sent again."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

__all__ = ["Multipart"]

Chunks = Callable[[], AsyncIterator[bytes]]

_HTML5_ESCAPES: Final = {"\r": "%0D", "\n": "%0A", '"': "%22", "\x00": "%00"}


class Multipart:
    """One file and some form fields as `multipart/form-data`, of known length.

    httpx has a multipart body of its own, but that one reads the disk on the event loop.

    Args:
        fields: The form fields, sent before the file.
        field: The name of the file's own field.
        filename: The file's name for the server.
        size: The file's size in bytes.
        chunks: Starts to read the file; called anew when the body is sent again.
    """

    def __init__(
        self, fields: Mapping[str, str], *, field: str, filename: str, size: int, chunks: Chunks
    ) -> None:
        """Lay out what stands around the file."""
        self.boundary = secrets.token_hex(16)
        parts = [self._head(name) + value.encode() + b"\r\n" for name, value in fields.items()]
        self._before = b"".join(parts) + self._head(field, filename)
        self._after = f"\r\n--{self.boundary}--\r\n".encode()
        self._chunks = chunks
        self._size = size

    def _head(self, name: str, filename: str | None = None) -> bytes:
        """Return the lines before a part's content."""
        lines = f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if filename is not None:
            escaped = "".join(_HTML5_ESCAPES.get(char, char) for char in filename)
            lines += f'; filename="{escaped}"\r\nContent-Type: application/octet-stream'
        return f"{lines}\r\n\r\n".encode("utf-8", "replace")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe the body; with a length it is not sent in HTTP chunks."""
        length = len(self._before) + self._size + len(self._after)
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(length),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body from its beginning."""
        yield self._before
        async for chunk in self._chunks():
            yield chunk
        yield self._after
