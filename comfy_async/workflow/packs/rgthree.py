"""rgthree-comfy: nodes whose widgets its JavaScript creates, and nodes that exist only in the editor.

Based on its sources of August 2026 (power_lora_loader.ts, power_puter.ts, power_primitive.ts,
seed.ts, base_power_prompt.ts, image_comparer.ts, display_any.ts, dynamic_context_base.ts).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..convert.model import JSON_OBJECT, MISSING, InputSlot, Node, Widget
from .pack import Pack

__all__ = ["PACK"]

_LORA_LOADER: Final = "Power Lora Loader (rgthree)"
_PUTER: Final = "Power Puter (rgthree)"
_PRIMITIVE: Final = "Power Primitive (rgthree)"
_SEED: Final = "Seed (rgthree)"
_COMPARER: Final = "Image Comparer (rgthree)"
_DISPLAYS: Final = frozenset({"Display Any (rgthree)", "Display Int (rgthree)"})
_DYNAMIC_CONTEXTS: Final = frozenset({"Dynamic Context (rgthree)", "Dynamic Context Switch (rgthree)"})

# Inputs of one type are added as they are linked; there are always at least five.
_MORE_INPUTS: Final = {
    "Any Switch (rgthree)": ("any_", "*"),
    **{
        f"Context {kind} (rgthree)": ("ctx_", "RGTHREE_CONTEXT")
        for kind in ("Switch", "Switch Big", "Merge", "Merge Big")
    },
}
_FEWEST_INPUTS: Final = 5

_SEED_BUTTONS: Final = ("🎲 Randomize Each Time", "🎲 New Fixed Random", "♻️ (Use Last Queued Seed)")

_CHOOSERS = re.compile(r"insert_|target_|crop_|values_")
_DISABLES = re.compile(r"disable\s[a-z]", re.IGNORECASE)


class _Rgthree(Pack):
    """The rules for rgthree-comfy."""

    virtual = frozenset(
        f"{name} (rgthree)"
        for name in (
            "Bookmark",
            "Fast Actions Button",
            "Fast Bypasser",
            "Fast Groups Bypasser",
            "Fast Groups Muter",
            "Fast Muter",
            "Label",
            "Mute / Bypass Relay",
            "Mute / Bypass Repeater",
            "Node Collector",
            "Node Combiner",
            "Power Conductor",
            "Random Unmuter",
            "Reroute",
        )
    )
    classes = frozenset(
        {_LORA_LOADER, _PUTER, _PRIMITIVE, _SEED, _COMPARER, *_DISPLAYS, *_DYNAMIC_CONTEXTS, *_MORE_INPUTS}
    )

    def claims(self, node_type: str) -> bool:
        """Return whether the type ends in `(rgthree)`."""
        return node_type.endswith("(rgthree)")

    def knows(self, node_type: str) -> bool:
        """Return whether it is a class with a rule of its own, or a Power Prompt."""
        return node_type in self.classes or "Power Prompt" in node_type

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Add the widgets that the pack's JavaScript creates."""
        if "Power Prompt" in node.type:
            _add_choosers(node, spec)
        elif (create := _CREATE.get(node.type)) is not None:
            create(node)

    def restore(self, node: Node, values: Any) -> bool:
        """Set the values of LoRA loaders; the others are set by position."""
        if node.type != _LORA_LOADER:
            return False
        if isinstance(values, JSON_OBJECT):
            values = list(values.values())
        _restore_loras(node, values if isinstance(values, list) else [])
        return True

    def loaded(self, node: Node) -> None:
        """Convert values to the form that is sent."""
        if (settle := _SETTLE.get(node.type)) is not None:
            settle(node)


def _restore_loras(node: Node, values: list[Any]) -> None:
    """Add a widget for each saved LoRA, between a header and a button that are sent as well."""
    node.widgets.clear()
    header = "PowerLoraLoaderHeaderWidget"
    node.add_widget(header, {"type": header}, "custom")
    both = node.properties.get("Show Strengths", "Single Strength") == "Separate Model & Clip"
    number = 0
    for value in values:
        if isinstance(value, JSON_OBJECT) and "lora" in value:
            number += 1
            node.add_widget(f"lora_{number}", _sent_lora(value, both=both), "custom")
    node.add_widget("➕ Add Lora", "", "custom")


