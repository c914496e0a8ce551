"""ComfyUI-Easy-Use: custom widgets, combos that insert into a text, and values passed on by name.

Based on its web version 2 of August 2026, and on version 1 where that differs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..convert.declarations import Declared
from ..convert.model import Graph, InputSlot, Node, Widget
from ..convert.widgets import PACK_WIDGET
from .pack import Pack, not_convertible
from .passing import stored_name, with_name

__all__ = ["PACK"]

_TABLE: Final = {
    "mode": "table",
    "headers": ["列1", "列2", "列3"],
    "rows": [["", "", ""], ["", "", ""]],
    "markdown": "| 列1 | 列2 | 列3 |\n| --- | --- | --- |\n|     |     |     |\n|     |     |     |",
}

# The initial values of its kinds of widgets; lists are joined or written as JSON, by kind.
_KINDS: Final[dict[str, Any]] = {
    "EASY_PROMPT_STYLES": "",
    "EASY_COMBO": "",
    "EASY_MULTI_ANGLE": [{"rotate": 0, "vertical": 0, "zoom": 5, "add_angle_prompt": True}],
    "EASY_TABLE_EDITOR": _TABLE,
    "EASY_PROMPT_AWAIT_BAR": {"select": "now", "unlock": True, "last_seed": 0, "seed": 0},
}

# Widgets that version 1 adds to classes which do not declare them.
_ADDED: Final = {"easy stylesSelector": "select_styles", "easy humanSegmentation": "mask_components"}

_LORA: Final = "Select the LoRA to add to the text"
_WILDCARD: Final = "Select the Wildcard to add to the text"

# Combos, from the second widget on, that insert the chosen item into the text and send their heading.
_CHOOSERS: Final[dict[str, tuple[str, ...]]] = {
    "easy wildcards": (_LORA, _WILDCARD),
    "easy wildcardsMatrix": (_LORA, _WILDCARD),
    "easy prompt": (
        "Select the prefix add to the text",
        "👤Select the subject add to the text",
        "🎬Select the action add to the text",
        "👚Select the clothes add to the text",
        "☀️Select the illumination environment add to the text",
        "🎞️Select the background add to the text",
        "🔞Select the nsfw add to the text",
    ),
}

_SAVING: Final = frozenset(
    f"easy {name}"
    for name in (
        "detailerFix",
        "fullkSampler",
        "imageSave",
        "kSampler",
        "kSamplerDownscaleUnet",
        "kSamplerInpainting",
        "kSamplerSDTurbo",
        "kSamplerTiled",
    )
)

# Slots are added as they are linked, and the file has all of them.
_MORE_SLOTS: Final = frozenset(
    f"easy {name}"
    for name in (
        "anythingIndexSwitch",
        "anythingInversedSwitch",
        "conditioningIndexSwitch",
        "forLoopEnd",
        "forLoopStart",
        "imageIndexSwitch",
        "textIndexSwitch",
        "whileLoopEnd",
        "whileLoopStart",
    )
)

_OTHERS: Final = frozenset({"easy seed", "easy preDetailerFix", "easy multiAngle", "easy promptAwait"})


class _EasyUse(Pack):
    """The rules for ComfyUI-Easy-Use."""

    classes = frozenset(_ADDED) | frozenset(_CHOOSERS) | _SAVING | _MORE_SLOTS | _OTHERS
    virtual = frozenset({"easy setNode", "easy getNode", "easy bookmark"})

    def claims(self, node_type: str) -> bool:
        """Return whether the type begins with `easy `."""
        return node_type.startswith("easy ")

    def declare(self, class_type: str, inputs: list[Declared]) -> list[Declared]:
        """Return the inputs with the pack's kinds of widgets marked as such."""
        return [item.shown_as(PACK_WIDGET) if item.type in _KINDS else item for item in inputs]

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Set the initial values of the pack's widgets, and add those that no class declares."""
        for slot in node.inputs:
            if slot.type in _KINDS and (widget := node.slot_widget(slot)) is not None:
                widget.value = _text(_KINDS[slot.type])
        name = _ADDED.get(node.type)
        if name is not None and node.widget(name) is None:
            node.inputs.append(InputSlot(name, "*", widget=name))
            node.add_widget(name, "", "custom")
        if node.type == "easy seed" and len(node.widgets) > 1:
            node.add_widget("🎲 Manual Random Seed", None, "button", sent=False)
        self._treat_texts(node)

    def _treat_texts(self, node: Node) -> None:
        """Mark texts that are file names, and those in which the server chooses among alternatives."""
        for widget in node.widgets:
            if node.type in _SAVING and widget.name in ("filename_prefix", "save_prefix"):
                widget.text = "filename"
            elif node.type == "easy preDetailerFix":
                widget.text = ""

    def loaded(self, node: Node) -> None:
        """Convert lists to texts, and set inserting combos to their headings."""
        for slot in node.inputs:
            widget = node.slot_widget(slot)
            if widget is not None and widget.kind == "custom":
                _settle(widget, joined=slot.type in ("EASY_PROMPT_STYLES", "EASY_COMBO", "*"))
        for widget, heading in zip(node.widgets[1:], _CHOOSERS.get(node.type, ()), strict=False):
            widget.value, widget.spot = heading, None

    def source(self, node: Node, graphs: Sequence[Graph]) -> tuple[int, Node] | None:
        """Return, for a getter, the setter of the same name in its own graph.

        Raises:
            ConversionError: There is no such setter.
        """
        if node.type != "easy getNode":
            return None
        name = stored_name(node)
        setter = next(with_name(graphs[0], "easy setNode", name), None) if name else None
        if setter is None:
            raise not_convertible(
                node,
                f"no node sets {name!r}",
                advice="Give the getter the name of an `easy setNode` in the same graph.",
                received=name,
            )
        return 0, setter


def _settle(widget: Widget, *, joined: bool) -> None:
    """Convert the value of a widget to the text that is sent."""
    value = widget.value
    if joined and isinstance(value, list):
        widget.value = ",".join(map(str, value))
    elif isinstance(value, list | dict):
        widget.value = _text(value)


def _text(value: Any) -> str:
    """Return a text as it is, other values as JSON in JavaScript's notation."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


PACK: Final = _EasyUse()
"""The rules for ComfyUI-Easy-Use."""
