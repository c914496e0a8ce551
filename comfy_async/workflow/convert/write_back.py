"""Writing values that were changed in an API graph back into the editor file that it was made from.

ComfyUI saves the editor file in each picture, and opens it when the picture is dropped into it. So
the file must match what was run: after a change that cannot be written back for certain, no
editor file is sent.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Mapping
from typing import Any, Final

from .._nodes import Node
from .._values import is_handle, is_pending, plain
from .model import Node as EditorNode
from .model import Rules, Spot, Widget
from .primitives import unrounded
from .prompt_texts import choose_alternatives
from .saved_values import CONTROL_WORDS

__all__ = ["Drawing", "Origin", "is_derived", "origin_of"]

_NUMBERS: Final = frozenset({"int", "float"})
_TEXTS: Final = frozenset({"text", "multiline", "markdown", "textarea", "color"})
_KINDS: Final = _NUMBERS | _TEXTS | {"toggle", "combo"}

_EXACT: Final = 2**53 - 1
"""The largest integer that the editor's doubles represent exactly."""

_FILLED = re.compile(r"%(date:[^%]*|[^%.]*\.[^%.]*)%")


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """The position of an input's value in the editor file, and how the editor processes it.

    Attributes:
        spot: The position.
        name: The widget's name, under which newer files store the value a second time.
        kind: The widget's kind.
        text: How the editor processes a text when it is queued: as "prompt", as "filename" or "".
        rules: The widgets that may round the value.
    """

    spot: Spot
    name: str
    kind: str
    text: str
    rules: Rules

    def keeps(self, value: Any) -> bool:
        """Return whether the editor would send the value unchanged if it were in the file."""
        if self.kind == "toggle":
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return False
        if self.kind in _NUMBERS:
            whole = isinstance(value, int)
            return (
                not isinstance(value, str)
                and (whole or self.kind == "float")
                and abs(value) <= _EXACT
                and unrounded(value, self.rules)
            )
        if isinstance(value, str):
            return self._keeps_text(value)
        return self.kind == "combo" and abs(value) <= _EXACT

    def _keeps_text(self, text: str) -> bool:
        """Return whether a text is sent unchanged, and does not affect how `widgets_values` is read."""
        if text in CONTROL_WORDS or "\r" in text:
            return False  # text fields of a web page have no carriage returns
        if self.name == "sampler_name" and text.startswith("sample_"):
            return False
        if self.text == "prompt":
            try:
                return choose_alternatives(text, random.Random(0)) == text
            except RecursionError:  # thousands of braces within each other
                return False
        return self.text != "filename" or _FILLED.search(text) is None


def origin_of(widget: Widget, *, own: bool) -> Origin | None:
    """Return the origin of a widget's value, None when a change there would change more than this value.

    Args:
        widget: A widget of a node that is sent, or of a subgraph instance that feeds its input.
        own: Whether it is the node's own widget; texts of instances are sent unprocessed.
    """
    if widget.spot is None or widget.kind not in _KINDS:
        return None
    if isinstance(widget.value, str) and widget.value in CONTROL_WORDS:
        return None
    return Origin(widget.spot, widget.name, widget.kind, widget.text if own else "", widget.rules)


def is_derived(node: EditorNode) -> bool:
    """Return whether some values of the node are derived from others, so that none changes alone."""
    return node.type == "CustomCombo" or any(widget.kind == "viewport" for widget in node.widgets)


@dataclasses.dataclass(frozen=True, slots=True)
class Drawing:
    """An editor file, and the API graph that it was converted to.

    Attributes:
        editor: The file; never changed.
        nodes: The graph, None before the conversion.
        origins: The origins in the file of the graph's values, by (node id, input).
    """

    editor: Mapping[str, Any]
    nodes: dict[str, Node] | None = None
    origins: Mapping[tuple[str, str], Origin] = dataclasses.field(default_factory=dict)

    def showing(self, nodes: dict[str, Node] | None) -> Mapping[str, Any] | None:
        """Return the editor file with the changes of an edited graph, None when they cannot be written back.

        It shares unchanged parts with the original.
        """
        if nodes is self.nodes or nodes is None:
            return self.editor
        writes = self._writes(nodes)
        if writes is None:
            return None
        editor = self.editor
        for spot, (name, value) in writes.items():
            written = _written(editor, spot, name=name, value=value)
            if written is None:
                return None
            editor = written
        return editor

    def _writes(self, nodes: dict[str, Node]) -> dict[Spot, tuple[str, Any]] | None:
        """Return the values to write by position, None when a change cannot be written back."""
        base = self.nodes or {}
        if nodes.keys() != base.keys():
            return None
        writes: dict[Spot, tuple[str, Any]] = {}
        for key, node in nodes.items():
            for name in _changed_inputs(base[key], node):
                origin = self.origins.get((key, name)) if name is not None else None
                value = None if name is None else _sent(node.inputs[name])
                if origin is None or not origin.keeps(value):
                    return None
                writes[origin.spot] = (origin.name, value)
        # One position may feed several inputs, for example of a subgraph that is used twice.
        for (key, name), origin in self.origins.items() if writes else ():
            written = writes.get(origin.spot)
            if written is not None and not _same(_sent(nodes[key].inputs.get(name)), written[1]):
                return None
        return writes


def _changed_inputs(before: Node, after: Node) -> list[str | None]:
    """Return the inputs whose values differ; [None] when the nodes differ in something else."""
    if before is after:
        return []
    if (before.class_type, before.meta, before.inputs.keys()) != (
        after.class_type,
        after.meta,
        after.inputs.keys(),
    ):
        return [None]
    return [
        name for name, value in after.inputs.items() if not _same(_sent(before.inputs[name]), _sent(value))
    ]


def _sent(value: Any) -> Any:
    """Return a value as it is sent; a file that is not uploaded yet is returned as it is."""
    return plain(value) if is_handle(value) and not is_pending(value) else value


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are equal as JSON, where true is not 1."""
    if isinstance(one, bool) is not isinstance(other, bool) or is_pending(one) or is_pending(other):
        return one is other
    return bool(one == other)


def _written(editor: Mapping[str, Any], spot: Spot, *, name: str, value: Any) -> dict[str, Any] | None:
    """Return a copy of the file with one value replaced, None when the position does not exist."""
    copied = dict(editor)
    node: Any = copied
    for word, number in re.findall(r"(\w+)|\[(\d+)\]", spot.place):
        step: str | int = word or int(number)
        node[step] = node[step].copy()
        node = node[step]
    values, named = node.get("widgets_values"), node.get("widgets_values_named")
    if isinstance(values, list) and isinstance(spot.key, int) and spot.key < len(values):
        node["widgets_values"] = [*values[: spot.key], value, *values[spot.key + 1 :]]
    elif isinstance(values, dict):
        node["widgets_values"] = {**values, spot.key: value}
    elif not isinstance(named, dict) or (values is not None and spot.key not in named):
        return None
    if isinstance(named, dict) and name in named:
        node["widgets_values_named"] = {**named, name: value}
    return copied