def _sent_lora(value: Mapping[str, Any], *, both: bool) -> dict[str, Any]:
    """Return a LoRA as it is sent: a strength for CLIP only when the node shows both."""
    lora = {key: part for key, part in value.items() if key != "strengthTwo"}
    if both:
        strength = value.get("strengthTwo")
        lora["strengthTwo"] = 1 if strength is None else strength
    return lora


def _create_loader(node: Node) -> None:
    """Add the widgets of a loader without LoRAs."""
    _restore_loras(node, [])


def _create_puter(node: Node) -> None:
    """Add the list of outputs, and the code."""
    node.add_widget("outputs", {"outputs": ["STRING"]}, "custom")
    _add_text(node, "code")


def _settle_puter(node: Node) -> None:
    """Convert what older versions saved: one output as a text, and BOOL for BOOLEAN."""
    outputs = node.widgets[0]
    saved = outputs.value
    names = saved.get("outputs") if isinstance(saved, JSON_OBJECT) else [saved]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = ["STRING"]
    outputs.value = {"outputs": ["BOOLEAN" if name == "BOOL" else name for name in names]}


def _create_primitive(node: Node) -> None:
    """Add the combo for the type, and the value."""
    node.add_widget("type", "STRING", "combo", options={"values": ["STRING", "INT", "FLOAT", "BOOLEAN"]})
    node.add_widget("value", "", "text")
    if not any(slot.name == "value" for slot in node.inputs):
        node.inputs.insert(0, InputSlot("value", "*", widget="value"))


def _settle_primitive(node: Node) -> None:
    """Convert the value to the chosen type."""
    kind, value = node.widgets[0], node.widgets[1]
    if kind.value == "BOOL":
        kind.value = "BOOLEAN"
    if kind.value in ("INT", "FLOAT"):
        value.kind, value.value = "number", _number(value.value)
    elif kind.value == "BOOLEAN":
        value.kind, value.value = "toggle", _truth(value.value)
    else:
        value.kind = "multiline"


def _number(value: Any) -> Any:
    """Return a value converted to a number as in JavaScript, 0 when that fails."""
    if isinstance(value, str):
        try:
            value = float(value.strip() or 0)
        except ValueError:
            return 0
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, int | float) or math.isnan(value):
        return 0
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _truth(value: Any) -> bool:
    """Return a value converted to a boolean; some texts are false."""
    if isinstance(value, str):
        return value.lower() not in ("false", "null", "none", "", "0")
    return value is not MISSING and bool(value)


def _create_seed(node: Node) -> None:
    """Remove `control_after_generate`, and add buttons after the seed.

    A new node has the seed -1, for which the server draws a random one too.
    """
    node.drop_widgets({"control_after_generate"})
    if (seed := node.widget("seed")) is not None:
        seed.value = -1
    for label in _SEED_BUTTONS:
        node.add_widget(label, "", "button", sent=False)


def _settle_seed(node: Node) -> None:
    """Add the widget that shows the last seed if the node has that option; its saved text is not read."""
    if node.properties.get("showLastSeed"):
        node.add_widget("last_seed", "", "multiline")


def _create_comparer(node: Node) -> None:
    """Add the widget that shows the pictures."""
    node.add_widget("rgthree_comparer", {"images": []}, "custom")


def _settle_comparer(node: Node) -> None:
    """Convert the pictures to the present form, with at least two of them selected if there are two."""
    widget = node.widgets[0]
    saved = widget.value.get("images") if isinstance(widget.value, JSON_OBJECT) else widget.value
    images = [_picture(index, item) for index, item in enumerate(saved if isinstance(saved, list) else ())]
    if len(images) > 2 and not all(
        any(str(item.get("name", "")).startswith(letter) for item in images) for letter in "AB"
    ):
        images = images[:2]
    if images and not any(item.get("selected") for item in images):
        images[0]["selected"] = True
    if len(images) > 1 and sum(bool(item.get("selected")) for item in images) == 1:
        next(item for item in images if not item.get("selected"))["selected"] = True
    widget.value = {"images": images}


