"""Reading the prompt and the workflow from a media file of any supported kind."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import WorkflowFormatError
from . import audio, container, image, more, still
from .reader import MediaDamageError, Reader, Texts

__all__ = ["is_media", "media_kind", "read_media"]

_KEYS = ("prompt", "workflow")

_OTHERS = "parameters"
"""The key under which Stable Diffusion web UI and its forks write their settings, as text."""

_STILLS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})
"""The `ftyp` brands of pictures in MP4 boxes."""


def media_kind(head: bytes) -> str | None:
    """Return the kind of a file, for example "PNG", by its first 16 bytes or more.

    None stands for kinds that cannot carry a workflow.
    """
    marks = {
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"\x1a\x45\xdf\xa3": "Matroska",
        b"fLaC": "FLAC",
        b"OggS": "OGG",
        b"ID3": "MP3",
        b"\x76\x2f\x31\x01": "OpenEXR",
        b"glTF": "GLB",
    }
    for mark, kind in marks.items():
        if head.startswith(mark):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp" and head[8:12] in _STILLS:
        return "AVIF"
    if head[4:8] in {b"ftyp", b"moov"}:
        return "MP4"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<svg")):
        return "SVG"
    # A safetensors file begins with the length of its JSON header, which is far below 2**40.
    return "safetensors" if head[5:9] == b"\0\0\0{" else None


def is_media(head: bytes) -> bool:
    """Return, by its first bytes, whether a file is of a kind that can carry a workflow."""
    return media_kind(head) is not None


def read_media(source: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """Return what a file carries under `prompt` and `workflow`, decoded from JSON; {} for nothing.

    Of a damaged file, what was read before the damage is returned. When the file has neither of
    the two, but settings of another program, these are under `parameters`, as text.

    Args:
        source: A path, or the file's content.

    Raises:
        WorkflowFormatError: The file is damaged before either was found, or what it
            carries is not JSON; `place` says where.
        OSError: The file cannot be read.
    """
    if isinstance(source, bytes):
        return _read(Reader(io.BytesIO(source)), name="")
    with Path(source).open("rb") as file:
        return _read(Reader(file), name=f"{os.fspath(source)}: ")


def _read(reader: Reader, *, name: str) -> dict[str, Any]:
    kind = media_kind(reader.read(min(64, reader.size)))
    found: dict[str, str] = {}
    if kind is None:
        return {}
    reader.seek(0)
    try:
        for key, text in _parser(kind)(reader):
            _collect(found, key.strip().lower(), text)
            if all(key in found for key in _KEYS):
                break
    except MediaDamageError as damage:
        if not found:
            raise WorkflowFormatError(
                f"{name}this {kind} file is damaged: {damage} (byte {damage.offset})",
                place=f"byte {damage.offset}",
            ) from damage
    other = found.pop(_OTHERS, None)
    decoded = _decode(found, kind=kind, name=name)
    return {_OTHERS: other} if other is not None and not decoded else decoded


def _parser(kind: str) -> Callable[[Reader], Texts]:
    return {
        "PNG": image.png,
        "WebP": image.webp,
        "JPEG": image.jpeg,
        "AVIF": still.avif,
        "MP4": container.mp4,
        "Matroska": container.matroska,
        "FLAC": audio.flac,
        "OGG": audio.ogg,
        "MP3": audio.id3,
        "SVG": more.svg,
        "OpenEXR": more.exr,
        "GLB": more.glb,
        "safetensors": more.safetensors,
    }[kind]


def _collect(found: dict[str, str], key: str, text: str) -> None:
    """Keep a text under its key; of a comment that is a JSON object, keep both texts in it."""
    if key in _KEYS or key == _OTHERS:
        found.setdefault(key, text)
    elif key in {"comment", "description"} and text.lstrip().startswith("{"):
        # Video Helper Suite and others put one object with both into the comment.
        try:
            both = json.loads(text)
        except (ValueError, RecursionError):
            return
        for inner in _KEYS:
            if inner in both:
                value = both[inner]
                found.setdefault(inner, value if isinstance(value, str) else json.dumps(value))


def _decode(found: dict[str, str], *, kind: str, name: str) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    errors: list[tuple[str, Exception]] = []
    for key, text in found.items():
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            errors.append((key, error))
            continue
        if isinstance(value, dict):
            decoded[key] = value
    if errors and not decoded:
        place, cause = errors[0]
        raise WorkflowFormatError(
            f"{name}the {place!r} that this {kind} file carries is not valid JSON: {cause}", place=place
        ) from cause
    return decoded
