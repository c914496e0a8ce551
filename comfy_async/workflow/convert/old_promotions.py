"""Promoted widgets of older files, which are listed in `properties.proxyWidgets` of an instance.

On load the frontend (1.49.6, proxyWidgetMigration.ts) links each of them to a new input of the
definition, which all instances of that definition get, and sets its value on the instance.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from .model import (
    INPUT_BOUNDARY,
    MISSING,
    Boundary,
    Graph,
    InputSlot,
    Link,
    Node,
    Spot,
    Widget,
    any_type,
)
from .promoted_widgets import deepest_widget, promote, source_of

__all__ = ["migrate_promotions", "widgets_instead"]

_LEGACY_PREFIX = re.compile(r"^\s*(\d+)\s*:\s*(.+)$", re.DOTALL)
_MARK: Final = "proxyBypassedToSubgraphInput"
_INSTANCE_ITSELF: Final = "-1"


@dataclasses.dataclass(slots=True)
class _Entry:
    """One promoted widget, with the value that the instance has for it.

    Attributes:
        node_id: The id of the inner node, "-1" for an input of the instance itself.
        name: The name of the widget, or of the input.
        inner: The id of the widget's node inside a nested instance, None when not given.
        value: The instance's value, `MISSING` when it has none.
        spot: The position of the value in the file.
    """

    node_id: str
    name: str
    inner: str | None
    value: Any
    spot: Spot


@dataclasses.dataclass(frozen=True, slots=True)
class _Primitive:
    """A promoted primitive that is to be replaced by an input."""

    node: Node


def migrate_promotions(host: Node, definition: Graph, values: Any) -> None:
    """Convert the list of promoted widgets to inputs of the definition.

    Values are in the order of the list. Entries of missing nodes or widgets have no effect.
    """
    entries = _entries(host, definition, values)
    # All entries are resolved before the first one changes the definition.
    plans = [(entry, _plan(host, definition, entry, entries)) for entry in entries]
    cohorts: dict[str, list[_Entry]] = {}
    for entry, plan in plans:
        if isinstance(plan, InputSlot):
            _own(plan, entry)
        elif isinstance(plan, Widget):
            _link_widget(host, definition, entry, plan)
        elif plan is not None:
            cohorts.setdefault(plan.node.id, []).append(entry)
    for node_id, cohort in cohorts.items():
        _replace_primitive(host, definition, definition.nodes[node_id], cohort)
    for entry, plan in plans:
        slot = next((slot for slot in host.inputs if slot.name == entry.name), None)
        if plan is None and entry.node_id == _INSTANCE_ITSELF and slot is not None:
            _own(slot, entry)


def widgets_instead(definition: Graph, primitive: Node) -> list[Widget]:
    """Return the widgets of instances that replaced a promoted primitive."""
    name = primitive.properties.get(_MARK)
    slots = (slot for host in definition.hosts for slot in host.inputs if slot.name == name)
    return [slot.host for slot in slots if slot.host is not None]


def _entries(host: Node, definition: Graph, values: Any) -> list[_Entry]:
    """Return the entries of the list, [] when one of them is malformed, as in the frontend."""
    proxies = host.properties.get("proxyWidgets")
    if isinstance(proxies, str):
        try:
            proxies = json.loads(proxies)
        except ValueError:
            return []
    if not isinstance(proxies, list) or not all(map(_is_entry, proxies)):
        return []
    listed = values if isinstance(values, list) else []
    found = []
    for index, (item, value) in enumerate(itertools.zip_longest(proxies, listed[: len(proxies)])):
        node_id, name, inner = [*item, None][:3]
        spot = Spot(host.place, index)
        entry = _Entry(node_id, name, inner, MISSING if value is None else value, spot)
        _strip_prefixes(definition, entry)
        found.append(entry)
    return found


def _is_entry(item: Any) -> bool:
    """Return whether it is a list of two or three strings."""
    return isinstance(item, list) and len(item) in (2, 3) and all(isinstance(part, str) for part in item)


def _strip_prefixes(definition: Graph, entry: _Entry) -> None:
    """Remove the ids that old versions wrote before the widget's name, and keep the last in `inner`."""
    node = definition.nodes.get(entry.node_id)
    if node is None or deepest_widget(node, entry.name) is not None:
        return
    while (match := _LEGACY_PREFIX.match(entry.name)) is not None:
        entry.inner, entry.name = match[1], match[2]


