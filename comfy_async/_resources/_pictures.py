"""Pictures prepared for upload: numpy arrays and torch tensors, and Pillow images, as PNG."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

__all__ = ["png_of_array", "png_of_picture"]

_log = logging.getLogger("comfy_async.files")

# Modes that a PNG holds as they are, and what holds all of the others that have alpha.
_KEPT: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_WITH_ALPHA: Final = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
_WIDE: Final = frozenset({"I", "I;16B", "I;16L", "I;16N"})
_SIXTEEN: Final = _WIDE | {"I;16"}
_MOST: Final = 65535
_WHITE: Final = 255
_OVERSHOOT: Final = 0.5
_COLOUR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}


def png_of_array(array: Any) -> bytes:
    """Return an array as a PNG.

    Args:
        array: Height x width, with 1 to 4 channels last (grey, grey and alpha, RGB, RGBA), or such a
            picture as a batch of one, as ComfyUI's own tensors are. Floats are 0.0 to 1.0, integers 0
            to 255 but uint16, which is 0 to 65535 as in Pillow and OpenCV; bools are black and white.

    Raises:
        ValueError: It has another shape, values that are none of these, or values of which it is
            unknown what is white.
        ImportError: numpy is missing, for an array that is not numpy's.
    """
    import numpy as np

    if callable(getattr(array, "detach", None)):
        array = array.detach().cpu()
        if "bfloat16" in str(array.dtype):
            array = array.half()  # numpy has no such type
    pixels = np.asarray(array)
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR_TYPES or 0 in pixels.shape:
        shape = tuple(array.shape)
        told = f"an array of shape {shape} is no picture: height x width x 1 to 4 channels is one"
        raise ValueError(told + _instead(shape))
    pixels = _levels(pixels)
    height, width, channels = pixels.shape
    # PNG has the high byte first.
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    lines = np.zeros((height, 1 + rows.shape[1]), dtype=np.uint8)
    lines[:, 1:] = rows
    depth = 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 4)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _instead(shape: tuple[int, ...]) -> str:
    """Return what to write for an array that is nearly a picture."""
    if len(shape) == 4 and shape[3] in _COLOUR_TYPES:
        return "; pass one of them, `array[0]`"
    if len(shape) == 3 and shape[0] in _COLOUR_TYPES:
        return "; pass `array.transpose(1, 2, 0)`"
    return ""


def _levels(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the values of an array as the levels of a PNG, of 8 bits or of 16.

    Raises:
        ValueError: They have another range, or it is unknown what is white.
    """
    import numpy as np

    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(_WHITE)
    if np.issubdtype(pixels.dtype, np.floating):
        return _fractions(pixels)
    if not np.issubdtype(pixels.dtype, np.integer):
        raise ValueError(f"an array of {pixels.dtype} is no picture: bools, integers and floats are one")
    least, most = int(pixels.min()), int(pixels.max())
    told = f"an array of {pixels.dtype} with values from {least} to {most}"
    if pixels.dtype.newbyteorder("=") == np.uint16:
        if 0 < most <= _WHITE:
            raise ValueError(
                f"{told} would be black, since uint16 is 0 to {_MOST}: pass `array.astype(np.uint8)` where "
                "255 is white, and a PNG of it where it is as dark as that"
            )
        return pixels
    if least < 0 or most > _WHITE:
        raise ValueError(
            f"{told} is no picture: integers are 0 to {_WHITE}, and uint16 0 to {_MOST}. Scale it, or cut it "
            f"off by `array.clip(0, {_WHITE})`"
        )
    if most == 1:
        black = f"{told} is as good as black: pass `array.astype(bool)` where 1 is white"
        # Frames of a film may be as dark as that, and are of no other type.
        if pixels.dtype != np.uint8:
            raise ValueError(f"{black}, and `array.astype(np.uint8)` where 255 is")
        _log.warning("%s", black)
    return pixels.astype(np.uint8)


