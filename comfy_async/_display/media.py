"""Files of a result as HTML that carries them: they show in any front end, and after the server is gone."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from typing import Final

from .._job.result import OutputFile
from ..errors import ComfyError
from .html import data_uri, figure, text

__all__ = ["embedded", "linked", "shelf", "shrunk"]

_IMAGE_BYTES: Final = 4_000_000
_MEDIA_BYTES: Final = 24_000_000
_EDGE: Final = 1280
_SHOWN: Final = 24
# What browsers decode; other pictures (tiff, exr) are made into something that they do.
_BROWSERS: Final = frozenset(
    "image/png image/jpeg image/webp image/gif image/avif image/apng image/bmp image/svg+xml".split()
)


async def shelf(files: Iterable[OutputFile]) -> str:
    """Return the files side by side, each with its bytes in it; the first few dozen of them."""
    found = list(files)
    shown = await asyncio.gather(*(embedded(file) for file in found[:_SHOWN]))
    more = f'<div class="ca-line ca-dim">and {len(found) - _SHOWN} more</div>' if len(found) > _SHOWN else ""
    return f'<div class="ca-shelf">{"".join(shown)}</div>{more}' if shown else ""


async def embedded(
    file: OutputFile, *, edge: int = _EDGE, image_bytes: int = _IMAGE_BYTES, label: str | None = None
) -> str:
    """Return a file with its bytes: an image, a video or audio, else its name and address.

    Args:
        file: The file.
        edge: The longest side in pixels of a picture that has to be made smaller.
        image_bytes: The size from which on a picture is made smaller.
        label: What stands below it, its name and node unless given.
    """
    words = _label(file) if label is None else label
    if file.kind not in ("image", "video", "audio"):
        return linked(file, label=words)
    try:
        content = await file.read()
    except ComfyError as error:
        return figure(f'<div class="ca-tile ca-bad">{text(error, limit=300)}</div>', words)
    if file.kind == "image":
        return figure(await _picture(content, file.mime, words, edge=edge, image_bytes=image_bytes), words)
    if len(content) > _MEDIA_BYTES:
        return linked(file, label=words)
    return figure(_player(file.kind, data_uri(file.mime, content)), words)


def linked(file: OutputFile, *, label: str | None = None) -> str:
    """Return a file by its address on the server; nothing is downloaded here."""
    words = _label(file) if label is None else label
    if file.url is None:
        return figure(f'<div class="ca-tile">{text(file.kind)}</div>', words)
    if file.kind in ("video", "audio"):
        return figure(_player(file.kind, file.url), words)
    if file.kind == "image":
        # Its name stands below it; the alternative text is for browsers that cannot reach the server.
        return figure(_img(file.url, "The page cannot reach the server: await result.show()"), words)
    return f'<div class="ca-line"><a href="{text(file.url)}">{text(words)}</a></div>'


async def _picture(content: bytes, mime: str, name: str, *, edge: int, image_bytes: int) -> str:
    """Return a picture, smaller when it is large or of a kind that browsers do not know."""
    if mime not in _BROWSERS or len(content) > image_bytes:
        made = await asyncio.to_thread(shrunk, content, edge)
        if made is None and mime not in _BROWSERS:
            return f'<div class="ca-tile">{text(mime)}: browsers cannot show it</div>'
        content, mime = made or (content, mime)
    return _img(data_uri(mime, content), name)


def _player(kind: str, address: str) -> str:
    """Return a video or audio with its controls."""
    source = text(address, limit=1 << 30)
    if kind == "video":
        return f'<video controls loop muted src="{source}"></video>'
    return f'<audio controls src="{source}"></audio>'


def _img(address: str, name: str) -> str:
    """Return a picture."""
    return f'<img src="{text(address, limit=1 << 30)}" alt="{text(name)}">'


def _label(file: OutputFile) -> str:
    """Return what to call a file: its name, and the node that made it."""
    return f"{file.filename} · {file.title}" if file.title else file.filename


def shrunk(content: bytes, edge: int) -> tuple[bytes, str] | None:
    """Decode, shrink and encode a picture; None without Pillow, or when it is none. Blocks."""
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((edge, edge))
            made = io.BytesIO()
            keeps = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            image.convert("RGBA" if keeps else "RGB").save(made, "WEBP", quality=88)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return made.getvalue(), "image/webp"