def _plan(
    host: Node, definition: Graph, entry: _Entry, entries: Sequence[_Entry]
) -> InputSlot | Widget | _Primitive | None:
    """Return the existing input for an entry, else the widget or primitive to make one for, else None."""
    for slot in host.inputs:
        source = source_of(definition, slot.boundary) if slot.boundary is not None else None
        if source == (entry.node_id, entry.name):
            return slot
    node = definition.nodes.get(entry.node_id)
    if node is None:
        return None
    if node.type == "PrimitiveNode":
        return _plan_primitive(host, definition, node, entries)
    widget = _promotable(node, entry)
    if entry.name.startswith("$$") or (widget is not None and widget.kind == "player"):
        return None  # a preview, which has no value
    return widget


def _plan_primitive(
    host: Node, definition: Graph, node: Node, entries: Sequence[_Entry]
) -> InputSlot | _Primitive | None:
    """Return the input that already replaced the primitive, else the primitive if it must be replaced."""
    done = node.properties.get(_MARK)
    for slot in host.inputs:
        if isinstance(done, str) and slot.name == done:
            return slot
    twice = sum(entry.node_id == node.id for entry in entries) > 1
    return _Primitive(node) if twice or _links_of(definition, node) else None


def _promotable(node: Node, entry: _Entry) -> Widget | None:
    """Return the widget of an inner node, or of a nested instance, that the entry refers to."""
    if node.definition is None:
        return node.widget(entry.name)
    for slot in node.inputs:
        source = source_of(node.definition, slot.boundary) if slot.boundary is not None else None
        if entry.inner is not None:
            meant = source == (entry.inner, entry.name)
        else:
            meant = slot.name == entry.name or (source is not None and source[1] == entry.name)
        if meant:
            return slot.host or node.widget(entry.name)
    return node.widget(entry.name)


def _own(slot: InputSlot, entry: _Entry) -> None:
    """Set the promoted widget of an instance's input to the entry's value, if it has one."""
    if slot.host is not None and entry.value is not MISSING:
        slot.host.value, slot.host.spot, slot.host.rules = entry.value, entry.spot, ()


def _link_widget(host: Node, definition: Graph, entry: _Entry, widget: Widget) -> None:
    """Add an input to the definition that feeds the inner widget."""
    node = definition.nodes[entry.node_id]
    slot = next((slot for slot in node.inputs if node.slot_widget(slot) is widget), None)
    if slot is not None:
        boundary = _new_boundary(definition, entry.name, slot.type)
        _connect(definition, boundary, node, slot)
        _own_by_boundary(host, boundary, entry)


def _own_by_boundary(host: Node, boundary: Boundary, entry: _Entry) -> None:
    """Set the instance's input for a new boundary to the entry's value."""
    for slot in host.inputs:
        if slot.boundary is boundary:
            _own(slot, entry)


def _new_boundary(definition: Graph, name: str, type_: str) -> Boundary:
    """Add an input to a definition and to all its instances."""
    taken = {item.name for item in definition.inputs}
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    unique = next(each for each in itertools.chain([name], numbered) if each not in taken)
    boundary = Boundary(unique, type_, [])
    definition.inputs.append(boundary)
    for host in definition.hosts:
        host.inputs.append(InputSlot(unique, type_, boundary=boundary))
    return boundary


