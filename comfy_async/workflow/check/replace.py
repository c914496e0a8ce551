"""Classes that a server replaces by others before validation (GET /node_replacements)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...types import Problem
from .._nodes import Node
from .._values import is_link
from ..catalog import NodeCatalog

__all__ = ["applied"]


def applied(
    graph: Mapping[str, Node], replacements: Mapping[str, Any] | None, catalog: NodeCatalog
) -> tuple[dict[str, Node], list[Problem]]:
    """Return the graph as the server rewrites it, and a warning for each node that it rewrites."""
    result, problems = dict(graph), list[Problem]()
    for key, node in graph.items():
        rule = _rule(node.class_type, replacements, catalog)
        if rule is None:
            continue
        newer = rule["new_node_id"]
        result[key] = Node(newer, _inputs(node, rule), node.meta)
        _renumber(result, key, rule)
        told = f"the server replaces {node.class_type} by {newer}"
        problems.append(
            Problem(key, node.title, node.class_type, None, "replaced_node", told, severity="warning")
        )
    return result, problems


def _rule(
    class_type: str, replacements: Mapping[str, Any] | None, catalog: NodeCatalog
) -> Mapping[str, Any] | None:
    if replacements is None or class_type in catalog:
        return None
    rules = replacements.get(class_type)
    rule = rules[0] if isinstance(rules, list) and rules else None
    return rule if isinstance(rule, Mapping) and rule.get("new_node_id") in catalog else None


def _inputs(node: Node, rule: Mapping[str, Any]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for entry in _entries(rule, "input_mapping"):
        new, old = entry.get("new_id"), entry.get("old_id")
        if "set_value" in entry:
            inputs[str(new)] = entry["set_value"]
        elif old in node.inputs:
            inputs[str(new)] = node.inputs[old]
    return inputs


def _renumber(graph: dict[str, Node], source: str, rule: Mapping[str, Any]) -> None:
    """Change the slots of links from the node to those that the new class has for the old ones."""
    slots = {entry.get("old_idx"): entry.get("new_idx") for entry in _entries(rule, "output_mapping")}
    for key, node in graph.items():
        moved = {
            name: [source, slots[value[1]]]
            for name, value in node.inputs.items()
            if is_link(value) and value[0] == source and value[1] in slots
        }
        if moved:
            graph[key] = node.replace({**node.inputs, **moved})


def _entries(rule: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = rule.get(name)
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
