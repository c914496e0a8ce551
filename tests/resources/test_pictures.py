"""One picture, however it is handed over: as a file or as Pillow holds it, the server reads the same."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, ImageSequence

from comfy_async._resources._pictures import png_of_array, png_of_picture


def colourful(mode: str = "RGB") -> Image.Image:
    """A picture whose corners differ."""
    image = Image.new("RGB", (6, 4), (10, 20, 30))
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((5, 3), (0, 255, 0))
    return image.convert(mode)


def as_loaded(data: bytes) -> list[Any]:
    """What LoadImage makes of a file: each frame turned by its EXIF, 16 bits scaled, as RGBA."""
    frames = []
    with Image.open(io.BytesIO(data)) as image:
        for frame in [image] if image.format == "MPO" else ImageSequence.Iterator(image):
            turned = ImageOps.exif_transpose(frame)
            if turned.mode in ("I", "I;16"):
                turned = turned.convert("I").point(lambda value: value * (1 / 255))
            frames.append((turned.size, turned.convert("RGBA").tobytes()))
    return frames


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    """A picture that a camera has turned is sent as people see it, as its file would be."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    colourful().save(file, "PNG", exif=exif)
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        assert as_loaded(png_of_picture(picture)) == as_loaded(file.getvalue())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_alpha_is_kept(mode: str) -> None:
    """In whatever way Pillow holds it."""
    image = Image.new("RGBA", (4, 4), (200, 200, 200, 255))
    image.putpixel((1, 1), (200, 200, 200, 0))
    held = image.convert("LA").convert("La") if mode == "La" else image.convert(mode)
    with Image.open(io.BytesIO(png_of_picture(held))) as made:
        alpha = made.convert("RGBA").getchannel("A")
    assert (alpha.getpixel((0, 0)), alpha.getpixel((1, 1))) == (255, 0)


def test_a_transparent_colour_is_kept() -> None:
    """Palettes and pictures with one colour that means nothing keep it."""
    image = colourful("P")
    image.info["transparency"] = image.getpixel((0, 0))
    with Image.open(io.BytesIO(png_of_picture(image))) as made:
        assert made.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_sixteen_bits_are_kept(mode: str) -> None:
    """Values beyond 255 arrive as they are."""
    image = Image.new("I", (2, 1))
    image.putpixel((0, 0), 65535)
    image.putpixel((1, 0), 4660)
    held = image if mode == "I" else image.convert(mode)
    with Image.open(io.BytesIO(png_of_picture(held))) as made:
        values = made.convert("I")
    assert [values.getpixel((0, 0)), values.getpixel((1, 0))] == [65535, 4660]


@pytest.mark.parametrize("value", [-1, 65536])
def test_more_than_sixteen_bits_are_refused(value: int) -> None:
    """What no PNG holds is said, with its range."""
    image = Image.new("I", (2, 1), value)
    with pytest.raises(ValueError, match=f"{value}.*65535"):
        png_of_picture(image)


def test_floats() -> None:
    """Grey levels are kept; of what may be fractions nobody knows the range, and that is said."""
    grey = Image.new("F", (2, 1), 76.245)
    with Image.open(io.BytesIO(png_of_picture(grey))) as made:
        assert (made.mode, made.getpixel((0, 0))) == ("L", 76)
    for value in (0.5, 300.0, -1.0):
        with pytest.raises(ValueError, match="mode F.*numpy array"):
            png_of_picture(Image.new("F", (2, 1), value))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_every_frame_is_kept(kind: str) -> None:
    """An animation arrives with all of its frames, those alike too."""
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "blue", "lime")]
    frames[1].putpixel((3, 3), (255, 255, 255))
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=[10, 20, 30, 40])
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        picture.seek(1)
        assert as_loaded(png_of_picture(picture)) == as_loaded(file.getvalue())
        assert picture.tell() == 1


def test_frames_alike_are_not_joined() -> None:
    """Pillow joins frames that are alike when it writes; nothing is joined here."""
    frames = [Image.new("RGB", (4, 4), "red")] * 5
    file = io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        assert len(as_loaded(png_of_picture(picture))) == 5


