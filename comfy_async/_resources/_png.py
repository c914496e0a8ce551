"""Pictures from numpy arrays and torch tensors, without Pillow."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

__all__ = ["png_of_array"]

_COLOUR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}


def png_of_array(array: Any) -> bytes:
    """Return an array as a PNG.

    Args:
        array: Height x width, with 1 to 4 channels last, or such a picture as a batch of one,
            as ComfyUI's own tensors are. Floats are 0 to 1, integers 0 to 255, bools a mask.

    Raises:
        ValueError: It has another shape.
        ImportError: numpy is missing, for an array that is not numpy's.
    """
    import numpy as np

    if callable(getattr(array, "detach", None)):
        array = array.detach().cpu()
    pixels = np.asarray(array)
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES or 0 in pixels.shape:
        raise ValueError(
            f"an array of shape {tuple(array.shape)} is no picture: height x width x 1 to 4 channels is one"
        )
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif np.issubdtype(pixels.dtype, np.floating):
        # As ComfyUI's SaveImage: clipped, and cut off rather than rounded.
        pixels = np.clip(np.nan_to_num(pixels) * 255.0, 0, 255).astype(np.uint8)
    else:
        pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    height, width, channels = pixels.shape
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)
    lines[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 4)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
