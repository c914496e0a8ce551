"""The conversion from end to end: read the file, build the graph, write what would be queued of it.

What is converted is what the editor sends when the file is opened and queued:
`app.loadGraphData()`, then `app.graphToPrompt()`. The rooms of that way, in order:

- `editor_file` reads the file and names damage, `node_ids` makes node ids unique.
- `graph_from_file` builds the graph that `model` describes: nodes from `node_from_class` (what a
  class declares is read by `declarations`, what becomes of it by `widgets`), their values from
  `saved_values`, subgraph instances that own values from `promoted_widgets`, older lists of such
  values from `old_promotions`, and types that follow the links from `slot_types`.
- `primitives`, `prompt_texts` and `camera` do what happens when a prompt is queued.
- `follow_links` finds the nodes that are really run at the other end of a link.
"""

from __future__ import annotations

import copy
import datetime
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ...errors import ConversionError
from ...types import Problem
from ..packs import Pack
from .camera import viewport_state
from .editor_file import read_editor
from .follow_links import FromHost, Scope, resolve_input
from .graph_from_file import Opener
from .model import (
    BYPASSED,
    JSON_OBJECT,
    MISSING,
    MUTED,
    Graph,
    InputSlot,
    Node,
    Widget,
)
from .node_ids import renumber
from .primitives import apply_primitives
from .prompt_texts import choose_alternatives, fill_placeholders
from .write_back import Origin, origin_of

__all__ = ["convert_editor", "convert_traced"]

_GROUP_NODES = ("workflow>", "workflow/")

# Definitions that use each other twice double with each level.
_MOST_NODES = 100_000


