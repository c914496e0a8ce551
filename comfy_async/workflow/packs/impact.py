"""ComfyUI-Impact-Pack: slots that are added as they are linked, and combos that insert into a text.

Based on its impact-pack.js of October 2024 and comboBoolMigration.js.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..convert.model import Node
from .pack import Pack

__all__ = ["PACK"]

# Inputs or outputs are added as they are linked, and the file has all of them.
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

# Nodes in whose texts the server chooses from {a|b}, not the editor.
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

# Combos that insert the chosen item into the text and then show their heading again.
_CHOOSERS: Final = {
    "Select to add LoRA": "Select the LoRA to add to the text",
    "Select to add Wildcard": "Select the Wildcard to add to the text",
}

_MODES: Final = {True: "populate", False: "fixed"}


class _Impact(Pack):
    """The rules for ComfyUI-Impact-Pack."""

    classes = _MORE_SLOTS | _DETAILERS | _WILDCARDS | {"EditDetailerPipeSDXL"}

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Leave the choice among alternatives in prompts to the server."""
        if node.type in _DETAILERS | _WILDCARDS:
            for widget in node.widgets:
                widget.text = ""

    def loaded(self, node: Node) -> None:
        """Set inserting combos to their headings, and modes to their present names."""
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
