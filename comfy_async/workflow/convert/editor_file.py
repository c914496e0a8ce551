"""Reading an editor file: both forms of links, both versions; errors name the place of the damage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ...errors import WorkflowFormatError
from .model import JSON_OBJECT, Boundary, InputSlot, Link, OutputSlot, Spot

__all__ = ["SavedEditor", "SavedGraph", "SavedNode", "read_editor", "read_node"]

_End = TypeVar("_End", OutputSlot, Boundary)


@dataclasses.dataclass(slots=True)
class SavedNode:
    """A node as it is in the file, before its values are assigned to widgets.

    `overrides` has the values, by widget name, that a group node around it has for it, each with
    its position in the file.
    """

    id: str
    numeric: bool
    type: str
    title: str
    mode: int
    inputs: list[InputSlot]
    outputs: list[OutputSlot]
    properties: Mapping[str, Any]
    values: list[Any] | Mapping[str, Any] | None
    named: Mapping[str, Any] | None
    place: str
    saved: Mapping[str, Any]
    overrides: Mapping[str, tuple[Any, Spot | None]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class SavedGraph:
    """The root graph or a subgraph definition as it is in the file."""

    id: str
    name: str
    nodes: list[SavedNode]
    links: dict[int, Link]
    inputs: list[Boundary]
    outputs: list[Boundary]
    groups: list[Mapping[str, Any]]
    place: str


@dataclasses.dataclass(slots=True)
class SavedEditor:
    """An editor file: the root, the definitions in file order, and the last node id that was assigned."""

    root: SavedGraph
    definitions: list[SavedGraph]
    last_node_id: int


def read_editor(editor: Any) -> SavedEditor:
    """Read an editor file of version 0.4 or 1; links may be arrays or objects in either.

    Raises:
        WorkflowFormatError: The file is damaged, or is not an editor file.
    """
    if not isinstance(editor, JSON_OBJECT):
        raise _damaged("", "an object", editor)
    if "nodes" not in editor:
        raise WorkflowFormatError("this is not an editor file: it has no `nodes`", place="nodes")
    root = _graph(editor, "", fallback_id="")
    definitions = list(_definitions(editor, ""))
    _refuse_twins(definitions)
    return SavedEditor(root, definitions, _last_node_id(editor))


def _refuse_twins(items: Iterable[SavedGraph]) -> None:
    """Raise when two definitions share an id, because their instances would be ambiguous."""
    seen: dict[str, str] = {}
    for item in items:
        if item.id in seen:
            place = f"{item.place}.id"
            raise WorkflowFormatError(f"{place} is {item.id!r}, which {seen[item.id]} has too", place=place)
        seen[item.id] = item.place


def _last_node_id(editor: Mapping[str, Any]) -> int:
    """Return the last id that was assigned: version 0.4 has it at the top level, version 1 in `state`."""
    state = editor.get("state")
    value = editor.get("last_node_id")
    if value is None and isinstance(state, JSON_OBJECT):
        value = state.get("lastNodeId")
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _definitions(data: Mapping[str, Any], place: str) -> Iterator[SavedGraph]:
    """Yield the subgraph definitions, including those nested in other definitions."""
    definitions = data.get("definitions")
    if definitions is None:
        return
    where = _join(place, "definitions")
    subgraphs = _object(definitions, where).get("subgraphs")
    for index, item in enumerate(_list(subgraphs, f"{where}.subgraphs")):
        inner = f"{where}.subgraphs[{index}]"
        item = _object(item, inner)
        yield _graph(item, inner, fallback_id=None)
        yield from _definitions(item, inner)


def _graph(data: Mapping[str, Any], place: str, *, fallback_id: str | None) -> SavedGraph:
    """Read one graph; only the root may have no id."""
    graph_id = data.get("id") if fallback_id is None else fallback_id
    if not isinstance(graph_id, str) or (not graph_id and fallback_id is None):
        raise _damaged(_join(place, "id"), "a text", graph_id)
    name = data.get("name")
    nodes = _list(data.get("nodes"), _join(place, "nodes"))
    # The root has no inputs and outputs of its own.
    outside = data if place else {}
    return SavedGraph(
        id=graph_id,
        name=name if isinstance(name, str) else "",
        nodes=[read_node(node, _join(place, f"nodes[{index}]")) for index, node in enumerate(nodes)],
        links=_links(data.get("links"), _join(place, "links")),
        inputs=_ends(outside.get("inputs"), _join(place, "inputs"), Boundary, links="linkIds"),
        outputs=_ends(outside.get("outputs"), _join(place, "outputs"), Boundary, links="linkIds"),
        groups=_frames(data.get("groups")),
        place=place,
    )


def _frames(data: Any) -> list[Mapping[str, Any]]:
    """Return the frames of a graph; damaged ones are skipped, because frames are not sent."""
    return [frame for frame in data if isinstance(frame, JSON_OBJECT)] if isinstance(data, list) else []


def read_node(data: Any, place: str) -> SavedNode:
    """Read one node; `place` is its path in the file, for errors.

    Raises:
        WorkflowFormatError: It is damaged.
    """
    data = _object(data, place)
    title, mode, kind = data.get("title"), data.get("mode"), data.get("type")
    if not isinstance(kind, str) or not kind:
        raise _damaged(f"{place}.type", "a class name", kind)
    values, named = data.get("widgets_values"), data.get("widgets_values_named")
    if values is not None and not isinstance(values, (list, *JSON_OBJECT)):
        raise _damaged(f"{place}.widgets_values", "a list or an object", values)
    properties = data.get("properties")
    return SavedNode(
        id=_id(data.get("id"), f"{place}.id"),
        numeric=not isinstance(data.get("id"), str),
        type=kind,
        title=title if isinstance(title, str) else "",
        mode=mode if isinstance(mode, int) else 0,
        inputs=_slots(data.get("inputs"), f"{place}.inputs"),
        outputs=_ends(data.get("outputs"), f"{place}.outputs", OutputSlot, links="links"),
        properties=properties if isinstance(properties, JSON_OBJECT) else {},
        values=values,
        named=named if isinstance(named, JSON_OBJECT) else None,
        place=place,
        saved=data,
    )


def _slots(data: Any, place: str) -> list[InputSlot]:
    """Read the inputs of a node."""
    slots = []
    for index, item in enumerate(_list(data, place)):
        where = f"{place}[{index}]"
        item = _object(item, where)
        widget = item.get("widget")
        name = widget.get("name") if widget is not None and isinstance(widget, JSON_OBJECT) else None
        link, label = item.get("link"), item.get("label")
        slots.append(
            InputSlot(
                _name(item, where),
                _type(item.get("type")),
                None if link is None else _number(link, f"{where}.link"),
                name if isinstance(name, str) else None,
                label=label if isinstance(label, str) else None,
            )
        )
    return slots


def _ends(data: Any, place: str, make: Callable[[str, str, list[int]], _End], *, links: str) -> list[_End]:
    """Read outputs or boundaries: each has a name, a type and, under the key `links`, ids of links."""
    ends = []
    for index, item in enumerate(_list(data, place)):
        where = f"{place}[{index}]"
        item = _object(item, where)
        met = _list(item.get(links), f"{where}.{links}")
        ends.append(
            make(
                _name(item, where),
                _type(item.get("type")),
                [_number(link, f"{where}.{links}") for link in met if link is not None],
            )
        )
    return ends


_LINK_KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def _links(data: Any, place: str) -> dict[int, Link]:
    """Read links; files of both versions may have either form."""
    links: dict[int, Link] = {}
    items = list(data.values()) if isinstance(data, JSON_OBJECT) else _list(data, place)
    for index, item in enumerate(items):
        if item is None:  # litegraph leaves null in the place of removed links
            continue
        where = f"{place}[{index}]"
        if isinstance(item, list) or not isinstance(item, JSON_OBJECT):
            parts = _list(item, where)
        else:
            parts = [item.get(key) for key in _LINK_KEYS]
        if len(parts) < 5:
            raise WorkflowFormatError(f"{where} has {len(parts)} of the 5 parts of a link", place=where)
        link = Link(
            _number(parts[0], where),
            _id(parts[1], where),
            _number(parts[2], where),
            _id(parts[3], where),
            _number(parts[4], where),
            _type(parts[5] if len(parts) > 5 else None),
        )
        links.setdefault(link.id, link)
    return links


def _join(place: str, name: str) -> str:
    """Return the path of a member inside a place."""
    return f"{place}.{name}" if place else name


def _damaged(place: str, wanted: str, found: Any) -> WorkflowFormatError:
    """Return the error for a value of the wrong type."""
    kind = "missing" if found is None else f"{type(found).__name__} {str(found)[:40]!r}"
    return WorkflowFormatError(f"{place or 'the file'} should be {wanted}, it is {kind}", place=place)


def _object(data: Any, place: str) -> Mapping[str, Any]:
    """Return an object or raise."""
    if not isinstance(data, JSON_OBJECT):
        raise _damaged(place, "an object", data)
    return data


def _list(data: Any, place: str) -> Sequence[Any]:
    """Return a list, an empty one for null, or raise."""
    if data is None:
        return []
    if not isinstance(data, list | tuple):
        raise _damaged(place, "a list", data)
    return data


def _name(item: Mapping[str, Any], place: str) -> str:
    """Return the name of the item at a place, "" for null, or raise."""
    name = item.get("name")
    if name is None:
        return ""
    if not isinstance(name, str):
        raise _damaged(f"{place}.name", "a text", name)
    return name


def _type(data: Any) -> str:
    """Return a slot's type; old files have 0 and -1, and lists of choices."""
    if isinstance(data, str):
        return data
    if isinstance(data, list | tuple):
        return ",".join(map(str, data))
    return "*" if data is None else str(data)


def _number(data: Any, place: str) -> int:
    """Return a whole number, also from a string, or raise."""
    if type(data) is int or (isinstance(data, int) and not isinstance(data, bool)):
        return data
    if isinstance(data, float) and data.is_integer():
        return int(data)
    if isinstance(data, str):
        try:
            return int(data)
        except ValueError:
            pass
    raise _damaged(place, "a whole number", data)


def _id(data: Any, place: str) -> str:
    """Return a node id as a string; files have numbers and strings."""
    return data if isinstance(data, str) and data else str(_number(data, place))
