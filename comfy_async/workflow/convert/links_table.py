"""Assigning links to inputs: a file stores this twice, and when the two differ the table of links counts.

The editor (since 1.54) reads the table of links. An input's own `link` is only used to find the
input that was meant, because the indexes of inputs shift when a class changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from .editor_file import SavedGraph
from .editor_version import Editor
from .model import OUTPUT_BOUNDARY, InputSlot, Link

__all__ = ["Incoming", "Moved", "connect", "settle_table"]

Incoming: TypeAlias = Mapping[str, Sequence[Link]]
"""The links that end in a node, by node id."""

Moved: TypeAlias = list[tuple[Link, InputSlot, InputSlot]]
"""Links that were put on another input (second) than the one at their target slot (third)."""


def settle_table(graph: SavedGraph, editor: Editor) -> Incoming:
    """Keep one link per target slot, update inputs and boundaries, and return the links by target node."""
    if len({(link.target_id, link.target_slot) for link in graph.links.values()}) < len(graph.links):
        named = {slot.link for node in graph.nodes for slot in node.inputs if slot.link is not None}
        kept = () if editor.settles_outputs else (OUTPUT_BOUNDARY,)
        if renamed := _drop_competing(graph.links, named, kept):
            _rename(graph, renamed)
    incoming: dict[str, list[Link]] = {}
    outgoing: dict[tuple[str, int], list[int]] = {}
    for link in graph.links.values():
        incoming.setdefault(link.target_id, []).append(link)
        outgoing.setdefault((link.origin_id, link.origin_slot), []).append(link.id)
    for node in graph.nodes:
        for index, output in enumerate(node.outputs):
            output.links = outgoing.get((node.id, index), [])
    return incoming


def _drop_competing(links: dict[int, Link], named: set[int], kept: Sequence[str]) -> dict[int, int]:
    """Drop all but one of the links to the same target slot; return the dropped ids with the kept one.

    The first in the table is kept, unless a later one has another origin and is named by an input
    while the first is not. Links to the nodes in `kept` are never dropped.
    """
    places: dict[tuple[str, int], Link] = {}
    renamed: dict[int, int] = {}
    for link in list(links.values()):
        place = link.target_id, link.target_slot
        first = places.setdefault(place, link)
        if first is link or link.target_id in kept:
            continue
        stays, goes = first, link
        same = (first.origin_id, first.origin_slot) == (link.origin_id, link.origin_slot)
        if not same and link.id in named and first.id not in named:
            places[place], stays, goes = link, link, first
        renamed = {old: stays.id if new == goes.id else new for old, new in renamed.items()}
        renamed[goes.id] = stays.id
        del links[goes.id]
    return renamed


def _rename(graph: SavedGraph, renamed: Mapping[int, int]) -> None:
    """Replace the ids of dropped links by those of the kept ones in all inputs and boundaries."""
    for node in graph.nodes:
        for slot in node.inputs:
            if slot.link is not None:
                slot.link = renamed.get(slot.link, slot.link)
    for border in (*graph.inputs, *graph.outputs):
        border.link_ids[:] = dict.fromkeys(renamed.get(link, link) for link in border.link_ids)


def connect(inputs: Sequence[InputSlot], saved: Iterable[InputSlot], links: Sequence[Link]) -> Moved:
    """Put each link that ends in a node on one of its inputs; return those not at their target slot.

    A link is put at its target slot, unless the input that names it in the file has another index
    now and is free.

    Args:
        inputs: The node's inputs; some may be objects of `saved`.
        saved: The inputs as they are in the file.
        links: The links that end in the node.
    """
    wanted: dict[int, list[str]] = {}
    for slot in saved:
        if slot.link is not None:
            wanted.setdefault(slot.link, []).append(slot.name)
    for slot in inputs:
        slot.link = None
    if not links:
        return []
    places = {link.target_slot: link for link in links}
    _move(places, wanted, [slot.name for slot in inputs])
    moved: Moved = []
    for index, link in places.items():
        if 0 <= index < len(inputs):
            inputs[index].link = link.id
            if link.target_slot != index and 0 <= link.target_slot < len(inputs):
                moved.append((link, inputs[index], inputs[link.target_slot]))
    return moved


def _move(places: dict[int, Link], wanted: Mapping[int, list[str]], names: list[str]) -> None:
    """Move links to the inputs that name them, unless another link stays there."""
    moves: dict[int, int] = {}
    lost: set[int] = set()
    for index, link in places.items():
        meant = wanted.get(link.id)
        if meant is None or (0 <= index < len(names) and names[index] in meant):
            continue
        found = next((names.index(name) for name in meant if name in names), None)
        if found is None:
            lost.add(index)
        else:
            moves[index] = found
    if not moves:
        return
    while refused := _refused(moves, places, lost):
        for index in refused:
            del moves[index]
    going = {to: places[index] for index, to in moves.items()}
    for index in moves:
        del places[index]
    places.update(going)


def _refused(moves: Mapping[int, int], places: Mapping[int, Link], lost: set[int]) -> list[int]:
    """Return the moves to an input that is taken, or that another move targets."""
    taken: set[int] = set()
    refused = []
    for index, to in moves.items():
        if to in taken or (to in places and to not in moves and to not in lost):
            refused.append(index)
        taken.add(to)
    return refused
