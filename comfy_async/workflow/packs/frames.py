"""Which nodes lie in which frame (a group, in the editor's own word) of a file.

A node lies in a frame when its middle does (LGraphGroup.ts, 1.49.6). How wide a collapsed node
is depends on the font; where that decides, it cannot be known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..convert.model import JSON_OBJECT, Graph, Node
from .pack import not_convertible

__all__ = ["nodes_in_frames", "nodes_in_same_frame"]

_TITLE_HEIGHT: Final = 30.0


def nodes_in_same_frame(graph: Graph, node: Node) -> frozenset[str]:
    """Return the nodes of all frames that the node lies in, nothing when it lies in none."""
    found: set[str] = set()
    for frame in graph.groups:
        members = set(_members(graph, frame))
        if node.id in members:
            found |= members
    return frozenset(found)


def nodes_in_frames(root: Graph, node: Node, wanted: Callable[[str], bool]) -> frozenset[str]:
    """Return the nodes of the root's frames whose titles are wanted, by that node."""
    frames = [frame for frame in root.groups if wanted(str(frame.get("title") or ""))]
    return frozenset(member for frame in frames for member in _members(root, frame))


def _members(graph: Graph, frame: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of the nodes that lie in a frame."""
    bounding = _numbers(frame.get("bounding"), 4)
    for node in graph.nodes.values() if bounding else ():
        if _lies_in(node, bounding):
            yield node.id


def _lies_in(node: Node, frame: list[float]) -> bool:
    """Return whether the middle of a node lies in a frame.

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
            "it is collapsed, and whether it lies in a frame that a broadcast goes by cannot be told",
            advice="Expand the node, or move it well into the frame or out of it.",
        )
    return answers.pop()


def _inside(frame: list[float], x: float, y: float) -> bool:
    """Return whether a point lies in a frame."""
    left, top, width, height = frame
    return left <= x < left + width and top <= y < top + height


def _numbers(value: Any, count: int) -> list[float]:
    """Return so many numbers of a list, or of an object that stands for one; nothing for anything else."""
    if isinstance(value, JSON_OBJECT):
        value = [value.get(str(index)) for index in range(count)]
    if not isinstance(value, list | tuple) or len(value) < count:
        return []
    if not all(isinstance(item, int | float) for item in value[:count]):
        return []
    return [float(item) for item in value[:count]]
