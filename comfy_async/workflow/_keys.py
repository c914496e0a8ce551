"""Finding the node and the input that a key means: by id, title or class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..errors import UnknownInputError
from ..types import clipped
from ._nodes import Node
from ._texts import meant
from ._values import DamageError, is_link, wrap
from .catalog import NodeCatalog

__all__ = [
    "Accepts",
    "changed",
    "is_slip",
    "matches",
    "nearest",
    "nearest_ids",
    "one_node",
    "resolve",
]

Accepts = Callable[[str, str], bool]
"""Whether a node, by id, may be given an input of that name."""


_MOST_LETTERS = 200
"""Longer than any name: a value such as a picture in base64, which resembles nothing."""


def nearest(word: str, names: Iterable[str], *, count: int = 3) -> tuple[str, ...]:
    """Return the names that resemble a word, the best first, letter case aside."""
    if len(word) > _MOST_LETTERS:
        return ()
    return _nearest(word, tuple(names), count)


# A workflow may miss one class five hundred times, and a server has thousands of names.
@functools.lru_cache(maxsize=64)
def _nearest(word: str, names: tuple[str, ...], count: int) -> tuple[str, ...]:
    import difflib

    by_folded: dict[str, str] = {}
    for name in names:
        if len(name) <= _MOST_LETTERS:
            by_folded.setdefault(name.casefold(), name)
    wanted = word.casefold()
    found = difflib.get_close_matches(wanted, by_folded, n=count, cutoff=0.55)
    # Beside a name that differs by a letter those that share a few are noise.
    shares = [difflib.SequenceMatcher(None, name, wanted).ratio() for name in found]
    least = shares[0] * 0.65 if shares else 0.0
    return tuple(by_folded[name] for name, share in zip(found, shares, strict=True) if share >= least)


def nearest_ids(wanted: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Return the ids that an id may stand for: those within the same subgraph, or that resemble a word.

    Numbers resemble nothing: 9 is no more like 99 than 12 is.
    """
    outer, colon, leaf = wanted.rpartition(":")
    if not leaf.isdecimal():
        return nearest(wanted, ids)
    return tuple(one for one in ids if colon and one.startswith(f"{outer}:"))[:8]


def is_slip(word: str, name: str) -> bool:
    """Tell whether a word is a name with one or two letters wrong; another number is none."""
    import difflib

    if word.translate(_NO_DIGITS) == name.translate(_NO_DIGITS):
        return False
    codes = difflib.SequenceMatcher(None, word, name, autojunk=False).get_opcodes()
    wrong = sum(max(end - start, stop - at) for tag, start, end, at, stop in codes if tag != "equal")
    return wrong <= 2 and 2 * wrong < len(name)


_NO_DIGITS = str.maketrans("", "", "0123456789")


def matches(nodes: Mapping[str, Node], name: str) -> Iterator[list[str]]:
    """Yield the ids that a name means: by id, then by title, then by class; empty lists left out."""
    if name in nodes:
        yield [name]
    for field in ("title", "class_type"):
        found = [key for key, node in nodes.items() if name and getattr(node, field) == name]
        if found:
            yield found


