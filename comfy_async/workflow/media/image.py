"""Metadata texts of PNG, WebP and JPEG pictures: text chunks and EXIF."""

from __future__ import annotations

import struct

from .reader import MediaDamageError, Reader, Texts, as_text, inflate

__all__ = ["exif", "jpeg", "png", "webp"]

_TEXTS = frozenset({1, 2, 7})  # bytes, ASCII, undefined
_OVERLAPS = 4
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"comf"})
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286


def png(reader: Reader) -> Texts:
    """Yield the texts of the chunks tEXt, zTXt, iTXt, eXIf and comf, which ComfyUI writes to animated PNGs.

    Some programs append chunks after IEND. The bytes there may be anything, so damage there is
    not reported.
    """
    offset, ended = 8, False
    while offset < reader.size:
        try:
            reader.seek(offset)
            length, kind = reader.number(4), reader.read(4)
            if kind in _PNG_TEXTS:
                key, _, rest = reader.read(length).partition(b"\0")
                yield key.decode("latin-1"), _png_text(kind, rest, offset=offset)
            elif kind == b"eXIf":
                yield from exif(reader.read(length), offset=offset)
        except MediaDamageError:
            if ended:
                return
            raise
        ended = ended or kind == b"IEND"
        offset += 12 + length
    if not ended:
        raise MediaDamageError("it is cut off", offset=reader.size)


def _png_text(kind: bytes, rest: bytes, *, offset: int) -> str:
    if kind == b"zTXt":
        return as_text(inflate(rest[1:], offset=offset))
    if kind != b"iTXt":
        return as_text(rest)
    packed = rest[:1] == b"\1"
    # The language and the translated keyword precede the text.
    parts = rest[2:].split(b"\0", 2)
    if len(parts) < 3:
        raise MediaDamageError("an iTXt chunk is too short", offset=offset)
    return as_text(inflate(parts[2], offset=offset) if packed else parts[2])


def webp(reader: Reader) -> Texts:
    """Yield the texts of the EXIF chunk of a RIFF file."""
    offset = 12
    while offset + 8 <= reader.size:
        reader.seek(offset)
        kind, length = reader.read(4), reader.number(4, little=True)
        if kind == b"EXIF":
            yield from exif(reader.read(length), offset=offset)
        offset += 8 + length + length % 2
    if offset > reader.size + 1:
        raise MediaDamageError("it is cut off", offset=reader.size)


def jpeg(reader: Reader) -> Texts:
    """Yield the EXIF texts and comments of the segments before the image data."""
    offset = 2
    while True:
        reader.seek(offset)
        mark, code = reader.number(1), reader.number(1)
        if mark != 0xFF:
            raise MediaDamageError("it has no segment where one should begin", offset=offset)
        if code in {0xD9, 0xDA}:
            return
        if code == 0xFF or code == 0x01 or 0xD0 <= code <= 0xD7:
            offset += 1 if code == 0xFF else 2
            continue
        length = reader.number(2)
        if length < 2:
            raise MediaDamageError("a segment has no length", offset=offset)
        if code in {0xE1, 0xFE}:
            data = reader.read(length - 2)
            if code == 0xFE:
                yield "comment", as_text(data)
            elif data.startswith(b"Exif\0"):
                yield from exif(data, offset=offset)
        offset += 2 + length


def exif(data: bytes, *, offset: int) -> Texts:
    """Yield the texts of an EXIF block: `key:value`, as ComfyUI writes into Make, Model and other tags."""
    data = data[6:] if data.startswith(b"Exif\0") else data
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise MediaDamageError("its EXIF block has no byte order", offset=offset)
    try:
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        yield from _directories(data, order, first, offset)
    except struct.error as error:
        raise MediaDamageError("its EXIF block is cut off", offset=offset) from error


def _directories(data: bytes, order: str, first: int, offset: int) -> Texts:
    waiting, seen = [first], set[int]()
    # Entries may share what they point to, and directories their entries: then a block of some kilobytes
    # would be read for hours.
    unread = _OVERLAPS * len(data)
    while waiting:
        start = waiting.pop()
        if start in seen:
            continue
        seen.add(start)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for index in range(count):
            entry = start + 2 + 12 * index
            tag, kind, length, place = struct.unpack_from(f"{order}HHII", data, entry)
            unread -= 12 + (length if kind in _TEXTS else 0)
            if unread < 0:
                raise MediaDamageError("the entries of its EXIF block overlap", offset=offset)
            if tag == _EXIF_IFD:
                waiting.append(place)
            elif kind in _TEXTS:
                begin = place if length > 4 else entry + 8
                raw = data[begin : begin + length]
                yield from _exif_text(tag, raw, order)


def _exif_text(tag: int, raw: bytes, order: str) -> Texts:
    if tag == _USER_COMMENT and raw[:8] in {b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8)}:
        wide = raw.startswith(b"UNICODE")
        text = _wide(raw[8:], order) if wide else as_text(raw[8:])
    else:
        text = as_text(raw)
    text = text.rstrip("\0 ")
    key, colon, value = text.partition(":")
    if text.startswith("{"):
        yield "comment", text
    elif colon:
        yield key.strip(), value


def _wide(raw: bytes, order: str) -> str:
    """Decode UTF-16, which programs write in the block's byte order or in another."""
    codecs = ("utf-16-le", "utf-16-be") if order == "<" else ("utf-16-be", "utf-16-le")
    texts = [raw.decode(codec, "replace").lstrip("\ufeff") for codec in codecs]
    return next((text for text in texts if text[:1].isascii()), texts[0])
