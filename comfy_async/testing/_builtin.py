"""The declarations of the node classes that FakeComfy knows, in a compact form of its own.

Only what a client can see in /object_info is here; what the nodes do is in `_nodes`.
"""

from __future__ import annotations

from typing import Any

from ._specs import InputFiles, InputSpec, Models, NodeSpec

__all__ = ["SPECS"]


def _number(kind: str, default: float, low: float, high: float, **options: Any) -> InputSpec:
    """Return an INT or FLOAT input; keys stand in the order in which ComfyUI's classes give them."""
    return (kind, {"default": default, "min": low, "max": high, **options})


def _tip(kind: Any, tooltip: str, **options: Any) -> InputSpec:
    """Return an input with a tooltip."""
    return (kind, {**options, "tooltip": tooltip})


_PNG_INFO = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
_METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]
_SCHEDULERS = (
    "simple sgm_uniform karras exponential ddim_uniform beta normal linear_quadratic kl_optimal"
).split()
_SAMPLERS = """
    euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 exp_heun_2_x0 exp_heun_2_x0_sde
    dpm_2 dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde
    dpmpp_sde_gpu dpmpp_2m dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun
    dpmpp_2m_sde_heun_gpu dpmpp_3m_sde dpmpp_3m_sde_gpu ddpm lcm ipndm ipndm_v deis res_multistep
    res_multistep_cfg_pp res_multistep_ancestral res_multistep_ancestral_cfg_pp gradient_estimation
    gradient_estimation_cfg_pp er_sde seeds_2 seeds_3 sa_solver sa_solver_pece ddim uni_pc uni_pc_bh2
""".split()

