"""Mapping widgets of the editor ("fields") to inputs of the prompt, for App mode's list of inputs.

A field is named by a node's id and a widget's name. The node may be at the root or inside a
subgraph; the widget may be a promoted one of a subgraph instance, or that of a PrimitiveNode, which
stands for all inputs that it feeds. The mapping follows values into the prompt: a widget that a
promoted one overrides becomes no input itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from .model import BYPASSED, MUTED, Graph, Node, Widget
from .old_promotions import widgets_instead
from .primitives import primitive_widgets

__all__ = ["Field", "FieldFinder", "FieldName"]

FieldName: TypeAlias = tuple[str, str]
"""A node's id (plain, as a path `57:3`, or in the newer form `<graph>:<node>:<widget>`), and a widget."""

_PRIMITIVE: Final = "PrimitiveNode"


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One widget of the editor, and the inputs of the prompt that get its value.

    Attributes:
        node: The node's id in the file.
        input: The widget's name.
        targets: The inputs of the prompt that get its value, as (node id, input).
        title: The node's title if the user changed it, else "".
        label: The widget's label if the user changed it, else "".
        reason: Why there are no targets, "" when there are some.
    """

    node: str
    input: str
    targets: tuple[tuple[str, str], ...] = ()
    title: str = ""
    label: str = ""
    reason: str = ""


class FieldFinder:
    """Finds the fields of one converted file."""

    def __init__(
        self,
        root: Graph,
        written: Mapping[str, Node],
        fed: Mapping[tuple[str, str], Widget | None],
        *,
        file_id: object = None,
    ) -> None:
        """Keep the graph, the nodes of the prompt, and the widgets whose values their inputs have."""
        self._root = root
        self._written = written
        self._fed = fed
        self._file_id = file_id
        self._graphs = {graph.id: graph for graph, _ in root.walk()} | {root.id: root}

    def find(self, name: FieldName) -> Field:
        """Return a field with the inputs that get its value, or with the reason why there are none."""
        key, widget = _plain_name(name)
        found = list(self._nodes(name[0], key))
        if not found:
            return Field(key, widget, reason=f"there is no node {key}")
        fields = [self._field(graph, node, widget, only) for graph, node, only in found]
        return next((field for field in fields if field.targets), fields[0])

    # Which node is meant.

    def _nodes(self, given: str, key: str) -> Iterator[tuple[Graph, Node, str | None]]:
        """Yield the nodes that an id may refer to, the root's first, with the path if one was given."""
        graph_id = given.split(":", 1)[0]
        inside = self._graphs.get(graph_id) if given != key and graph_id != self._file_id else None
        if inside is not None and key in inside.nodes:
            yield inside, inside.nodes[key], None
            return
        if key in self._root.nodes:
            yield self._root, self._root.nodes[key], None
            return
        if (placed := self._at_path(key)) is not None:
            yield *placed, key
            return
        for graph in self._graphs.values():
            if key in graph.nodes:
                yield graph, graph.nodes[key], None

    def _at_path(self, key: str) -> tuple[Graph, Node] | None:
        """Return the node at a path of ids such as `57:3`, None when there is none."""
        graph, (*hosts, last) = self._root, key.split(":")
        for host in hosts:
            node = graph.nodes.get(host)
            if node is None or node.definition is None:
                return None
            graph = node.definition
        return (graph, graph.nodes[last]) if hosts and last in graph.nodes else None

    # The inputs that its widget feeds.

    def _field(self, graph: Graph, node: Node, name: str, only: str | None) -> Field:
        """Return the field of one node."""
        title = "" if node.definition is not None else _own_title(node)
        if node.mode in (MUTED, BYPASSED):
            how = "muted" if node.mode == MUTED else "bypassed"
            return Field(node.id, name, title=title, reason=f"node {node.id} is {how}")
        if node.type == _PRIMITIVE:
            widgets = primitive_widgets(graph, node) or widgets_instead(graph, node)
            targets = self._targets(widgets)
            reason = "" if targets else "the primitive feeds no input of the prompt"
            return Field(node.id, name, targets, title, reason=reason)
        widget, label = _widget(node, name)
        if widget is None:
            return Field(node.id, name, title=title, reason=_no_widget(node, name))
        if node.definition is not None:
            targets = self._targets([widget])
        else:
            targets = self._inner(node, widget.name, only)
        reason = "" if targets else self._reason(node, widget, only)
        return Field(node.id, name, targets, title, label, reason)

    def _inner(self, node: Node, name: str, only: str | None) -> tuple[tuple[str, str], ...]:
        """Return the inputs of the prompt that get the value of an ordinary node's widget.

        The node is in the prompt once for each subgraph instance around it.
        """
        keys = self._keys(node, only)
        own = [self._fed[key, name] for key in keys if self._fed.get((key, name)) is not None]
        found = self._targets([widget for widget in own if widget is not None])
        return found if only is None else tuple(target for target in found if target[0] == only)

    def _keys(self, node: Node, only: str | None) -> list[str]:
        """Return the ids under which a node is in the prompt."""
        return [key for key, item in self._written.items() if item is node and only in (None, key)]

    def _targets(self, widgets: list[Widget]) -> tuple[tuple[str, str], ...]:
        """Return the inputs of the prompt that have the values of these widgets."""
        wanted = {id(widget) for widget in widgets}
        return tuple(place for place, widget in self._fed.items() if id(widget) in wanted)

    def _reason(self, node: Node, widget: Widget, only: str | None) -> str:
        """Return why a widget's value is not in the prompt."""
        if not widget.sent:
            return "the editor never sends this widget"
        slot = next((slot for slot in node.inputs if slot.host is widget or slot.widget == widget.name), None)
        if slot is not None and slot.link is not None:
            return "a link feeds it"
        if node.definition is None and not self._keys(node, only):
            return f"node {node.id} is not in the prompt"
        return "no input of the prompt takes its value"


