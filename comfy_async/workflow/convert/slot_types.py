"""Slot types that depend on what is connected: matching inputs, and reroutes.

Right after loading, the frontend (1.49.6) gives each input and output that was declared to
match (COMFY_MATCHTYPE_V3) the type that its group has in common, and each Reroute the type that
comes in (dynamicWidgets.ts, rerouteNode.ts). Links that do not fit then are removed. Types
decide which input stands in for a bypassed node's output.
"""

from __future__ import annotations

from collections.abc import Iterable

from .model import (
    INPUT_BOUNDARY,
    Graph,
    InputSlot,
    Link,
    Node,
    any_type,
    types_match,
)

__all__ = ["settle_types"]

# A change of one type may change others; files with loops must not keep us busy for ever.
_DEEPEST = 50


def settle_types(graphs: Iterable[Graph]) -> None:
    """Give every slot the type that it has once the file is open; graphs in the order of loading."""
    graphs = list(graphs)
    for graph in graphs:
        for node in graph.nodes.values():
            if node.match_types:
                for group in node.match_types:
                    _match(graph, node, group, 0)
    for graph in reversed(graphs):
        done: set[str] = set()
        for node in graph.nodes.values():
            if node.type == "Reroute" and node.id not in done:
                _reroute(graph, node, done)


def _match(graph: Graph, node: Node, group: str, depth: int) -> None:
    """Let the inputs and outputs of a group agree on a type; give up when they cannot."""
    allowed = node.match_types[group]
    slots = [slot for slot in node.inputs if slot.name in allowed]
    connected = [_incoming(graph, slot) for slot in slots]
    for index, slot in enumerate(slots):
        kind = _common([*connected[:index], *connected[index + 1 :], allowed[slot.name]])
        if kind is None:
            return
        slot.type = kind
    kind = _common(connected)
    if kind is None:
        return
    for index, output in enumerate(node.outputs):
        own = node.output_groups[index] if index < len(node.output_groups) else None
        if own == group and output.type != kind:
            output.type = kind
            _tell(graph, list(output.links), kind, depth)


def _incoming(graph: Graph, slot: InputSlot) -> str:
    """Return the type of what is connected to an input, "*" when nothing is."""
    link = graph.links.get(slot.link) if slot.link else None
    if link is None:
        return "*"
    if link.origin_id == INPUT_BOUNDARY:
        known = 0 <= link.origin_slot < len(graph.inputs)
        return graph.inputs[link.origin_slot].type if known else "*"
    return _given(graph, link) or "*"


def _given(graph: Graph, link: Link) -> str | None:
    """Return the type of the output that a link comes from."""
    origin = graph.nodes.get(link.origin_id)
    if origin is None or not 0 <= link.origin_slot < len(origin.outputs):
        return None
    return origin.outputs[link.origin_slot].type


def _common(types: list[str]) -> str | None:
    """Return the types that all have, joined by commas, None when there are none."""
    listed = [kind.split(",") for kind in types if kind != "*"]
    if not listed:
        return "*"
    shared = [kind for kind in dict.fromkeys(listed[0]) if all(kind in other for other in listed[1:])]
    return ",".join(shared) if shared else None


def _tell(graph: Graph, link_ids: list[int], kind: str, depth: int) -> None:
    """Let the inputs behind an output know its new type; those that it does not fit are cut off."""
    for link_id in link_ids:
        link = graph.links.get(link_id)
        target = graph.nodes.get(link.target_id) if link is not None else None
        slot = target.slot_of_link(link_id) if target is not None else None
        if target is None or slot is None:
            continue
        if not types_match(kind, slot.type):
            _cut(graph, slot)
        _changed(graph, target, slot, depth + 1)


def _changed(graph: Graph, node: Node, slot: InputSlot, depth: int) -> None:
    """Look again at the group that an input belongs to."""
    for group, allowed in node.match_types.items():
        if slot.name in allowed and depth < _DEEPEST:
            _match(graph, node, group, depth)
            return


def _cut(graph: Graph, slot: InputSlot) -> None:
    """Remove the link of an input."""
    link = graph.links.pop(slot.link or 0, None)
    slot.link = None
    origin = graph.nodes.get(link.origin_id) if link is not None else None
    for output in origin.outputs if origin is not None else ():
        if link is not None and link.id in output.links:
            output.links.remove(link.id)


def _reroute(graph: Graph, node: Node, done: set[str]) -> None:
    """Give a tree of reroutes the type that comes in, and cut off what it does not fit."""
    first = _first(graph, node)
    if first is None or first.id in done:
        return
    slot = first.inputs[0] if first.inputs else None
    link = graph.links.get(slot.link) if slot is not None and slot.link is not None else None
    kind = _given(graph, link) if link is not None else None
    waiting = [first]
    while waiting:
        current = waiting.pop()
        if current.id in done or not current.outputs:
            continue
        done.add(current.id)
        for link_id in list(current.outputs[0].links):
            follower = _end(graph, link_id, kind)
            if follower is not None:
                waiting.append(follower)
        current.outputs[0].type = kind or "*"


def _first(graph: Graph, node: Node) -> Node | None:
    """Return the first reroute of the chain that leads here, None where the way is broken."""
    seen = {node.id}
    while node.inputs and node.inputs[0].link is not None:
        link = graph.links.get(node.inputs[0].link)
        origin = graph.nodes.get(link.origin_id) if link is not None else None
        if origin is None or origin.id in seen:
            return None
        if origin.type != "Reroute":
            break
        seen.add(origin.id)
        node = origin
    return node


def _end(graph: Graph, link_id: int, kind: str | None) -> Node | None:
    """Return the reroute that a link leads to; at another node see whether the type fits."""
    link = graph.links.get(link_id)
    target = graph.nodes.get(link.target_id) if link is not None else None
    slot = target.slot_of_link(link_id) if target is not None else None
    if target is None or slot is None:
        return None
    if target.type == "Reroute":
        return target
    if kind is not None and not any_type(kind) and not types_match(kind, slot.type):
        _cut(graph, slot)
    else:
        _changed(graph, target, slot, 0)
    return None
