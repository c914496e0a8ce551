"""Server-sent events, out of whichever pieces they come in (html.spec.whatwg.org, section 9.2)."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SseError", "SseReader"]

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?=[^\n])")


class SseError(ValueError):
    """A stream that never ends an event."""


class SseReader:
    """Cuts a byte stream into events; comments and unknown fields are left out.

    Example:
        >>> reader = SseReader()
        >>> reader.feed(b"event: status\\ndata: {}\\n")
        []
        >>> reader.feed(b": still here\\n\\n")
        [('status', b'{}')]
    """

    __slots__ = ("_buffer", "_data", "_event", "_most", "_searched", "_size", "_started")

    def __init__(self, *, most: int = 64 << 20) -> None:
        """Start before the first byte; `most` bytes an event may have."""
        self._most = most
        self._buffer = bytearray()
        self._searched = 0
        self._event = b""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """Take in what came, and return the events that it completes: (name, data).

        Raises:
            SseError: An event grows beyond the limit.
        """
        self._buffer += chunk
        found: list[tuple[str, bytes]] = []
        start = 0
        # A CR at the very end waits: whether an LF belongs to it is not known yet.
        for match in _LINE_END.finditer(self._buffer, self._searched):
            event = self._take(bytes(self._buffer[start : match.start()]))
            start = match.end()
            if event is not None:
                found.append(event)
        del self._buffer[:start]
        self._searched = max(0, len(self._buffer) - 1)
        if self._size + len(self._buffer) > self._most:
            raise SseError(f"an event of more than {self._most:,} bytes")
        return found

    def _take(self, line: bytes) -> tuple[str, bytes] | None:
        """Take in a line; an empty one ends an event."""
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            event, data = self._event, self._data
            self._event, self._data, self._size = b"", [], 0
            return (event.decode("utf-8", "replace") or "message", b"\n".join(data)) if data else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._data.append(value)
            self._size += len(value)
        return None
