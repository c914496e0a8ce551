"""Edits of a graph: functions that take a graph and return a new one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UnknownInputError
from ..types import clipped
from ._keys import changed, nearest, one_node, resolve
from ._nodes import Graph, Node
from ._specs import InputSpec
from ._values import same_path
from .catalog import NodeCatalog

__all__ = [
    "added",
    "localized",
    "randomized",
    "removed",
    "replaced",
    "seed_inputs",
    "with_seed",
    "with_values",
]

_SEEDS = frozenset({"seed", "noise_seed"})

_SAFE_MAX = 2**31 - 1
"""The largest seed when no catalog gives a range: many partner nodes accept no larger one."""

_EDITOR_MAX = 2**50
"""The largest seed that the editor itself draws, so that its doubles keep every digit."""


def with_values(
    graph: Graph, changes: Mapping[Any, Any], *, add: bool = False, catalog: NodeCatalog | None = None
) -> Graph:
    """Return the graph with other values in inputs, whose keys are those of `Workflow.with_inputs`.

    Raises:
        UnknownInputError: A key matches no input, or two, or a value cannot be sent.
    """
    result = dict(graph)

    def accepts(key: str, name: str) -> bool:
        node = result[key]
        known = catalog is not None and catalog.input(node.class_type, name, node.inputs) is not None
        return add or known or name in node.inputs

    waiting = list(changes.items())
    while waiting:
        later: list[tuple[Any, Any]] = []
        error: UnknownInputError | None = None
        for key, value in waiting:
            try:
                node, name = resolve(result, key, accepts)
            except UnknownInputError as unknown:
                # A later key may set a dynamic combo to an option that has this input.
                later.append((key, value))
                error = error or unknown
                continue
            result[node] = changed(result, node, {name: value}, catalog)
        if error is not None and len(later) == len(waiting):
            raise error
        waiting = later
    return result


def ancestors(graph: Mapping[str, Node], node: str) -> set[str]:
    """Return the node and all that it depends on."""
    seen, waiting = set[str](), [node]
    while waiting:
        key = waiting.pop()
        if key not in seen and key in graph:
            seen.add(key)
            waiting += [source for _, source, _ in graph[key].links()]
    return seen


def consumers(graph: Mapping[str, Node], node: str) -> Iterator[tuple[str, str, int]]:
    """Yield (node, input, slot) for each link that leaves a node."""
    for key, other in graph.items():
        for name, source, slot in other.links():
            if source == node:
                yield key, name, slot


def replaced(graph: Graph, old: Any, new: Any) -> Graph:
    """Return the graph with the links from `old` coming from `new` instead.

    Raises:
        UnknownInputError: One of the nodes does not exist.
    """
    source, source_slot = _end(graph, old)
    target, target_slot = _end(graph, new)
    # The nodes that the new source depends on keep the old one: else there would be a cycle.
    spared = ancestors(graph, target)
    result = dict(graph)
    for key, name, slot in consumers(graph, source):
        if key not in spared and source_slot in {None, slot}:
            landing = slot if target_slot is None else target_slot
            result[key] = changed(result, key, {name: [target, landing]})
    return result


def _end(graph: Graph, end: Any) -> tuple[str, int | None]:
    """Return (id, slot) of `"4"`, `("4", 1)` or `["4", 1]`; slot None stands for all, each by its number."""
    if isinstance(end, tuple | list) and len(end) == 2:
        if not isinstance(end[1], int) or isinstance(end[1], bool) or end[1] < 0:
            raise UnknownInputError(f"{end[1]!r} is not an output slot: slots are numbered from 0")
        return one_node(graph, end[0]), end[1]
    return one_node(graph, end), None


def removed(graph: Graph, nodes: tuple[Any, ...]) -> Graph:
    """Return the graph without some nodes, and without the inputs that were linked to them.

    Raises:
        UnknownInputError: One of the nodes does not exist.
    """
    gone = {one_node(graph, node) for node in nodes}
    return {key: _without(node, gone) for key, node in graph.items() if key not in gone}


def _without(node: Node, gone: set[str]) -> Node:
    lost = {name for name, source, _ in node.links() if source in gone}
    if not lost:
        return node
    return node.replace({name: value for name, value in node.inputs.items() if name not in lost})


def added(
    graph: Graph,
    class_type: str,
    inputs: Mapping[str, Any],
    *,
    node: str | None = None,
    title: str | None = None,
    catalog: NodeCatalog | None = None,
) -> Graph:
    """Return the graph with one more node; with a catalog, defaults are filled in and inputs checked.

    Raises:
        UnknownInputError: The id is taken, the class or an input is unknown, or a value
            cannot be sent.
    """
    key = free_id(graph) if node is None else str(node)
    if key in graph or not key:
        raise UnknownInputError(f"the id {key!r} is taken" if key else "an id cannot be empty")
    defaults: dict[str, Any] = {}
    if catalog is not None:
        if class_type not in catalog:
            close = nearest(class_type, catalog)
            told = f"the catalog has no class {clipped(class_type)}; nearest: {', '.join(close) or 'none'}"
            raise UnknownInputError(told, candidates=close)
        defaults = known_inputs(catalog, class_type, inputs)
    meta = None if title is None else {"title": title}
    result = {**graph, key: Node(class_type, {}, meta)}
    result[key] = changed(result, key, {**defaults, **inputs}, catalog)
    return result


def known_inputs(catalog: NodeCatalog, class_type: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the required inputs that are not given.

    Raises:
        UnknownInputError: The class does not have one of the given inputs.
    """
    values = dict(inputs)
    for spec in catalog.inputs(class_type):
        if spec.required and spec.name not in values and _has_default(spec):
            values[spec.name] = spec.default
    specs = {spec.name: spec for spec in catalog.inputs(class_type, values)}
    for spec in specs.values():
        if spec.required and spec.name not in values and _has_default(spec):
            values[spec.name] = spec.default
    for name in inputs:
        if name not in specs and catalog.input(class_type, name, values) is None:
            close = nearest(name, list(specs)) or tuple(specs)
            told = f"{class_type} has no input {clipped(name)}; nearest: {', '.join(close) or 'none'}"
            raise UnknownInputError(told, candidates=close)
    return {name: value for name, value in values.items() if name not in inputs}


