"""The graph that a conversion works on: what ComfyUI's frontend builds when it opens a file.

The conversion changes these objects; it does not change the editor file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from .editor_version import Editor

__all__ = [
    "BYPASSED",
    "INPUT_BOUNDARY",
    "JSON_OBJECT",
    "MISSING",
    "MUTED",
    "OUTPUT_BOUNDARY",
    "Boundary",
    "Graph",
    "InputSlot",
    "Link",
    "Missing",
    "Node",
    "OutputSlot",
    "Rules",
    "Spot",
    "VIRTUAL",
    "Widget",
    "any_type",
    "types_match",
]

_NEWEST: Final = Editor()

MUTED: Final = 2
BYPASSED: Final = 4

INPUT_BOUNDARY: Final = "-10"
OUTPUT_BOUNDARY: Final = "-20"


VIRTUAL: Final = frozenset({"PrimitiveNode", "Reroute", "Note", "MarkdownNote"})
"""The frontend's own nodes that exist only in the editor; those of packs are named by their rules."""

JSON_OBJECT: Final = (dict, Mapping)
"""For isinstance: a test for `dict` first is many times as fast as one for `Mapping` alone."""


class Missing:
    """The type of `MISSING`, which stands for JavaScript's `undefined` and is left out of the prompt."""

    __slots__ = ()


MISSING: Final = Missing()


class Spot(NamedTuple):
    """The position of a value in the file: in `widgets_values` of the node at `place`, by index or name."""

    place: str
    key: int | str


Rules: TypeAlias = tuple[tuple[str, Mapping[str, Any]], ...]
"""The kinds and options of the widgets that a value passes through, each of which may round it."""


@dataclasses.dataclass(slots=True)
class Link:
    """A link inside one graph; node ids are strings, as in the frontend since 1.49."""

    id: int
    origin_id: str
    origin_slot: int
    target_id: str
    target_slot: int
    type: str = "*"


@dataclasses.dataclass(slots=True)
class Widget:
    """A widget of a node, which holds a value.

    Attributes:
        name: The input that it fills.
        kind: `number`, `combo`, `text`, `multiline`, `dynamic`, `curve` or another kind of the
            frontend; only kinds with behavior of their own matter.
        value: The value, `MISSING` while it has none.
        saved: Whether it has a place in `widgets_values`.
        sent: Whether its value is part of the prompt.
        text: How a text is processed when it is sent: as "prompt", as "filename" or "" for unchanged.
        options: The declaration's options.
        spot: The position in the file of the present value, None when it is not a copy of one value.
        rules: The widgets that the value passed through from there.
    """

    name: str
    kind: str
    value: Any = MISSING
    saved: bool = True
    sent: bool = True
    text: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    spot: Spot | None = None
    rules: Rules = ()

    def copy(self) -> Widget:
        """Return a copy with the same value, but without a position in the file."""
        return Widget(self.name, self.kind, self.value, self.saved, self.sent, self.text, self.options)


@dataclasses.dataclass(slots=True)
class InputSlot:
    """An input of a node; `widget` names the widget that a link overrides, `label` is the user's name for it.

    On a subgraph instance `host` is the promoted widget, and `boundary` the corresponding input
    of the definition.
    """

    name: str
    type: str
    link: int | None = None
    widget: str | None = None
    host: Widget | None = None
    boundary: Boundary | None = None
    label: str | None = None

    def copy(self) -> InputSlot:
        """Return a copy without a link."""
        return InputSlot(self.name, self.type, None, self.widget)


@dataclasses.dataclass(slots=True)
class OutputSlot:
    """An output of a node."""

    name: str
    type: str
    links: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, eq=False)
class Boundary:
    """An input or output of a subgraph definition, with its inner links."""

    name: str
    type: str
    link_ids: list[int]