def _picture(index: int, item: Any) -> dict[str, Any]:
    """Return one picture; older versions saved only its URL."""
    if isinstance(item, JSON_OBJECT):
        return {key: value for key, value in item.items() if key != "img"}
    return {"url": item, "name": "B" if index else "A", "selected": True}


def _create_display(node: Node) -> None:
    """Add the text that shows the last value."""
    _add_text(node, "output")


def _settle_display(node: Node) -> None:
    """Clear the text that was shown."""
    if (output := node.widget("output")) is not None:
        output.value, output.spot = "", None


def _create_context(node: Node) -> None:
    """Add the hidden list of outputs."""
    node.add_widget("output_keys", "", "custom")


def _settle_context(node: Node) -> None:
    """Set the list to the names of the outputs without the first one, which is the context itself."""
    if (keys := node.widget("output_keys")) is not None:
        keys.value, keys.spot = ",".join(slot.name for slot in node.outputs[1:]), None


def _create_inputs(node: Node) -> None:
    """Add the inputs that exist before any is linked."""
    prefix, kind = _MORE_INPUTS[node.type]
    names = {slot.name for slot in node.inputs}
    for number in range(1, _FEWEST_INPUTS + 1):
        if (name := f"{prefix}{number:02d}") not in names:
            node.inputs.append(InputSlot(name, kind))


def _settle_inputs(node: Node) -> None:
    """Set the inputs to the first specific type that one of them has in the file."""
    saved = node.saved.get("inputs")
    kinds = [item.get("type") for item in saved if isinstance(item, JSON_OBJECT)] if saved else []
    kind = next((str(kind) for kind in kinds if kind and kind != "*"), None)
    for slot in node.inputs if kind else ():
        slot.type = str(kind)


def _add_text(node: Node, name: str) -> Widget:
    """Add a text widget, with the input through which a link overrides it."""
    node.inputs.append(InputSlot(name, "STRING", widget=name))
    return node.add_widget(name, "", "multiline")


def _add_choosers(node: Node, spec: Mapping[str, Any]) -> None:
    """Replace the combos that insert something into the text: only those with choices are shown."""
    node.widgets[:] = [widget for widget in node.widgets if not _CHOOSERS.match(widget.name)]
    declared = spec.get("input")
    parts = declared if isinstance(declared, JSON_OBJECT) else {}
    for section in ("optional", "hidden"):
        part = parts.get(section)
        for name, data in part.items() if isinstance(part, JSON_OBJECT) else ():
            values = data[0] if isinstance(data, list | tuple) and data else None
            if name.startswith("insert") and isinstance(values, list | tuple) and _worth_showing(values):
                node.add_widget(name, values[0], "combo", options={"values": values})


def _worth_showing(values: list[Any] | tuple[Any, ...]) -> bool:
    """Return whether there are choices besides a heading and one that says it is disabled."""
    return len(values) > 2 or (len(values) > 1 and not _DISABLES.match(str(values[1])))


_CREATE: Final[dict[str, Callable[[Node], None]]] = {
    _LORA_LOADER: _create_loader,
    _PUTER: _create_puter,
    _PRIMITIVE: _create_primitive,
    _SEED: _create_seed,
    _COMPARER: _create_comparer,
    **dict.fromkeys(_DISPLAYS, _create_display),
    **dict.fromkeys(_DYNAMIC_CONTEXTS, _create_context),
    **dict.fromkeys(_MORE_INPUTS, _create_inputs),
}

_SETTLE: Final[dict[str, Callable[[Node], None]]] = {
    _PUTER: _settle_puter,
    _PRIMITIVE: _settle_primitive,
    _SEED: _settle_seed,
    _COMPARER: _settle_comparer,
    **dict.fromkeys(_DISPLAYS, _settle_display),
    **dict.fromkeys(_DYNAMIC_CONTEXTS, _settle_context),
    **dict.fromkeys(_MORE_INPUTS, _settle_inputs),
}

PACK: Final = _Rgthree()
"""The rules for rgthree-comfy."""
