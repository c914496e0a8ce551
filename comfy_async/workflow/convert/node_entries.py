"""Writing the nodes of the prompt: values of widgets, then links, and metadata."""

from __future__ import annotations

import copy
import datetime
import functools
import random
import re
from collections.abc import Mapping
from typing import Any, Final

from .camera import viewport_state
from .follow_links import FromHost, Scope, resolve_input
from .model import JSON_OBJECT, MISSING, Graph, InputSlot, Node, Widget
from .prompt_texts import choose_alternatives, fill_placeholders
from .write_back import Origin, is_derived, origin_of

__all__ = ["EntryWriter", "drop_dead_links"]

_BRANCHES: Final = "autogrow."
"""The group of inputs whose names `COMFY_BRANCH_INPUT_NAMES` sends (customWidgets.ts)."""

# What the editor accepts as a pack's registry id, repository, and version (workflowSchema.ts).
_PACK = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,98}[a-zA-Z0-9])?")
_OWNER = re.compile(r"(?!.*--)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,37}[a-zA-Z0-9])?")
_RELEASE = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\da-z-]+(\.[\da-z-]+)*)?(\+[\da-z-]+(\.[\da-z-]+)*)?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-fA-F]{4,40}")


class EntryWriter:
    """Writes the nodes of one prompt."""

    def __init__(self, rng: random.Random | None = None, now: datetime.datetime | None = None) -> None:
        """Keep the random generator and the time that texts depend on.

        `root` is the graph in which file names look up nodes, `written` has the nodes by their ids
        in the prompt, `fed` the widgets whose values the inputs have, None for linked inputs.
        """
        self.root = Graph("")
        self.origins: dict[tuple[str, str], Origin] = {}
        self.written: dict[str, Node] = {}
        self.fed: dict[tuple[str, str], Widget | None] = {}
        self._rng = rng or random.Random()
        self._now = now or datetime.datetime.now()

    def entry(self, scope: Scope, node: Node) -> dict[str, Any]:
        """Return the prompt's entry of a node: values of its widgets first, then links."""
        inputs: dict[str, Any] = {}
        sources: dict[str, Widget] = {}
        links: dict[str, Widget | None] = {}
        for widget in node.widgets:
            if widget.sent and widget.name:
                _put(inputs, widget.name, self._sent(scope, node, widget), widget.kind, node)
                sources[widget.name] = widget
        for slot in node.inputs:
            if slot.link is not None:
                _put_link(inputs, links, scope, node, slot)
        key = scope.prefix + node.id
        self.written[key] = node
        self.fed.update({(key, name): widget for name, widget in {**sources, **links}.items()})
        for name in () if is_derived(node) else inputs:
            source = links[name] if name in links else sources.get(name)
            origin = None if source is None else origin_of(source, own=name not in links)
            if origin is not None:
                self.origins[key, name] = origin
        return {"inputs": inputs, "class_type": node.class_type, "_meta": _meta(node)}

    def filename(self, text: str) -> str:
        """Return a file name with its placeholders filled in."""
        return fill_placeholders(text, self.root, self._now)

    def _sent(self, scope: Scope, node: Node, widget: Widget) -> Any:
        """Return a widget's value as it is sent."""
        if widget.kind == "viewport":
            return viewport_state(node)
        if widget.kind == "branch_names":
            return _branches(node)
        if widget.kind == "choice_index" and node.editor.follows_choices:
            return _index_of_choice(scope, node)
        if isinstance(widget.value, str) and widget.text:
            if widget.text == "filename":
                return self.filename(widget.value)
            return choose_alternatives(widget.value, self._rng)
        return widget.value


def _branches(node: Node) -> list[str]:
    """Return the names of the linked branches: the user's labels, else the inputs' names."""
    return [
        slot.name.rpartition(".")[2] if slot.label is None else slot.label
        for slot in node.inputs
        if slot.name.startswith(_BRANCHES) and slot.link is not None
    ]


def _index_of_choice(scope: Scope, node: Node) -> int:
    """Return the index of a CustomCombo's choice, which a promoted widget may set; -1 when it has none."""
    (
        choice,
        *_,
    ) = (widget.value for widget in node.widgets)
    for slot in node.inputs:
        if slot.widget == node.widgets[0].name and slot.link is not None:
            source = resolve_input(scope, node, slot)
            choice = source.widget.value if isinstance(source, FromHost) else choice
    options = [option.value for option in node.widgets[2:]]
    return options.index(choice) if choice in options else -1


def _meta(node: Node) -> dict[str, Any]:
    """Return the title, and the node's pack if the file has well-formed data about it."""
    if not node.editor.names_packs:
        return {"title": node.title}
    saved = [node.properties.get(key) for key in ("cnr_id", "aux_id", "ver")]
    return {"title": node.title or "", **_pack(*(item if isinstance(item, str) else "" for item in saved))}


@functools.lru_cache(maxsize=1024)
def _pack(registry_id: str, repository: str, version: str) -> Mapping[str, str]:
    """Return the pack data of a saved node that the editor accepts as valid."""
    named: dict[str, str] = {}
    if _PACK.fullmatch(registry_id):
        named["cnr_id"] = registry_id
    owner, slash, name = repository.partition("/")
    if slash and _OWNER.fullmatch(owner) and _PACK.fullmatch(name):
        named["aux_id"] = repository
    version = version.removeprefix("v")
    if version == "unknown" or _RELEASE.fullmatch(version) or _COMMIT.fullmatch(version):
        named["ver"] = version
    return named


def _put_link(
    inputs: dict[str, Any], links: dict[str, Widget | None], scope: Scope, node: Node, slot: InputSlot
) -> None:
    """Set an input to its link's source, a node or the value of a subgraph instance, and record which."""
    source = resolve_input(scope, node, slot)
    if isinstance(source, FromHost):
        _put(inputs, slot.name, source.widget.value, "", node)
        links[slot.name] = source.widget
    elif source is not None:
        inputs[slot.name] = [source.node_id, source.slot]
        links[slot.name] = None


def _put(inputs: dict[str, Any], name: str, value: Any, kind: str, node: Node) -> None:
    """Set an input to a value; lists are wrapped, because a bare list would be a link."""
    if value is MISSING:
        inputs.pop(name, None)
    elif kind == "curve" and value is not None and (node.editor.wraps_curves or isinstance(value, list)):
        inputs[name] = {"__type__": "CURVE", "__value__": copy.deepcopy(value)}
    elif isinstance(value, list):
        inputs[name] = {"__value__": copy.deepcopy(value)}
    elif isinstance(value, JSON_OBJECT):
        inputs[name] = copy.deepcopy(dict(value))
    elif isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        inputs[name] = int(value)  # as JavaScript writes it
    else:
        inputs[name] = value


def drop_dead_links(inputs: dict[str, Any], prompt: Mapping[str, Any]) -> None:
    """Drop links to nodes that are not in the prompt."""
    dead = [name for name, value in inputs.items() if isinstance(value, list) and value[0] not in prompt]
    for name in dead:
        del inputs[name]
