"""The muted and bypassed nodes of an editor file, and the inputs that are missing because of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...types import NodeInfo

__all__ = ["muted_outputs", "muted_source"]

_OFF = {2: "muted", 4: "bypassed"}
_FROM_OUTSIDE = "-10"
_DEEPEST = 50

_Node = Mapping[str, Any]


def muted_source(editor: Mapping[str, Any] | None, node: str, name: str) -> str:
    """Return a sentence when the node that an input is linked to in the editor does not run, else "".

    Args:
        editor: The editor file.
        node: The node's id in the prompt, `57:6` within a subgraph.
        name: The input.
    """
    if editor is None:
        return ""
    drawn = _Drawn(editor)
    found = drawn.source(node, name)
    if found is None:
        return ""
    place, source, state = found
    return f"Its source {drawn.info(place, source)} is {state} in the editor."


def muted_outputs(editor: Mapping[str, Any] | None, catalog: Mapping[str, Any]) -> str:
    """Return a sentence with the output nodes that are muted or bypassed in the editor, "" for none."""
    if editor is None:
        return ""
    drawn = _Drawn(editor)
    found = [
        f"{drawn.info(place, node)} is {state}"
        for place, node, state in drawn.off()
        if node.get("type") in catalog and catalog[node["type"]].get("output_node")
    ]
    return f"In the editor {', '.join(found[:5])}: enable it there." if found else ""


class _Drawn:
    """The nodes and links of an editor file, by the ids that they have in a prompt."""

    def __init__(self, editor: Mapping[str, Any]) -> None:
        self._editor = editor
        defined = editor.get("definitions")
        graphs = _objects(defined.get("subgraphs")) if isinstance(defined, Mapping) else []
        self._subgraphs = {graph.get("id"): graph for graph in graphs}

    def info(self, place: str, node: _Node) -> NodeInfo:
        """Return the node's id, title and class; of a subgraph its name."""
        title, kind = str(node.get("title") or ""), str(node.get("type") or "")
        subgraph = self._subgraphs.get(kind)
        if subgraph is None:
            return NodeInfo(place, title, kind)
        return NodeInfo(place, title or str(subgraph.get("name") or ""), "subgraph")

    def off(self) -> Iterator[tuple[str, _Node, str]]:
        """Yield (id, node, state) of the nodes that do not run, with those inside them."""
        yield from self._off(self._editor, "", "", 0)

    def _off(self, graph: _Node, prefix: str, state: str, depth: int) -> Iterator[tuple[str, _Node, str]]:
        for node in _objects(graph.get("nodes")):
            place, own = f"{prefix}{node.get('id')}", state or _OFF.get(node.get("mode", 0), "")
            if own:
                yield place, node, own
            inner = self._subgraphs.get(node.get("type"))
            if inner is not None and depth < _DEEPEST:
                yield from self._off(inner, f"{place}:", own, depth + 1)

    def source(self, place: str, name: str, depth: int = 0) -> tuple[str, _Node, str] | None:
        """Return (id, node, state) of the source of an input, None when that runs or is unknown."""
        graph, prefix, node = self._at(place)
        slot = None if node is None else _slot(node, name)
        if graph is None or slot is None or depth > _DEEPEST:
            return None
        return self._origin(graph, prefix, slot.get("link"), depth)

    def _at(self, place: str) -> tuple[_Node | None, str, _Node | None]:
        """Return the graph that a node is in, the prefix of ids there, and the node."""
        graph: _Node | None = self._editor
        *outer, leaf = place.split(":")
        for key in outer:
            instance = None if graph is None else _node(graph, key)
            graph = None if instance is None else self._subgraphs.get(instance.get("type"))
        prefix = "".join(f"{key}:" for key in outer)
        return graph, prefix, None if graph is None else _node(graph, leaf)

    def _origin(self, graph: _Node, prefix: str, link: Any, depth: int) -> tuple[str, _Node, str] | None:
        """Return (id, node, state) of the source of a link, None when that runs or is unknown."""
        ends = _ends(graph, link)
        if ends is None or depth > _DEEPEST:
            return None
        key, number = ends
        if key == _FROM_OUTSIDE and prefix:
            inputs = _objects(graph.get("inputs"))
            name = inputs[number].get("name") if number < len(inputs) else None
            return self.source(prefix.removesuffix(":"), str(name), depth + 1)
        node = _node(graph, key)
        if node is None:
            return None
        state = _OFF.get(node.get("mode", 0))
        if state == "muted":
            return f"{prefix}{key}", node, state
        if state is None and (inner := self._subgraphs.get(node.get("type"))) is not None:
            given = _objects(inner.get("outputs"))
            links = given[number].get("linkIds") if number < len(given) else None
            first = links[0] if isinstance(links, list) and links else None
            return self._origin(inner, f"{prefix}{key}:", first, depth + 1)
        if state == "bypassed" or node.get("type") == "Reroute":
            outputs = _objects(node.get("outputs"))
            kind = outputs[number].get("type") if number < len(outputs) else None
            for slot in _objects(node.get("inputs")):
                if state is None or slot.get("type") == kind:
                    found = self._origin(graph, prefix, slot.get("link"), depth + 1)
                    if found is not None:
                        return found
        return (f"{prefix}{key}", node, state) if state is not None else None


def _node(graph: _Node, key: str) -> _Node | None:
    return next((node for node in _objects(graph.get("nodes")) if str(node.get("id")) == key), None)


def _slot(node: _Node, name: str) -> _Node | None:
    return next((slot for slot in _objects(node.get("inputs")) if slot.get("name") == name), None)


def _ends(graph: _Node, link: Any) -> tuple[str, int] | None:
    """Return the source node and slot of a link; links are lists, or objects in subgraphs."""
    links = graph.get("links")
    for one in links if link is not None and isinstance(links, list) else ():
        if isinstance(one, list) and len(one) > 2 and one[0] == link:
            key, slot = one[1], one[2]
        elif isinstance(one, Mapping) and one.get("id") == link:
            key, slot = one.get("origin_id"), one.get("origin_slot")
        else:
            continue
        return (str(key), slot) if isinstance(slot, int) and slot >= 0 else None
    return None


def _objects(items: Any) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