def convert_editor(
    editor: Mapping[str, Any],
    catalog: Mapping[str, Any],
    *,
    unknown: Literal["raise", "keep"] = "raise",
    rng: random.Random | None = None,
    now: datetime.datetime | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the API graph of an editor file, with the ids, inputs and titles that ComfyUI sends.

    Args:
        editor: The file's content as the editor saves it, version 0.4 or 1; it is not changed.
        catalog: What the server can run: a `NodeCatalog`, or plain object_info JSON.
        unknown: What to do with nodes that the catalog does not know: "keep" writes them as the
            editor does, with null for a class and values called `UNKNOWN`. No server runs that.
        rng: Chooses in prompts like `{red|green}`; by default anew each time, as ComfyUI does.
        now: The time for file names like `%date:yyyy-MM-dd%`, by default the present.

    Raises:
        WorkflowFormatError: The file is damaged; `place` says where.
        ConversionError: It has nodes that the catalog does not know, group nodes, or links
            that go round in a circle; `problems` lists them all.

    Example:
        >>> catalog = {"EmptyImage": {"input": {"required": {"width": ["INT", {"default": 512}]}}}}
        >>> convert_editor({"nodes": [{"id": 1, "type": "EmptyImage", "widgets_values": [64]}]}, catalog)
        {'1': {'inputs': {'width': 64}, 'class_type': 'EmptyImage', '_meta': {'title': 'EmptyImage'}}}
    """
    writer = _Writer(rng or random.Random(), now or datetime.datetime.now())
    return _converted(editor, catalog, writer, keep=unknown == "keep")


def convert_traced(
    editor: Mapping[str, Any], catalog: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], Origin]]:
    """Return what `convert_editor` does, and by (node, input) where in the file the values stand.

    Raises:
        WorkflowFormatError: The file is damaged.
        ConversionError: It cannot be converted.
    """
    writer = _Writer(random.Random(), datetime.datetime.now())
    return _converted(editor, catalog, writer, keep=False), writer.origins


def _converted(
    editor: Mapping[str, Any], catalog: Mapping[str, Any], writer: _Writer, *, keep: bool
) -> dict[str, dict[str, Any]]:
    """Open the file and write what would be queued of it."""
    try:
        saved = read_editor(editor)
        renumber(saved)
        opener = Opener(saved, catalog)
        return _prompt(opener.open(), opener.packs, writer, keep=keep)
    except RecursionError:
        raise ConversionError("the graph is nested too deeply, or its chains are too long") from None


def _prompt(root: Graph, packs: Sequence[Pack], writer: _Writer, *, keep: bool) -> dict[str, dict[str, Any]]:
    """Return what would be queued of an opened file."""
    if _size(root, {}) > _MOST_NODES:
        raise ConversionError(f"the subgraphs expand to more than {_MOST_NODES} nodes")
    nodes = list(_running(Scope(root)))
    if not keep:
        _refuse_unknown(nodes)
    writer.root = root
    for pack in packs:
        pack.queued(root)
    apply_primitives(root, writer.filename)
    prompt = {scope.prefix + node.id: writer.entry(scope, node) for scope, node in nodes}
    for entry in prompt.values():
        _drop_dead_links(entry["inputs"], prompt)
    return prompt


def _size(graph: Graph, known: dict[str, int]) -> int:
    """Return how many nodes a graph has with all its instances expanded."""
    if graph.id not in known:
        inner = (node.definition for node in graph.nodes.values() if node.definition is not None)
        known[graph.id] = len(graph.nodes) + sum(_size(definition, known) for definition in inner)
    return known[graph.id]


def _running(scope: Scope) -> Iterator[tuple[Scope, Node]]:
    """Yield the nodes that are run, those of subgraph instances with their scope.

    The frontend leaves out root instances that are muted or bypassed, but takes the nodes of
    nested ones, whatever the mode of the instance.
    """
    for node in scope.graph.nodes.values():
        stopped = node.mode in (MUTED, BYPASSED)
        if node.definition is not None:
            if scope.parent is not None or not stopped:
                yield from _running(scope.inside(node))
        elif not stopped and not node.virtual:
            yield scope, node


def _refuse_unknown(nodes: list[tuple[Scope, Node]]) -> None:
    """Raise when there are nodes that the server could not run."""
    problems = [_unknown(scope, node) for scope, node in nodes if node.class_type is None]
    if problems:
        count = f"{len(problems)} nodes are" if len(problems) > 1 else "a node is"
        raise ConversionError(
            f"{count} of a class that this server does not have",
            problems=problems,
            hint="Install what is missing, or mute or bypass these nodes in ComfyUI.",
        )


def _unknown(scope: Scope, node: Node) -> Problem:
    """Return what is wrong with a node of an unknown class, with the pack that has it."""
    message, pack = f"the server has no class {node.type!r}", _pack(node)
    advice = f"Install the node pack {pack!r}." if pack else ""
    if node.type.startswith(_GROUP_NODES):
        message = "group nodes cannot be converted"
        advice = "Open the file in ComfyUI, which turns it into a subgraph, and save it again."
    return Problem(
        node=scope.prefix + node.id,
        title=node.title or "",
        class_type=node.type,
        type="missing_node_type",
        message=message,
        received=node.type,
        advice=advice,
    )


def _pack(node: Node) -> str:
    """Return the registry id or the repository of the pack that the node was saved with."""
    for key in ("cnr_id", "aux_id"):
        pack = node.properties.get(key)
        if isinstance(pack, str) and pack and pack != "comfy-core":
            return pack
    return ""


class _Writer:
    """Writes nodes as the prompt has them."""

    def __init__(self, rng: random.Random, now: datetime.datetime) -> None:
        """Keep what texts depend on; `root` is where file names look for nodes."""
        self.root = Graph("")
        self.origins: dict[tuple[str, str], Origin] = {}
        self._rng = rng
        self._now = now

    def entry(self, scope: Scope, node: Node) -> dict[str, Any]:
        """Return a node of the prompt: values of its widgets first, then what links bring."""
        inputs: dict[str, Any] = {}
        sources: dict[str, Widget] = {}
        links: dict[str, Widget | None] = {}
        for widget in node.widgets:
            if widget.sent and widget.name:
                _put(inputs, widget.name, self._sent(node, widget), widget.kind)
                sources[widget.name] = widget
        for slot in node.inputs:
            if slot.link is not None:
                links.update(_put_link(inputs, scope, node, slot))
        for name in inputs:
            source = links[name] if name in links else sources.get(name)
            origin = None if source is None else origin_of(source, node, own=name not in links)
            if origin is not None:
                self.origins[scope.prefix + node.id, name] = origin
        return {"inputs": inputs, "class_type": node.class_type, "_meta": {"title": node.title}}

    def filename(self, text: str) -> str:
        """Return a file name with its placeholders filled in."""
        return fill_placeholders(text, self.root, self._now)

    def _sent(self, node: Node, widget: Widget) -> Any:
        """Return a widget's value as it is sent."""
        if widget.kind == "viewport":
            return viewport_state(node)
        if isinstance(widget.value, str) and widget.text:
            if widget.text == "filename":
                return self.filename(widget.value)
            return choose_alternatives(widget.value, self._rng)
        return widget.value


def _put_link(inputs: dict[str, Any], scope: Scope, node: Node, slot: InputSlot) -> dict[str, Widget | None]:
    """Set an input to what its link brings, a link or the value of a subgraph instance; return whose."""
    source = resolve_input(scope, node, slot)
    if isinstance(source, FromHost):
        _put(inputs, slot.name, source.widget.value, "")
        return {slot.name: source.widget}
    if source is not None:
        inputs[slot.name] = [source.node_id, source.slot]
        return {slot.name: None}
    return {}


def _put(inputs: dict[str, Any], name: str, value: Any, kind: str) -> None:
    """Set an input to a value; lists are wrapped, for a bare list would be a link."""
    if value is MISSING:
        inputs.pop(name, None)
    elif isinstance(value, list):
        value = copy.deepcopy(value)
        inputs[name] = {"__type__": "CURVE", "__value__": value} if kind == "curve" else {"__value__": value}
    elif isinstance(value, JSON_OBJECT):
        inputs[name] = copy.deepcopy(dict(value))
    elif isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        inputs[name] = int(value)  # as JavaScript writes it
    else:
        inputs[name] = value


def _drop_dead_links(inputs: dict[str, Any], prompt: Mapping[str, Any]) -> None:
    """Drop links to nodes that are not in the prompt."""
    dead = [name for name, value in inputs.items() if isinstance(value, list) and value[0] not in prompt]
    for name in dead:
        del inputs[name]
