"""Finding the node and the input that a key names: by id, title or class."""

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
"""A test whether a node, given by its id, accepts an input of that name."""


_MOST_LETTERS = 200
"""Longer words are not names but values, such as a picture in base64; nothing is compared with them."""


def nearest(word: str, names: Iterable[str], *, count: int = 3) -> tuple[str, ...]:
    """Return up to `count` names that resemble a word, the best first, ignoring letter case."""
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
    # Next to a name that differs by one letter, much weaker matches are noise.
    shares = [difflib.SequenceMatcher(None, name, wanted).ratio() for name in found]
    least = shares[0] * 0.65 if shares else 0.0
    return tuple(by_folded[name] for name, share in zip(found, shares, strict=True) if share >= least)


def nearest_ids(wanted: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Return ids to suggest for an unknown one: those in the same subgraph, or that resemble a word.

    Numbers are not compared: 9 is no closer to 99 than 12 is.
    """
    outer, colon, leaf = wanted.rpartition(":")
    if not leaf.isdecimal():
        return nearest(wanted, ids)
    return tuple(one for one in ids if colon and one.startswith(f"{outer}:"))[:8]


def is_slip(word: str, name: str) -> bool:
    """Return whether a word is a name with one or two wrong letters; another number is no slip."""
    import difflib

    if word.translate(_NO_DIGITS) == name.translate(_NO_DIGITS):
        return False
    codes = difflib.SequenceMatcher(None, word, name, autojunk=False).get_opcodes()
    wrong = sum(max(end - start, stop - at) for tag, start, end, at, stop in codes if tag != "equal")
    return wrong <= 2 and 2 * wrong < len(name)


_NO_DIGITS = str.maketrans("", "", "0123456789")


def matches(nodes: Mapping[str, Node], name: str) -> Iterator[list[str]]:
    """Yield lists of the ids that a name matches: by id, then by title, then by class; no empty lists."""
    if name in nodes:
        yield [name]
    for field in ("title", "class_type"):
        found = [key for key, node in nodes.items() if name and getattr(node, field) == name]
        if found:
            yield found


def one_node(nodes: Mapping[str, Node], name: Any) -> str:
    """Return the id of the only node that a name matches.

    Raises:
        UnknownInputError: No node has that name, or several do.
    """
    wanted = str(name)
    found = next(matches(nodes, wanted), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(nodes, wanted, dict.fromkeys(found, ""))
    raise unknown_node(nodes, wanted)


def resolve(nodes: Mapping[str, Node], key: Any, accepts: Accepts) -> tuple[str, str]:
    """Return the (id, input) that a key of `with_inputs` names.

    A string is split at every dot in turn, because titles and inputs may contain dots.

    Raises:
        UnknownInputError: Nothing matches, or two different nodes do.
    """
    if isinstance(key, tuple):
        if len(key) != 2 or not isinstance(key[1], str):
            raise UnknownInputError(f"the key {clipped(key)} is not a (node, input) pair")
        return _at(nodes, [(str(key[0]), key[1])], accepts, key)
    if not isinstance(key, str):
        raise UnknownInputError(f"the key {clipped(key)} is neither a string nor a (node, input) pair")
    dots = [place for place, letter in enumerate(key) if letter == "."]
    return _at(nodes, [(key[:dot], key[dot + 1 :]) for dot in dots], accepts, key)


def changed(
    nodes: Mapping[str, Node], key: str, values: Mapping[str, Any], catalog: NodeCatalog | None = None
) -> Node:
    """Return a node with other values in some inputs; a catalog decides how a string is converted.

    Raises:
        UnknownInputError: A value cannot be sent, or links to a node that does not exist.
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
            plain = isinstance(value, str | int | float)
            raise UnknownInputError(f"{place}: {damage}", hint="" if plain else hint) from damage
        if is_link(inputs[name]) and inputs[name][0] not in nodes:
            raise UnknownInputError(
                f"{place}: the link {clipped(inputs[name])} leads to no node",
                candidates=nearest_ids(inputs[name][0], list(nodes)),
                hint='If it is not meant as a link, pass the list as {"__value__": [...]}.',
            )
    return node.replace(inputs)


def _linked(value: Any, current: Any, nodes: Mapping[str, Node]) -> Any:
    """Return `[id, slot]` with a numeric id as a link, when the input holds a link already."""
    if isinstance(value, list | tuple) and len(value) == 2 and is_link(current):
        source = value[0]
        if isinstance(source, int) and not isinstance(source, bool) and str(source) in nodes:
            return [str(source), value[1]]
    return value


def _at(
    nodes: Mapping[str, Node], splits: list[tuple[str, str]], accepts: Accepts, key: Any
) -> tuple[str, str]:
    """Return the only (id, input) that matches among the splits of a key.

    Raises:
        UnknownInputError: Nothing matches, or two different nodes do.
    """
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
    """Return the error for a name of several nodes; it lists each with its present value, if any."""
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
    """Return the error for a key that matches nothing: of the input if its node exists, else of the node."""
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
    """Return the ids of the nodes inside the subgraph with that id."""
    return [key for key in nodes if name and key.startswith(f"{name}:")]


def _of_subgraph(nodes: Mapping[str, Node], name: str, field: str, inner: list[str]) -> UnknownInputError:
    """Return the error for an input of a subgraph: in a prompt only its inner nodes have inputs."""
    places = [f"{key}.{field}" for key in inner if field in nodes[key].inputs]
    if places:
        told = f"its {field} is {places[0]}" if len(places) == 1 else f"it contains {', '.join(places)}"
    else:
        told = f"it contains {', '.join(str(nodes[key].info(key)) for key in inner[:8])}"
    return UnknownInputError(
        f"{name} is a subgraph, and {told}",
        candidates=places,
        hint="Name the input of an inner node, or use an app (comfy.app, comfy-async app), which accepts "
        "a subgraph's inputs by their names in the editor.",
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
        return UnknownInputError(f"{wanted} is a subgraph, and it contains {listed}", candidates=inner)
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
