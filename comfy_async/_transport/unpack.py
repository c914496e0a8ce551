"""Compressed answers, unpacked a little at a time: a few bytes may stand for gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from ..errors import TransportError

__all__ = ["ACCEPTED", "Unpacker"]

ACCEPTED: Final = "gzip, deflate"
"""What requests ask for: what can be unpacked with a bound, and is in every Python."""

_PIECE: Final = 256 * 1024
# Text that people write packs 5 to 20 times; what is both large and packed so much better is a bomb.
_SUSPICIOUS_BYTES: Final = 64 << 20
_SUSPICIOUS_RATIO: Final = 200
_GZIP_MARK: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS


class Unpacker:
    """Unpacks one body; no piece that it yields is larger than 256 KiB."""

    def __init__(self, encoding: str, *, what: str, server: str) -> None:
        """Begin; `encoding` is the answer's `Content-Encoding`, `what` names it in errors.

        Raises:
            TransportError: It is packed in a way that nobody asked for.
        """
        self._what = what
        self._server = server
        self._taken = self._made = 0
        self._kind = encoding.strip().lower().removeprefix("x-")
        if self._kind not in ("", "identity", "gzip", "deflate"):
            raise self._error(f"is packed in a way that was not requested ({encoding[:40]!r})")
        self._packed = self._kind in ("gzip", "deflate")
        self._inner = zlib.decompressobj(_GZIP if self._kind == "gzip" else zlib.MAX_WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what some more bytes stand for.

        Raises:
            TransportError: They cannot be unpacked, or are a bomb.
        """
        if not self._packed:
            yield data
            return
        if self._kind == "deflate" and not self._taken:
            self._choose(data)
        self._taken += len(data)
        more = True
        while more:
            if self._inner.eof:
                # A gzip file may be followed by another one; what else stands there is padding.
                if self._kind != "gzip" or not data.startswith(_GZIP_MARK):
                    return
                self._inner = zlib.decompressobj(_GZIP)
            try:
                piece = self._inner.decompress(data, _PIECE)
            except zlib.error:
                raise self._error("cannot be unpacked") from None
            self._count(len(piece))
            if piece:
                yield piece
            data = self._inner.unconsumed_tail or self._inner.unused_data
            more = bool(data) or len(piece) == _PIECE

    def finish(self) -> None:
        """Check that the body was whole.

        Raises:
            TransportError: It ended too early.
        """
        if self._packed and self._taken and not self._inner.eof:
            raise self._error("ended before it was whole", retryable=True)

    def _choose(self, data: bytes) -> None:
        """Tell deflate as the standard has it, with a head, from deflate without, as some servers send it."""
        try:
            zlib.decompressobj().decompress(data[:2])
        except zlib.error:
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS)

    def _count(self, size: int) -> None:
        """Add what was unpacked, and refuse a bomb."""
        self._made += size
        if self._made > _SUSPICIOUS_BYTES and self._made > _SUSPICIOUS_RATIO * self._taken:
            raise self._error(
                f"unpacks to {self._made // self._taken} times its size, and more than "
                f"{_SUSPICIOUS_BYTES >> 20} MiB"
            )

    def _error(self, why: str, *, retryable: bool = False) -> TransportError:
        """Return an error for this body."""
        return TransportError(
            f"{self._what} at {self._server}: the answer {why}",
            hint="A proxy or another program may answer there; ComfyUI packs only what it is asked to pack.",
            server=self._server,
            retryable=retryable,
        )
