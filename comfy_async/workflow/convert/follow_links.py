"""Finding the source of a link through subgraph boundaries, reroutes and bypassed nodes.

The rules are those of the frontend's ExecutableNodeDTO.ts (1.49.6).
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from ...errors import ConversionError, WorkflowFormatError
from ...types import Problem
from ..packs import pack_of
from .model import (
    BYPASSED,
    INPUT_BOUNDARY,
    MUTED,
    Graph,
    InputSlot,
    Node,
    Widget,
    any_type,
    types_match,
)

__all__ = ["FromHost", "FromNode", "Scope", "resolve_input"]


@dataclasses.dataclass(frozen=True, slots=True)
class FromNode:
    """The source is a node: its id in the prompt, and its output slot."""

    node_id: str
    slot: int


@dataclasses.dataclass(frozen=True, slots=True)
class FromHost:
    """The source is the value of a subgraph instance's promoted widget."""

    widget: Widget


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """A graph together with the subgraph instance that it is inside of.

    Attributes:
        graph: The root graph or a definition.
        prefix: The prefix of its nodes' ids in the prompt, for example "57:3:".
        host: The instance, None for the root.
        parent: The scope of the instance, None for the root.
    """

    graph: Graph
    prefix: str = ""
    host: Node | None = None
    parent: Scope | None = None

    def inside(self, node: Node) -> Scope:
        """Return the scope of an instance's inner nodes."""
        assert node.definition is not None
        return Scope(node.definition, f"{self.prefix}{node.id}:", node, self)


_Source: TypeAlias = FromNode | FromHost | None
_Visited: TypeAlias = set[tuple[str, str, int]]


def resolve_input(scope: Scope, node: Node, slot: InputSlot) -> FromNode | FromHost | None:
    """Return the source of an input's value, None when nothing feeds it.

    Raises:
        ConversionError: The links form a cycle.
        WorkflowFormatError: A link refers to something that does not exist.
    """
    return _into(scope, node, slot, slot.type, set())


def _into(scope: Scope, node: Node, slot: InputSlot, wanted: str, visited: _Visited) -> _Source:
    """Return the source of an input's link."""
    _visit(visited, "in", scope, node, id(slot))
    if slot.link is None:
        return None
    link = scope.graph.links.get(slot.link)
    if link is None:
        raise _broken(node, slot, f"there is no link {slot.link}")
    if scope.host is not None and link.origin_id == INPUT_BOUNDARY:
        return _out_of_instance(scope, node, slot, link.origin_slot, visited)
    origin = scope.graph.nodes.get(link.origin_id)
    if origin is None:
        raise _broken(node, slot, f"its link {link.id} comes from node {link.origin_id}, which is not there")
    return _out_of(scope, origin, link.origin_slot, wanted, visited)


def _out_of_instance(scope: Scope, node: Node, slot: InputSlot, index: int, visited: _Visited) -> _Source:
    """Return the source of an instance's input: that of its link, else its value."""
    assert scope.host is not None
    assert scope.parent is not None
    if not 0 <= index < len(scope.host.inputs):
        raise _broken(node, slot, f"the subgraph has no input {index}")
    outer = scope.host.inputs[index]
    if outer.link is None:
        return FromHost(outer.host) if outer.host is not None else None
    return _into(scope.parent, scope.host, outer, outer.type, visited)


def _out_of(scope: Scope, node: Node, index: int, wanted: str, visited: _Visited) -> _Source:
    """Return the source behind an output: the node itself, or the source of a node that is not sent."""
    _visit(visited, "out", scope, node, index)
    if node.mode == MUTED:
        return None
    if node.mode == BYPASSED:
        slot = _bypass(node, index, wanted)
        return None if slot is None else _into(scope, node, slot, slot.type, visited)
    if node.definition is not None:
        return _into_instance(scope, node, index, wanted, visited)
    if not node.virtual:
        return FromNode(scope.prefix + node.id, index)
    scope, node = _stand_in(scope, node)
    if not 0 <= index < len(node.inputs):
        return None
    slot = node.inputs[index]
    return None if slot.link is None else _into(scope, node, slot, wanted, visited)


