"""Promoted widgets: fields of inner nodes that a subgraph instance shows and owns.

Since frontend 1.49 an instance has a widget for each input whose first link inside ends in a
widget, and its value wins over the inner one (SubgraphNode.ts). How older files name promoted
widgets is the matter of `old_promotions`.
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

# How many instances inside each other the frontend follows to a widget.
_DEEPEST = 100


def bind_promoted(node: Node, definition: Graph) -> None:
    """Give an instance the inputs of its definition."""
    node.inputs = []
    for boundary in definition.inputs:
        slot = InputSlot(boundary.name, boundary.type, boundary=boundary)
        _bind(definition, slot, boundary)
        node.inputs.append(slot)


def _bind(definition: Graph, slot: InputSlot, boundary: Boundary) -> None:
    """Give the slot a widget if one of its links inside ends in one."""
    for inner, target in _targets(definition, boundary):
        widget = inner.slot_widget(target) or deepest_widget(inner, target.name)
        if widget is not None:
            host = promote(slot, widget)
            if target.host is not None and host.value is None:
                host.value, host.spot = MISSING, None  # an instance shows null as undefined to one around it
            return


def promote(slot: InputSlot, widget: Widget) -> Widget:
    """Let the slot have a widget of its own like the inner one, with its present value."""
    slot.host = dataclasses.replace(widget, name=slot.name, saved=True)
    slot.widget = slot.name
    return slot.host


def _targets(definition: Graph, boundary: Boundary) -> list[tuple[Node, InputSlot]]:
    """Return the inner inputs that the boundary input feeds."""
    found = []
    for link_id in boundary.link_ids:
        link = definition.links.get(link_id)
        node = definition.nodes.get(link.target_id) if link is not None else None
        slot = node.slot_of_link(link_id) if node is not None else None
        if node is not None and slot is not None:
            found.append((node, slot))
    return found


def source_of(definition: Graph, boundary: Boundary) -> tuple[str, str] | None:
    """Return the id and the widget name of the inner node that the boundary input stands for."""
    for node, slot in _targets(definition, boundary):
        if node.definition is not None:
            return node.id, slot.name
        if (widget := node.slot_widget(slot)) is not None:
            return node.id, widget.name
    return None


def deepest_widget(node: Node, name: str) -> Widget | None:
    """Return the widget of an ordinary node that a name leads to, through instances if need be."""
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
    """Give an instance the values that it owns; a value of its own wins over the inner one."""
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
    """Return values that an earlier migration could not place and kept by input name."""
    kept: dict[str, Any] = {}
    entries = node.properties.get("proxyWidgetErrorQuarantine")
    for entry in entries if isinstance(entries, list) else ():
        original = entry.get("originalEntry") if isinstance(entry, JSON_OBJECT) else None
        value = entry.get("hostValue") if isinstance(entry, JSON_OBJECT) else None
        if isinstance(original, list) and len(original) > 1 and original[0] == "-1" and value is not None:
            kept.setdefault(str(original[1]), value)
    return kept


def settle_promoted(node: Node) -> None:
    """Give a choice that is null its first value, as the frontend does after loading a file."""
    for slot in node.inputs:
        if slot.host is not None and (slot.host.value is None or slot.host.value is MISSING):
            found = choices(slot.host)
            slot.host.value, slot.host.spot = found[0] if found else slot.host.value, None
