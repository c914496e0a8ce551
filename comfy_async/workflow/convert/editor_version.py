"""What ComfyUI's editors do differently from version to version with one and the same file.

Where a file contradicts itself, the way of the newest counts for all; this is about values and
kinds of widgets. Each habit was seen on both sides of the version that is named here.
"""

from __future__ import annotations

import functools
import re
from typing import Final

__all__ = ["NEWEST", "Editor", "editor_of"]

NEWEST: Final = "1.58.1"
"""The newest editor that the conversion was held against."""

_NUMBERS = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")

_KINDS_SINCE: Final = {
    "RESOLUTION_PREVIEW": (1, 51, 0),
    "CAMERA_INFO_STATE": (1, 52, 0),
    "CAMERA_ANGLE_VIEW": (1, 55, 0),
    "LIGHT_INFO_PREVIEW": (1, 57, 0),
    "COMFY_DYNAMICGROUP_V3": (1, 57, 0),
    "COMFY_BRANCH_SELECTOR": (1, 57, 0),
    "COMFY_BRANCH_INPUT_NAMES": (1, 57, 0),
}

# English names of classes that an editor has of its own, where ComfyUI 0.33.0 calls them otherwise.
_TITLES: Final = (
    (
        (1, 53, 0),
        {
            "EmptyCosmosLatentVideo": "Empty Cosmos Latent Video",
            "EmptyHunyuanImageLatent": "Empty Hunyuan Image Latent",
            "EmptyLTXVLatentVideo": "Empty LTXV Latent Video",
            "EmptyLatentHunyuan3Dv2": "Empty Hunyuan 3D v2 Latent",
            "EmptyTrellis2LatentStructure": "Empty Trellis2 Latent Structure",
            "Pixal3DConditioning": "Pixal3D Conditioning",
            "StableCascade_EmptyLatentImage": "Empty Stable Cascade Latent Image",
            "StableCascade_StageC_VAEEncode": "Stable Cascade Stage C VAE Encode",
            "TextEncodeQwenImageEdit": "Text Encode Qwen Image Edit",
            "TextEncodeQwenImageEditPlus": "Text Encode Qwen Image Edit Plus",
            "Trellis2Conditioning": "Trellis2 Conditioning",
            "Trellis2ShapeStage": "Trellis2 Shape Stage",
            "Trellis2TextureStage": "Trellis2 Texture Stage",
            "VAEDecodeHunyuan3D": "Hunyuan 3D VAE Decode",
            "VaeDecodeShapeTrellis": "Trellis2 VAE Decode Shape",
            "VaeDecodeStructureTrellis2": "Trellis2 VAE Decode Structure",
            "VaeDecodeTextureTrellis": "Trellis2 VAE Decode Texture",
        },
    ),
    (
        (0, 0, 0),
        {
            "ByteDance2ReferenceNode": "ByteDance Seedance 2.5 Reference to Video",
            "ByteDanceSeedreamNodeV2": "ByteDance Seedream 4.5 & 5.0",
            "IdeogramPImage": "Ideogram P-Image",
            "LTXVConcatAVLatent": "LTXVConcatAVLatent",
            "LTXVSeparateAVLatent": "LTXVSeparateAVLatent",
            "TopazImageEnhance": "Topaz Image Enhance",
        },
    ),
)


class Editor:
    """The habits of one version of the editor.

    Attributes:
        version: Its three numbers.
        titles: English names that it has of its own for classes.
        young: Kinds of inputs that came later, which are sockets to it.
        names_packs: Whether a node of the prompt names the pack that it is from.
        waits_for_models: Whether the camera of Load3D stands as at first until its model is there.
        writes_texts: Whether text areas send a text whatever value was saved.
        wraps_curves: Whether a curve is marked as one also when it is an object.
        numbers_twins: Whether widgets of one name are told apart by a number.
        reads_plainly: Whether what a TEXTAREA, CHART or GALLERIA begins with may be declared as elsewhere.
        renumbers_twins: Whether both of two nodes with one id are kept, the second under a new one.
        restores_names: Whether a class may say by which names its list of values is read.
        settles_outputs: Whether of two links into one output of a subgraph the first in the table counts.
        returns_links: Whether a link whose input a choice took away goes to the place that it names.
        follows_choices: Whether the place of a CustomCombo's choice follows a promoted choice.
        aligns_primitives: Whether the inputs that a promoted primitive feeds are found by name.
    """

    __slots__ = (
        "aligns_primitives",
        "follows_choices",
        "names_packs",
        "numbers_twins",
        "reads_plainly",
        "renumbers_twins",
        "restores_names",
        "returns_links",
        "settles_outputs",
        "titles",
        "version",
        "waits_for_models",
        "wraps_curves",
        "writes_texts",
        "young",
    )

    def __init__(self, name: str | None = None) -> None:
        """Look up the habits of a version, by default of the newest.

        Raises:
            ValueError: The name is no version like "1.58.1".
        """
        numbers = _NUMBERS.match(name or NEWEST)
        if numbers is None:
            raise ValueError(f"{name!r} is no version of ComfyUI's editor; they look like {NEWEST!r}")
        self.version = tuple(map(int, numbers.groups()))
        self.young = frozenset(kind for kind, since in _KINDS_SINCE.items() if self.version < since)
        self.titles = next(titles for since, titles in _TITLES if self.version >= since)
        self.names_packs = self.version >= (1, 57, 0)
        self.waits_for_models = self.version >= (1, 53, 0)
        self.writes_texts = self.version >= (1, 54, 0)
        self.wraps_curves = self.version >= (1, 52, 0)
        self.numbers_twins = self.version >= (1, 53, 0)
        self.reads_plainly = self.version >= (1, 53, 0)
        self.renumbers_twins = self.version >= (1, 53, 0)
        self.restores_names = self.version >= (1, 54, 0)
        self.settles_outputs = self.version >= (1, 53, 0)
        self.returns_links = self.version >= (1, 53, 0)
        self.follows_choices = self.version >= (1, 50, 0)
        self.aligns_primitives = self.version >= (1, 53, 0)


@functools.lru_cache(maxsize=64)
def editor_of(name: str | None = None) -> Editor:
    """Return the editor of a version, the same one each time; by default the newest.

    Raises:
        ValueError: The name is no version like "1.58.1".
    """
    return Editor(name)
