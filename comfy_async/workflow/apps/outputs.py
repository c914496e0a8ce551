"""The outputs of an app, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import UnknownInputError
from ...types import clipped
from .._nodes import Graph
from ..catalog import NodeCatalog
from ..graph import Workflow
from .drafts import app_mode, output_node, title_name
from .names import is_name, unique, word
from .parts import AppOutput, Unresolved
from .roles import output_type

__all__ = ["outputs_of"]


def outputs_of(
    flow: Workflow, catalog: NodeCatalog, names: Mapping[str, Any] | None
) -> tuple[dict[str, AppOutput], list[Unresolved]]:
    """Return the outputs by name, and those that were not found.

    They are taken from the mapping, else from App mode, else they are all output nodes.

    Raises:
        UnknownInputError: The mapping has an invalid name, or a place that matches no single node.
    """
    graph = flow.graph
    if names is not None:
        return {
            _checked(name): _output(graph, catalog, output_node(graph, place), name)
            for name, place in names.items()
        }, []
    chosen = app_mode(flow.drawn).get("outputs")
    found: dict[str, None] = {}
    lost: list[Unresolved] = []
    for item in chosen if isinstance(chosen, list) else ():
        keys = _keys(graph, str(item))
        found.update(dict.fromkeys(keys))
        if not keys:
            lost.append(Unresolved(str(item), "", "there is no such node in the prompt"))
    if not found:
        found = dict.fromkeys(key for key, node in graph.items() if _is_output(catalog, node.class_type))
    made = [_output(graph, catalog, key) for key in found]
    labels = unique([_names(catalog, item) for item in made])
    return {
        name: AppOutput(name, o.node, o.type, o.title, o.class_type)
        for name, o in zip(labels, made, strict=True)
    }, lost


def _checked(name: object) -> str:
    """Return the name of an output after checking it.

    Raises:
        UnknownInputError: It is not a Python name.
    """
    if isinstance(name, str) and is_name(name):
        return name
    raise UnknownInputError(
        f"{clipped(name)} is not a valid name for an output",
        hint="A name is a Python identifier, no keyword, and does not begin with an underscore.",
    )


def _keys(graph: Graph, item: str) -> list[str]:
    """Return the nodes of the prompt that an entry of App mode names: by id, or by an inner node's id."""
    parts = item.split(":")
    if len(parts[0]) == 36 and len(parts) > 1:
        item = parts[1]
    if item in graph:
        return [item]
    return [key for key in graph if key.endswith(f":{item}")]


def _is_output(catalog: NodeCatalog, class_type: str) -> bool:
    return class_type in catalog and catalog.node(class_type).output_node


def _output(graph: Graph, catalog: NodeCatalog, key: str, name: str = "") -> AppOutput:
    node = graph[key]
    return AppOutput(name, key, output_type(catalog, node.class_type), node.title, node.class_type)


def _names(catalog: NodeCatalog, item: AppOutput) -> tuple[str, ...]:
    """Return candidates for the name of an output, the best first."""
    own = title_name(item.title)
    if own:
        return (own,)
    known = {"", item.class_type}
    if item.class_type in catalog:
        known.add(catalog.node(item.class_type).display_name)
    title = "" if item.title in known else word(item.title)
    plain = "output" if item.type == "any" else item.type
    return title.removeprefix("save_").removeprefix("preview_"), plain
