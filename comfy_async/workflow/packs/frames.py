"""Which nodes are in which frame of a file (the editor calls frames groups).

A node is in a frame when its center is (LGraphGroup.ts, 1.49.6). The width of a collapsed node
depends on the font; when that decides, the result is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..convert.model import JSON_OBJECT, Graph, Node
from .pack import not_convertible

__all__ = ["nodes_in_frames", "nodes_in_same_frame"]

_TITLE_HEIGHT: Final = 30.0


def nodes_in_same_frame(graph: Graph, node: Node) -> frozenset[str]:
    """Return the ids of the nodes in all frames that contain the node, an empty set for none.

    Raises:
        ConversionError: It depends on the width of a collapsed node.
    """
    found: set[str] = set()
    for frame in graph.groups:
        members = set(_members(graph, frame))
        if node.id in members:
            found |= members
    return frozenset(found)


def nodes_in_frames(root: Graph, node: Node, wanted: Callable[[str], bool]) -> frozenset[str]:
    """Return the ids of the nodes in the root's frames whose titles pass the test `wanted`.

    Raises:
        ConversionError: It depends on the width of a collapsed node.
    """
    frames = [frame for frame in root.groups if wanted(str(frame.get("title") or ""))]
    return frozenset(member for frame in frames for member in _members(root, frame))


def _members(graph: Graph, frame: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of the nodes in a frame."""
    bounding = _numbers(frame.get("bounding"), 4)
    for node in graph.nodes.values() if bounding else ():
        if _lies_in(node, bounding):
            yield node.id


def _lies_in(node: Node, frame: list[float]) -> bool:
    """Return whether the center of a node is in a frame.

    Raises:
        ConversionError: The node is collapsed, and it depends on the width of its title.
    """
    place, size = _numbers(node.saved.get("pos"), 2), _numbers(node.saved.get("size"), 2)
    if not place or not size:
        return False
    flags = node.saved.get("flags")
    if not (isinstance(flags, JSON_OBJECT) and flags.get("collapsed")):
        return _inside(frame, place[0] + size[0] / 2, place[1] + (size[1] - _TITLE_HEIGHT) / 2)
    narrow = min(size[0], 2 * _TITLE_HEIGHT)
    answers = {
        _inside(frame, place[0] + width / 2, place[1] - _TITLE_HEIGHT / 2) for width in (narrow, size[0])
    }
    if len(answers) > 1:
        raise not_convertible(
            node,
            "it is collapsed, so it is unknown whether it is in a frame that restricts a broadcast",
            advice="Expand the node, or move it well into the frame or out of it.",
        )
    return answers.pop()


def _inside(frame: list[float], x: float, y: float) -> bool:
    """Return whether a point is in a frame."""
    left, top, width, height = frame
    return left <= x < left + width and top <= y < top + height


def _numbers(value: Any, count: int) -> list[float]:
    """Return the first `count` numbers of a list, or of an object with keys "0", "1"; else []."""
    if isinstance(value, JSON_OBJECT):
        value = [value.get(str(index)) for index in range(count)]
    if not isinstance(value, list | tuple) or len(value) < count:
        return []
    if not all(isinstance(item, int | float) for item in value[:count]):
        return []
    return [float(item) for item in value[:count]]
