"""Building the graph of a file: nodes with slots, links and values, definitions before instances."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConversionError
from ...types import Problem
from ..packs import Pack, is_virtual, marks, pack_of, packs_with_mark
from .class_models import Classes
from .editor_file import SavedEditor, SavedGraph, SavedNode
from .editor_version import Editor
from .links_table import Moved, connect, settle_table
from .model import (
    JSON_OBJECT,
    VIRTUAL,
    Graph,
    InputSlot,
    Link,
    Node,
    OutputSlot,
    Spot,
    Widget,
)
from .node_from_class import add_shim, grow
from .old_promotions import migrate_promotions
from .promoted_widgets import bind_promoted, restore_promoted, settle_promoted
from .saved_values import left_by_name, restore, restore_by_name, set_value
from .slot_types import settle_types

__all__ = ["Opener"]


class Opener:
    """Builds the graph of one file."""

    def __init__(self, file: SavedEditor, catalog: Mapping[str, Any], editor: Editor) -> None:
        """Keep the file, the classes of the server, and the editor version to convert like."""
        self._file = file
        self._editor = editor
        self._catalog = catalog
        self._classes = Classes(catalog, editor)
        self._graphs: dict[str, Graph] = {}
        self._packs: list[Pack] = []

    @property
    def packs(self) -> list[Pack]:
        """The packs whose rules apply to the file, filled by `open`."""
        return self._packs

    def open(self) -> Graph:
        """Return the root graph.

        Raises:
            ConversionError: A subgraph contains itself.
        """
        for saved in self._file.definitions:
            # All are created empty first, because an instance may precede its definition in the file.
            graph = Graph(saved.id, saved.name, {}, saved.links, saved.inputs, saved.outputs)
            graph.groups = saved.groups
            self._graphs[saved.id] = graph
        opened = []
        for saved in _leaves_first(self._file.definitions):
            opened.append(self._graphs[saved.id])
            self._fill(self._graphs[saved.id], saved)
        root = Graph("", links=self._file.root.links, groups=self._file.root.groups)
        self._fill(root, self._file.root)
        settle_types([*opened, root])
        return root

    def _fill(self, graph: Graph, saved: SavedGraph) -> None:
        """Create the nodes of a graph, then set their slots and values, then migrate promotions."""
        incoming = settle_table(saved, self._editor)
        for item in saved.nodes:
            graph.nodes[item.id] = node = self._make(item)
            node.links = graph.links
        for item in saved.nodes:
            self._configure(graph, graph.nodes[item.id], item, incoming.get(item.id, ()))
        for item in saved.nodes:
            node = graph.nodes[item.id]
            if node.definition is not None:
                migrate_promotions(node, node.definition, item.values)
                settle_promoted(node)

    def _make(self, saved: SavedNode) -> Node:
        """Return a new node: a subgraph instance, a node of a known class, or one of an unknown class."""
        if (definition := self._graphs.get(saved.type)) is not None:
            node = Node(saved.id, saved.type, title=definition.name, virtual=True, definition=definition)
            definition.hosts.append(node)
        elif saved.type in self._catalog:
            node = self._classes.node(saved.type)
            node.virtual = is_virtual(saved.type)
        else:
            node = Node(saved.id, saved.type, virtual=saved.type in VIRTUAL or is_virtual(saved.type))
        node.id, node.mode, node.place = saved.id, saved.mode, saved.place
        node.properties, node.saved, node.saved_values = saved.properties, saved.saved, saved.values
        node.title, node.editor = saved.title or node.title, self._editor
        self._meet_packs(node)
        return node

    def _meet_packs(self, node: Node) -> None:
        """Record the packs whose rules apply to the node."""
        own = pack_of(node.type)
        if own is None and marks().isdisjoint(node.properties):
            return
        found = [pack for mark in node.properties for pack in packs_with_mark(mark)]
        if own is not None:
            found.append(own)
        self._packs += [pack for pack in found if pack not in self._packs]

    def _restore(self, node: Node, saved: SavedNode, places: Sequence[int]) -> None:
        """Set the node's saved values; of a list, those at these places."""
        names = self._catalog[saved.type].get("fallbackWidgetsValuesNames")
        values: Any = saved.values
        if isinstance(names, list) and self._editor.restores_names:
            _restore_named(node, saved, names)
        elif isinstance(values, JSON_OBJECT):
            restore_by_name(node, values)
            node.surplus = left_by_name(node, values)
        else:
            restore(node, values or (), places)

    def _configure(self, graph: Graph, node: Node, saved: SavedNode, links: Sequence[Link]) -> None:
        """Set the node's saved slots and values, and the links that end in it."""
        if node.definition is not None:
            bind_promoted(node, node.definition)
            connect(node.inputs, saved.inputs, links)
            node.outputs = _merge_outputs(
                [OutputSlot(slot.name, slot.type) for slot in node.definition.outputs], saved.outputs
            )
            restore_promoted(node, saved.values, saved.named)
            return
        if node.class_type is None:
            node.inputs, node.outputs = saved.inputs, saved.outputs
            connect(node.inputs, saved.inputs, links)
            if not node.virtual and isinstance(saved.values, list):
                node.widgets = [_stand_in(index, value) for index, value in enumerate(saved.values)]
            return
        node.inputs = _merge_inputs(node.inputs, saved.inputs)
        node.outputs = _merge_outputs(node.outputs, saved.outputs)
        places = self._classes.places(node, saved.values)
        moved = connect(node.inputs, saved.inputs, links)
        chosen = _chosen(node) if links else set()
        _grow_connected(graph, node)
        pack = pack_of(saved.type)
        if pack is None or not pack.restore(node, saved.named if saved.values is None else saved.values):
            self._restore(node, saved, places)
        _override(node, saved)
        if pack is not None:
            pack.loaded(node)
        if self._editor.returns_links:
            _return_links(node, moved)
        _drop_orphans(node)
        if links:
            standing = {slot.link for slot in node.inputs} | chosen
            node.strays = [link for link in links if link.id not in standing]


