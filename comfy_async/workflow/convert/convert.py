"""The whole conversion: read the file, build the graph, and write the prompt.

The result is what the editor sends when the file is opened and queued: `app.loadGraphData()`, then
`app.graphToPrompt()`. The modules, in the order of the steps:

- `editor_file` reads the file and reports damage, `node_ids` makes node ids unique, and
  `group_nodes` turns group nodes into subgraphs.
- `graph_from_file` builds the graph that `model` describes: nodes with `node_from_class` (from the
  inputs that `declarations` reads and the widgets that `widgets` makes of them), links with
  `links_table`, values with `saved_values`, promoted widgets with `promoted_widgets` and, for older
  files, `old_promotions`, and types that depend on links with `slot_types`.
- `refusals` raises for what is uncertain.
- `primitives`, `prompt_texts` and `camera` do what the editor does when a prompt is queued.
- `follow_links` finds the node at the other end of a link, and `node_entries` writes the nodes of
  the prompt.
- `fields` maps widgets of the editor to inputs of the prompt.

`editor_version` has the differences between versions of the editor.
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

# Definitions that use another one twice double the number of nodes at each level.
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
        editor: The editor version to convert like, by default the one that the catalog names,
            else the newest known.
        unknown: What to do with nodes of classes that the catalog lacks: "keep" writes them as the
            editor does, with a null class_type and inputs named `UNKNOWN`. No server runs them.
        lost: What to do with saved values, links and inputs that cannot be placed for certain:
            "keep" drops them, as the editor does.
        rng: Chooses in prompts like `{red|green}`; by default randomly each time, as ComfyUI does.
        now: The time for file names like `%date:yyyy-MM-dd%`, by default the present.

    Raises:
        WorkflowFormatError: The file is damaged; `place` says where.
        ConversionError: It has nodes of classes that the catalog lacks, something would be lost, or
            links form a cycle; `problems` lists them.
        ValueError: `editor` is not a version.

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
    """Return the graph like `convert_editor`, and the origins of its values by (node id, input).

    Raises:
        WorkflowFormatError: The file is damaged.
        ConversionError: It cannot be converted.
        ValueError: `editor` is not a version.
    """
    writer = EntryWriter()
    return _converted(file, catalog, writer, editor=editor, unknown=unknown, lost=lost), writer.origins


def convert_fields(
    file: Mapping[str, Any], catalog: Mapping[str, Any], names: Sequence[FieldName]
) -> list[Field]:
    """Return the inputs of the converted prompt for widgets of an editor file, in the order of `names`.

    Args:
        file: The file's content.
        catalog: What the server can run.
        names: The widgets, as `extra.linearData` names them: a node's id and a widget's name.

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
    """Open the file and return the prompt."""
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
    """Return the prompt of an opened file."""
    writer.root = root
    apply_primitives(root, writer.filename)
    prompt = {scope.prefix + node.id: writer.entry(scope, node) for scope, node in nodes}
    for entry in prompt.values():
        drop_dead_links(entry["inputs"], prompt)
    return prompt


def _size(graph: Graph, known: dict[str, int]) -> int:
    """Return the number of nodes of a graph with all subgraph instances expanded."""
    if graph.id not in known:
        inner = (node.definition for node in graph.nodes.values() if node.definition is not None)
        known[graph.id] = len(graph.nodes) + sum(_size(definition, known) for definition in inner)
    return known[graph.id]


def _running(scope: Scope) -> Iterator[tuple[Scope, Node]]:
    """Yield the nodes that are sent, with their scope.

    The editor leaves out subgraph instances at the root that are muted or bypassed, but sends the
    nodes of nested instances regardless of the instance's mode.
    """
    for node in scope.graph.nodes.values():
        stopped = node.mode in (MUTED, BYPASSED)
        if node.definition is not None:
            if scope.parent is not None or not stopped:
                yield from _running(scope.inside(node))
        elif not stopped and not node.virtual:
            yield scope, node
