"""The broadcasts of cg-use-everywhere: the outputs that they send, and the inputs that they match."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ..convert.model import (
    BYPASSED,
    INPUT_BOUNDARY,
    JSON_OBJECT,
    MUTED,
    Boundary,
    Graph,
    InputSlot,
    Link,
    Node,
)
from .frames import nodes_in_frames, nodes_in_same_frame
from .pack import not_convertible

__all__ = ["Broadcast", "Target", "broadcasts_of", "is_broadcaster", "label"]

_CLASS_NAMES = re.compile(r"Anything Everywhere.*|Seed Everywhere|Prompts Everywhere", re.DOTALL)

# The classes that its present version converts to `Anything Everywhere`.
_RENAMED: Final = frozenset({"Anything Everywhere?", "Anything Everywhere3"})


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """An input of a node without a link, or an output of a subgraph without one, which has no `node`."""

    node: Node | None
    slot: InputSlot | Boundary
    id: str
    type: str
    name: str
    label: str

    @property
    def title(self) -> str:
        """The title of the node, as patterns for titles match it."""
        if self.node is None:
            return "subgraph output node"
        return self.node.title or self.node.type


@dataclasses.dataclass(frozen=True, slots=True)
class Broadcast:
    """One output that is sent to all inputs that match.

    Attributes:
        origin_id: The id of the node that has the output.
        origin_slot: The output slot.
        type: Its type, which an input must have.
        priority: The broadcast with the highest priority is used when several match.
        only: The ids of the nodes that may be reached, None for all.
        title: A test that the title of the node must pass.
        input: A test that the label of the input must pass.
        more: A further test that the input must pass.
        to_combo: Whether a text may be sent to a combo.
        to_any: Whether inputs of type `*` are reached.
    """

    origin_id: str
    origin_slot: int
    type: str
    priority: float
    only: frozenset[str] | None
    title: Callable[[str], bool]
    input: Callable[[str], bool]
    more: Callable[[Target], bool]
    to_combo: bool
    to_any: bool

    def matches(self, target: Target) -> bool:
        """Return whether the input is reached."""
        return (
            self.more(target)
            and self.origin_id != target.id
            and self._fits(target.type)
            and (self.only is None or target.id in self.only)
            and self.title(target.title)
            and self.input(target.label)
        )

    def _fits(self, kind: str) -> bool:
        """Return whether an input of that type is reached: the same type, or one of two options."""
        if self.type == kind:
            return True
        return (self.to_combo and self.type == "STRING" and kind == "COMBO") or (self.to_any and kind == "*")


def is_broadcaster(node: Node, *, by_class: bool = False) -> bool:
    """Return whether a node broadcasts, or with `by_class` whether it is one of the pack's nodes."""
    own = node.class_type is not None and _CLASS_NAMES.fullmatch(node.class_type) is not None
    if by_class:
        return own
    return node.mode not in (MUTED, BYPASSED) and (own or bool(node.properties.get("ue_convert")))


def label(node: Node, slot: InputSlot) -> str:
    """Return the label of an input in the editor, its name when it has none."""
    inputs = node.saved.get("inputs")
    for item in inputs if isinstance(inputs, list) else ():
        if (
            isinstance(item, JSON_OBJECT)
            and item.get("name") == slot.name
            and isinstance(item.get("label"), str)
        ):
            return item["label"] or slot.name
    return slot.name


def broadcasts_of(
    graph: Graph, node: Node, properties: Mapping[str, Any], root: Graph
) -> Iterator[Broadcast]:
    """Yield the broadcasts of a node: of what its inputs are linked to, or with `ue_convert` of its outputs.

    Raises:
        ConversionError: A primitive is broadcast, or a pattern cannot be read.
    """
    if properties.get("seed_inputs"):
        yield _broadcast(graph, node, properties, root, (node.id, 0, "INT"), None)
        return
    sources = _outputs(node, properties) if node.properties.get("ue_convert") else _inputs(graph, node)
    kinds = [source[2] for source, _ in sources]
    for source, name in sources:
        origin = graph.nodes.get(source[0])
        if origin is not None and origin.mode in (MUTED, BYPASSED):
            continue
        if origin is not None and origin.type == "PrimitiveNode":
            raise not_convertible(
                origin,
                "a primitive that is broadcast has no value: the editor derives it from linked widgets",
                advice="Replace this primitive by a node that holds a number or a text.",
            )
        repeated = kinds.count(source[2]) > 1
        rule = name if repeated or properties.get("apply_to_unrepeated") else None
        yield _broadcast(graph, node, properties, root, source, rule, repeats=len(set(kinds)) < len(kinds))


_Source = tuple[str, int, str]


def _outputs(node: Node, properties: Mapping[str, Any]) -> list[tuple[_Source, str]]:
    """Return the outputs of a node that broadcasts its own outputs, with their names."""
    silent = properties.get("output_not_broadcasting")
    quiet = silent if isinstance(silent, JSON_OBJECT) else {}
    labels = node.saved.get("outputs")
    found = []
    for index, slot in enumerate(node.outputs):
        if not quiet.get(slot.name):
            saved = labels[index] if isinstance(labels, list) and index < len(labels) else {}
            name = saved.get("label") if isinstance(saved, JSON_OBJECT) else None
            found.append(((node.id, index, slot.type), str(name or slot.name)))
    return found


