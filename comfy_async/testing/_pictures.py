"""The pictures that the stand-in sampler "makes": landscapes from a seed and a text.

Nothing is diffused here. The same seed and text give the same picture on every machine,
other ones give another, and a preview shows the picture coming out of noise.
"""

from __future__ import annotations

import colorsys
import dataclasses
import hashlib
import io
import math
import random
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFilter, ImageOps

__all__ = ["Scene", "encode", "paint", "preview"]

Colour: TypeAlias = tuple[int, int, int]

_PREVIEW_SIZE = 512
_LATENT_SCALE = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """All that a picture depends on.

    Attributes:
        index: The place in the batch.
    """

    seed: int
    positive: str
    negative: str
    flavour: str
    index: int = 0

    def random(self, purpose: str) -> random.Random:
        """Return a source of numbers that is the same for the same scene, on every machine."""
        text = repr((self.seed, self.positive, self.negative, self.flavour, self.index, purpose))
        return random.Random(hashlib.blake2b(text.encode(), digest_size=16).digest())


def paint(scene: Scene, size: tuple[int, int]) -> Image.Image:
    """Return the finished picture: a sky, a sun or moon, ranges of hills, a few lights."""
    chance = scene.random("composition")
    hue = chance.random()
    night = chance.random() < 0.4
    picture = _sky(size, hue, night=night)
    horizon = chance.uniform(0.45, 0.65)
    if night:
        _stars(picture, scene.random("stars"), horizon)
    _sun(picture, chance, hue=hue, horizon=horizon, night=night)
    layers = chance.randint(3, 5)
    for layer in range(layers):
        depth = (layer + 1) / layers
        _hills(picture, chance, base=horizon + (1 - horizon) * (layer / layers) * 0.9, depth=depth, hue=hue)
    return picture


def preview(scene: Scene, size: tuple[int, int], done: float) -> Image.Image:
    """Return the picture as it looks at a step: small as a latent, with noise not yet gone.

    Args:
        scene: What is painted.
        size: Of the finished picture, in pixels.
        done: 0.0 at the first step, 1.0 at the last.
    """
    small = (max(1, size[0] // _LATENT_SCALE), max(1, size[1] // _LATENT_SCALE))
    finished = paint(scene, small)
    noise = Image.frombytes("RGB", small, scene.random("noise").randbytes(small[0] * small[1] * 3))
    mixed = Image.blend(noise, finished, min(1.0, max(0.0, done)))
    return ImageOps.contain(mixed, (_PREVIEW_SIZE, _PREVIEW_SIZE), Image.Resampling.BILINEAR)


def encode(picture: Image.Image, image_format: str) -> bytes:
    """Return a picture as ComfyUI sends it over the socket: JPEG of quality 95, or fast PNG."""
    buffer = io.BytesIO()
    if image_format == "JPEG":
        picture.save(buffer, format="JPEG", quality=95)
    else:
        picture.save(buffer, format=image_format, compress_level=1)
    return buffer.getvalue()


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(size: tuple[int, int], hue: float, *, night: bool) -> Image.Image:
    """Return a vertical gradient."""
    ramp = Image.linear_gradient("L").resize(size, Image.Resampling.BILINEAR)
    if night:
        return ImageOps.colorize(ramp, _colour(hue + 0.6, 0.8, 0.12), _colour(hue + 0.7, 0.6, 0.55))
    return ImageOps.colorize(
        ramp,
        _colour(hue + 0.55, 0.55, 0.75),
        _colour(hue + 0.05, 0.35, 1.0),
        mid=_colour(hue + 0.6, 0.35, 0.92),
    )


def _stars(picture: Image.Image, chance: random.Random, horizon: float) -> None:
    """Scatter small lights above the horizon."""
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    for _ in range(max(4, int(math.sqrt(width * height) / 6))):
        x, y = chance.uniform(0, width), chance.uniform(0, height * horizon)
        radius = chance.uniform(0.2, 1.2) * height / 400
        light = chance.randint(160, 255)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(light, light, light))


def _sun(picture: Image.Image, chance: random.Random, *, hue: float, horizon: float, night: bool) -> None:
    """Put a disc with a glow into the sky."""
    width, height = picture.size
    centre = (chance.uniform(0.2, 0.8) * width, chance.uniform(0.15, horizon - 0.05) * height)
    radius = chance.uniform(0.06, 0.13) * min(width, height)
    colour = _colour(hue + 0.1, 0.15 if night else 0.3, 1.0)
    glow_size = max(2, int(radius * 7))
    glow = ImageOps.invert(Image.radial_gradient("L")).resize((glow_size, glow_size))
    # The gradient is only dark in the corners: what it has left at the sides is cut off.
    glow = glow.point([int((max(0, level - 80) / 175) ** 2 * 180) for level in range(256)])
    corner = (int(centre[0] - glow_size / 2), int(centre[1] - glow_size / 2))
    picture.paste(colour, (*corner, corner[0] + glow_size, corner[1] + glow_size), glow)
    across = max(2, int(radius * 2))
    disc = Image.new("L", (across, across), 0)
    ImageDraw.Draw(disc).ellipse((0, 0, disc.width - 1, disc.height - 1), fill=255)
    disc = disc.filter(ImageFilter.GaussianBlur(max(0.4, radius / 40)))
    place = (int(centre[0] - radius), int(centre[1] - radius))
    picture.paste(colour, (*place, place[0] + disc.width, place[1] + disc.height), disc)


def _hills(picture: Image.Image, chance: random.Random, *, base: float, depth: float, hue: float) -> None:
    """Draw one range of hills; nearer ones are darker and rougher."""
    width, height = picture.size
    waves = [
        (chance.uniform(0.5, 2.0) * 2**octave, chance.uniform(0, math.tau), 0.07 * depth / 1.7**octave)
        for octave in range(4)
    ]
    line = []
    for x in range(0, width + 4, max(1, width // 160)):
        lift = sum(height_ * math.sin(x / width * math.tau * pace + phase) for pace, phase, height_ in waves)
        line.append((x, (base + 0.05 + lift) * height))
    colour = _colour(hue + 0.6 - 0.15 * depth, 0.35 + 0.35 * depth, 0.8 - 0.65 * depth)
    ImageDraw.Draw(picture).polygon([(0, height), *line, (width + 4, height)], fill=colour)
