"""Promoted widgets: fields of inner nodes that a subgraph instance shows and owns.

Since frontend 1.49 an instance has a widget for each input whose first link inside ends in a
widget, and its value wins over the inner one. Older files name promoted widgets in
`properties.proxyWidgets`; on load the frontend links them to inputs of the definition
(SubgraphNode.ts, proxyWidgetMigration.ts).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ._convert_model import (
    INPUT_BOUNDARY,
    JSON_OBJECT,
    MISSING,
    Boundary,
    Graph,
    InputSlot,
    Link,
    Node,
    OutputSlot,
    Widget,
    any_type,
)
from ._convert_values import choices

__all__ = ["bind_promoted", "migrate_promotions", "restore_promoted", "settle_promoted"]

_LEGACY_PREFIX = re.compile(r"^\s*(\d+)\s*:\s*(.+)$", re.DOTALL)
_MARK = "proxyBypassedToSubgraphInput"


def bind_promoted(node: Node, saved: list[InputSlot]) -> None:
    """Give an instance the inputs of its definition, with the saved links of the same names."""
    assert node.definition is not None
    by_name = {slot.name: slot for slot in saved}
    node.inputs = []
    for boundary in node.definition.inputs:
        known = by_name.get(boundary.name)
        slot = InputSlot(boundary.name, boundary.type, known.link if known else None, boundary=boundary)
        _bind(node.definition, slot, boundary)
        node.inputs.append(slot)


def _bind(definition: Graph, slot: InputSlot, boundary: Boundary) -> None:
    """Give the slot a widget if one of its links inside ends in one."""
    for inner, target in _targets(definition, boundary):
        widget = inner.slot_widget(target) or _deepest_widget(inner, target)
        if widget is not None:
            _promote(slot, widget)
            if target.host is not None and slot.host is not None and slot.host.value is None:
                slot.host.value = MISSING  # an instance shows null as undefined to one around it
            return


def _promote(slot: InputSlot, widget: Widget) -> None:
    """Let the slot have a widget of its own like the inner one, with its present value."""
    slot.host = dataclasses.replace(widget, name=slot.name, saved=True)
    slot.widget = slot.name


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


def _source(definition: Graph, boundary: Boundary) -> tuple[str, str] | None:
    """Return the id and the widget name of the inner node that the boundary input stands for."""
    for node, slot in _targets(definition, boundary):
        if node.definition is not None:
            return node.id, slot.name
        if (widget := node.slot_widget(slot)) is not None:
            return node.id, widget.name
    return None


def _deepest_widget(node: Node, slot: InputSlot) -> Widget | None:
    """Return the widget of an ordinary node that a nested instance's input leads to."""
    name = slot.name
    for _ in range(100):  # the frontend's own limit
        if node.definition is None:
            return node.widget(name)
        boundary = next((item for item in node.definition.inputs if item.name == name), None)
        source = _source(node.definition, boundary) if boundary is not None else None
        if source is None or source[0] not in node.definition.nodes:
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
            host.value = kept[host.name]
        elif by_name is not None:
            host.value = by_name.get(host.name, host.value)
        elif values is not None and index < len(values):
            host.value = values[index]


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
            slot.host.value = found[0] if found else slot.host.value


@dataclasses.dataclass(slots=True)
class _Entry:
    """One promoted widget of an old list, with the value that the instance has for it."""

    node_id: str
    name: str
    inner: str | None
    value: Any


def migrate_promotions(host: Node, values: Any) -> None:
    """Turn the old list of promoted widgets into inputs of the definition, as on load.

    Values stand in the order of the list. Entries that cannot be resolved have no effect,
    but "-1" names an input of the instance itself.
    """
    entries = _entries(host, values)
    primitives: dict[str, list[_Entry]] = {}
    # All entries are looked at before the first one changes the definition.
    plans = [(entry, _plan(host, entry, entries)) for entry in entries]
    left: list[_Entry] = []
    for entry, plan in plans:
        if isinstance(plan, InputSlot):
            _own(plan, entry.value)
        elif isinstance(plan, Widget):
            _link_widget(host, entry, plan)
        elif plan == "primitive":
            primitives.setdefault(entry.node_id, []).append(entry)
        else:
            left.append(entry)
    for cohort in primitives.values():
        _replace_primitive(host, cohort)
    for entry in left:
        slot = next((slot for slot in host.inputs if slot.name == entry.name), None)
        if entry.node_id == "-1" and slot is not None:
            _own(slot, entry.value)


