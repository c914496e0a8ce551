"""ComfyUI-KJNodes: values passed on by name, buttons that are sent, and file names with placeholders.

Based on its setgetnodes.js and jsnodes.js of August 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..convert.model import Graph, Node
from ..convert.saved_values import choices
from .pack import Pack, not_convertible
from .passing import stored_name, with_name

__all__ = ["PACK"]

# Buttons without a value; the editor sends them nevertheless, as null.
_BUTTONS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        (
            "ConditioningMultiCombine",
            "CrossFadeImagesMulti",
            "ImageAddMulti",
            "ImageBatchMulti",
            "ImageConcatMulti",
            "JoinStringMulti",
            "MaskBatchMulti",
            "TransitionImagesMulti",
        ),
        ("Update inputs",),
    ),
    **dict.fromkeys(
        ("FluxBlockLoraSelect", "HunyuanVideoBlockLoraSelect", "LTX2BlockLoraSelect", "Wan21BlockLoraSelect"),
        ("Set all",),
    ),
    "SoundReactive": ("Start mic capture", "Stop mic capture"),
}

# Classes whose file name has %...% filled in.
_SAVING: Final = frozenset(
    {
        "DecodeAndSaveVideo",
        "LoraExtractKJ",
        "ModelSaveKJ",
        "SaveImageKJ",
        "SaveImageWithAlpha",
        "SaveStringKJ",
    }
)


_RESIZE: Final = "ImageResizeKJ"


class _KJNodes(Pack):
    """The rules for ComfyUI-KJNodes."""

    classes = frozenset(_BUTTONS) | _SAVING
    virtual = frozenset({"SetNode", "GetNode"})

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Add the buttons and mark file names; classes of other packs with the same names are skipped."""
        if not str(spec.get("category", "")).startswith("KJNodes"):
            return
        for label in _BUTTONS.get(node.type, ()):
            node.add_widget(label, None, "button")
        prefix = node.widget("filename_prefix") if node.type in _SAVING else None
        if prefix is not None:
            prefix.text = "filename"

    def claims(self, node_type: str) -> bool:
        """Return whether it is one of the pack's classes, or the one whose old values the rules repair."""
        return node_type == _RESIZE or super().claims(node_type)

    def loaded(self, node: Node) -> None:
        """Drop the values of two inputs of ImageResizeKJ that are no longer widgets, in old files.

        Both are 0 and precede the value of `crop`, which therefore becomes 0 in the editor; the class
        has the choice 0 for such files. If 0 is not one of the choices, the values are kept as surplus.
        """
        crop = node.widget("crop") if node.type == _RESIZE else None
        offered = () if crop is None else choices(crop)
        if crop is not None and 0 in offered and [crop.value, *node.surplus[:-1]] == [0, 0]:
            node.surplus = () if node.surplus[-1] in offered else node.surplus

    def source(self, node: Node, graphs: Sequence[Graph]) -> tuple[int, Node] | None:
        """Return, for a getter, the setter of the same name in its own graph or in one around it.

        Raises:
            ConversionError: Several setters around the getter's subgraph have the name.
        """
        if node.type != "GetNode" or not (name := stored_name(node)):
            return None
        found = [
            (depth, setter)
            for depth, graph in enumerate(graphs)
            for setter in with_name(graph, "SetNode", name)
        ]
        if found and found[0][0] > 0 and len(found) > 1:
            raise not_convertible(
                node,
                f"several nodes set {name!r} around the subgraph that gets it",
                advice="Give each SetNode a name of its own.",
                received=name,
            )
        return found[0] if found else None


PACK: Final = _KJNodes()
"""The rules for ComfyUI-KJNodes."""
