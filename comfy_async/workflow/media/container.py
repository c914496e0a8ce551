"""Metadata texts of MP4, MOV and M4A (boxes) and of WebM and Matroska (EBML)."""

from __future__ import annotations

from .reader import MediaDamageError, Reader, Texts, as_text

__all__ = ["box_at", "matroska", "mp4"]

_MAX_DEPTH = 16

_BOXES = frozenset({b"moov", b"udta", b"trak", b"meta", b"ilst"})

_SEGMENT, _TAGS, _TAG, _SIMPLE_TAG = 0x18538067, 0x1254C367, 0x7373, 0x67C8
_TAG_NAME, _TAG_STRING, _CLUSTER = 0x45A3, 0x4487, 0x1F43B675
_MASTERS = frozenset({_SEGMENT, _TAGS, _TAG, _SIMPLE_TAG})


def mp4(reader: Reader) -> Texts:
    """Yield the metadata that ffmpeg writes (`mdta`), and that of iTunes and QuickTime."""
    yield from _boxes(reader, 0, reader.size, keys=[], depth=0)


def _boxes(reader: Reader, start: int, end: int, *, keys: list[str], depth: int) -> Texts:
    while start + 8 <= end:
        kind, body, after = box_at(reader, start, end)
        if kind == b"keys":
            # The items of the ilst beside it are numbered by these keys.
            keys[:] = _keys(reader, body, after)
        elif kind == b"ilst":
            yield from _items(reader, body, after, keys)
        elif kind in _BOXES and depth < _MAX_DEPTH:
            skip = _fullbox_at(reader, body, after) if kind == b"meta" else 0
            yield from _boxes(
                reader, body + skip, after, keys=[] if kind == b"meta" else keys, depth=depth + 1
            )
        elif kind[:1] == b"\xa9" and after - body > 4:
            reader.seek(body + 4)
            yield _known(kind), as_text(reader.read(after - body - 4))
        start = after


def box_at(reader: Reader, start: int, end: int) -> tuple[bytes, int, int]:
    """Return the type of a box, and the offsets where its content begins and ends.

    Raises:
        MediaDamageError: The box does not fit into its parent.
    """
    reader.seek(start)
    size, kind = reader.number(4), reader.read(4)
    body = start + 8
    if size == 1:
        size, body = reader.number(8), start + 16
    after = end if size == 0 else start + size
    if after < body or after > end:
        name = kind.decode("latin-1")
        raise MediaDamageError(f"the box {name!r} is cut off or damaged", offset=start)
    return kind, body, after


def _fullbox_at(reader: Reader, body: int, after: int) -> int:
    """Return how many bytes of version and flags precede the content: QuickTime's meta box has none."""
    if after - body < 8:
        return after - body
    reader.seek(body + 4)
    return 0 if reader.read(4) == b"hdlr" else 4


def _keys(reader: Reader, body: int, after: int) -> list[str]:
    keys: list[str] = []
    start = body + 8
    while start + 8 <= after:
        reader.seek(start)
        size = reader.number(4)
        if size < 8 or start + size > after:
            raise MediaDamageError("the box 'keys' is damaged", offset=start)
        reader.seek(start + 8)
        keys.append(as_text(reader.read(size - 8)))
        start += size
    return keys


def _items(reader: Reader, body: int, after: int, keys: list[str]) -> Texts:
    start = body
    while start + 8 <= after:
        kind, item, end = box_at(reader, start, after)
        number = int.from_bytes(kind, "big")
        key = keys[number - 1] if 0 < number <= len(keys) else _known(kind)
        while item + 8 <= end:
            part, content, item = box_at(reader, item, end)
            if part == b"name" and item - content > 4:
                reader.seek(content + 4)
                key = as_text(reader.read(item - content - 4))
            elif part == b"data" and item - content >= 8:
                reader.seek(content + 8)
                yield key, as_text(reader.read(item - content - 8))
        start = end


def _known(kind: bytes) -> str:
    return "comment" if kind == b"\xa9cmt" else kind.decode("latin-1")


def matroska(reader: Reader) -> Texts:
    """Yield the simple tags of a Matroska or WebM file; ffmpeg writes their names in capitals."""
    start = 0
    name: str | None = None
    while start < reader.size:
        element, size, body = _element(reader, start)
        if size is None and element not in {*_MASTERS, _CLUSTER}:
            raise MediaDamageError("an element has no length", offset=start)
        if element in {_TAG_NAME, _TAG_STRING} and size is not None:
            text = as_text(reader.read(size)).rstrip("\0")
            if element == _TAG_NAME:
                name = text
            elif name is not None:
                yield name, text
        # To enter a container, or a cluster of unknown size, continue after its header.
        start = body if element in _MASTERS or size is None else body + size
    if start > reader.size:
        raise MediaDamageError("it is cut off", offset=reader.size)


def _element(reader: Reader, start: int) -> tuple[int, int | None, int]:
    """Return the id of an element, its size (None when unknown) and the offset of its content."""
    reader.seek(start)
    first = reader.number(1)
    width = 9 - first.bit_length()
    if width > 4:
        raise MediaDamageError("it has no element where one should begin", offset=start)
    element = int.from_bytes(bytes([first]) + reader.read(width - 1), "big")
    first = reader.number(1)
    width = 9 - first.bit_length()
    if width > 8:
        raise MediaDamageError("an element has no length", offset=start)
    rest = reader.read(width - 1)
    size = int.from_bytes(bytes([first & (0xFF >> width)]) + rest, "big")
    unknown = size == (1 << 7 * width) - 1
    return element, None if unknown else size, reader.offset