def _plain_name(name: FieldName) -> FieldName:
    """Return the node's id and the widget of a name, also of the newer form `<graph>:<node>:<widget>`."""
    node, widget = name
    graph, _, rest = node.partition(":")
    inner, colon, last = rest.partition(":")
    if len(graph) == _UUID_LETTERS and colon:
        return inner, last or widget
    return node, widget


_UUID_LETTERS: Final = 36


def _widget(node: Node, name: str) -> tuple[Widget | None, str]:
    """Return the widget of that name or label, None when there is none, and its label or ""."""
    labels = {slot.widget or slot.name: slot.label or "" for slot in node.inputs}
    if node.definition is not None:
        # An instance has the slots of its definition; their labels are in the file.
        labels |= {name: label for name, label in _saved_labels(node) if not labels.get(name)}
    widget = node.widget(name)
    if widget is None:
        widget = next((node.widget(known) for known, label in labels.items() if label == name), None)
    return widget, "" if widget is None else labels.get(widget.name, "")


def _saved_labels(node: Node) -> Iterator[tuple[str, str]]:
    """Yield the names and labels of the slots in the file."""
    slots = node.saved.get("inputs")
    for slot in slots if isinstance(slots, list) else ():
        if isinstance(slot, Mapping) and isinstance(slot.get("label"), str):
            yield str(slot.get("name")), slot["label"]


def _no_widget(node: Node, name: str) -> str:
    """Return why a node has no such widget."""
    if any(slot.name == name for slot in node.inputs):
        return f"input {name!r} of node {node.id} takes links only"
    if node.virtual and node.definition is None:
        return f"node {node.id} ({node.type}) is never sent"
    return f"node {node.id} has no input {name!r}"


def _own_title(node: Node) -> str:
    """Return the node's title if the user changed it, else ""."""
    title = node.saved.get("title")
    return title if isinstance(title, str) and title != node.type else ""
