"""Making node ids unique across subgraph definitions, as the frontend does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import WorkflowFormatError
from .editor_file import SavedEditor, SavedGraph, SavedNode

__all__ = ["drop_twins", "renumber"]

# The frontend's own limit (1.49.6).
_LARGEST_ID = 100_000_000


def renumber(editor: SavedEditor) -> None:
    """Give each inner node whose id is taken the next free id.

    Frontend 1.49.6 keeps widget values by node id, so on load it renumbers inner nodes with
    duplicate ids: ids of the root stay, definitions are processed in file order, and the first node
    with an id keeps it. String ids of root nodes are ignored.

    Raises:
        WorkflowFormatError: No id is left.
    """
    taken = {node.id for node in editor.root.nodes if node.numeric}
    counter = _Counter(taken, editor.last_node_id)
    changes = {graph.id: _renumber_graph(graph, counter) for graph in editor.definitions}
    _renumber_twins(editor.root.nodes, counter)
    for graph in (*editor.definitions, editor.root):
        _follow_in_promotions(graph.nodes, changes)


def drop_twins(editor: SavedEditor) -> None:
    """Keep only one of the root's nodes with the same id: the one that frontend 1.49.6 writes last.

    It writes nodes without links first, in file order, and then the nodes that links lead to; a
    link belongs to the first node with an id (LGraph.computeExecutionOrder).
    """
    twins: dict[str, list[SavedNode]] = {}
    for node in editor.root.nodes:
        twins.setdefault(node.id, []).append(node)
    kept = {id(_written_last(nodes)) for nodes in twins.values()}
    editor.root.nodes[:] = [node for node in editor.root.nodes if id(node) in kept]


def _written_last(nodes: list[SavedNode]) -> SavedNode:
    """Return which of the nodes with the same id is written last."""
    linked = any(slot.link is not None for node in nodes for slot in node.inputs)
    return nodes[0] if linked else nodes[-1]


class _Counter:
    """Assigns free ids."""

    def __init__(self, taken: set[str], last: int) -> None:
        self.taken = taken
        self.last = last

    def next(self) -> str:
        """Return the next free id."""
        while True:
            self.last += 1
            if self.last > _LARGEST_ID:
                raise WorkflowFormatError(f"no node id up to {_LARGEST_ID} is left", place="last_node_id")
            if str(self.last) not in self.taken:
                return str(self.last)


def _renumber_graph(graph: SavedGraph, counter: _Counter) -> dict[str, str]:
    """Renumber one definition and its links; return old ids with the new ones."""
    changed: dict[str, str] = {}
    own: set[str] = set()
    for node in graph.nodes:
        saved = node.id
        if saved in counter.taken:
            node.id = counter.next()
            if saved not in own:  # links belong to the first node with an id
                changed[saved] = node.id
        elif _is_numeric(node.id):
            counter.last = max(counter.last, int(node.id))
        counter.taken.add(node.id)
        own.add(saved)
    for link in graph.links.values() if changed else ():
        link.origin_id = changed.get(link.origin_id, link.origin_id)
        link.target_id = changed.get(link.target_id, link.target_id)
    return changed


def _renumber_twins(nodes: Iterable[SavedNode], counter: _Counter) -> None:
    """Give the second of two root nodes with the same id the next free one; links belong to the first."""
    seen: set[str] = set()
    for node in nodes:
        if node.id in seen:
            node.id = counter.next()
            counter.taken.add(node.id)
        elif node.numeric and _is_numeric(node.id):
            counter.last = max(counter.last, int(node.id))
        seen.add(node.id)


def _is_numeric(node_id: str) -> bool:
    """Return whether the id is an integer in its usual notation."""
    digits = node_id.removeprefix("-")
    return digits.isascii() and digits.isdigit() and str(int(digits)) == digits


def _follow_in_promotions(nodes: Iterable[SavedNode], changes: dict[str, dict[str, str]]) -> None:
    """Update ids in the old promotion lists (`properties.proxyWidgets`) of instances."""
    for node in nodes:
        changed = changes.get(node.type)
        proxies = node.properties.get("proxyWidgets")
        if changed and isinstance(proxies, list):
            node.properties = {
                **node.properties,
                "proxyWidgets": [_follow(entry, changed) for entry in proxies],
            }


def _follow(entry: Any, changed: dict[str, str]) -> Any:
    """Return the entry with the new id."""
    if isinstance(entry, list) and entry and str(entry[0]) in changed:
        return [changed[str(entry[0])], *entry[1:]]
    return entry
