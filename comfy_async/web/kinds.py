"""What a file is, by its first bytes; and what of a job's files a browser may show by itself."""

from __future__ import annotations

from typing import Final

__all__ = ["accepted", "ending_of", "shown_as"]

# Where a signature stands, the signature, the ending, and the kinds that such a file can serve as.
# What a caller says of its file, its name and its type, is believed nowhere.
_SIGNATURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", ".png", ("image",)),
    (0, b"\xff\xd8\xff", ".jpg", ("image",)),
    (0, b"GIF87a", ".gif", ("image",)),
    (0, b"GIF89a", ".gif", ("image",)),
    (8, b"WEBP", ".webp", ("image",)),
    (0, b"BM", ".bmp", ("image",)),
    (0, b"II*\x00", ".tiff", ("image",)),
    (0, b"MM\x00*", ".tiff", ("image",)),
    (8, b"avif", ".avif", ("image",)),
    (0, b"\x1a\x45\xdf\xa3", ".webm", ("video", "audio")),
    (8, b"AVI ", ".avi", ("video",)),
    (8, b"qt  ", ".mov", ("video",)),
    (8, b"M4A ", ".m4a", ("audio",)),
    (4, b"ftyp", ".mp4", ("video", "audio")),
    (8, b"WAVE", ".wav", ("audio",)),
    (0, b"fLaC", ".flac", ("audio",)),
    (0, b"OggS", ".ogg", ("audio", "video")),
    (0, b"ID3", ".mp3", ("audio",)),
    (0, b"\xff\xfb", ".mp3", ("audio",)),
    (0, b"\xff\xf3", ".mp3", ("audio",)),
    (0, b"\xff\xf2", ".mp3", ("audio",)),
)

# No SVG and no HTML: both can hold scripts, which would run as ours.
_SHOWN: Final = frozenset(
    "image/png image/jpeg image/gif image/webp image/avif image/bmp image/apng "
    "video/mp4 video/webm video/quicktime video/x-matroska video/ogg "
    "audio/mpeg audio/wav audio/x-wav audio/flac audio/x-flac audio/ogg audio/mp4 audio/aac "
    "audio/webm".split()
)


def ending_of(head: bytes, kind: str) -> str | None:
    """Return the ending of a file that begins so, None when it is none of that kind."""
    for offset, signature, ending, kinds in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature and kind in kinds:
            return ending
    return None


def accepted(kind: str) -> str:
    """Return the endings that a kind of upload takes, as the `accept` of a form's field has them."""
    found = dict.fromkeys(ending for _, _, ending, kinds in _SIGNATURES if kind in kinds)
    return ",".join((f"{kind}/*", *found))


def shown_as(mime: str) -> tuple[str, bool]:
    """Return the content type that a file is sent with, and whether a browser may show it in its place."""
    plain = mime.partition(";")[0].strip().lower()
    return (plain, True) if plain in _SHOWN else ("application/octet-stream", False)