def _connect(definition: Graph, boundary: Boundary, node: Node, slot: InputSlot) -> None:
    """Link a definition's input to an inner input, whose previous link is removed."""
    _disconnect(definition, slot)
    link_id = max(definition.links, default=0) + 1
    origin, target = definition.inputs.index(boundary), node.inputs.index(slot)
    definition.links[link_id] = Link(link_id, INPUT_BOUNDARY, origin, node.id, target)
    boundary.link_ids.append(link_id)
    widget = node.slot_widget(slot)
    for host in definition.hosts if widget is not None else ():
        for mirror in host.inputs:
            # An instance keeps a widget of the same kind that it has already.
            new = mirror.host is None or (widget is not None and mirror.host.kind != widget.kind)
            if mirror.boundary is boundary and widget is not None and new:
                promote(mirror, widget)
    slot.link = link_id


def _disconnect(definition: Graph, slot: InputSlot) -> None:
    """Remove the link of an inner input at both ends."""
    if slot.link is None:
        return
    link = definition.links.pop(slot.link, None)
    slot.link = None
    if link is None:
        return
    for boundary in definition.inputs:
        if link.id in boundary.link_ids:
            boundary.link_ids.remove(link.id)
    origin = definition.nodes.get(link.origin_id)
    for output in origin.outputs if origin is not None else ():
        if link.id in output.links:
            output.links.remove(link.id)


def _links_of(definition: Graph, primitive: Node) -> list[Link]:
    """Return the links of a primitive."""
    ids = [link for output in primitive.outputs[:1] for link in output.links]
    return [definition.links[link] for link in ids if link in definition.links]


def _replace_primitive(host: Node, definition: Graph, primitive: Node, cohort: list[_Entry]) -> None:
    """Replace a promoted primitive by an input of the definition that feeds the same widgets."""
    links, name = _links_of(definition, primitive), cohort[0].name
    if not links or any(entry.name != name for entry in cohort):
        return
    kind = primitive.outputs[0].type
    find = _target_by_link if host.editor.aligns_primitives else _target_by_index
    targets = [found for link in links if (found := find(definition, link)) is not None]
    if len(targets) < len(links) or not _takes_all(targets, kind):
        return
    if primitive.title and primitive.title != "PrimitiveNode":
        name = primitive.title
    boundary = _new_boundary(definition, name, kind)
    for _, slot in targets:
        _disconnect(definition, slot)
    for node, slot in targets:
        _connect(definition, boundary, node, slot)
    valued = (entry for entry in cohort if entry.value is not MISSING)
    _own_by_boundary(host, boundary, next(valued, cohort[0]))
    primitive.properties = {**primitive.properties, _MARK: boundary.name}


def _target_by_link(definition: Graph, link: Link) -> tuple[Node, InputSlot] | None:
    """Return the input whose `link` is this link, with its node; None when there is none."""
    node = definition.nodes.get(link.target_id)
    slot = node.slot_of_link(link.id) if node is not None else None
    return None if node is None or slot is None else (node, slot)


def _target_by_index(definition: Graph, link: Link) -> tuple[Node, InputSlot] | None:
    """Return the input at the link's target slot, with its node; None when there is none.

    Frontend 1.49.6 reads the target slot before all links are updated, which affects some official
    templates.
    """
    node = definition.nodes.get(link.target_id)
    if node is None or not 0 <= link.target_slot < len(node.inputs):
        return None
    return node, node.inputs[link.target_slot]


def _takes_all(targets: list[tuple[Node, InputSlot]], kind: str) -> bool:
    """Return whether one input can feed all of these: the same type, and compatible widgets."""
    if any(slot.type != kind and not any_type(slot.type) and not any_type(kind) for _, slot in targets):
        return False
    widgets = [widget for node, slot in targets if (widget := node.slot_widget(slot)) is not None]
    return all(_alike(one, other) for one, other in itertools.pairwise(widgets))


def _alike(one: Widget, other: Widget) -> bool:
    """Return whether two widgets may share an input (SubgraphInput.matchesWidget)."""
    keys = ("min", "max", "step") if one.kind in ("int", "float") else ()
    return one.kind == other.kind and all(one.options.get(key) == other.options.get(key) for key in keys)
