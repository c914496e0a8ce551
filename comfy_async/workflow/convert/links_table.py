"""Which link stands on which input: a file says it twice, and where it contradicts itself the table decides.

The editor (since 1.54) reads the table of links; what inputs say of themselves (`link`) only
tells which input of the node was meant, for places among the inputs shift when a class changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from .editor_file import SavedGraph
from .editor_version import Editor
from .model import OUTPUT_BOUNDARY, InputSlot, Link

__all__ = ["Incoming", "Moved", "connect", "settle_table"]

Incoming: TypeAlias = Mapping[str, Sequence[Link]]
"""By node id the links that end in it."""

Moved: TypeAlias = list[tuple[Link, InputSlot, InputSlot]]
"""Links that stand on another input (second) than the one at the place that the table names (third)."""


def settle_table(graph: SavedGraph, editor: Editor) -> Incoming:
    """Keep one link for each place and let inputs and borders name that one; return who gets which."""
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
    """Drop all links but one of those into one place; return dropped ids with the one that stays.

    The first in the table stays, but for one of another origin that an input names while none
    names the first. All stay that lead to one of the `kept`.
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
    """Let everything that names a dropped link name the one that stayed."""
    for node in graph.nodes:
        for slot in node.inputs:
            if slot.link is not None:
                slot.link = renamed.get(slot.link, slot.link)
    for border in (*graph.inputs, *graph.outputs):
        border.link_ids[:] = dict.fromkeys(renamed.get(link, link) for link in border.link_ids)


def connect(inputs: Sequence[InputSlot], saved: Iterable[InputSlot], links: Sequence[Link]) -> Moved:
    """Put each link that ends in a node on one of its inputs; return those that left their place.

    A link stands at the place that the table names, unless the file's own input that names it
    is elsewhere now and that place is free.

    Args:
        inputs: The node's inputs; some may be the file's own.
        saved: The inputs as the file has them.
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
    """Move links to the inputs that name them, where no link stands that stays."""
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
    """Return the moves to a place that is taken, or that another move goes to."""
    taken: set[int] = set()
    refused = []
    for index, to in moves.items():
        if to in taken or (to in places and to not in moves and to not in lost):
            refused.append(index)
        taken.add(to)
    return refused
