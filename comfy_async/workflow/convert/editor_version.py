"""What versions of ComfyUI's editor do differently with the same file.

Where a file contradicts itself, the newest version's behavior is used for all; the differences
here concern values and kinds of widgets. Each was observed before and after the version named.
"""

from __future__ import annotations

import functools
import re
from typing import Final

__all__ = ["NEWEST", "Editor", "editor_of"]

NEWEST: Final = "1.58.1"
"""The newest editor version that the conversion was tested against."""

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

# English display names in the editor that differ from those of ComfyUI 0.33.0.
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
    """The behavior of one version of the editor.

    Attributes:
        version: Its three numbers.
        titles: The editor's own display names of classes.
        young: Kinds of inputs that later versions added; this version treats them as links only.
        names_packs: Whether a node of the prompt names its pack.
        waits_for_models: Whether the camera of Load3D keeps its initial state until its model is loaded.
        writes_texts: Whether text areas convert any saved value to a text.
        wraps_curves: Whether a curve that is an object is wrapped with its type, as lists are.
        numbers_twins: Whether widgets of the same name get a number appended.
        reads_plainly: Whether the initial value of a TEXTAREA, CHART or GALLERIA may be declared at the
            top level of the options.
        renumbers_twins: Whether two nodes with the same id are both kept, the second with a new id.
        restores_names: Whether a class may declare the names by which its list of values is read.
        settles_outputs: Whether the first of two links to the same output of a subgraph is used.
        returns_links: Whether a link whose input was removed by a dynamic combo moves to the input at
            its target slot.
        follows_choices: Whether the index of a CustomCombo's choice follows a promoted choice.
        aligns_primitives: Whether the inputs that a promoted primitive feeds are found by link, not index.
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
        """Look up the behavior of a version, by default of the newest.

        Raises:
            ValueError: The name is not a version like "1.58.1".
        """
        numbers = _NUMBERS.match(name or NEWEST)
        if numbers is None:
            raise ValueError(f"{name!r} is not a version of ComfyUI's editor, such as {NEWEST!r}")
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
    """Return the editor of a version, cached; by default the newest.

    Raises:
        ValueError: The name is not a version like "1.58.1".
    """
    return Editor(name)
