"""The properties that cg-use-everywhere stores in nodes (`ue_properties`), for files of every version."""

from __future__ import annotations

from typing import Any, Final

from ..convert.model import JSON_OBJECT, InputSlot, Node

__all__ = ["connectable", "prepare"]

_SEED_NAMES: Final = "seed|seed"


def prepare(node: Node) -> dict[str, Any]:
    """Return the node's properties in the form of version 7; those of older files are converted."""
    saved = node.properties.get("ue_properties")
    properties: dict[str, Any] = dict(saved) if isinstance(saved, JSON_OBJECT) else {}
    if not _is_new(properties.get("version")):
        properties = _of_old_file(node, properties)
    if node.type == "Seed Everywhere":
        properties.update(seed_inputs=True, input_regex=properties.get("input_regex") or _SEED_NAMES)
    for kind in ("title", "input", "group"):
        if properties.get(f"{kind}_regex") == ".*":
            properties[f"{kind}_regex"] = None
    return properties


def _is_new(version: Any) -> bool:
    """Return whether a version counts as 7 or later; the pack checks only its number of parts."""
    return isinstance(version, str) and version.count(".") >= 1


def _of_old_file(node: Node, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties that version 7 gives a node of an older version or of another pack."""
    widgets = node.properties.get("widget_ue_connectable") or properties.get("widget_ue_connectable")
    if not isinstance(widgets, JSON_OBJECT):
        widgets = dict.fromkeys(_saved_widget_inputs(node), True)
    found: dict[str, Any] = {"widget_ue_connectable": widgets, "input_ue_unconnectable": {}}
    if "Everywhere" in node.type:
        found["group_restricted"] = node.properties.get("group_restricted")
        found["color_restricted"] = node.properties.get("color_restricted")
        # This is done for every class, though only `Anything Everywhere?` had patterns: the seed of an
        # old `Seed Everywhere` becomes a pattern for titles, so it reaches nothing.
        values = node.saved_values if isinstance(node.saved_values, list) else []
        for kind, value in zip(("title", "input", "group"), values, strict=False):
            found[f"{kind}_regex"] = value
    return found


def _saved_widget_inputs(node: Node) -> list[str]:
    """Return the widgets that have an input in the file: they accept links, as before frontend 1.16."""
    inputs = node.saved.get("inputs")
    names = [item.get("name") for item in inputs if isinstance(item, JSON_OBJECT)] if inputs else []
    widgets = {widget.name for widget in node.all_widgets()}
    return [name for name in names if name in widgets]


def connectable(slot: InputSlot, properties: dict[str, Any]) -> bool:
    """Return whether the input accepts broadcasts: a widget only if enabled, others unless disabled."""
    if slot.widget is not None:
        allowed = properties.get("widget_ue_connectable")
        return isinstance(allowed, JSON_OBJECT) and bool(allowed.get(slot.name))
    refused = properties.get("input_ue_unconnectable")
    return not (isinstance(refused, JSON_OBJECT) and refused.get(slot.name))