def _entries(host: Node, values: Any) -> list[_Entry]:
    """Read `properties.proxyWidgets`; one bad entry spoils the list, as in the frontend."""
    proxies = host.properties.get("proxyWidgets")
    if isinstance(proxies, str):
        try:
            proxies = json.loads(proxies)
        except ValueError:
            return []
    if not isinstance(proxies, list) or not all(_is_tuple(item) for item in proxies):
        return []
    listed = values if isinstance(values, list) else []
    found = []
    for index, item in enumerate(proxies):
        value = listed[index] if index < len(listed) and listed[index] is not None else MISSING
        found.append(_normalised(host, [*item, None][:3], value))
    return found


def _is_tuple(item: Any) -> bool:
    """Return whether it is two or three texts."""
    return isinstance(item, list) and len(item) in (2, 3) and all(isinstance(part, str) for part in item)


def _normalised(host: Node, item: Sequence[Any], value: Any) -> _Entry:
    """Return the entry without the ids that old versions wrote before the widget's name."""
    assert host.definition is not None
    node_id, name, inner = item
    node = host.definition.nodes.get(node_id)
    if node is not None and _deepest_widget(node, InputSlot(name, "")) is None:
        while (match := _LEGACY_PREFIX.match(name)) is not None:
            inner, name = match[1], match[2]
    return _Entry(node_id, name, inner, value)


def _plan(host: Node, entry: _Entry, entries: Sequence[_Entry]) -> InputSlot | Widget | str | None:
    """Return the input that stands for the entry, the widget to be linked, or "primitive"."""
    assert host.definition is not None
    for slot in host.inputs:
        source = _source(host.definition, slot.boundary) if slot.boundary is not None else None
        if source == (entry.node_id, entry.name):
            return slot
    node = host.definition.nodes.get(entry.node_id)
    if node is None:
        return None
    if node.type == "PrimitiveNode":
        return _plan_primitive(host, node, entry, entries)
    widget = _promotable(node, entry)
    if widget is None or entry.name.startswith("$$") or (widget.kind == "player" and not widget.sent):
        return None
    return widget


def _plan_primitive(
    host: Node, node: Node, entry: _Entry, entries: Sequence[_Entry]
) -> InputSlot | str | None:
    """Return the input that replaced the primitive already, or "primitive" when one can."""
    assert host.definition is not None
    done = node.properties.get(_MARK)
    for slot in host.inputs:
        if isinstance(done, str) and slot.name == done:
            return slot
    twice = sum(other.node_id == entry.node_id for other in entries) > 1
    return "primitive" if twice or _primitive_targets(host.definition, node) else None


def _promotable(node: Node, entry: _Entry) -> Widget | None:
    """Return the widget of an inner node, or of an inner instance, that the entry means."""
    if node.definition is None:
        return node.widget(entry.name)
    for slot in node.inputs:
        source = _source(node.definition, slot.boundary) if slot.boundary is not None else None
        if entry.inner is not None:
            wanted = source == (entry.inner, entry.name)
        else:
            wanted = slot.name == entry.name or (source is not None and source[1] == entry.name)
        if wanted:
            return slot.host or node.widget(entry.name)
    return node.widget(entry.name)


def _own(slot: InputSlot, value: Any) -> None:
    """Let the instance have this value of its own."""
    if slot.host is not None and value is not MISSING:
        slot.host.value = value


def _link_widget(host: Node, entry: _Entry, widget: Widget) -> None:
    """Make an input of the definition that feeds the inner widget."""
    assert host.definition is not None
    node = host.definition.nodes[entry.node_id]
    slot = next((slot for slot in node.inputs if node.slot_widget(slot) is widget), None)
    if slot is None:
        return
    boundary = _new_boundary(host.definition, entry.name, slot.type)
    _connect(host.definition, boundary, node, slot)
    _own_by_name(host, boundary, entry.value)


def _own_by_name(host: Node, boundary: Boundary, value: Any) -> None:
    """Give the instance's slot of a new input its value."""
    for slot in host.inputs:
        if slot.boundary is boundary:
            _own(slot, value)


