"""What the built-in node classes do: real pictures with Pillow, and stand-ins for a model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageOps, PngImagePlugin

from ._context import Images, Latent, NodeContext, NodeFunction, Outcome
from ._pictures import Scene, encode, paint, preview

__all__ = ["NODES"]

_RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_SD15_CHANNELS = 4


async def empty_image(_context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Make pictures of one colour."""
    colour = inputs["color"]
    rgb = (colour >> 16 & 255, colour >> 8 & 255, colour & 255)
    picture = Image.new("RGB", (inputs["width"], inputs["height"]), rgb)
    return Outcome(([picture] * inputs["batch_size"],))


async def load_image(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Read a picture and its mask, which is opaque where the alpha is not."""
    path = context.folders.annotated(inputs["image"])
    if path is None:
        raise ValueError(f"Invalid file path: {inputs['image']!r}")
    pixels = path.stat().st_size
    picture, mask = await context.workshop.do(pixels, _load, path)
    return Outcome(([picture], [mask]))


def _load(path: Path) -> tuple[Image.Image, Image.Image]:
    with Image.open(path) as opened:
        picture: Image.Image = ImageOps.exif_transpose(opened) or opened
        has_alpha = "A" in picture.getbands()
        mask = ImageChops.invert(picture.getchannel("A")) if has_alpha else Image.new("L", (64, 64), 0)
        return picture.convert("RGB"), mask


async def load_mask(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Read one channel of a picture as a mask; that of the alpha is LoadImage's mask."""
    pictures, masks = (await load_image(context, inputs)).outputs
    channel = inputs["channel"]
    return Outcome((masks if channel == "alpha" else [_band(picture, channel) for picture in pictures],))


def _band(picture: Image.Image, channel: str) -> Image.Image:
    """Return one colour of a picture."""
    return picture.getchannel(channel[0].upper())


async def image_to_mask(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Take one channel of pictures; they have no alpha."""
    channel = inputs["channel"]
    if channel == "alpha":
        raise IndexError("index 3 is out of bounds for dimension 3 with size 3")
    return Outcome((await _each(context, inputs["image"], lambda image: _band(image, channel)),))


async def mask_to_image(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Show masks in grey."""
    return Outcome((await _each(context, inputs["mask"], lambda mask: mask.convert("RGB")),))


async def image_scale(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Resize; a side of 0 keeps the proportions, two of them keep the size."""
    images: Images = inputs["image"]
    width, height = inputs["width"], inputs["height"]
    if width == 0 and height == 0:
        return Outcome((images,))
    was = images[0].size
    size = (
        width or max(1, round(was[0] * height / was[1])),
        height or max(1, round(was[1] * width / was[0])),
    )
    method = _RESAMPLING[inputs["upscale_method"]]
    centred = inputs["crop"] == "center"

    def resize(image: Image.Image) -> Image.Image:
        return ImageOps.fit(image, size, method) if centred else image.resize(size, method)

    return Outcome((await _each(context, images, resize, pixels=size[0] * size[1]),))


async def image_invert(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Invert colours, as numbers of 32 bits from 0 to 1 give them: a grey of 128 becomes 126."""
    images: Images = inputs["image"]
    return Outcome((await _each(context, images, _inverted),))


def _inverted(image: Image.Image) -> Image.Image:
    """Return the negative that a real server saves, which cuts the fraction off (seen on 0.33.0)."""
    table = [int(_single(255 * _single(1 - _single(value / 255)))) for value in range(256)]
    return image.point(table * len(image.getbands()))


def _single(value: float) -> float:
    """Round to single precision."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


async def image_batch(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Put two batches together; the second one takes the first one's size."""
    first: Images = inputs["image1"]
    size = first[0].size
    second = await _each(
        context,
        inputs["image2"],
        lambda image: image if image.size == size else ImageOps.fit(image, size, Image.Resampling.BILINEAR),
    )
    return Outcome(([*first, *second],))


async def _each(context: NodeContext, images: Images, change: Any, *, pixels: int = 0) -> Images:
    """Change every picture of a batch; those that are one object stay one object."""
    work = max(pixels, images[0].width * images[0].height) * len({id(image) for image in images})

    def run() -> Images:
        changed: dict[int, Image.Image] = {}
        for image in images:
            if id(image) not in changed:
                changed[id(image)] = change(image)
        return [changed[id(image)] for image in images]

    return await context.workshop.do(work, run)


async def save_image(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Write PNGs that carry the prompt and the workflow to the output folder."""
    entries = await _write_pngs(context, inputs["images"], prefix=inputs["filename_prefix"], kind="output")
    return Outcome((inputs["images"],), {"images": entries})


async def preview_image(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Write PNGs to the temp folder."""
    prefix = "ComfyUI" + context.folders.temp_prefix
    entries = await _write_pngs(context, inputs["images"], prefix=prefix, kind="temp")
    return Outcome((inputs["images"],), {"images": entries})


async def _write_pngs(
    context: NodeContext, images: Images, *, prefix: str, kind: str
) -> list[dict[str, str]]:
    """Write a batch and return how the files are announced."""
    info = _png_info(context)
    entries = []
    for number, image in enumerate(images):
        named = prefix.replace("%batch_num%", str(number))
        path, entry = context.folders.next_file(named, kind=kind, size=image.size, suffix=".png")
        await context.workshop.do(image.width * image.height, _write_png, image, path, info)
        entries.append(entry)
    return entries


def _write_png(image: Image.Image, path: Path, info: PngImagePlugin.PngInfo) -> None:
    image.save(path, pnginfo=info, compress_level=4)


def _png_info(context: NodeContext) -> PngImagePlugin.PngInfo:
    """Return the text chunks of an output: the API graph, and what the client sent along."""
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(context.prompt))
    for key, value in (context.extra_data.get("extra_pnginfo") or {}).items():
        info.add_text(key, json.dumps(value))
    return info


async def save_image_websocket(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Send PNGs through the preview hook; they are stored nowhere."""
    images: Images = inputs["images"]
    for number, image in enumerate(images):
        encoded = await context.workshop.do(image.width * image.height, encode, image, "PNG")
        await context.report.progress(number, len(images), ("PNG", encoded))
    return Outcome()


async def save_animated_webp(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Write one animated WebP of the whole batch."""
    images: Images = inputs["images"]
    path, entry = context.folders.next_file(
        inputs["filename_prefix"], kind="output", size=images[0].size, suffix=".webp"
    )
    method = {"default": 4, "fastest": 0, "slowest": 6}[inputs["method"]]

    def write() -> None:
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=int(1000 / inputs["fps"]),
            lossless=inputs["lossless"],
            quality=inputs["quality"],
            method=method,
        )

    await context.workshop.do(images[0].width * images[0].height * len(images), write)
    return Outcome((images,), {"images": [entry], "animated": [len(images) > 1]})


async def primitive_string(_context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Pass a text on."""
    return Outcome((inputs["value"],))


async def preview_any(_context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Show any value as text."""
    source = inputs.get("source")
    plain = isinstance(source, (dict, list, bool, type(None)))
    try:
        text = json.dumps(source, indent=4) if plain else str(source)
    except TypeError:
        text = str(source)
    return Outcome((text,), {"text": [text]})


async def load_checkpoint(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Pretend to load a checkpoint."""
    name = inputs["ckpt_name"]
    return Outcome((f"MODEL of {name}", f"CLIP of {name}", f"VAE of {name}"))


async def load_vae(_context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Pretend to load a decoder."""
    return Outcome((f"VAE of {inputs['vae_name']}",))


async def encode_text(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Pass the text on; loading the text model is where a real server notices an interrupt."""
    context.report.checkpoint()
    return Outcome((inputs["text"],))


async def empty_latent(_context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Remember a size."""
    return Outcome((Latent((inputs["width"], inputs["height"]), inputs["batch_size"], _SD15_CHANNELS),))


async def empty_sd3_latent(_context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Remember a size, for models that an SD1.5 decoder does not fit."""
    return Outcome((Latent((inputs["width"], inputs["height"]), inputs["batch_size"], 16),))


async def encode_pictures(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Keep pictures, cut to whole cells of eight pixels as an encoder cuts them."""
    images: Images = inputs["pixels"]
    width, height = (max(8, side // 8 * 8) for side in images[0].size)
    left, top = (images[0].width - width) // 2, (images[0].height - height) // 2
    box = (left, top, left + width, top + height)
    kept = await _each(context, images, lambda image: image.crop(box))
    masks: Images = inputs.get("mask") or []
    source = _digest([*images, *masks])
    return Outcome((Latent((width, height), len(kept), _SD15_CHANNELS, pictures=kept, source=source),))


async def set_noise_mask(_context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Note where a sampler may paint."""
    latent: Latent = inputs["samples"]
    source = f"{latent.source} within {_digest(inputs['mask'])}"
    return Outcome((dataclasses.replace(latent, source=source),))


def _digest(images: Images) -> str:
    """Return a short text that differs for other pictures."""
    found = hashlib.blake2b(digest_size=6)
    for image in images:
        found.update(repr((image.mode, image.size)).encode())
        found.update(image.tobytes())
    return found.hexdigest()


async def sample(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Count the steps, showing the picture come out of noise when previews are wanted."""
    latent: Latent = inputs["latent_image"]
    scene = Scene(
        inputs["seed"],
        str(inputs["positive"]),
        str(inputs["negative"]),
        f"{inputs['model']}, cfg {inputs['cfg']:g}" + (latent.source and f", from {latent.source}"),
    )
    steps = inputs["steps"]
    for number in range(1, steps + 1):
        await context.report.step(number)
        shown = None
        if context.previews:
            picture = await context.workshop.do(1 << 20, _encoded_preview, scene, latent.size, number / steps)
            shown = ("JPEG", picture)
        await context.report.progress(number, steps, shown)
    return Outcome((Latent(latent.size, latent.batch, latent.channels, scene),))


def _encoded_preview(scene: Scene, size: tuple[int, int], done: float) -> bytes:
    return encode(preview(scene, size, done), "JPEG")


async def decode(context: NodeContext, inputs: dict[str, Any]) -> Outcome:
    """Paint what was "sampled"; latents of another family do not fit, as with a real decoder.

    Raises:
        RuntimeError: The latents have the wrong number of channels.
    """
    latent: Latent = inputs["samples"]
    if latent.channels != _SD15_CHANNELS:
        shape = [latent.batch, latent.channels, latent.size[1] // 8, latent.size[0] // 8]
        raise RuntimeError(
            f"Given groups=1, weight of size [4, 4, 1, 1], expected input{shape} to have "
            f"{_SD15_CHANNELS} channels, but got {latent.channels} channels instead"
        )
    if latent.pictures is not None:
        return Outcome((latent.pictures,))
    first: Scene = latent.scene or Scene(0, "", "", "nothing was sampled")
    pixels = latent.size[0] * latent.size[1]
    images = []
    for index in range(latent.batch):
        scene = Scene(first.seed, first.positive, first.negative, first.flavour, index)
        images.append(await context.workshop.do(pixels, paint, scene, latent.size))
    return Outcome((images,))


NODES: dict[str, NodeFunction] = {
    "EmptyImage": empty_image,
    "LoadImage": load_image,
    "LoadImageMask": load_mask,
    "ImageToMask": image_to_mask,
    "MaskToImage": mask_to_image,
    "ImageScale": image_scale,
    "ImageInvert": image_invert,
    "ImageBatch": image_batch,
    "SaveImage": save_image,
    "PreviewImage": preview_image,
    "SaveImageWebsocket": save_image_websocket,
    "SaveAnimatedWEBP": save_animated_webp,
    "PrimitiveString": primitive_string,
    "PreviewAny": preview_any,
    "CheckpointLoaderSimple": load_checkpoint,
    "VAELoader": load_vae,
    "CLIPTextEncode": encode_text,
    "EmptyLatentImage": empty_latent,
    "EmptySD3LatentImage": empty_sd3_latent,
    "VAEEncode": encode_pictures,
    "VAEEncodeForInpaint": encode_pictures,
    "SetLatentNoiseMask": set_noise_mask,
    "KSampler": sample,
    "VAEDecode": decode,
}