@dataclasses.dataclass(slots=True, eq=False)
class Node:
    """A node, or a subgraph instance when it has a `definition`.

    `saved` is the node as it is in the file, for rules that need its position, colour or labels.
    `surplus` has the saved values that no widget took, `strays` the links to inputs that do not exist.
    """

    id: str
    type: str
    title: str | None = None
    mode: int = 0
    inputs: list[InputSlot] = dataclasses.field(default_factory=list)
    outputs: list[OutputSlot] = dataclasses.field(default_factory=list)
    widgets: list[Widget] = dataclasses.field(default_factory=list)
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    autogrow: dict[str, Any] = dataclasses.field(default_factory=dict)
    match_types: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    output_groups: tuple[str | None, ...] = ()
    class_type: str | None = None
    virtual: bool = False
    definition: Graph | None = None
    links: dict[int, Link] = dataclasses.field(default_factory=dict)
    saved_values: Any = None
    saved: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    place: str = ""
    editor: Editor = _NEWEST
    surplus: Sequence[Any] = ()
    strays: Sequence[Link] = ()

    def widget(self, name: str | None) -> Widget | None:
        """Return the first widget of that name, None when there is none; of an instance a promoted one."""
        for widget in self.all_widgets():
            if widget.name == name:
                return widget
        return None

    def all_widgets(self) -> Iterator[Widget]:
        """Yield every widget; those of a subgraph instance belong to its inputs."""
        if self.definition is None:
            yield from self.widgets
        else:
            yield from (slot.host for slot in self.inputs if slot.host is not None)

    def add_widget(self, name: str, value: Any, kind: str = "text", **more: Any) -> Widget:
        """Add a widget to the node and return it; `more` are further fields of `Widget`."""
        widget = Widget(name, kind, value, **more)
        self.widgets.append(widget)
        return widget

    def drop_widgets(self, names: Collection[str]) -> None:
        """Remove the widgets of these names; the inputs through which links override them stay."""
        self.widgets[:] = [widget for widget in self.widgets if widget.name not in names]

    def slot_widget(self, slot: InputSlot) -> Widget | None:
        """Return the widget that a link to this input overrides, None when it has none."""
        if slot.host is not None:
            return slot.host
        return self.widget(slot.widget) if slot.widget is not None else None

    def insert_inputs(self, at: int, slots: list[InputSlot]) -> None:
        """Insert inputs, and update the target slots of the links of all inputs from there on.

        Links in a file count fewer inputs than the class has, because the frontend does not save
        unlinked widget inputs. Frontend 1.49.6 reads some target slots before all are updated, so
        the order of the updates matters.
        """
        self.inputs[at:at] = slots
        for index in range(at, len(self.inputs)):
            self.point_link(index)

    def point_link(self, index: int) -> None:
        """Set the target slot of an input's link to the input's index."""
        link = self.links.get(self.inputs[index].link or 0)
        if link is not None:
            link.target_slot = index

    def slot_of_link(self, link_id: int) -> InputSlot | None:
        """Return the input whose `link` has this id, None when there is none."""
        return next((slot for slot in self.inputs if slot.link == link_id), None)


@dataclasses.dataclass(slots=True, eq=False)
class Graph:
    """The root graph or a subgraph definition; `groups` are its frames as in the file."""

    id: str
    name: str = ""
    nodes: dict[str, Node] = dataclasses.field(default_factory=dict)
    links: dict[int, Link] = dataclasses.field(default_factory=dict)
    inputs: list[Boundary] = dataclasses.field(default_factory=list)
    outputs: list[Boundary] = dataclasses.field(default_factory=list)
    hosts: list[Node] = dataclasses.field(default_factory=list)
    groups: Sequence[Mapping[str, Any]] = ()

    def walk(self) -> Iterator[tuple[Graph, Node]]:
        """Yield every node with its graph; a subgraph definition that is used is visited once."""
        graphs: list[Graph] = [self]
        seen = {self.id}
        while graphs:
            graph = graphs.pop()
            for node in graph.nodes.values():
                yield graph, node
                if node.definition is not None and node.definition.id not in seen:
                    seen.add(node.definition.id)
                    graphs.append(node.definition)


def any_type(type_: str) -> bool:
    """Return whether a slot of that type can be linked with any type."""
    return type_ in ("", "*", "0")


def types_match(one: str, other: str) -> bool:
    """Return whether an output of one type may be linked to an input of the other (litegraph's rule)."""
    if any_type(one) or any_type(other) or one == other:
        return True
    one, other = one.lower(), other.lower()
    if "," not in one and "," not in other:
        return one == other
    return any(any_type(a) or any_type(b) or a == b for a in one.split(",") for b in other.split(","))
