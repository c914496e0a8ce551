"""The conversion from end to end: read the file, build the graph, write what would be queued of it.

What is converted is what the editor sends when the file is opened and queued:
`app.loadGraphData()`, then `app.graphToPrompt()`. The rooms of that way, in order:

- `editor_file` reads the file and names damage, `node_ids` makes node ids unique.
- `graph_from_file` builds the graph that `model` describes: nodes from `node_from_class` (what a
  class declares is read by `declarations`, what becomes of it by `widgets`), links by what
  `links_table` says, values from `saved_values`, subgraph instances that own values from
  `promoted_widgets`, older lists of such values from `old_promotions`, and types that follow the
  links from `slot_types`.
- `refusals` says what cannot be known of it.
- `primitives`, `prompt_texts` and `camera` do what happens when a prompt is queued.
- `fields` tells which inputs of the prompt a field of the drawing becomes.
- `follow_links` finds the nodes that are really run at the other end of a link, and
  `node_entries` writes each as the prompt has it.

`editor_version` holds what editors do differently from version to version.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import ConversionError
from .editor_file import read_editor
from .editor_version import editor_of
from .fields import Field, FieldFinder, FieldName
from .follow_links import Scope
from .graph_from_file import Opener
from .group_nodes import expand_group_nodes
from .model import BYPASSED, MUTED, Graph, Node
from .node_entries import EntryWriter, drop_dead_links
from .node_ids import drop_twins, renumber
from .primitives import apply_primitives
from .refusals import Choice, refuse
from .write_back import Origin

__all__ = ["convert_editor", "convert_fields", "convert_traced"]

# Definitions that use each other twice double with each level.
_MOST_NODES = 100_000


def convert_editor(
    file: Mapping[str, Any],
    catalog: Mapping[str, Any],
    *,
    editor: str | None = None,
    unknown: Choice = "raise",
    lost: Choice = "raise",
    rng: random.Random | None = None,
    now: datetime.datetime | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the API graph of an editor file, with the ids, inputs and titles that ComfyUI sends.

    Args:
        file: The file's content as the editor saves it, version 0.4 or 1; it is not changed.
        catalog: What the server can run: a `NodeCatalog`, or plain object_info JSON.
        editor: The version of the editor whose ways count, by default the one that the catalog
            names, else the newest known.
        unknown: What to do with nodes that the catalog does not know: "keep" writes them as the
            editor does, with null for a class and values called `UNKNOWN`. No server runs that.
        lost: What to do where saved values, links or kinds of inputs cannot be placed for
            certain: "keep" goes on without them, as the editor does.
        rng: Chooses in prompts like `{red|green}`; by default randomly each time, as ComfyUI does.
        now: The time for file names like `%date:yyyy-MM-dd%`, by default the present.

    Raises:
        WorkflowFormatError: The file is damaged; `place` says where.
        ConversionError: It has nodes that the catalog does not know, something would be lost, or
            links go round in a circle; `problems` lists them all.
        ValueError: `editor` is no version.

    Example:
        >>> catalog = {"EmptyImage": {"input": {"required": {"width": ["INT", {"default": 512}]}}}}
        >>> convert_editor({"nodes": [{"id": 1, "type": "EmptyImage", "widgets_values": [64]}]}, catalog)
        {'1': {'inputs': {'width': 64}, 'class_type': 'EmptyImage', '_meta': {'title': 'EmptyImage'}}}
    """
    writer = EntryWriter(rng, now)
    return _converted(file, catalog, writer, editor=editor, unknown=unknown, lost=lost)


def convert_traced(
    file: Mapping[str, Any],
    catalog: Mapping[str, Any],
    *,
    editor: str | None = None,
    unknown: Choice = "raise",
    lost: Choice = "raise",
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], Origin]]:
    """Return what `convert_editor` does, and by (node, input) where in the file the values stand.

    Raises:
        WorkflowFormatError: The file is damaged.
        ConversionError: It cannot be converted.
        ValueError: `editor` is no version.
    """
    writer = EntryWriter()
    return _converted(file, catalog, writer, editor=editor, unknown=unknown, lost=lost), writer.origins


def convert_fields(
    file: Mapping[str, Any], catalog: Mapping[str, Any], names: Sequence[FieldName]
) -> list[Field]:
    """Return which inputs of the converted prompt the fields of an editor file are, each in its place.

    Args:
        file: The file's content.
        catalog: What the server can run.
        names: The fields, as `extra.linearData` names them: a node's id and a widget's name.

    Raises:
        WorkflowFormatError: The file is damaged.
        ConversionError: It cannot be converted.
    """
    writer = EntryWriter()
    _converted(file, catalog, writer, editor=None, unknown="raise", lost="raise")
    finder = FieldFinder(writer.root, writer.written, writer.fed, file_id=file.get("id"))
    return [finder.find(name) for name in names]


def _converted(
    file: Mapping[str, Any],
    catalog: Mapping[str, Any],
    writer: EntryWriter,
    *,
    editor: str | None,
    unknown: Choice,
    lost: Choice,
) -> dict[str, dict[str, Any]]:
    """Open the file and write what would be queued of it."""
    ways = editor_of(editor or getattr(catalog, "editor", None))
    try:
        saved = read_editor(file)
        if not ways.renumbers_twins:
            drop_twins(saved)
        renumber(saved)
        groups = expand_group_nodes(saved, file, catalog, ways)
        opener = Opener(saved, catalog, ways)
        root = opener.open()
        if _size(root, {}) > _MOST_NODES:
            raise ConversionError(f"the subgraphs expand to more than {_MOST_NODES} nodes")
        nodes = list(_running(Scope(root)))
        placed = [(scope.prefix + node.id, node) for scope, node in nodes]
        refuse(placed, catalog, groups=groups, unknown=unknown, lost=lost)
        for pack in opener.packs:
            pack.queued(root)
        return _prompt(root, nodes, writer)
    except RecursionError:
        raise ConversionError("the graph is nested too deeply, or its chains are too long") from None


def _prompt(root: Graph, nodes: list[tuple[Scope, Node]], writer: EntryWriter) -> dict[str, dict[str, Any]]:
    """Return what would be queued of an opened file."""
    writer.root = root
    apply_primitives(root, writer.filename)
    prompt = {scope.prefix + node.id: writer.entry(scope, node) for scope, node in nodes}
    for entry in prompt.values():
        drop_dead_links(entry["inputs"], prompt)
    return prompt


def _size(graph: Graph, known: dict[str, int]) -> int:
    """Return how many nodes a graph has with all its instances expanded."""
    if graph.id not in known:
        inner = (node.definition for node in graph.nodes.values() if node.definition is not None)
        known[graph.id] = len(graph.nodes) + sum(_size(definition, known) for definition in inner)
    return known[graph.id]


def _running(scope: Scope) -> Iterator[tuple[Scope, Node]]:
    """Yield the nodes that are run, those of subgraph instances with their scope.

    The editor leaves out root instances that are muted or bypassed, but takes the nodes of
    nested ones, whatever the mode of the instance.
    """
    for node in scope.graph.nodes.values():
        stopped = node.mode in (MUTED, BYPASSED)
        if node.definition is not None:
            if scope.parent is not None or not stopped:
                yield from _running(scope.inside(node))
        elif not stopped and not node.virtual:
            yield scope, node