def _inputs(graph: Graph, node: Node) -> list[tuple[_Source, str]]:
    """Return the outputs that the inputs of a broadcasting node are linked to, with the inputs' names."""
    found = []
    for slot in node.inputs:
        link = graph.links.get(slot.link) if slot.link is not None else None
        if link is not None:
            link = _above_bypassed(graph, link) or link
            found.append(((link.origin_id, link.origin_slot, link.type), label(node, slot)))
    return [item for item in found if item[0][0] == INPUT_BOUNDARY or item[0][0] in graph.nodes]


def _above_bypassed(graph: Graph, link: Link) -> Link | None:
    """Return the link that feeds a link through bypassed nodes, by inputs of its type; None for none."""
    kind, seen = link.type, set()
    while (parent := graph.nodes.get(link.origin_id)) is not None and parent.mode == BYPASSED:
        if link.id in seen:
            return None
        seen.add(link.id)
        inputs = parent.inputs
        beside = inputs[link.origin_slot] if link.origin_slot < len(inputs) else None
        if beside is None or beside.type != kind:
            beside = next((slot for slot in inputs if slot.type == kind), None)
        above = graph.links.get(beside.link) if beside is not None and beside.link is not None else None
        if above is None:
            return None
        link = above
    return link if parent is not None or link.origin_id == INPUT_BOUNDARY else None


def _broadcast(
    graph: Graph,
    node: Node,
    properties: Mapping[str, Any],
    root: Graph,
    source: _Source,
    rule: str | None,
    *,
    repeats: bool = False,
) -> Broadcast:
    """Return a broadcast with the restrictions of its node."""
    return Broadcast(
        *source,
        priority=_priority(node, properties, repeats=repeats),
        only=_allowed(graph, node, properties, root),
        title=_pattern(node, properties, "title"),
        input=_pattern(node, properties, "input"),
        more=_named_like(node, rule, _number(properties.get("repeated_type_rule"))),
        to_combo=_number(properties.get("string_to_combo")) > 0,
        to_any=_number(properties.get("send_to_any")) > 0,
    )


def _priority(node: Node, properties: Mapping[str, Any], *, repeats: bool) -> float:
    """Return the priority that is set, else the one that results from the restrictions."""
    if isinstance(own := properties.get("priority"), int | float) and own:
        return own
    restricted = any(
        properties.get(f"{kind}_regex") for kind in ("title", "input", "prompt", "negative", "group")
    )
    return (
        10
        + 10 * (node.type == "Prompts Everywhere")
        + 20 * (restricted or repeats)
        + 3 * (_number(properties.get("group_restricted")) > 0)
        + 6 * (_number(properties.get("color_restricted")) > 0)
    )


def _number(value: Any) -> float:
    """Return a setting that the pack stores as a number, 0 when it is not a number."""
    return value if isinstance(value, int | float) else 0


def _allowed(graph: Graph, node: Node, properties: Mapping[str, Any], root: Graph) -> frozenset[str] | None:
    """Return the ids of the nodes that the restrictions by group and colour allow, None for all."""
    allowed: frozenset[str] | None = None
    if (grouped := _number(properties.get("group_restricted"))) in (1, 2):
        inside = nodes_in_same_frame(graph, node)
        allowed = inside if grouped == 1 else frozenset(graph.nodes) - inside
    if (coloured := _number(properties.get("color_restricted"))) in (1, 2):
        color = node.saved.get("color")
        of_color = {
            key for key, item in graph.nodes.items() if (item.saved.get("color") == color) == (coloured == 1)
        }
        allowed = frozenset(of_color if allowed is None else of_color & allowed)
    if properties.get("group_regex"):
        named = nodes_in_frames(root, node, _pattern(node, properties, "group"))
        allowed = named if allowed is None else named & allowed
    return allowed


def _pattern(node: Node, properties: Mapping[str, Any], kind: str) -> Callable[[str], bool]:
    """Return a test by a regular expression of the node, which is always true when there is none."""
    text = properties.get(f"{kind}_regex")
    if not text or text == ".*":
        return lambda _: True
    wanted = not properties.get(f"{kind}_regex_invert")
    found = _compiled(node, str(text))
    return lambda name: (found.search(name) is not None) == wanted


def _named_like(node: Node, name: str | None, rule: float) -> Callable[[Target], bool]:
    """Return the test by name for several broadcasts of the same type, always true when `name` is None."""
    if name is None:
        return lambda _: True
    tests: dict[float, Callable[[Target], bool]] = {
        0: lambda target: target.label == name,
        1: lambda target: _start(target.label, name),
        2: lambda target: _start(target.label[::-1], name[::-1]),
        3: lambda target: target.title == name,
        4: lambda target: _compiled(node, name).search(target.label) is not None,
    }
    return tests.get(rule, lambda _: True)


def _start(one: str, other: str) -> bool:
    """Return whether one text begins with the other."""
    return one.startswith(other) or other.startswith(one)


def _compiled(node: Node, text: str) -> re.Pattern[str]:
    """Return a regular expression of JavaScript, compiled for Python.

    Raises:
        ConversionError: It is not valid in Python, so that it is unknown what it matches.
    """
    try:
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", text))
    except re.error as error:
        raise not_convertible(
            node,
            f"its pattern {text!r} cannot be read: {error}",
            advice="Write this node's pattern without syntax that only JavaScript has.",
            received=text,
        ) from None
