"""The class that the editor creates for a group node: its widgets, inputs and outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .declarations import Declared
from .editor_file import SavedNode
from .editor_version import Editor
from .model import MISSING, Spot, Widget
from .node_from_class import build_node
from .saved_values import places_of, restore, restore_by_name

__all__ = ["GroupInput", "GroupLink", "GroupOutput", "GroupType", "Override", "Shown", "shown_group"]

Override = dict[str, tuple[Any, Spot | None]]
"""Values by widget name, each with its position in the file."""


@dataclasses.dataclass(frozen=True, slots=True)
class GroupLink:
    """A link between two members, which are given by index; the input is given by name."""

    origin: int
    output: int
    target: int
    input: str
    type: str


@dataclasses.dataclass(frozen=True, slots=True)
class GroupInput:
    """An input of the group node: the member's index, and the name of the member's input."""

    name: str
    type: str
    member: int
    inner: str


@dataclasses.dataclass(frozen=True, slots=True)
class GroupOutput:
    """An output of the group node: the member's index, and the member's output slot."""

    name: str
    type: str
    member: int
    slot: int


@dataclasses.dataclass(slots=True)
class GroupType:
    """The class that the editor creates for a group node.

    Attributes:
        name: Its name.
        members: Its nodes.
        links: The links between them.
        declared: Its declared inputs by name, those with widgets and those for links only.
        inputs: The inputs that can be linked.
        outputs: The outputs.
        widgets: For each member, the names of its widgets on the group node by their own names.
        size: The number of nodes that it expands to, including nested group nodes and itself.
    """

    name: str
    members: list[SavedNode]
    links: list[GroupLink]
    declared: dict[str, Declared] = dataclasses.field(default_factory=dict)
    inputs: list[GroupInput] = dataclasses.field(default_factory=list)
    outputs: list[GroupOutput] = dataclasses.field(default_factory=list)
    widgets: list[dict[str, str]] = dataclasses.field(default_factory=list)
    size: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """The values of a group node for each member, and the link of each of its inputs."""

    values: list[Override]
    links: list[int | None]


def shown_group(group: GroupType, node: SavedNode, editor: Editor) -> Shown:
    """Return the values that a group node has for each of its members, and the links to it."""
    declared = list(group.declared.values())
    shown = build_node(node.type, {}, declared, editor=editor)
    shown.place = node.place
    if isinstance(node.values, list):
        restore(shown, node.values, places_of(shown, node.values, declared))
    elif node.values is not None:
        restore_by_name(shown, node.values)
    # Of widgets with the same name the first counts; nested group nodes have a great many widgets.
    widgets = {widget.name: widget for widget in reversed(shown.widgets)}
    for name, (value, spot) in node.overrides.items():
        if (widget := widgets.get(name)) is not None:
            widget.value, widget.spot = value, spot
    by_name = {slot.name: slot.link for slot in node.inputs}
    links = [by_name.get(slot.name) for slot in shown.inputs]
    return Shown([_values(widgets, names) for names in group.widgets], links)


def _values(widgets: Mapping[str, Widget], names: Mapping[str, str]) -> Override:
    """Return the values of one member's widgets, by their names on the member."""
    found: Override = {}
    for inner, outer in names.items():
        widget = widgets.get(outer)
        if widget is not None and widget.value is not MISSING:
            found[inner] = (widget.value, widget.spot)
    return found
