"""Slot types that depend on links: matching inputs, and reroutes.

Right after loading, the frontend (1.49.6) sets each input and output that was declared to match
(COMFY_MATCHTYPE_V3) to the common type of its group, and each Reroute to the type of its input
(dynamicWidgets.ts, rerouteNode.ts). Links that do not fit then are removed. The types decide
which input replaces a bypassed node's output.
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

# A change of one type may change others; this bounds the recursion for files with cycles.
_DEEPEST = 50


def settle_types(graphs: Iterable[Graph]) -> None:
    """Set the type that every slot has after loading; `graphs` are in the order of loading."""
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
    """Set the inputs and outputs of a match group to their common type, if there is one."""
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
    """Return the type of the output or boundary that is linked to an input, "*" when nothing is."""
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
    """Return the types that all have in common, joined by commas, None when there are none."""
    listed = [kind.split(",") for kind in types if kind != "*"]
    if not listed:
        return "*"
    shared = [kind for kind in dict.fromkeys(listed[0]) if all(kind in other for other in listed[1:])]
    return ",".join(shared) if shared else None


def _tell(graph: Graph, link_ids: list[int], kind: str, depth: int) -> None:
    """Update the inputs linked to an output whose type changed; remove links that do not fit."""
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
    """Match the group of an input again."""
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
    """Set a tree of reroutes to the type of its input, and remove the links that do not fit."""
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
    """Return the first reroute of the chain that this one belongs to, None when a link is broken."""
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
    """Return the reroute that a link ends in; for another node, check the type and return None."""
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
