"""ComfyUI-Lora-Manager: a text with LoRAs, the list that belongs to it, and other custom widgets.

Based on its vue-widgets, loras_widget.js and trigger_word_toggle.js of August 2026. Older versions
create the list without declaring it; the server's class shows which version it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..convert.declarations import Declared
from ..convert.model import JSON_OBJECT, Node, Spot, Widget
from ..convert.saved_values import set_value
from ..convert.widgets import PACK_WIDGET
from .pack import Pack

__all__ = ["PACK"]

_HIDDEN: Final = "__lm_autocomplete_meta_"

_TOGGLE: Final = "TriggerWord Toggle (LoraManager)"

_WITH_LORAS: Final = frozenset(
    f"{name} (LoraManager)"
    for name in ("Create Hook LoRA", "Lora Loader", "Lora Stacker", "WanVideo Lora Select")
)

_CLASSES: Final = _WITH_LORAS | {
    f"{name} (LoraManager)"
    for name in (
        "Lora Cycler",
        "Lora Pool",
        "Lora Randomizer",
        "Lora Stack Combiner",
        "Prompt",
        "Save Image",
        "Text",
        "TriggerWord Toggle",
    )
}

# The initial values of its kinds of widgets; None stands for no value.
_KINDS: Final[dict[str, Any]] = {
    "LORAS": [],
    "LORA_POOL_CONFIG": None,
    "RANDOMIZER_CONFIG": {
        "count_mode": "range",
        "count_fixed": 3,
        "count_min": 2,
        "count_max": 5,
        "model_strength_min": 0,
        "model_strength_max": 1,
        "use_same_clip_strength": True,
        "clip_strength_min": 0,
        "clip_strength_max": 1,
        "roll_mode": "fixed",
        "use_recommended_strength": False,
        "recommended_strength_scale_min": 0.5,
        "recommended_strength_scale_max": 1,
    },
    "CYCLER_CONFIG": {
        "current_index": 1,
        "total_count": 0,
        "pool_config_hash": "",
        "model_strength": 1,
        "clip_strength": 1,
        "use_same_clip_strength": True,
        "use_preset_strength": False,
        "preset_strength_scale": 1,
        "sort_by": "filename",
        "current_lora_name": "",
        "current_lora_filename": "",
        "repeat_count": 1,
        "repeat_used": 0,
        "is_paused": False,
        "include_no_lora": False,
    },
}

_SYNTAX = re.compile(r"<lora:([^:]+):([-\d.]+)(?::([-\d.]+))?>")


class _LoraManager(Pack):
    """The rules for ComfyUI-Lora-Manager."""

    classes = _CLASSES

    def claims(self, node_type: str) -> bool:
        """Return whether the type ends in `(LoraManager)`."""
        return node_type.endswith("(LoraManager)")

    def declare(self, class_type: str, inputs: list[Declared]) -> list[Declared]:
        """Return the inputs with the pack's kinds of widgets replaced by known ones."""
        return [_as_editor(item) for item in inputs]

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Add the hidden widget before each text, and the lists that no class declares."""
        for slot in node.inputs:
            widget = node.slot_widget(slot)
            if widget is not None and slot.type in _KINDS:
                widget.value = _KINDS[slot.type]
            elif widget is not None and slot.type.startswith("AUTOCOMPLETE_TEXT_"):
                place = next(index for index, item in enumerate(node.widgets) if item is widget)
                hidden = {"version": 1, "textWidgetName": widget.name}
                node.widgets.insert(place, Widget(_HIDDEN + widget.name, "custom", hidden))
        if node.type in _WITH_LORAS and node.widget("loras") is None:
            node.add_widget("loras", [], "custom")
        elif node.type == _TOGGLE:
            node.add_widget("toggle_trigger_words", [], "custom")
            node.add_widget("orinalMessage", "", "text")  # the pack's own spelling
        elif (
            node.type == "Save Image (LoraManager)" and (prefix := node.widget("filename_prefix")) is not None
        ):
            prefix.text = "filename"

    def restore(self, node: Node, values: Any) -> bool:
        """Set values by the names in the file, else by position; old files lack the hidden widgets."""
        if not isinstance(values, list):
            return False
        saved = [widget for widget in node.widgets if widget.saved]
        names = node.properties.get("__lm_widget_ids")
        if isinstance(names, list) and names:
            by_name = {widget.name: widget for widget in saved}
            taking = [by_name.get(str(name)) for name in names]
        else:
            shown = [widget for widget in saved if not widget.name.startswith(_HIDDEN)]
            taking = list(shown if len(values) == len(shown) else saved)
        for place, (widget, value) in enumerate(zip(taking, values, strict=False)):
            if widget is not None:
                set_value(node, widget, value, Spot(node.place, place))
        return True

    def loaded(self, node: Node) -> None:
        """Update the list of LoRAs from the text that it belongs to."""
        loras, text = node.widget("loras"), node.widget("text")
        if node.type in _WITH_LORAS and loras is not None and text is not None:
            loras.value, loras.spot = _merged(text.value, loras.value), None


def _as_editor(item: Declared) -> Declared:
    """Return an input with the pack's kind of widget replaced by a known one."""
    if item.widget_type in _KINDS:
        return item.shown_as(PACK_WIDGET)
    return item.shown_as("STRING") if item.widget_type.startswith("AUTOCOMPLETE_TEXT_") else item


def _merged(text: Any, saved: Any) -> list[dict[str, Any]]:
    """Return the saved LoRAs that the text names, then those that only the text names."""
    named = {match[1]: _strengths(match) for match in _SYNTAX.finditer(text if isinstance(text, str) else "")}
    entries = (
        [dict(item) for item in saved if isinstance(item, JSON_OBJECT)] if isinstance(saved, list) else []
    )
    kept: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name = entry.get("name")
        if isinstance(name, str) and name in named:
            strength, clip = named[name]
            kept.pop(name, None)  # of two with the same name the last counts
            kept[name] = {"name": name, "strength": strength, "active": True, "clipStrength": clip} | entry
    for name, (strength, clip) in named.items():
        if name not in kept:
            new = {"name": name, "strength": strength, "active": True}
            kept[name] = new | {"expanded": clip != strength, "clipStrength": clip}
    return list(kept.values())


def _strengths(match: re.Match[str]) -> tuple[float | None, float | None]:
    """Return the strengths for the model and for CLIP in a LoRA's text."""
    strength = _number(match[2])
    return strength, _number(match[3]) if match[3] else strength


def _number(text: str) -> float | None:
    """Return a text as a number, None when it is none (JavaScript sends NaN as null)."""
    try:
        return float(text)
    except ValueError:
        return None


PACK: Final = _LoraManager()
"""The rules for ComfyUI-Lora-Manager."""