def test_frames_of_several_sizes_are_refused() -> None:
    """What would lose a frame is said."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(
        file, "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 2), "red")]
    )
    with Image.open(io.BytesIO(file.getvalue())) as picture, pytest.raises(ValueError, match="one frame"):
        png_of_picture(picture)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "1", "L", "P"])
def test_other_modes(mode: str) -> None:
    """Everything else becomes what its file would be read as."""
    image = colourful(mode)
    assert (
        as_loaded(png_of_picture(image))[0][1]
        == image.convert("RGBA" if mode != "HSV" else "RGB").convert("RGBA").tobytes()
    )


def levels(array: Any) -> list[int]:
    """Return the levels of the PNG that an array becomes."""
    made: list[int] = np.asarray(Image.open(io.BytesIO(png_of_array(array)))).ravel().tolist()
    return made


def test_arrays_of_sixteen_bits() -> None:
    """They are kept; those that would be black, since they hold 0 to 255, are refused."""
    wide = np.array([[0, 1000, 65535]], dtype=np.uint16)
    for array in (wide, wide.astype(">u2"), wide[:, :, None]):
        assert levels(array) == [0, 1000, 65535]
    assert png_of_array(wide) != png_of_array(wide[:, ::-1])
    colours = Image.open(io.BytesIO(png_of_array(np.full((2, 3, 3), 40_000, dtype=np.uint16))))
    assert colours.getpixel((0, 0)) == (156, 156, 156)
    for most in (1, 255):
        with pytest.raises(ValueError, match=rf"uint16 with values from 0 to {most} would be black.*uint8"):
            png_of_array(np.array([[0, most]], dtype=np.uint16))
    assert levels(np.array([[0, 0]], dtype=np.uint16)) == [0, 0]
    assert levels(np.array([[0, 256]], dtype=np.uint16)) == [0, 256]


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_pictures_of_sixteen_bits_that_would_be_black(mode: str) -> None:
    """Pillow makes them of arrays of other integers; a file that is as dark as that stays what it is."""
    dark = Image.new("I", (2, 1), 200)
    with pytest.raises(ValueError, match=rf"mode {mode} with values from 200 to 200 would be black"):
        png_of_picture(dark if mode == "I" else dark.convert("I;16").convert(mode))
    file = io.BytesIO()
    dark.convert("I;16").save(file, "PNG")
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        assert as_loaded(png_of_picture(picture)) == as_loaded(file.getvalue())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.uint32, np.uint64])
def test_arrays_of_integers(dtype: Any) -> None:
    """They are 0 to 255, whatever their type."""
    assert levels(np.array([[0, 7, 255]], dtype=dtype)) == [0, 7, 255]


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array([[0, 300]]), "from 0 to 300 is no picture: integers are 0 to 255"),
        (np.array([[-1, 3]], dtype=np.int8), "int8 with values from -1 to 3"),
        (np.array([[0, 2**40]], dtype=np.uint64), "from 0 to 1099511627776"),
        (np.array([[0, 1]]), r"good as black: pass `array.astype\(bool\)`"),
        (np.array([[0, 1]], dtype=np.int8), "int8 with values from 0 to 1"),
        (np.full((2, 3, 3), 200.0), r"floats are 0\.0 to 1\.0"),
        (np.full((2, 3, 3), 200, dtype=np.float16), r"from 200 to 200 .*floats are 0\.0 to 1\.0"),
        (np.full((2, 3, 3), -1.0), r"floats are 0\.0 to 1\.0"),
        (np.full((2, 3, 3), np.inf), "from inf to inf"),
        (np.full((2, 3, 3), -np.inf), "from -inf to -inf"),
        (np.array([[0.5, np.nan]]), "NaN"),
        (np.zeros((2, 3, 3), dtype=complex), "complex128 is no picture"),
        (np.zeros((2, 3), dtype=object), "object is no picture"),
    ],
)
def test_arrays_that_are_no_picture(array: Any, says: str) -> None:
    """What is out of range, or may be meant in two ways, is refused with its type and its values."""
    with pytest.raises(ValueError, match=says):
        png_of_array(array)


def test_arrays_of_fractions(caplog: pytest.LogCaptureFixture) -> None:
    """What overshoots a little is cut off, and halves give the very levels that they were made of."""
    assert levels(np.array([[-0.02, 0.5, 1.02]])) == [0, 127, 255]
    every = np.arange(256, dtype=np.uint8)[None]
    assert levels((every / 255).astype(np.float16)) == every.ravel().tolist()
    assert levels(np.array([[False, True]])) == [0, 255]
    assert not caplog.records
    assert levels(np.array([[0, 1]], dtype=np.uint8)) == [0, 1]
    assert "uint8 with values from 0 to 1 is as good as black" in caplog.text


class _Tensor:
    """As much of a tensor of bfloat16 as matters: numpy reads it only once it is another type."""

    dtype, shape = "torch.bfloat16", (1, 2)

    def detach(self) -> _Tensor:
        return self

    def cpu(self) -> _Tensor:
        return self

    def half(self) -> Any:
        return np.array([[0.0, 1.0]], dtype=np.float16)


def test_tensors_of_bfloat16() -> None:
    """The type that numpy does not know is read as the nearest that it does."""
    assert levels(_Tensor()) == [0, 255]
