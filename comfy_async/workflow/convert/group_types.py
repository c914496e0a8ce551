"""The class that the editor makes of a group node: its widgets, inputs and outputs, and what it shows."""

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
"""Values for widgets by their names, and where the file has them."""


@dataclasses.dataclass(frozen=True, slots=True)
class GroupLink:
    """A link between two members, by their places; the input by its name."""

    origin: int
    output: int
    target: int
    input: str
    type: str


@dataclasses.dataclass(frozen=True, slots=True)
class GroupInput:
    """An input of the group node: the member's that it stands for, by its name there."""

    name: str
    type: str
    member: int
    inner: str


@dataclasses.dataclass(frozen=True, slots=True)
class GroupOutput:
    """An output of the group node: the member's that it stands for."""

    name: str
    type: str
    member: int
    slot: int


@dataclasses.dataclass(slots=True)
class GroupType:
    """The class that the editor makes of a group node.

    Attributes:
        name: Its name.
        members: Its nodes.
        links: The links between them.
        declared: Its widgets and sockets, by their names.
        inputs: What a link to it can fill.
        outputs: What links from it carry.
        widgets: By member, the names that its widgets have on the group node.
        size: How many nodes it stands for, those of group nodes in it and itself counted too.
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
    """What a group node has for its members: values by member, and links by the place of its input."""

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
    # The first of a name counts; group nodes inside others have a great many widgets.
    widgets = {widget.name: widget for widget in reversed(shown.widgets)}
    for name, (value, spot) in node.overrides.items():
        if (widget := widgets.get(name)) is not None:
            widget.value, widget.spot = value, spot
    by_name = {slot.name: slot.link for slot in node.inputs}
    links = [by_name.get(slot.name) for slot in shown.inputs]
    return Shown([_values(widgets, names) for names in group.widgets], links)


def _values(widgets: Mapping[str, Widget], names: Mapping[str, str]) -> Override:
    """Return the values of one member's widgets, by the names that they have there."""
    found: Override = {}
    for inner, outer in names.items():
        widget = widgets.get(outer)
        if widget is not None and widget.value is not MISSING:
            found[inner] = (widget.value, widget.spot)
    return found
