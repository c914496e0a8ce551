"""Converting group nodes of files from 2023 to 2025 to subgraphs, as the editor does on load.

A file stores the definition of a group node under `extra.groupNodes`; its instances are nodes of
type `workflow>NAME` (`workflow/NAME` before August 2024), with values of their own. Frontend 1.49.6
replaces each instance by a subgraph (groupNode.ts): the inner nodes get the next free ids, then
the subgraph does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

from ...errors import ConversionError
from ...types import Problem
from ..packs import is_virtual
from .editor_file import SavedEditor, SavedGraph, SavedNode
from .editor_version import Editor
from .group_reader import MOST_GROUPED, Known, read_group
from .group_types import GroupType, shown_group
from .model import (
    INPUT_BOUNDARY,
    JSON_OBJECT,
    OUTPUT_BOUNDARY,
    VIRTUAL,
    Boundary,
    InputSlot,
    Link,
    OutputSlot,
)

__all__ = ["Incomplete", "expand_group_nodes", "group_name"]

Incomplete: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By type of the group nodes that are not expanded: their missing classes, with `properties` of one node."""


def group_name(node_type: str) -> str | None:
    """Return the name of the group node that a node type refers to, None for other types."""
    for prefix in ("workflow>", "workflow/"):
        if node_type.startswith(prefix):
            return node_type.removeprefix(prefix)
    return None


def expand_group_nodes(
    saved: SavedEditor, file: Mapping[str, Any], catalog: Mapping[str, Any], editor: Editor
) -> Incomplete:
    """Replace each group node by a subgraph, including those inside others.

    As in the editor, group nodes that contain a node of an unknown class are not replaced: what
    their inputs and outputs mean depends on what that class declares.

    Args:
        saved: The file as it was read; its graphs are changed.
        file: Its content, with the definitions under `extra.groupNodes`.
        catalog: The classes of the server.
        editor: The editor version to convert like.

    Returns:
        The group nodes that were not replaced, with their missing classes.

    Raises:
        ConversionError: A group node contains itself, or they expand without end.
        WorkflowFormatError: One of them is damaged.
    """
    extra = file.get("extra")
    groups = extra.get("groupNodes") if isinstance(extra, JSON_OBJECT) else None
    if not isinstance(groups, JSON_OBJECT) or not groups:
        return {}
    expansion = _Expansion(saved, groups, catalog, editor)
    expansion.run()
    return expansion.incomplete


class _Expansion:
    """The expansion of one file's group nodes."""

    def __init__(
        self, saved: SavedEditor, groups: Mapping[str, Any], catalog: Mapping[str, Any], editor: Editor
    ) -> None:
        """Keep the file; new ids continue after its last one."""
        self._editor = editor
        self._saved = saved
        self._groups = groups
        self._catalog = catalog
        self._last_id = max(saved.last_node_id, *(_numbers(saved)), 0)
        self._made = 0
        self._known: Known = {}
        self._types = {graph.id for graph in saved.definitions}
        self.incomplete: dict[str, dict[str, Mapping[str, Any]]] = {}

    def run(self) -> None:
        """Expand the group nodes of every graph, including those inside expanded ones."""
        waiting: list[tuple[SavedGraph, tuple[str, ...]]] = [(self._saved.root, ())]
        waiting += [(graph, ()) for graph in self._saved.definitions]
        for graph, around in waiting:  # the list grows during the loop
            for node in list(graph.nodes):
                name = group_name(node.type)
                if name is None or name not in self._groups:
                    continue
                if name in around:
                    raise _contains_itself(node, name)
                if missing := self._missing(name):
                    self.incomplete[node.type] = missing
                    continue
                definition = self._expand(graph, node, name)
                self._saved.definitions.append(definition)
                waiting.append((definition, (*around, name)))

    def _missing(self, name: str) -> dict[str, Mapping[str, Any]]:
        """Return the classes in a group and in nested groups that neither server nor editor has."""
        found: dict[str, Mapping[str, Any]] = {}
        waiting = [name]
        for group in waiting:  # the list grows during the loop
            for member in _members(self._groups[group]):
                kind, properties = member["type"], member.get("properties")
                inner = group_name(kind)
                if inner is not None and inner in self._groups:
                    if inner not in waiting:
                        waiting.append(inner)
                elif kind not in self._catalog and kind not in self._types and not _in_editor_only(kind):
                    found.setdefault(kind, properties if isinstance(properties, JSON_OBJECT) else {})
        return found

    def _next_id(self) -> str:
        """Return the next free id."""
        self._made += 1
        if self._made > MOST_GROUPED:
            raise ConversionError(f"the group nodes expand to more than {MOST_GROUPED} nodes")
        self._last_id += 1
        return str(self._last_id)

    def _expand(self, graph: SavedGraph, node: SavedNode, name: str) -> SavedGraph:
        """Replace one group node by an instance of a new definition, and return the definition."""
        group = self._known.get(name) or read_group(name, self._groups, self._catalog, self._known)
        shown = shown_group(group, node, self._editor)
        inner = [
            dataclasses.replace(
                member,
                id=self._next_id(),
                inputs=[slot.copy() for slot in member.inputs],
                outputs=[OutputSlot(slot.name, slot.type) for slot in member.outputs],
                overrides=shown.values[index],
                # The editor creates new primitives, with the value of the widget that they feed.
                values=None if member.type == "PrimitiveNode" else member.values,
            )
            for index, member in enumerate(group.members)
        ]
        instance = self._next_id()
        definition = SavedGraph(f"workflow>{name} {instance}", name, inner, {}, [], [], [], "")
        _link_inside(definition, group)
        inputs = _give_inputs(definition, group, shown.links)
        _give_outputs(definition, group)
        outputs = [
            OutputSlot(
                output.name, output.type, node.outputs[index].links if index < len(node.outputs) else []
            )
            for index, output in enumerate(group.outputs)
        ]
        replacement = dataclasses.replace(
            node, id=instance, type=definition.id, inputs=inputs, outputs=outputs, values=None, named=None
        )
        replacement.mode = 0  # neither 1.49.6 nor 1.58.1 keeps a group node muted or bypassed
        graph.nodes[:] = [*(item for item in graph.nodes if item is not node), replacement]
        _move_links(graph, node.id, replacement)
        return definition


