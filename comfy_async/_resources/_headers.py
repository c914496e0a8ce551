"""What the first bytes of a picture say: its width and height, and whether it has alpha."""

from __future__ import annotations

from typing import BinaryIO, Final

__all__ = ["has_alpha", "pixels_of"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_WITH_ALPHA: Final = (4, 6)
# Start of frame, in all kinds of compression; between them stand tables that have other meanings.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

# Parts that are looked at: a file may be made of millions of empty ones.
_MOST_PARTS: Final = 1000


def pixels_of(file: BinaryIO) -> tuple[int, int] | None:
    """Return width and height of a PNG or JPEG as they are stored, None of anything else."""
    file.seek(0)
    head = file.read(24)
    if head.startswith(_PNG) and len(head) == 24:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return _jpeg_pixels(file) if head.startswith(_JPEG) else None


def _jpeg_pixels(file: BinaryIO) -> tuple[int, int] | None:
    """Return width and height of a JPEG, None of a damaged one."""
    offset = 2
    for _ in range(_MOST_PARTS):
        file.seek(offset)
        head = file.read(9)
        if len(head) < 9 or head[0] != 0xFF:
            return None
        if head[1] == 0xFF:
            offset += 1
        elif head[1] in _FRAMES:
            return int.from_bytes(head[7:9], "big"), int.from_bytes(head[5:7], "big")
        else:
            offset += 2 + int.from_bytes(head[2:4], "big")
    return None


def has_alpha(file: BinaryIO) -> bool | None:
    """Say whether a picture has alpha, None when nobody here can tell; PNG and JPEG need no Pillow."""
    head = file.read(26)
    if head.startswith(_PNG):
        return len(head) == 26 and (head[25] in _WITH_ALPHA or _has_transparent(file))
    if head.startswith(_JPEG):
        return False
    try:
        import PIL.Image

        file.seek(0)
        with PIL.Image.open(file) as picture:
            return picture.has_transparency_data
    except Exception:  # Pillow raises whatever a decoder meets
        return None


def _has_transparent(file: BinaryIO) -> bool:
    """Say whether a PNG without an alpha channel has transparent colours."""
    offset = 33
    for _ in range(_MOST_PARTS):
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8 or head[4:] in {b"IDAT", b"IEND"}:
            return False
        if head[4:] == b"tRNS":
            return True
        offset += 12 + int.from_bytes(head[:4], "big")
    return False
