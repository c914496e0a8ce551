"""What is uploaded as a mask: it has an alpha channel, and the size of the picture that it is for."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, BinaryIO, Final

from ._headers import has_alpha
from ._sources import Payload

__all__ = ["demand_mask"]

_log = logging.getLogger("comfy_async.files")

_OPAQUE: Final = 255

_PICTURE_LINES: Final = (
    'picture = Image.new("RGBA", mask.size)\n'
    'picture.putalpha(ImageOps.invert(mask.convert("L")))  # white in `mask` is repainted'
)
_ARRAY_LINES: Final = (
    "keep = np.where(mask > 0, 0, 255).astype(np.uint8)  # what is not 0 in `mask` is repainted\n"
    "picture = np.dstack([keep, keep])  # grey and alpha"
)


def demand_mask(payload: Payload, source: Any, pixels: tuple[int, int] | None) -> None:
    """Refuse what masks nothing, or cannot be joined with its picture; blocks.

    Args:
        payload: What would be sent.
        source: What it was made from.
        pixels: Width and height of the picture that the mask is for, None when they are unknown.

    Raises:
        ValueError: It has no alpha channel, or another size than its picture.
    """
    with payload.opened() as file:
        found = has_alpha(file)
    shown = _named(source)
    if found is None:
        raise ValueError(f"it cannot be told whether {shown} has an alpha channel: send a mask as PNG")
    if not found:
        lines = _ARRAY_LINES if hasattr(source, "shape") else _PICTURE_LINES
        raise ValueError(
            f"a mask is the alpha channel of what is uploaded, and {shown} has none, so that nothing would "
            f"be masked. Where alpha is 0 is what is repainted, where it is 255 is what stays:\n{lines}"
        )
    if payload.pixels is not None and pixels is not None and payload.pixels != pixels:
        raise ValueError(
            f"the mask has {_by(payload.pixels)} pixels and its picture {_by(pixels)}: "
            f"they must be alike (`mask.resize({pixels})`)"
        )
    with payload.opened() as file:
        if _is_opaque(file):
            _log.warning("the mask masks nothing: the alpha channel of %s is 255 everywhere", shown)


def _is_opaque(file: BinaryIO) -> bool:
    """Say whether nothing of a picture is transparent; False where Pillow is missing or cannot read it."""
    try:
        import PIL.Image

        with PIL.Image.open(file) as picture:
            return picture.convert("RGBA").getchannel("A").getextrema() == (_OPAQUE, _OPAQUE)
    except Exception:  # as above
        return False


def _named(source: Any) -> str:
    """Return what a mask was made from, for people."""
    if isinstance(source, str | os.PathLike):
        return f"the file {Path(source).name}"
    if hasattr(source, "mode") and callable(getattr(source, "save", None)):
        return f"a picture of mode {source.mode}"
    if hasattr(source, "shape"):
        return f"an array of shape {tuple(source.shape)}"
    return "this picture"


def _by(pixels: tuple[int, int]) -> str:
    """Return a size for people."""
    return f"{pixels[0]} x {pixels[1]}"
