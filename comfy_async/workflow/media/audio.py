"""Metadata texts of FLAC, OGG and Opus (Vorbis comments) and of MP3 (ID3)."""

from __future__ import annotations

import struct

from .reader import MAX_TEXT, MediaDamageError, Reader, Texts, as_text

__all__ = ["flac", "id3", "ogg"]

_VORBIS_COMMENT = 4
_HEADER_PACKETS = 4


def flac(reader: Reader, start: int = 0) -> Texts:
    """Yield the texts of the Vorbis comment among the metadata blocks."""
    offset = start + 4
    last = False
    while not last:
        reader.seek(offset)
        head, length = reader.number(1), reader.number(3)
        last = bool(head & 0x80)
        if head & 0x7F == _VORBIS_COMMENT:
            yield from vorbis_comment(reader.read(length), offset=offset + 4)
        offset += 4 + length


def vorbis_comment(data: bytes, *, offset: int) -> Texts:
    """Yield the `key=value` texts of a Vorbis comment block."""
    try:
        (vendor,) = struct.unpack_from("<I", data)
        place = 4 + vendor
        (count,) = struct.unpack_from("<I", data, place)
        place += 4
        for _ in range(count):
            (length,) = struct.unpack_from("<I", data, place)
            if place + 4 + length > len(data):
                raise MediaDamageError("its comments are cut off", offset=offset + place)
            key, _, value = as_text(data[place + 4 : place + 4 + length]).partition("=")
            place += 4 + length
            yield key, value
    except struct.error as error:
        raise MediaDamageError("its comments are cut off", offset=offset) from error


def ogg(reader: Reader) -> Texts:
    """Yield the texts of the comment packet of each Opus, Vorbis, Theora or FLAC stream in an OGG file."""
    streams: dict[int, tuple[bytearray, int]] = {}
    offset = 0
    while offset < reader.size:
        reader.seek(offset)
        if reader.read(4) != b"OggS":
            raise MediaDamageError("it has no page where one should begin", offset=offset)
        reader.seek(offset + 14)
        serial = reader.number(4, little=True)
        reader.seek(offset + 26)
        lengths = reader.read(reader.number(1))
        body = offset + 27 + len(lengths)
        unfinished, packets = streams.get(serial, (bytearray(), 0))
        if packets >= _HEADER_PACKETS and all(count >= _HEADER_PACKETS for _, count in streams.values()):
            return
        if packets < _HEADER_PACKETS:
            reader.seek(body)
            content = reader.read(sum(lengths))
            for packet in _packets(unfinished, content, lengths, offset=offset):
                packets += 1
                yield from _ogg_comment(packet, offset=body)
            streams[serial] = unfinished, packets
        offset = body + sum(lengths)
    if offset > reader.size:
        raise MediaDamageError("it is cut off", offset=reader.size)


def _packets(unfinished: bytearray, content: bytes, lengths: bytes, *, offset: int) -> list[bytes]:
    """Return the packets that a page completes; the rest stays in `unfinished`."""
    done: list[bytes] = []
    place = 0
    for length in lengths:
        unfinished += content[place : place + length]
        place += length
        if len(unfinished) > MAX_TEXT:
            raise MediaDamageError("a packet is too large", offset=offset)
        if length < 255:
            done.append(bytes(unfinished))
            unfinished.clear()
    return done


def _ogg_comment(packet: bytes, *, offset: int) -> Texts:
    for mark, skip in ((b"OpusTags", 8), (b"\x03vorbis", 7), (b"\x81theora", 7)):
        if packet.startswith(mark):
            yield from vorbis_comment(packet[skip:], offset=offset)
    # FLAC in OGG stores metadata blocks as packets, recognized by block type and matching length.
    if packet[:1] in {b"\x04", b"\x84"} and int.from_bytes(packet[1:4], "big") == len(packet) - 4:
        yield from vorbis_comment(packet[4:], offset=offset)


def id3(reader: Reader) -> Texts:
    """Yield the user texts and comments of an ID3v2 tag, and those of a FLAC file that follows it."""
    reader.seek(3)
    version, _, flags = reader.read(3)
    size = _synchsafe(reader.read(4))
    data = reader.read(min(size, reader.size - 10))
    if flags & 0x80:
        data = data.replace(b"\xff\x00", b"\xff")
    if flags & 0x40 and len(data) >= 4:
        length = _synchsafe(data[:4]) if version == 4 else int.from_bytes(data[:4], "big") + 4
        data = data[length:]
    yield from _frames(data, version)
    if size > reader.size - 10:
        raise MediaDamageError("it is cut off", offset=reader.size)
    reader.seek(10 + size)
    if reader.size - reader.offset > 4 and reader.read(4) == b"fLaC":
        yield from flac(reader, 10 + size)


def _frames(data: bytes, version: int) -> Texts:
    head, names = (6, (b"TXX", b"COM")) if version == 2 else (10, (b"TXXX", b"COMM"))
    place = 0
    while place + head <= len(data) and data[place] != 0:
        name = data[place : place + len(names[0])]
        raw = data[place + len(name) : place + 2 * len(name)]
        length = _synchsafe(raw) if version == 4 else int.from_bytes(raw, "big")
        body = data[place + head : place + head + length]
        if len(body) < length:
            raise MediaDamageError("its ID3 tag is cut off", offset=10 + place)
        if name in names and body:
            # In a comment, a language precedes the description.
            rest = body[4:] if name == names[1] else body[1:]
            key, value = _described(rest, body[0])
            yield "comment" if name == names[1] else key, value
        place += head + length


def _described(data: bytes, encoding: int) -> tuple[str, str]:
    """Return description and text, which are separated by a null character."""
    codec = {0: "latin-1", 1: "utf-16", 2: "utf-16-be"}.get(encoding, "utf-8")
    if encoding in {1, 2}:
        end = next((at for at in range(0, len(data) - 1, 2) if data[at : at + 2] == b"\0\0"), len(data))
        parts = data[:end], data[end + 2 :]
    else:
        key, _, value = data.partition(b"\0")
        parts = key, value
    description, text = (part.decode(codec, "replace").rstrip("\0") for part in parts)
    return description, text


def _synchsafe(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number