def _restore_named(node: Node, saved: SavedNode, names: list[Any]) -> None:
    """Set values by name: the file's named values, else its list, with the names that the class declares."""
    if saved.named is not None:
        restore_by_name(node, saved.named)
        return
    if not isinstance(saved.values, list):
        restore_by_name(node, saved.values or {})
        return
    restore_by_name(node, dict(zip(names, saved.values, strict=False)))
    for widget in node.widgets:
        if widget.spot is not None:
            widget.spot = Spot(node.place, names.index(widget.spot.key))


def _chosen(node: Node) -> set[int | None]:
    """Return the links to inputs of dynamic combos and groups, which a later value may remove."""
    brought = tuple(f"{widget.name}." for widget in node.widgets if widget.kind in ("dynamic", "rows"))
    return {slot.link for slot in node.inputs if slot.name.startswith(brought)} if brought else set()


def _override(node: Node, saved: SavedNode) -> None:
    """Set the values that a group node around the node has for it."""
    for name, (value, spot) in saved.overrides.items():
        if (widget := node.widget(name)) is not None:
            set_value(node, widget, value, spot)


def _leaves_first(definitions: list[SavedGraph]) -> list[SavedGraph]:
    """Return the definitions sorted so that each follows those that it uses.

    Raises:
        ConversionError: A definition contains itself.
    """
    by_id = {graph.id: graph for graph in definitions}
    ordered: dict[str, SavedGraph] = {}
    for start in definitions:
        stack: list[tuple[SavedGraph, bool]] = [(start, False)]
        open_ids: set[str] = set()
        while stack:
            graph, done = stack.pop()
            if done:
                open_ids.discard(graph.id)
                ordered[graph.id] = graph
                continue
            if graph.id in ordered:
                continue
            if graph.id in open_ids:
                raise _contains_itself(graph)
            open_ids.add(graph.id)
            stack.append((graph, True))
            stack += [(by_id[node.type], False) for node in graph.nodes if node.type in by_id]
    return list(ordered.values())


def _contains_itself(graph: SavedGraph) -> ConversionError:
    """Return the error for a subgraph that is part of itself."""
    message = f"the subgraph {graph.name or graph.id!r} contains itself"
    return ConversionError(message, problems=[Problem(type="dependency_cycle", message=message)])


def _merge_inputs(own: list[InputSlot], saved: list[InputSlot]) -> list[InputSlot]:
    """Return the class's inputs with the saved labels, then the saved inputs that it does not declare.

    Whether an input has a widget is decided by the class, not by the file.
    """
    by_name = {slot.name: slot for slot in saved}
    for slot in own:
        if (known := by_name.pop(slot.name, None)) is not None:
            slot.label = known.label
    return [*own, *(slot for slot in saved if slot.name in by_name)]


def _merge_outputs(own: list[OutputSlot], saved: list[OutputSlot]) -> list[OutputSlot]:
    """Return the class's outputs with the saved links, then the file's further outputs."""
    for slot, known in zip(own, saved, strict=False):
        slot.links = known.links
    return [*own, *saved[len(own) :]]


def _stand_in(index: int, value: Any) -> Widget:
    """Return a widget of a node whose class is unknown (errorNodeWidgets.ts)."""
    if not isinstance(value, str | int | float):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Widget(f"UNKNOWN_{index}" if index else "UNKNOWN", "text", value)


def _grow_connected(graph: Graph, node: Node) -> None:
    """Add the next input of an autogrow group after each linked one, including those added here."""
    if not node.autogrow:
        return
    index = 0
    while index < len(node.inputs):
        slot = node.inputs[index]
        if slot.widget is not None and slot.name.rpartition(".")[0] in node.autogrow:
            add_shim(node, slot)
        if slot.link is not None and slot.link in graph.links:
            grow(node, slot)
        index += 1


def _return_links(node: Node, moved: Moved) -> None:
    """Put links whose autogrow input is gone on the input that the table of links names.

    An input is gone when its dynamic combo has a value that is not an option. Links of other
    inputs are dropped with them.
    """
    for link, left, place in moved:
        group = left.name.rpartition(".")[0]
        if group in node.autogrow and not any(slot.link == link.id for slot in node.inputs):
            if place.link is None and any(slot is place for slot in node.inputs):
                place.link = link.id


def _drop_orphans(node: Node) -> None:
    """Drop the inputs whose widget no longer exists (widgetInputs.ts, onGraphConfigured).

    The frontend's loop skips the input that follows a dropped one, and so does this.
    """
    names = {widget.name for widget in node.widgets}
    index = 0
    while index < len(node.inputs):
        if node.inputs[index].widget is not None and node.inputs[index].widget not in names:
            del node.inputs[index]
        index += 1
