"""Nodes that pass a value on by name: what setters and getters of several packs have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..convert.model import Graph, Node

__all__ = ["stored_name", "with_name"]


def stored_name(node: Node) -> Any:
    """Return the name under which a setter keeps its input, or a getter asks for it."""
    values = node.saved_values
    return values[0] if isinstance(values, list) and values else None


def with_name(graph: Graph, node_type: str, name: Any) -> Iterator[Node]:
    """Yield the nodes of that type which have the name."""
    for node in graph.nodes.values():
        if node.type == node_type and stored_name(node) == name:
            yield node