def one_node(nodes: Mapping[str, Node], name: Any) -> str:
    """Return the id of the one node that a name means.

    Raises:
        UnknownInputError: No node has that name, or several have.
    """
    wanted = str(name)
    found = next(matches(nodes, wanted), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(nodes, wanted, dict.fromkeys(found, ""))
    raise unknown_node(nodes, wanted)


def resolve(nodes: Mapping[str, Node], key: Any, accepts: Accepts) -> tuple[str, str]:
    """Return the (id, input) that a key of `with_inputs` means.

    A text is tried at every dot, because titles and inputs both contain dots.

    Raises:
        UnknownInputError: Nothing matches, or two different nodes do.
    """
    if isinstance(key, tuple):
        if len(key) != 2 or not isinstance(key[1], str):
            raise UnknownInputError(f"the key {clipped(key)} is no (node, input)")
        return _at(nodes, [(str(key[0]), key[1])], accepts, key)
    if not isinstance(key, str):
        raise UnknownInputError(f"the key {clipped(key)} is neither text nor (node, input)")
    dots = [place for place, letter in enumerate(key) if letter == "."]
    return _at(nodes, [(key[:dot], key[dot + 1 :]) for dot in dots], accepts, key)


def changed(
    nodes: Mapping[str, Node], key: str, values: Mapping[str, Any], catalog: NodeCatalog | None = None
) -> Node:
    """Return a node with other values in some inputs; a catalog decides what a text means to them.

    Raises:
        UnknownInputError: A value cannot be sent, or links to a node that is not there.
    """
    node = nodes[key]
    inputs = dict(node.inputs)
    for name, value in values.items():
        place = f"node {node.info(key)}, input {name!r}"
        try:
            spec = None if catalog is None else catalog.input(node.class_type, name, inputs)
            inputs[name] = wrap(meant(_linked(value, inputs.get(name), nodes), node, name, spec))
        except DamageError as damage:
            hint = "Images go in as paths, bytes, Pillow images or what files.upload() returned."
            raise UnknownInputError(f"{place}: {damage}", hint=hint) from damage
        if is_link(inputs[name]) and inputs[name][0] not in nodes:
            raise UnknownInputError(
                f"{place}: the link {clipped(inputs[name])} leads to no node",
                candidates=nearest_ids(inputs[name][0], list(nodes)),
                hint='A list of a text and a number that is no link goes in as {"__value__": [...]}.',
            )
    return node.replace(inputs)


def _linked(value: Any, current: Any, nodes: Mapping[str, Node]) -> Any:
    """Return `[id, slot]` with an id that is a number as a link, where a link stands already."""
    if isinstance(value, list | tuple) and len(value) == 2 and is_link(current):
        source = value[0]
        if isinstance(source, int) and not isinstance(source, bool) and str(source) in nodes:
            return [str(source), value[1]]
    return value


def _at(
    nodes: Mapping[str, Node], splits: list[tuple[str, str]], accepts: Accepts, key: Any
) -> tuple[str, str]:
    """Return the one (id, input) among the ways to read a key."""
    found: dict[str, str] = {}
    for name, field in splits:
        for keys in matches(nodes, name):
            taking = [node for node in keys if field and accepts(node, field)]
            for node in taking:
                found.setdefault(node, field)
            if taking:
                break
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        raise _several(nodes, str(key), found)
    raise _nothing(nodes, splits, key)


def _several(nodes: Mapping[str, Node], wanted: str, found: Mapping[str, str]) -> UnknownInputError:
    """Return the error for a name of several nodes, each with the value that it has in the input, if any."""
    candidates = [str(nodes[node].info(node)) for node in found]
    values = [nodes[node].inputs.get(field) for node, field in found.items()]
    told = [
        f"{one} = {clipped(value)}" if isinstance(value, str | int | float) else one
        for one, value in zip(candidates, values, strict=True)
    ]
    node, field = next(iter(found.items()))
    example = f", for example {f'{node}.{field}'!r}" if field else ""
    return UnknownInputError(
        f"{clipped(wanted)} means more than one node: {', '.join(told)}",
        candidates=candidates,
        hint=f"Name it by its id{example}.",
    )


def _nothing(nodes: Mapping[str, Node], splits: list[tuple[str, str]], key: Any) -> UnknownInputError:
    """Return the error for a key that means nothing: the input when its node exists, else the node."""
    for name, field in reversed(splits):
        for found in matches(nodes, name):
            return _unknown_input(nodes, found, field)
    if not splits:
        known = next((f"{one}.{name}" for one, node in nodes.items() for name in node.inputs), "node.input")
        hint = f"A key is 'node.input', for example {known!r}."
        return UnknownInputError(f"the key {clipped(key)} names no input", hint=hint)
    for name, field in splits:
        if inner := _within(nodes, name):
            return _of_subgraph(nodes, name, field, inner)
    return unknown_node(nodes, splits[0][0])


def _within(nodes: Mapping[str, Node], name: str) -> list[str]:
    """Return the ids of the nodes in the subgraph that has an id."""
    return [key for key in nodes if name and key.startswith(f"{name}:")]


def _of_subgraph(nodes: Mapping[str, Node], name: str, field: str, inner: list[str]) -> UnknownInputError:
    """Return the error for a field of a subgraph: its values are those of the nodes in it."""
    places = [f"{key}.{field}" for key in inner if field in nodes[key].inputs]
    if places:
        told = f"its {field} is {places[0]}" if len(places) == 1 else f"in it there are {', '.join(places)}"
    else:
        told = f"in it there are {', '.join(str(nodes[key].info(key)) for key in inner[:8])}"
    return UnknownInputError(
        f"{name} is a subgraph, and {told}",
        candidates=places,
        hint="An app (comfy.app, comfy-async app) takes a subgraph's own fields, by the names in the editor.",
    )


def _unknown_input(nodes: Mapping[str, Node], found: list[str], field: str) -> UnknownInputError:
    names = list(dict.fromkeys(name for node in found for name in nodes[node].inputs))
    close = nearest(field, names) or tuple(names)
    listed = ", ".join(map(clipped, close)) or "none"
    return UnknownInputError(
        f"node {' and '.join(str(nodes[node].info(node)) for node in found)} has no input {clipped(field)}; "
        f"{'nearest' if close != tuple(names) else 'it has'}: {listed}",
        candidates=close,
        hint="If the node does take it, add it: `with_inputs(..., add=True)`, or `catalog=` looks it up.",
    )


def unknown_node(nodes: Mapping[str, Node], wanted: str) -> UnknownInputError:
    """Return the error for a name that no node has, with the nearest ones."""
    if inner := _within(nodes, wanted):
        listed = ", ".join(str(nodes[key].info(key)) for key in inner[:8])
        return UnknownInputError(f"{wanted} is a subgraph, and in it there are {listed}", candidates=inner)
    names = [*nodes]
    for node in nodes.values():
        names += [node.title, node.class_type]
    is_id = wanted.rpartition(":")[2].isdecimal()
    inside = tuple(key for key in nodes if key.endswith(f":{wanted}"))
    close = (
        (inside or nearest_ids(wanted, list(nodes)))
        if is_id
        else nearest(wanted, [name for name in names if name])
    )
    if close:
        message = (
            f"no node has the id, title or class {clipped(wanted)}; nearest: {', '.join(map(clipped, close))}"
        )
    else:
        every = [str(node.info(key)) for key, node in nodes.items()]
        listed = ", ".join(every[:8]) + (f" and {len(every) - 8} more" if len(every) > 8 else "")
        message = f"no node has the id, title or class {clipped(wanted)}; there are {listed or 'no nodes'}"
    return UnknownInputError(message, candidates=close)
