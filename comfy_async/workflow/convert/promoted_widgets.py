"""Promoted widgets: widgets of inner nodes that a subgraph instance shows with values of its own.

Since frontend 1.49 an instance has a widget for each input whose first link inside ends in a
widget, and its value overrides the inner one (SubgraphNode.ts). Promoted widgets of older files
are handled by `old_promotions`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .model import (
    JSON_OBJECT,
    MISSING,
    Boundary,
    Graph,
    InputSlot,
    Node,
    Spot,
    Widget,
)
from .saved_values import choices

__all__ = ["bind_promoted", "deepest_widget", "promote", "restore_promoted", "settle_promoted", "source_of"]

# The most levels of nested instances that the frontend follows to a widget.
_DEEPEST = 100


def bind_promoted(node: Node, definition: Graph) -> None:
    """Set the inputs of an instance to those of its definition."""
    node.inputs = []
    for boundary in definition.inputs:
        slot = InputSlot(boundary.name, boundary.type, boundary=boundary)
        _bind(definition, slot, boundary)
        node.inputs.append(slot)


def _bind(definition: Graph, slot: InputSlot, boundary: Boundary) -> None:
    """Promote the first widget that the boundary feeds to the instance's input, if there is one."""
    for inner, target in _targets(definition, boundary):
        widget = inner.slot_widget(target) or deepest_widget(inner, target.name)
        if widget is not None:
            host = promote(slot, widget)
            if target.host is not None and host.value is None:
                host.value, host.spot = MISSING, None  # null of an inner instance is undefined for the outer
            return


def promote(slot: InputSlot, widget: Widget) -> Widget:
    """Give the input a copy of the inner widget with its present value, and return it."""
    slot.host = dataclasses.replace(widget, name=slot.name, saved=True)
    slot.widget = slot.name
    return slot.host


def _targets(definition: Graph, boundary: Boundary) -> list[tuple[Node, InputSlot]]:
    """Return the inner inputs, with their nodes, that the boundary input feeds."""
    found = []
    for link_id in boundary.link_ids:
        link = definition.links.get(link_id)
        node = definition.nodes.get(link.target_id) if link is not None else None
        slot = node.slot_of_link(link_id) if node is not None else None
        if node is not None and slot is not None:
            found.append((node, slot))
    return found


def source_of(definition: Graph, boundary: Boundary) -> tuple[str, str] | None:
    """Return the inner node's id and the widget's name of a boundary input, None when it has no widget."""
    for node, slot in _targets(definition, boundary):
        if node.definition is not None:
            return node.id, slot.name
        if (widget := node.slot_widget(slot)) is not None:
            return node.id, widget.name
    return None


def deepest_widget(node: Node, name: str) -> Widget | None:
    """Return the widget of an ordinary node that a name refers to, also through nested instances."""
    for _ in range(_DEEPEST):
        if node.definition is None:
            return node.widget(name)
        boundary = next((item for item in node.definition.inputs if item.name == name), None)
        source = source_of(node.definition, boundary) if boundary is not None else None
        if source is None:
            return None
        node, name = node.definition.nodes[source[0]], source[1]
    return None


def restore_promoted(node: Node, values: Any, named: Mapping[str, Any] | None) -> None:
    """Set the saved values of an instance's promoted widgets, which override the inner ones."""
    hosts = [slot.host for slot in node.inputs if slot.host is not None]
    by_name = values if isinstance(values, JSON_OBJECT) else named if values is None else None
    kept = _quarantined(node)
    for index, host in enumerate(hosts):
        if host.name in kept:
            host.value, host.spot = kept[host.name], None
        elif by_name is not None and host.name in by_name:
            host.value, host.spot = by_name[host.name], Spot(node.place, host.name)
        elif by_name is None and values is not None and index < len(values):
            host.value, host.spot = values[index], Spot(node.place, index)


def _quarantined(node: Node) -> dict[str, Any]:
    """Return the values that an earlier migration could not place, by input name."""
    kept: dict[str, Any] = {}
    entries = node.properties.get("proxyWidgetErrorQuarantine")
    for entry in entries if isinstance(entries, list) else ():
        original = entry.get("originalEntry") if isinstance(entry, JSON_OBJECT) else None
        value = entry.get("hostValue") if isinstance(entry, JSON_OBJECT) else None
        if isinstance(original, list) and len(original) > 1 and original[0] == "-1" and value is not None:
            kept.setdefault(str(original[1]), value)
    return kept


def settle_promoted(node: Node) -> None:
    """Set combos that are null to their first choice, as the frontend does after loading a file."""
    for slot in node.inputs:
        if slot.host is not None and (slot.host.value is None or slot.host.value is MISSING):
            found = choices(slot.host)
            slot.host.value, slot.host.spot = found[0] if found else slot.host.value, None
