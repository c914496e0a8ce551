"""cg-use-everywhere: links that are added when a prompt is queued, from broadcasts to matching inputs.

Based on its version 7.8 (use_everywhere_graph_analysis.js, use_everywhere_classes.js,
ue_properties.js), with its default settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..convert.model import OUTPUT_BOUNDARY, Boundary, Graph, InputSlot, Link, Node, types_match
from .broadcasts import Broadcast, Target, broadcasts_of, is_broadcaster, label
from .pack import Pack
from .ue_properties import connectable, prepare

__all__ = ["PACK"]

_CLASSES: Final = frozenset(
    {
        "Anything Everywhere",
        "Anything Everywhere3",
        "Anything Everywhere?",
        "Prompts Everywhere",
        "Seed Everywhere",
    }
)


class _UseEverywhere(Pack):
    """The rules for cg-use-everywhere."""

    classes = _CLASSES
    marks = frozenset({"ue_convert"})

    def queued(self, root: Graph) -> None:
        """Add the links of every graph; each subgraph has its own broadcasts."""
        graphs: dict[str, Graph] = {root.id: root}
        for graph, _ in root.walk():
            graphs.setdefault(graph.id, graph)
        for graph in graphs.values():
            properties = {node.id: prepare(node) for node in graph.nodes.values()}
            found = [
                broadcast
                for node in graph.nodes.values()
                if is_broadcaster(node)
                for broadcast in broadcasts_of(graph, node, properties[node.id], root)
            ]
            chosen = [
                (best, target) for target in _targets(graph, properties) if (best := _best(found, target))
            ]
            for broadcast, target in chosen:
                _draw(graph, broadcast, target)


def _targets(graph: Graph, properties: dict[str, dict[str, object]]) -> Iterator[Target]:
    """Yield the unlinked inputs that accept broadcasts, then the subgraph's unlinked outputs."""
    for node in graph.nodes.values():
        if is_broadcaster(node, by_class=True) or node.properties.get("rejects_ue_links"):
            continue
        for slot in node.inputs:
            if slot.link in graph.links or (node.type.startswith("VHS_") and slot.name == "vae"):
                continue
            if connectable(slot, properties[node.id]):
                yield Target(node, slot, node.id, slot.type, slot.name, label(node, slot))
    for boundary in graph.outputs:
        if not any(number in graph.links for number in boundary.link_ids):
            yield Target(None, boundary, OUTPUT_BOUNDARY, boundary.type, boundary.name, boundary.name)


def _best(found: list[Broadcast], target: Target) -> Broadcast | None:
    """Return the matching broadcast of the highest priority, None when two have the same."""
    matching = sorted((item for item in found if item.matches(target)), key=lambda item: -item.priority)
    if not matching or (len(matching) > 1 and matching[0].priority == matching[1].priority):
        return None
    return matching[0]


def _draw(graph: Graph, broadcast: Broadcast, target: Target) -> None:
    """Add one link, unless the editor does not allow links between the types."""
    if not types_match(broadcast.type, target.type):
        return
    number = max(graph.links, default=0) + 1
    where, slot = target.node, target.slot
    if isinstance(slot, InputSlot) and where is not None:
        index = next(place for place, item in enumerate(where.inputs) if item is slot)
        slot.link = number
    else:
        index = next(place for place, item in enumerate(graph.outputs) if item is slot)
    if isinstance(slot, Boundary):
        slot.link_ids.append(number)
    link = Link(number, broadcast.origin_id, broadcast.origin_slot, target.id, index, broadcast.type)
    graph.links[number] = link
    _leave(graph, link)


def _leave(graph: Graph, link: Link) -> None:
    """Add a link to its origin: an output, or an input of the subgraph."""
    origin: Node | None = graph.nodes.get(link.origin_id)
    if origin is not None and link.origin_slot < len(origin.outputs):
        origin.outputs[link.origin_slot].links.append(link.id)
    elif origin is None and link.origin_slot < len(graph.inputs):
        graph.inputs[link.origin_slot].link_ids.append(link.id)


PACK: Final = _UseEverywhere()
"""The rules for cg-use-everywhere."""