def _has_default(spec: InputSpec) -> bool:
    return spec.default is not None and not spec.force_input


def free_id(graph: Mapping[str, Node]) -> str:
    """Return the first number after the largest that is in use."""
    numbers = [int(key) for key in graph if key.isdecimal() and len(key) < 18]
    return str(max(numbers, default=0) + 1)


def seed_inputs(graph: Graph, catalog: NodeCatalog | None) -> Iterator[tuple[str, str, InputSpec | None]]:
    """Yield (node, input, specification) of each seed that is a number in the graph, not a link."""
    for key, node in graph.items():
        for name, value in node.inputs.items():
            if not isinstance(value, int) or isinstance(value, bool):
                continue
            spec = None if catalog is None else catalog.input(node.class_type, name, node.inputs)
            known = spec.is_seed if spec is not None else name.rpartition(".")[2] in _SEEDS
            if (known and not _is_plain_number(node)) or _feeds_seeds(graph, key, node):
                yield key, name, spec


def _is_plain_number(node: Node) -> bool:
    """Return whether a node only passes a number on; PrimitiveInt is always declared as a seed."""
    return len(node.inputs) == 1 and "value" in node.inputs


def _feeds_seeds(graph: Graph, key: str, node: Node) -> bool:
    if not _is_plain_number(node):
        return False
    names = [name.rpartition(".")[2] for _, name, _ in consumers(graph, key)]
    return bool(names) and all(name in _SEEDS for name in names)


def randomized(graph: Graph, source: int | None, catalog: NodeCatalog | None) -> Graph:
    """Return the graph with a random number in every seed; the same source draws the same for each input."""
    base = random.SystemRandom().getrandbits(64) if source is None else source
    result = dict(graph)
    for key, name, spec in seed_inputs(graph, catalog):
        least, most = _range(graph, key, spec, catalog)
        high = _SAFE_MAX if most is None else min(most, _EDITOR_MAX)
        draw = random.Random(f"{base}/{key}/{name}")
        result[key] = changed(result, key, {name: draw.randint(min(max(least or 0, 0), high), high)})
    return result


def with_seed(graph: Graph, seed: int, catalog: NodeCatalog | None) -> Graph:
    """Return the graph with one number in every seed.

    Raises:
        UnknownInputError: There is no seed, or the number is out of the range of one.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UnknownInputError(f"a seed is an integer, not {clipped(seed)} ({type(seed).__name__})")
    result = dict(graph)
    places = list(seed_inputs(graph, catalog))
    if not places:
        hint = "Name the input: with_inputs({'node.input': seed}); a catalog knows seeds by any name."
        raise UnknownInputError("the workflow has no seed", hint=hint)
    for key, name, spec in places:
        least, most = _range(graph, key, spec, catalog)
        if (least is not None and seed < least) or (most is not None and seed > most):
            place = f"node {graph[key].info(key)}, input {name!r}"
            raise UnknownInputError(f"{place}: {seed} is not {_within(least, most)}")
        result[key] = changed(result, key, {name: seed})
    return result


def _within(least: float | None, most: float | None) -> str:
    """Return a range in words, of which one end at least is known."""
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if least is None else f"within {least} to {most}"


def _range(
    graph: Graph, key: str, spec: InputSpec | None, catalog: NodeCatalog | None
) -> tuple[int | None, int | None]:
    """Return the smallest and the largest seed that the server declares, None where it declares none.

    The range of a number that feeds the seeds of several nodes is the one that fits all of them.
    """
    specs = [spec]
    if catalog is not None and _is_plain_number(graph[key]):
        for other, name, _ in consumers(graph, key):
            specs.append(catalog.input(graph[other].class_type, name, graph[other].inputs))
    least = [int(one.min) for one in specs if one is not None and one.min is not None]
    most = [int(one.max) for one in specs if one is not None and one.max is not None]
    return max(least, default=None), min(most, default=None)


def localized(graph: Graph, catalog: NodeCatalog) -> Graph:
    """Return the graph with choices that differ only in their path separators spelled as in the catalog."""
    result = dict(graph)
    for key, node in graph.items():
        respelled: dict[str, Any] = {}
        for spec in catalog.inputs(node.class_type, node.inputs):
            value = node.inputs.get(spec.name)
            if spec.choices and isinstance(value, str) and value not in spec.choices:
                other = same_path(value, spec.choices)
                if other is not None:
                    respelled[spec.name] = other
        if respelled:
            result[key] = node.replace({**node.inputs, **respelled})
    return result
