"""ComfyUI-Impact-Pack: slots that come as they are connected, and choices that write into a text.

Read in its impact-pack.js of October 2024 and comboBoolMigration.js.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..convert.model import Node
from .pack import Pack

__all__ = ["PACK"]

# Inputs or outputs are added as they are connected, and the file has them all.
_MORE_SLOTS: Final = frozenset(
    {
        "CombineRegionalPrompts",
        "ImpactCombineConditionings",
        "ImpactConcatConditionings",
        "ImpactInversedSwitch",
        "ImpactMakeAnyList",
        "ImpactMakeImageBatch",
        "ImpactMakeImageList",
        "ImpactMakeMaskBatch",
        "ImpactMakeMaskList",
        "ImpactSEGSConcat",
        "ImpactSwitch",
        "LatentSwitch",
        "SEGSSwitch",
    }
)

# Texts in which {a|b} is the server's to choose, not the editor's.
_DETAILERS: Final = frozenset(
    {
        "BasicPipeToDetailerPipe",
        "BasicPipeToDetailerPipeSDXL",
        "DetailerForEach",
        "DetailerForEachDebug",
        "DetailerForEachDebugPipe",
        "DetailerForEachPipe",
        "EditDetailerPipe",
        "FaceDetailer",
        "ToDetailerPipe",
        "ToDetailerPipeSDXL",
    }
)

_WILDCARDS: Final = frozenset({"ImpactWildcardEncode", "ImpactWildcardProcessor"})

# What is chosen here goes into the text at once, and the choice goes back to its heading.
_CHOOSERS: Final = {
    "Select to add LoRA": "Select the LoRA to add to the text",
    "Select to add Wildcard": "Select the Wildcard to add to the text",
}

_MODES: Final = {True: "populate", False: "fixed"}


class _Impact(Pack):
    """The rules for ComfyUI-Impact-Pack."""

    classes = _MORE_SLOTS | _DETAILERS | _WILDCARDS | {"EditDetailerPipeSDXL"}

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Let the server choose among alternatives in prompts."""
        if node.type in _DETAILERS | _WILDCARDS:
            for widget in node.widgets:
                widget.text = ""

    def loaded(self, node: Node) -> None:
        """Send headings for the choosers, and modes as the present version names them."""
        for name, heading in _CHOOSERS.items():
            if (chooser := node.widget(name)) is not None:
                chooser.value, chooser.spot = heading, None
        mode = node.widget("mode") if node.type in _WILDCARDS else None
        if mode is None:
            return
        if mode.kind == "combo" and isinstance(mode.value, bool):
            mode.value, mode.spot = _MODES[mode.value], None
        elif mode.kind == "toggle" and isinstance(mode.value, str):
            mode.value, mode.spot = mode.value == "Populate", None


PACK: Final = _Impact()
"""The rules for ComfyUI-Impact-Pack."""
