"""EXIF in AVIF and HEIF: pictures in MP4 boxes, whose metadata items are located by a table."""

from __future__ import annotations

from collections.abc import Iterator

from .container import box_at
from .image import exif
from .reader import Reader, Texts

__all__ = ["avif"]


def avif(reader: Reader) -> Texts:
    """Yield the texts of a picture's EXIF items: `iinf` lists the items, `iloc` their offsets."""
    for kind, body, after in _boxes(reader, 0, reader.size):
        if kind == b"meta":
            yield from _items(reader, body + 4, after)


def _items(reader: Reader, start: int, end: int) -> Texts:
    wanted: set[int] = set()
    places: dict[int, tuple[int, int]] = {}
    for kind, body, after in _boxes(reader, start, end):
        if kind == b"iinf":
            wanted = set(_exif_items(reader, body, after))
        elif kind == b"iloc":
            places = dict(_locations(reader, body))
    for item in wanted & places.keys():
        offset, length = places[item]
        reader.seek(offset)
        # The first four bytes are the number of bytes before the EXIF block.
        skip = reader.number(4)
        reader.seek(offset + 4 + skip)
        yield from exif(reader.read(length - 4 - skip), offset=offset)


def _boxes(reader: Reader, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        kind, body, after = box_at(reader, start, end)
        yield kind, body, after
        start = after


def _exif_items(reader: Reader, body: int, after: int) -> Iterator[int]:
    """Yield the ids of the items that are EXIF blocks."""
    reader.seek(body)
    version = reader.number(1)
    first = body + (6 if version == 0 else 8)
    for kind, entry, _ in _boxes(reader, first, after):
        reader.seek(entry)
        version = reader.number(1)
        if kind == b"infe" and version >= 2:
            reader.read(3)
            number = reader.number(2 if version == 2 else 4)
            reader.read(2)
            if reader.read(4) == b"Exif":
                yield number


def _locations(reader: Reader, body: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the id, offset and length of items; those in several parts or other places are skipped."""
    reader.seek(body)
    version = reader.number(1)
    reader.read(3)
    sizes = reader.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version >= 2 else 2
    for _ in range(reader.number(wide)):
        item = reader.number(wide)
        method = reader.number(2) & 15 if version in {1, 2} else 0
        reader.read(2)
        base = reader.number(base_size)
        parts = reader.number(2)
        index = index_size if version in {1, 2} else 0
        if parts == 1:
            reader.read(index)
            place = base + reader.number(offset_size), reader.number(length_size)
            if method == 0:
                yield item, place
        else:
            reader.seek(reader.offset + parts * (index + offset_size + length_size))