_IMAGES = [
    NodeSpec(
        "EmptyImage",
        "Empty Image",
        "image",
        {
            "width": _number("INT", 512, 1, 16384, step=1),
            "height": _number("INT", 512, 1, 16384, step=1),
            "batch_size": _number("INT", 1, 1, 4096),
            "color": _number("INT", 0, 0, 0xFFFFFF, step=1, display="color"),
        },
        ("IMAGE",),
    ),
    NodeSpec(
        "LoadImage",
        "Load Image",
        "image",
        {"image": (InputFiles(), {"image_upload": True})},
        ("IMAGE", "MASK"),
        more={"essentials_category": "Basics"},
    ),
    NodeSpec(
        "LoadImageMask",
        "Load Image (as Mask)",
        "image",
        {"image": (InputFiles(), {"image_upload": True}), "channel": (["alpha", "red", "green", "blue"],)},
        ("MASK",),
        more={"essentials_category": "Image Tools"},
    ),
    NodeSpec(
        "ImageToMask",
        "Convert Image to Mask",
        "image/mask",
        {
            "image": ("IMAGE", {}),
            "channel": ("COMBO", {"multiselect": False, "options": ["red", "green", "blue", "alpha"]}),
        },
        ("MASK",),
        module="comfy_extras.nodes_mask",
        v3=True,
        more={"search_aliases": []},
    ),
    NodeSpec(
        "MaskToImage",
        "Convert Mask to Image",
        "image/mask",
        {"mask": ("MASK", {})},
        ("IMAGE",),
        module="comfy_extras.nodes_mask",
        v3=True,
        more={"search_aliases": []},
    ),
    NodeSpec(
        "ImageScale",
        "Upscale Image",
        "image/upscaling",
        {
            "image": ("IMAGE",),
            "upscale_method": (_METHODS,),
            "width": _number("INT", 512, 0, 16384, step=1),
            "height": _number("INT", 512, 0, 16384, step=1),
            "crop": (["disabled", "center"],),
        },
        ("IMAGE",),
        more={"essentials_category": "Image Tools"},
    ),
    NodeSpec(
        "ImageInvert",
        "Invert Image Colors",
        "image/color",
        {"image": ("IMAGE",)},
        ("IMAGE",),
        more={"essentials_category": "Image Tools"},
    ),
    NodeSpec(
        "ImageBatch",
        "Batch Images (DEPRECATED)",
        "image/batch",
        {"image1": ("IMAGE",), "image2": ("IMAGE",)},
        ("IMAGE",),
        more={"deprecated": True},
    ),
    NodeSpec(
        "SaveImage",
        "Save Image",
        "image",
        {
            "images": _tip("IMAGE", "What to save."),
            "filename_prefix": _tip("STRING", "How the file names begin.", default="ComfyUI"),
        },
        ("IMAGE",),
        hidden=_PNG_INFO,
        output_names=("images",),
        description="Writes images to the output folder.",
        is_output=True,
        more={"essentials_category": "Basics"},
    ),
    NodeSpec(
        "PreviewImage",
        "Preview Image",
        "image",
        {"images": ("IMAGE",)},
        ("IMAGE",),
        hidden=_PNG_INFO,
        output_names=("images",),
        description="Writes images to the temp folder.",
        is_output=True,
        more={"essentials_category": "Basics"},
    ),
    NodeSpec(
        "SaveImageWebsocket",
        "Save Image (Websocket)",
        "image",
        {"images": ("IMAGE",)},
        (),
        module="custom_nodes.websocket_image_save",
        is_output=True,
    ),
    NodeSpec(
        "SaveAnimatedWEBP",
        "Save Animated WEBP",
        "image",
        {
            "images": ("IMAGE", {}),
            "filename_prefix": ("STRING", {"default": "ComfyUI", "multiline": False}),
            "fps": _number("FLOAT", 6.0, 0.01, 1000.0, step=0.01),
            "lossless": ("BOOLEAN", {"default": True}),
            "quality": _number("INT", 80, 0, 100),
            "method": ("COMBO", {"multiselect": False, "options": ["default", "fastest", "slowest"]}),
        },
        ("IMAGE",),
        hidden={"prompt": ["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]},
        output_names=("images",),
        module="comfy_extras.nodes_images",
        is_output=True,
        v3=True,
    ),
]

_VALUES = [
    NodeSpec(
        "PrimitiveString",
        "Text",
        "utilities/primitive",
        {"value": ("STRING", {"multiline": False})},
        ("STRING",),
        module="comfy_extras.nodes_primitive",
        v3=True,
        more={"search_aliases": []},
    ),
    NodeSpec(
        "PreviewAny",
        "Preview as Text",
        "utilities",
        {"source": ("*", {})},
        ("STRING",),
        description="Shows a value as text.",
        module="comfy_extras.nodes_preview_any",
        is_output=True,
    ),
]

_DIFFUSION = [
    NodeSpec(
        "CheckpointLoaderSimple",
        "Load Checkpoint",
        "model/loaders",
        {"ckpt_name": _tip(Models("checkpoints"), "Which checkpoint.")},
        ("MODEL", "CLIP", "VAE"),
        description="A stand-in: it loads nothing.",
        output_tooltips=("For the sampler.", "For the text encoder.", "For the decoder."),
    ),
    NodeSpec(
        "VAELoader",
        "Load VAE",
        "model/loaders",
        {"vae_name": (Models("vae", extra=("pixel_space",)),)},
        ("VAE",),
    ),
    NodeSpec(
        "CLIPTextEncode",
        "CLIP Text Encode (Prompt)",
        "model/conditioning",
        {
            "text": _tip("STRING", "What to paint.", multiline=True, dynamicPrompts=True),
            "clip": _tip("CLIP", "The text model."),
        },
        ("CONDITIONING",),
        description="A stand-in: it hands the text on.",
        output_tooltips=("The text.",),
    ),
    NodeSpec(
        "EmptyLatentImage",
        "Empty Latent Image",
        "model/latent",
        {
            "width": _number("INT", 512, 16, 16384, step=8, tooltip="In pixels."),
            "height": _number("INT", 512, 16, 16384, step=8, tooltip="In pixels."),
            "batch_size": _number("INT", 1, 1, 4096, tooltip="How many."),
        },
        ("LATENT",),
        description="A stand-in: it remembers a size.",
        output_tooltips=("A size.",),
    ),
    NodeSpec(
        "EmptySD3LatentImage",
        None,
        "model/latent/stable diffusion",
        {
            "width": _number("INT", 1024, 16, 16384, step=16),
            "height": _number("INT", 1024, 16, 16384, step=16),
            "batch_size": _number("INT", 1, 1, 4096),
        },
        ("LATENT",),
        module="comfy_extras.nodes_sd3",
        v3=True,
    ),
    NodeSpec(
        "VAEEncode",
        "VAE Encode",
        "model/latent",
        {"pixels": ("IMAGE",), "vae": ("VAE",)},
        ("LATENT",),
    ),
    NodeSpec(
        "VAEEncodeForInpaint",
        "VAE Encode (for Inpainting)",
        "model/latent",
        {
            "pixels": ("IMAGE",),
            "vae": ("VAE",),
            "mask": ("MASK",),
            "grow_mask_by": _number("INT", 6, 0, 64, step=1),
        },
        ("LATENT",),
    ),
    NodeSpec(
        "SetLatentNoiseMask",
        "Set Latent Noise Mask",
        "model/latent",
        {"samples": ("LATENT",), "mask": ("MASK",)},
        ("LATENT",),
    ),
    NodeSpec(
        "KSampler",
        "KSampler",
        "model/sampling",
        {
            "model": _tip("MODEL", "The model."),
            "seed": _number(
                "INT", 0, 0, 2**64 - 1, control_after_generate=True, tooltip="Another seed, another picture."
            ),
            "steps": _number("INT", 20, 1, 10000, tooltip="How many steps."),
            "cfg": _number("FLOAT", 8.0, 0.0, 100.0, step=0.1, round=0.01, tooltip="It shifts the colours."),
            "sampler_name": _tip(_SAMPLERS, "Without effect here."),
            "scheduler": _tip(_SCHEDULERS, "Without effect here."),
            "positive": _tip("CONDITIONING", "What to paint."),
            "negative": _tip("CONDITIONING", "What not to paint."),
            "latent_image": _tip("LATENT", "The size."),
            "denoise": _number("FLOAT", 1.0, 0.0, 1.0, step=0.01, tooltip="Without effect here."),
        },
        ("LATENT",),
        description="A stand-in: it counts steps and does not diffuse.",
        output_tooltips=("The picture to decode.",),
    ),
    NodeSpec(
        "VAEDecode",
        "VAE Decode",
        "model/latent",
        {"samples": _tip("LATENT", "From the sampler."), "vae": _tip("VAE", "The decoder.")},
        ("IMAGE",),
        description="A stand-in: it paints a picture from seed and text.",
        output_tooltips=("The picture.",),
    ),
]

SPECS: dict[str, NodeSpec] = {spec.name: spec for spec in (*_IMAGES, *_VALUES, *_DIFFUSION)}
"""Every built-in class by its name."""
