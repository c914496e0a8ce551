"""Image to image, and inpainting, with FakeComfy: what goes in is seen in what comes out."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from comfy_async import ComfySession, JobFailedError
from comfy_async.testing import FakeComfy
from comfy_async.testing._pictures import encode

SIZE = (40, 24)


def png(image: Image.Image) -> bytes:
    """Return a picture as a file."""
    return encode(image, "PNG")


def saved(graph: dict[str, Any], images: list[Any]) -> dict[str, Any]:
    """Return a graph that saves what a node gives."""
    return {**graph, "9": {"class_type": "PreviewImage", "inputs": {"images": images}}}


def painted(image: Any, *, mask: Any = None, inpaint: bool = False) -> dict[str, Any]:
    """Return a graph that samples with a picture in the place of an empty latent."""
    graph: dict[str, Any] = {
        "1": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"},
        },
        "2": {"class_type": "LoadImage", "inputs": {"image": image}},
        "3": {"class_type": "VAEEncode", "inputs": {"pixels": ["2", 0], "vae": ["1", 2]}},
        "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["1", 1]}},
        "6": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["5", 0],
                "negative": ["5", 0],
                "latent_image": ["3", 0],
                **{"seed": 1, "steps": 2, "cfg": 8.0, "denoise": 0.5},
                **{"sampler_name": "euler", "scheduler": "normal"},
            },
        },
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
    }
    if mask is not None:
        graph["8"] = {"class_type": "LoadImageMask", "inputs": {"image": mask, "channel": "red"}}
        if inpaint:
            graph["3"]["class_type"] = "VAEEncodeForInpaint"
            graph["3"]["inputs"] |= {"mask": ["8", 0], "grow_mask_by": 6}
        else:
            within = {"samples": ["3", 0], "mask": ["8", 0]}
            graph["10"] = {"class_type": "SetLatentNoiseMask", "inputs": within}
            graph["6"]["inputs"]["latent_image"] = ["10", 0]
    return saved(graph, ["7", 0])


async def pixels(comfy: ComfySession, graph: dict[str, Any]) -> Image.Image:
    """Run a graph and return its picture."""
    result = await comfy.run(graph)
    return await result.images[0].image()


async def test_another_picture_or_mask_gives_another_result(fake: FakeComfy, comfy: ComfySession) -> None:
    """In the size of the picture, cut to whole cells; the same gives the same."""
    red = await comfy.files.upload(png(Image.new("RGB", (43, 27), "red")), name="red.png")
    blue = await comfy.files.upload(png(Image.new("RGB", (43, 27), "blue")), name="blue.png")
    graphs = [
        painted(red),
        painted(blue),
        painted(red, mask=red),
        painted(red, mask=blue),
        painted(red, mask=red, inpaint=True),
        painted(red, mask=blue, inpaint=True),
    ]
    found = [await pixels(comfy, graph) for graph in graphs]
    assert {image.size for image in found} == {SIZE}
    assert len({image.tobytes() for image in found[:2]}) == 2
    assert len({image.tobytes() for image in found[2:4]}) == 2
    assert len({image.tobytes() for image in found[4:]}) == 2
    assert (await pixels(comfy, painted(red))).tobytes() == found[0].tobytes()


async def test_what_is_encoded_and_decoded_is_as_it_was(fake: FakeComfy, comfy: ComfySession) -> None:
    """Nothing was sampled between."""
    drawn = Image.linear_gradient("L").convert("RGB").resize(SIZE)
    face = await comfy.files.upload(png(drawn), name="drawn.png")
    graph = painted(face)
    graph["7"]["inputs"]["samples"] = ["3", 0]
    assert (await pixels(comfy, graph)).tobytes() == drawn.tobytes()


@pytest.mark.parametrize(
    ("channel", "grey"), [("alpha", 255 - 200), ("red", 10), ("green", 20), ("blue", 30)]
)
async def test_masks(fake: FakeComfy, comfy: ComfySession, channel: str, grey: int) -> None:
    """Of a channel; that of the alpha is where the picture is not opaque."""
    file = png(Image.new("RGBA", (8, 8), (10, 20, 30, 200)))
    face = await comfy.files.upload(file, name="face.png")
    graph: dict[str, Any] = {
        "1": {"class_type": "LoadImageMask", "inputs": {"image": face, "channel": channel}},
        "2": {"class_type": "MaskToImage", "inputs": {"mask": ["1", 0]}},
    }
    assert (await pixels(comfy, saved(graph, ["2", 0]))).getpixel((3, 3)) == (grey, grey, grey)
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": face}}
    graph["3"] = {"class_type": "ImageToMask", "inputs": {"image": ["1", 0], "channel": channel}}
    graph["2"]["inputs"]["mask"] = ["3", 0]
    if channel == "alpha":
        with pytest.raises(JobFailedError, match="IndexError"):
            await comfy.run(saved(graph, ["2", 0]))
    else:
        assert (await pixels(comfy, saved(graph, ["2", 0]))).getpixel((3, 3)) == (grey, grey, grey)


async def test_a_mask_that_is_replaced_is_read_anew(fake: FakeComfy, comfy: ComfySession) -> None:
    """The cache knows the file, as with LoadImage."""
    seen = []
    for grey in (10, 90):
        file = png(Image.new("RGB", (8, 8), (grey, 0, 0)))
        face = await comfy.files.upload(file, name="mask.png", overwrite=True)
        graph = {
            "1": {"class_type": "LoadImageMask", "inputs": {"image": face, "channel": "red"}},
            "2": {"class_type": "MaskToImage", "inputs": {"mask": ["1", 0]}},
        }
        seen.append((await pixels(comfy, saved(graph, ["2", 0]))).getpixel((0, 0)))
    assert seen == [(10, 10, 10), (90, 90, 90)]