def _fractions(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return floats of 0.0 to 1.0 as levels of 8 bits.

    Raises:
        ValueError: They have another range, or are no numbers.
    """
    import numpy as np

    if np.isnan(pixels).any():
        raise ValueError(
            f"an array of {pixels.dtype} with values that are no number (NaN) is no picture: something went "
            "wrong before, or pass `np.nan_to_num(array)`"
        )
    least, most = float(pixels.min()), float(pixels.max())
    # Scaled and sharpened pictures overshoot a little.
    if least < -_OVERSHOOT or most > 1 + _OVERSHOOT:
        raise ValueError(
            f"an array of {pixels.dtype} with values from {least:g} to {most:g} is no picture: "
            f"floats are 0.0 to 1.0{'; pass `array / 255`' if least >= 0 and most <= _WHITE else ''}"
        )
    if pixels.dtype.itemsize < 4:
        # Of 16 bits a level may come out a little too small: cut off it would be the one below.
        pixels = np.rint(pixels.astype(np.float32) * 255.0)
    else:
        # As ComfyUI's SaveImage: clipped, and cut off rather than rounded.
        pixels = pixels * 255.0
    pixels = np.clip(pixels, 0, 255)
    return pixels.astype(np.uint8)


def png_of_picture(image: Image) -> bytes:
    """Return a Pillow image as the PNG that ComfyUI reads as the very picture that its file would be.

    It is turned as its EXIF says, as LoadImage turns files; alpha, 16 bits and all frames are kept.

    Raises:
        ValueError: It holds what no PNG can.
    """
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        return _animation(image)
    buffer = io.BytesIO()
    _upright(image).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def _upright(image: Image) -> Image:
    """Return one frame, turned as its EXIF says, in a mode that a PNG holds."""
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    mode = turned.mode
    if mode in _SIXTEEN and image.format is None:
        _demand_sixteen(turned)
    if mode in _KEPT:
        return turned
    if mode in _WITH_ALPHA:
        return turned.convert(_WITH_ALPHA[mode])
    if mode in _WIDE:
        return _wide(turned.convert("I"))
    if mode == "F":
        return _whole_numbers(turned)
    try:
        return turned.convert("RGB")
    except ValueError:
        raise ValueError(f"a picture of mode {mode} cannot be sent: convert it to RGB first") from None


def _demand_sixteen(image: Image) -> None:
    """Refuse grey levels of 8 bits in a mode of 16: of a file it is what the file has.

    Raises:
        ValueError: It would be black.
    """
    least, most = _extent(image.convert("I"))
    if 0 < most <= _WHITE and least >= 0:
        raise ValueError(
            f"a picture of mode {image.mode} with values from {least:g} to {most:g} would be black, since "
            f'that mode is 0 to {_MOST}: convert it to L where 255 is white (`image.convert("L")`), and pass '
            "a PNG of it where it is as dark as that"
        )


def _wide(image: Image) -> Image:
    """Return a picture of 32 bits as one of 16, which is the most that a PNG holds."""
    least, most = _extent(image)
    if least < 0 or most > _MOST:
        raise ValueError(
            f"a picture of mode I with values from {least:g} to {most:g} cannot be sent whole: "
            f"a PNG holds 0 to {_MOST}"
        )
    return image.convert("I;16")


def _whole_numbers(image: Image) -> Image:
    """Return a picture of floats as grey levels of 0 to 255, as Pillow means them.

    One that goes to 1.0 at the most may be meant so, or as 0.0 to 1.0: that is unknown.
    """
    grey = image.convert("L")
    least, most = _extent(image)
    if (least >= 0 and 1 < most <= 255) or grey.convert("F").tobytes() == image.tobytes():
        return grey
    raise ValueError(
        f"a picture of mode F with values from {least:g} to {most:g} says nothing of its range: "
        "pass a numpy array of 0.0 to 1.0, or convert it to L with 0 to 255"
    )


def _extent(image: Image) -> tuple[float, float]:
    """Return the least and the greatest value of a picture with one channel."""
    least, most = image.getextrema()
    assert isinstance(least, int | float)
    assert isinstance(most, int | float)
    return least, most


def _animation(image: Image) -> bytes:
    """Return every frame, as an animated PNG.

    Raises:
        ValueError: A frame would be lost.
    """
    import PIL.Image
    from PIL import ImageSequence

    where = image.tell()
    try:
        frames = [_upright(frame.copy()).convert("RGBA") for frame in ImageSequence.Iterator(image)]
    finally:
        image.seek(where)
    buffer = io.BytesIO()
    # Frames alike would be joined; they are not where what comes after them differs.
    disposal = [count % 2 for count in range(len(frames))]
    frames[0].save(buffer, format="PNG", save_all=True, append_images=frames[1:], disposal=disposal, blend=0)
    with PIL.Image.open(buffer) as made:
        same = [frame.convert("RGBA").tobytes() for frame in ImageSequence.Iterator(made)]
    if same != [frame.tobytes() for frame in frames]:
        raise ValueError(
            "an animation of frames of several sizes cannot be sent as a picture: "
            "pass its file, or one frame (`image.copy()`)"
        )
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
