"""The graph that a conversion works on: what ComfyUI's frontend builds when it opens a file.

Nothing here is a copy of the editor file, so a conversion may change all of it.
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
"""The frontend's own nodes that exist in the editor only; those of packs are their rules' to name."""

JSON_OBJECT: Final = (dict, Mapping)
"""For isinstance: a test for `dict` first is many times as fast as one for `Mapping` alone."""


class Missing:
    """The type of `MISSING`, which stands for JavaScript's `undefined`: left out of the prompt."""

    __slots__ = ()


MISSING: Final = Missing()


class Spot(NamedTuple):
    """Where in the file a value stands: `widgets_values` of the node at `place`, by index or by name."""

    place: str
    key: int | str


Rules: TypeAlias = tuple[tuple[str, Mapping[str, Any]], ...]
"""The kinds and options of the widgets that a value passes through on its way, each of which may round it."""


@dataclasses.dataclass(slots=True)
class Link:
    """A connection inside one graph; node ids are text, as in the frontend since 1.49."""

    id: int
    origin_id: str
    origin_slot: int
    target_id: str
    target_slot: int
    type: str = "*"


@dataclasses.dataclass(slots=True)
class Widget:
    """A field of a node that holds a value.

    Attributes:
        name: The input that it fills.
        kind: `number`, `combo`, `text`, `multiline`, `dynamic`, `curve` or another word of the
            frontend's; only those that behave differently matter.
        value: The value, `MISSING` while it has none.
        saved: Whether it takes a place in `widgets_values`.
        sent: Whether it goes into the prompt.
        text: How the text is treated when it is sent: "prompt", "filename" or "" for not at all.
        options: The declaration's options.
        spot: Where the present value was read, None when it is no copy of one value of the file.
        rules: What the value passed through on the way from there.
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
        """Return a widget of its own with the same value, for a node that no file gave values yet."""
        return Widget(self.name, self.kind, self.value, self.saved, self.sent, self.text, self.options)


@dataclasses.dataclass(slots=True)
class InputSlot:
    """An input of a node; `widget` names the widget that a link would override, `label` is the user's name.

    On a subgraph instance `host` is the promoted widget, and `boundary` the input of the
    definition that it stands for.
    """

    name: str
    type: str
    link: int | None = None
    widget: str | None = None
    host: Widget | None = None
    boundary: Boundary | None = None
    label: str | None = None

    def copy(self) -> InputSlot:
        """Return a slot of its own, not connected."""
        return InputSlot(self.name, self.type, None, self.widget)


@dataclasses.dataclass(slots=True)
class OutputSlot:
    """An output of a node."""

    name: str
    type: str
    links: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, eq=False)
class Boundary:
    """An input or output of a subgraph definition, as its inner nodes see it."""

    name: str
    type: str
    link_ids: list[int]


@dataclasses.dataclass(slots=True, eq=False)
class Node:
    """A node, a subgraph instance when it has a `definition`.

    `saved` is the node as the file has it, for rules that look at its place, colour or labels.
    `surplus` are saved values that no widget took, `strays` links that found no input.
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
        """Return the first widget of that name; on a subgraph instance a promoted one."""
        for widget in self.all_widgets():
            if widget.name == name:
                return widget
        return None

    def all_widgets(self) -> Iterator[Widget]:
        """Yield every widget; those of a subgraph instance hang on its inputs."""
        if self.definition is None:
            yield from self.widgets
        else:
            yield from (slot.host for slot in self.inputs if slot.host is not None)

    def add_widget(self, name: str, value: Any, kind: str = "text", **more: Any) -> Widget:
        """Give the node one more widget, and return it; `more` are further fields of `Widget`."""
        widget = Widget(name, kind, value, **more)
        self.widgets.append(widget)
        return widget

    def drop_widgets(self, names: Collection[str]) -> None:
        """Take the widgets of these names away; the slots through which links override them stay."""
        self.widgets[:] = [widget for widget in self.widgets if widget.name not in names]

    def slot_widget(self, slot: InputSlot) -> Widget | None:
        """Return the widget that a link into the slot overrides."""
        if slot.host is not None:
            return slot.host
        return self.widget(slot.widget) if slot.widget is not None else None

    def insert_inputs(self, at: int, slots: list[InputSlot]) -> None:
        """Insert inputs and let the links of all from there on name their new places.

        Links of a file name places among fewer inputs than the class has (the frontend saves
        no empty widget inputs). Where 1.49.6 looks at these places before all are put right,
        it matters which ones have been already.
        """
        self.inputs[at:at] = slots
        for index in range(at, len(self.inputs)):
            self.point_link(index)

    def point_link(self, index: int) -> None:
        """Let the link of an input name its place."""
        link = self.links.get(self.inputs[index].link or 0)
        if link is not None:
            link.target_slot = index

    def slot_of_link(self, link_id: int) -> InputSlot | None:
        """Return the input that the link ends in, as the input itself says."""
        return next((slot for slot in self.inputs if slot.link == link_id), None)


@dataclasses.dataclass(slots=True, eq=False)
class Graph:
    """The root graph or a subgraph definition; `groups` are its frames, as the file has them."""

    id: str
    name: str = ""
    nodes: dict[str, Node] = dataclasses.field(default_factory=dict)
    links: dict[int, Link] = dataclasses.field(default_factory=dict)
    inputs: list[Boundary] = dataclasses.field(default_factory=list)
    outputs: list[Boundary] = dataclasses.field(default_factory=list)
    hosts: list[Node] = dataclasses.field(default_factory=list)
    groups: Sequence[Mapping[str, Any]] = ()

    def walk(self) -> Iterator[tuple[Graph, Node]]:
        """Yield every node with its graph, each used definition once."""
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
    """Return whether a slot of that type takes and gives everything."""
    return type_ in ("", "*", "0")


def types_match(one: str, other: str) -> bool:
    """Return whether an output of one type may feed an input of the other (litegraph's rule)."""
    if any_type(one) or any_type(other) or one == other:
        return True
    one, other = one.lower(), other.lower()
    if "," not in one and "," not in other:
        return one == other
    return any(any_type(a) or any_type(b) or a == b for a in one.split(",") for b in other.split(","))
