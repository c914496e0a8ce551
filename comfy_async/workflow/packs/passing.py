"""Setters and getters, which pass a value on by name: the rules that several packs share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..convert.model import Graph, Node

__all__ = ["stored_name", "with_name"]


def stored_name(node: Node) -> Any:
    """Return the name of a setter or getter, its first saved value; None when it has none."""
    values = node.saved_values
    return values[0] if isinstance(values, list) and values else None


def with_name(graph: Graph, node_type: str, name: Any) -> Iterator[Node]:
    """Yield the nodes of that type with that name."""
    for node in graph.nodes.values():
        if node.type == node_type and stored_name(node) == name:
            yield node