def _members(group: Any) -> list[Mapping[str, Any]]:
    """Return the nodes of a group that are in order; `read_group` names what is damaged."""
    nodes = group.get("nodes") if isinstance(group, JSON_OBJECT) else None
    return [
        node
        for node in (nodes if isinstance(nodes, list | tuple) else ())
        if isinstance(node, JSON_OBJECT) and isinstance(node.get("type"), str) and node["type"]
    ]


def _in_editor_only(kind: str) -> bool:
    """Return whether nodes of a type are the editor's own, or those of a pack in it."""
    return kind in VIRTUAL or is_virtual(kind)


def _numbers(saved: SavedEditor) -> list[int]:
    """Return the numeric ids of all nodes."""
    nodes = (node for graph in (saved.root, *saved.definitions) for node in graph.nodes)
    return [int(node.id) for node in nodes if node.id.isascii() and node.id.isdigit()]


def _contains_itself(node: SavedNode, name: str) -> ConversionError:
    """Return the error for a group node that contains itself."""
    message = f"the group node {name!r} contains itself"
    problem = Problem(node=node.id, class_type=node.type, type="dependency_cycle", message=message)
    return ConversionError(message, problems=[problem])


def _link_inside(definition: SavedGraph, group: GroupType) -> None:
    """Add the links between the inner nodes."""
    for link in group.links:
        origin, target = definition.nodes[link.origin], definition.nodes[link.target]
        slot = _slot_named(target, link.input, link.type)
        _add_link(definition, origin.id, link.output, target, slot, link.type)
        _output(origin, link.output, link.type).links.append(max(definition.links))


def _give_inputs(definition: SavedGraph, group: GroupType, links: list[int | None]) -> list[InputSlot]:
    """Add the group node's inputs to the definition, and return those of its instance."""
    inputs = []
    for index, item in enumerate(group.inputs):
        boundary = Boundary(item.name, item.type, [])
        definition.inputs.append(boundary)
        outer = links[index] if index < len(links) else None
        inputs.append(InputSlot(item.name, item.type, outer))
        if outer is not None:
            target = definition.nodes[item.member]
            slot = _slot_named(target, item.inner, item.type)
            _add_link(definition, INPUT_BOUNDARY, index, target, slot, item.type)
            boundary.link_ids.append(max(definition.links))
    return inputs


def _give_outputs(definition: SavedGraph, group: GroupType) -> None:
    """Add the group node's outputs to the definition."""
    for index, item in enumerate(group.outputs):
        number = len(definition.links) + 1
        origin = definition.nodes[item.member]
        definition.links[number] = Link(number, origin.id, item.slot, OUTPUT_BOUNDARY, index, item.type)
        _output(origin, item.slot, item.type).links.append(number)
        definition.outputs.append(Boundary(item.name, item.type, [number]))


def _slot_named(node: SavedNode, name: str, kind: str) -> InputSlot:
    """Return the input of that name, a new one if the file does not have it."""
    for slot in node.inputs:
        if slot.name == name:
            return slot
    slot = InputSlot(name, kind)
    node.inputs.append(slot)
    return slot


def _output(node: SavedNode, index: int, kind: str) -> OutputSlot:
    """Return an output, a new one if the file does not have it: old files lack unlinked outputs."""
    while len(node.outputs) <= index:
        node.outputs.append(OutputSlot("", kind))
    return node.outputs[index]


def _add_link(
    definition: SavedGraph, origin: str, output: int, target: SavedNode, slot: InputSlot, kind: str
) -> None:
    """Add a link to an inner node."""
    number = len(definition.links) + 1
    index = next(place for place, item in enumerate(target.inputs) if item is slot)
    definition.links[number] = Link(number, origin, output, target.id, index, kind)
    slot.link = number


def _move_links(graph: SavedGraph, old: str, instance: SavedNode) -> None:
    """Change the links of the group node to links of the instance that replaces it."""
    places = {slot.link: index for index, slot in enumerate(instance.inputs) if slot.link is not None}
    for link in graph.links.values():
        if link.origin_id == old:
            link.origin_id = instance.id
        if link.target_id == old:
            link.target_id = instance.id
            link.target_slot = places.get(link.id, link.target_slot)
