"""Bypassing a node: it is removed and its inputs are connected to the nodes that it fed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import WorkflowError
from ._edits import consumers
from ._keys import one_node
from ._nodes import Graph, Node
from ._specs import InputSpec
from ._types import type_matches
from ._values import is_link
from .catalog import NodeCatalog

__all__ = ["bypassed"]


def bypassed(graph: Graph, name: Any, catalog: NodeCatalog | None) -> Graph:
    """Return the graph without a node, its inputs connected to what it fed: by type, else by name.

    Without a catalog types are unknown, and inputs are matched by name.

    Raises:
        UnknownInputError: The node does not exist.
        WorkflowError: The catalog lacks its class, or the match by name is ambiguous.
    """
    gone = one_node(graph, name)
    node = graph[gone]
    if catalog is not None and node.class_type not in catalog:
        raise WorkflowError(
            f"node {node.info(gone)} cannot be bypassed: its class is not in the catalog",
            hint="remove() deletes it without reconnecting its inputs.",
        )
    result = dict(graph)
    for key, field, slot in consumers(graph, gone):
        inputs = dict(result[key].inputs)
        if catalog is None:
            source = _by_name(graph, gone, field)
        else:
            source = _by_type(node, slot, graph[key], field, catalog)
        if source is None or source[0] == gone:
            del inputs[field]
        else:
            inputs[field] = list(source)
        result[key] = result[key].replace(inputs)
    del result[gone]
    return result


def _by_name(graph: Mapping[str, Node], gone: str, field: str) -> list[Any] | None:
    """Return the link to connect to an input of this name: the one of the same name, or the only one.

    Raises:
        WorkflowError: There are several links, and none has the name.
    """
    node = graph[gone]
    links = {name: [source, slot] for name, source, slot in node.links()}
    if field in links or not links:
        return links.get(field)
    if len(links) > 1:
        raise WorkflowError(
            f"node {node.info(gone)} has {len(links)} links, and which of them to connect to "
            f"{field!r} depends on types",
            hint="Pass a catalog.",
        )
    return next(iter(links.values()))


def _by_type(node: Node, slot: int, consumer: Node, field: str, catalog: NodeCatalog) -> list[Any] | None:
    """Return the link that replaces an output of a bypassed node, None when no input fits."""
    outputs = catalog.outputs(node.class_type)
    output = outputs[slot].type if slot < len(outputs) else "*"
    spec = catalog.input(consumer.class_type, field, consumer.inputs)
    wanted = spec.type if spec is not None else "*"
    slots = _sockets(node, catalog)
    source = _chosen(slots, slot, output, wanted)
    value = node.inputs.get(source.name) if source is not None else None
    return value if is_link(value) else None


def _sockets(node: Node, catalog: NodeCatalog) -> list[InputSpec]:
    """Return the inputs in the editor's order: inputs for links first, then widgets that are linked."""
    specs = catalog.inputs(node.class_type, node.inputs)
    sockets = [spec for spec in specs if spec.type not in _WIDGETS or spec.force_input]
    return sockets + [spec for spec in specs if spec not in sockets and is_link(node.inputs.get(spec.name))]


_WIDGETS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"})


def _chosen(slots: list[InputSpec], slot: int, output: str, wanted: str) -> InputSpec | None:
    """Return the input that the editor uses in place of a bypassed node's output, None for none."""
    same = slots[slot] if slot < len(slots) else None
    if output in {"*", ""}:
        return same or (slots[0] if slots else None)

    def fits(spec: InputSpec) -> bool:
        return type_matches(spec.type, output) and type_matches(spec.type, wanted)

    if same is not None and fits(same):
        return same
    exact = next((spec for spec in slots if spec.type == wanted), None)
    return exact or next((spec for spec in slots if fits(spec)), None)