def _new_boundary(definition: Graph, name: str, type_: str) -> Boundary:
    """Add an input to a definition and to all its instances."""
    taken = {item.name for item in definition.inputs}
    unique, number = name, 1
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    boundary = Boundary(unique, type_, [])
    definition.inputs.append(boundary)
    for host in definition.hosts:
        host.inputs.append(InputSlot(unique, type_, boundary=boundary))
    return boundary


def _connect(definition: Graph, boundary: Boundary, node: Node, slot: InputSlot) -> None:
    """Link a definition's input to an inner slot; what was linked there gives way."""
    if slot.link is not None:
        _forget(definition, slot.link)
    link_id = max(definition.links, default=0) + 1
    origin, target = definition.inputs.index(boundary), node.inputs.index(slot)
    definition.links[link_id] = Link(link_id, INPUT_BOUNDARY, origin, node.id, target)
    boundary.link_ids.append(link_id)
    if (widget := node.slot_widget(slot)) is not None:
        boundary.widget = widget
        for host in definition.hosts:
            for mirror in host.inputs:
                if mirror.boundary is boundary and (mirror.host is None or mirror.host.kind != widget.kind):
                    _promote(mirror, widget)  # what an instance has already, it keeps
    slot.link = link_id


def _forget(definition: Graph, link_id: int) -> None:
    """Remove a link from its graph."""
    definition.links.pop(link_id, None)
    for boundary in definition.inputs:
        if link_id in boundary.link_ids:
            boundary.link_ids.remove(link_id)
    for node in definition.nodes.values():
        for output in node.outputs:
            if link_id in output.links:
                output.links.remove(link_id)


def _primitive_targets(definition: Graph, primitive: Node) -> list[Link]:
    """Return the links of a primitive."""
    outputs: list[OutputSlot] = primitive.outputs[:1]
    return [definition.links[link] for output in outputs for link in output.links if link in definition.links]


def _replace_primitive(host: Node, cohort: list[_Entry]) -> None:
    """Let an input of the definition feed what the promoted primitive fed.

    Where its links end is taken from the links, as 1.49.6 does at a time when not all of them
    name the right input yet: two templates depend on it.
    """
    assert host.definition is not None
    definition = host.definition
    primitive = definition.nodes[cohort[0].node_id]
    links = _primitive_targets(definition, primitive)
    if not links or not primitive.outputs or any(entry.name != cohort[0].name for entry in cohort):
        return
    kind = primitive.outputs[0].type
    targets = [found for link in links if (found := _target_by_index(definition, link)) is not None]
    if len(targets) < len(links) or not _takes_all(targets, kind):
        return
    title = primitive.title or "PrimitiveNode"
    name = cohort[0].name if title == "PrimitiveNode" else title
    boundary = _new_boundary(definition, name, kind)
    for _, slot in targets:
        if slot.link is not None:
            _forget(definition, slot.link)
            slot.link = None
    for node, slot in targets:
        _connect(definition, boundary, node, slot)
    value = next((entry.value for entry in cohort if entry.value is not MISSING), MISSING)
    _own_by_name(host, boundary, value)
    primitive.properties = {**primitive.properties, _MARK: boundary.name}


def _target_by_index(definition: Graph, link: Link) -> tuple[Node, InputSlot] | None:
    """Return the input that the link itself names."""
    node = definition.nodes.get(link.target_id)
    if node is None or not 0 <= link.target_slot < len(node.inputs):
        return None
    return node, node.inputs[link.target_slot]


def _takes_all(targets: list[tuple[Node, InputSlot]], kind: str) -> bool:
    """Return whether one input can feed all of these: same type, widgets alike."""
    if any(slot.type != kind and not any_type(slot.type) and not any_type(kind) for _, slot in targets):
        return False
    widgets = [widget for node, slot in targets if (widget := node.slot_widget(slot)) is not None]
    return all(_alike(one, other) for one, other in itertools.pairwise(widgets))


def _alike(one: Widget, other: Widget) -> bool:
    """Return whether two widgets may share an input (SubgraphInput.matchesWidget)."""
    keys = ("min", "max", "step") if one.kind in ("int", "float") else ()
    return one.kind == other.kind and all(one.options.get(key) == other.options.get(key) for key in keys)