def _stand_in(scope: Scope, node: Node) -> tuple[Scope, Node]:
    """Return the virtual node whose inputs replace the outputs of this one, usually the node itself."""
    pack = pack_of(node.type)
    if pack is None:
        return scope, node
    scopes = [scope]
    while (parent := scopes[-1].parent) is not None:
        scopes.append(parent)
    found = pack.source(node, [place.graph for place in scopes])
    return (scope, node) if found is None else (scopes[found[0]], found[1])


def _into_instance(scope: Scope, node: Node, index: int, wanted: str, visited: _Visited) -> _Source:
    """Return the source of an instance's output inside its definition."""
    inner = scope.inside(node)
    if not 0 <= index < len(inner.graph.outputs):
        raise WorkflowFormatError(
            f"the subgraph instance {scope.prefix}{node.id} has no output {index}",
            place=f"{node.place}.outputs",
        )
    for link_id in inner.graph.outputs[index].link_ids:
        link = inner.graph.links.get(link_id)
        if link is None:
            continue
        origin = inner.graph.nodes.get(link.origin_id)
        if origin is not None:
            return _out_of(inner, origin, link.origin_slot, wanted, visited)
        if link.origin_id == INPUT_BOUNDARY:
            # The definition connects an input directly to an output; there is no inner input.
            return _through(inner, node, link.origin_slot, visited)
        raise WorkflowFormatError(
            f"link {link_id} comes from node {link.origin_id}, which is not there",
            place=f"{node.place}.outputs",
        )
    return None


def _through(inner: Scope, node: Node, index: int, visited: _Visited) -> _Source:
    """Return the source of the instance's own input."""
    assert inner.parent is not None
    if not 0 <= index < len(node.inputs):
        return None
    outer = node.inputs[index]
    if outer.link is None:
        return FromHost(outer.host) if outer.host is not None else None
    return _into(inner.parent, node, outer, outer.type, visited)


def _bypass(node: Node, index: int, wanted: str) -> InputSlot | None:
    """Return the input that replaces an output of a bypassed node, None when none fits.

    It is the one at the same index if it fits, else the first of exactly the wanted type, else
    the first that fits. When any type is wanted, it is the one at the same index, else the first.
    """
    inputs = node.inputs
    given = node.outputs[index].type if 0 <= index < len(node.outputs) else "*"
    if any_type(wanted):
        return inputs[index] if index < len(inputs) else inputs[0] if inputs else None

    def fits(slot: InputSlot) -> bool:
        return types_match(slot.type, given) and types_match(slot.type, wanted)

    if 0 <= index < len(inputs) and fits(inputs[index]):
        return inputs[index]
    exact = next((slot for slot in inputs if slot.type == wanted), None)
    return exact or next(filter(fits, inputs), None)


def _visit(visited: _Visited, side: str, scope: Scope, node: Node, index: int) -> None:
    """Record a visited slot, and raise when it was visited before."""
    key = (side, scope.prefix + node.id, index)
    if key in visited:
        message = "the links form a cycle"
        raise ConversionError(
            message,
            problems=[
                Problem(
                    node=scope.prefix + node.id,
                    title=node.title or "",
                    class_type=node.type,
                    type="dependency_cycle",
                    message=message,
                )
            ],
        )
    visited.add(key)


def _broken(node: Node, slot: InputSlot, what: str) -> WorkflowFormatError:
    """Return the error for a broken link."""
    index = next(i for i, item in enumerate(node.inputs) if item is slot)
    return WorkflowFormatError(
        f"input {slot.name!r} of node {node.id} ({node.type}) is broken: {what}",
        place=f"{node.place}.inputs[{index}].link",
        hint="Open and save the file in ComfyUI to repair it.",
    )
