"""Metadata texts of SVG, OpenEXR, GLB and safetensors files."""

from __future__ import annotations

import json
import re
from typing import Any

from .reader import MAX_TEXT, MediaDamageError, Reader, Texts, as_text

__all__ = ["exr", "glb", "safetensors", "svg"]

_METADATA = re.compile(rb"<metadata[^>]*>\s*<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


def svg(reader: Reader) -> Texts:
    """Yield the JSON in the metadata element of an SVG image."""
    found = _METADATA.search(reader.read(min(reader.size, MAX_TEXT)))
    if found:
        yield "comment", as_text(found[1]).strip()


def exr(reader: Reader) -> Texts:
    """Yield the text attributes of an OpenEXR header."""
    offset = 8
    while True:
        reader.seek(offset)
        head = reader.read(min(512, reader.size - offset))
        if head[:1] == b"\0":
            return
        name, _, rest = head.partition(b"\0")
        kind, zero, rest = rest.partition(b"\0")
        if not zero or len(rest) < 4:
            raise MediaDamageError("its header is cut off", offset=offset)
        length = int.from_bytes(rest[:4], "little")
        value = offset + len(name) + len(kind) + 6
        if kind == b"string":
            reader.seek(value)
            yield as_text(name), as_text(reader.read(length))
        offset = value + length


def glb(reader: Reader) -> Texts:
    """Yield the entries of `asset.extras` of a binary glTF model."""
    reader.seek(12)
    length = reader.number(4, little=True)
    reader.seek(20)
    asset = _object(_object(_decode(reader.read(length), offset=20)).get("asset"))
    yield from _texts(asset.get("extras"))


def safetensors(reader: Reader) -> Texts:
    """Yield the entries of `__metadata__` of a checkpoint or latent."""
    length = reader.number(8, little=True)
    yield from _texts(_object(_decode(reader.read(length), offset=8)).get("__metadata__"))


def _decode(data: bytes, *, offset: int) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MediaDamageError(f"its header is not valid JSON ({error})", offset=offset) from error


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(values: Any) -> Texts:
    for key, value in _object(values).items():
        yield key, value if isinstance(value, str) else json.dumps(value)
