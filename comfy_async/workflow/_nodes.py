"""The nodes of an API graph: reading, keeping and writing them. Variants share unchanged nodes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Set
from functools import cached_property
from pathlib import Path
from typing import Any

from .._base.paths import write_whole
from ..errors import WorkflowError, WorkflowFormatError
from ..types import NodeInfo, clipped
from ._values import (
    DamageError,
    is_handle,
    is_link,
    is_pending,
    plain,
    tidy,
)

__all__ = ["Graph", "Node", "parse_nodes", "save_graph", "still_pending"]

_NOT_NODES = frozenset({"version", "extra", "extra_data", "client_id", "prompt_id", "workflow"})

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

_EXPORT = "Export it with 'Workflow > Export (API)', or pass the editor's own file."


class Node:
    """One node, immutable. `inputs` holds plain JSON, files to upload and handles of uploaded files."""

    def __init__(self, class_type: str, inputs: dict[str, Any], meta: dict[str, Any] | None = None) -> None:
        """Keep the parts; the dicts are not copied, so the caller must not change them afterwards."""
        self.class_type = class_type
        self.inputs = inputs
        self.meta = meta

    @property
    def title(self) -> str:
        """The title in the editor, "" when the file has none."""
        title = self.meta.get("title") if self.meta else None
        return title if isinstance(title, str) else ""

    @cached_property
    def pending(self) -> tuple[str, ...]:
        """The inputs whose values must be uploaded first."""
        return tuple(name for name, value in self.inputs.items() if is_pending(value))

    @cached_property
    def encoded(self) -> str:
        """The node as compact JSON, cached for all variants that share the node."""
        return _ENCODER.encode(self.plain())

    @cached_property
    def sources(self) -> frozenset[str]:
        """The ids of the nodes that it is linked to, cached for all variants that share the node."""
        return frozenset(source for _, source, _ in self.links())

    def info(self, node: str) -> NodeInfo:
        """Return the node's id, title and class."""
        return NodeInfo(node, self.title, self.class_type)

    def links(self) -> list[tuple[str, str, int]]:
        """Return the inputs that are links, as (input, source id, slot)."""
        return [(name, value[0], value[1]) for name, value in self.inputs.items() if is_link(value)]

    def replace(self, inputs: dict[str, Any]) -> Node:
        """Return the same node with other inputs."""
        return Node(self.class_type, inputs, self.meta)

    def plain(self) -> dict[str, Any]:
        """Return the node as a new dict in API format."""
        node: dict[str, Any] = {
            "inputs": {name: plain(value) for name, value in self.inputs.items()},
            "class_type": self.class_type or None,
        }
        if self.meta is not None:
            node["_meta"] = plain(self.meta)
        return node

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        if self is other:
            return True
        if not isinstance(other, Node):
            return NotImplemented
        return (self.class_type, self.inputs, self.meta) == (other.class_type, other.inputs, other.meta)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts without cached values."""
        return Node, (self.class_type, self.inputs, self.meta)


Graph = dict[str, Node]
"""Nodes by id."""


def parse_nodes(data: Mapping[Any, Any], *, name: str = "", kept: bool = False) -> dict[str, Node]:
    """Read an API graph; with `kept` a null class_type is accepted, and is "" in the node.

    Raises:
        WorkflowFormatError: It is not an API graph, or is damaged; `place` is `id.field`.
    """
    where = f"{name}: " if name else ""
    nodes: Graph = {}
    ids = {str(key) for key in data}
    for key, raw in data.items():
        node = str(key)
        if node in nodes:
            raise WorkflowFormatError(
                f"{where}two nodes have the id {clipped(node)}, one as a string and one as a number",
                place=node,
            )
        if isinstance(raw, Mapping) and "class_type" in raw:
            nodes[node] = _parse_node(node, raw, where=where, ids=ids, kept=kept)
        elif not _is_note(node, raw):
            raise WorkflowFormatError(
                f"{where}node {clipped(node)} has no class_type", place=f"{node}.class_type", hint=_EXPORT
            )
    if not nodes:
        raise WorkflowFormatError(f"{where}the workflow has no nodes", place=name, hint=_EXPORT)
    return nodes


def _is_note(key: str, raw: Any) -> bool:
    """Return whether a top-level entry is not a node but metadata that tools write beside the nodes."""
    if isinstance(raw, Mapping) and "inputs" in raw:
        return False
    return key.startswith("_") or key in _NOT_NODES


def _parse_node(node: str, raw: Mapping[str, Any], *, where: str, ids: Set[str], kept: bool) -> Node:
    class_type, inputs, meta = raw["class_type"], raw.get("inputs"), raw.get("_meta")
    if kept and class_type is None:
        class_type = ""
    elif not isinstance(class_type, str) or not class_type:
        raise WorkflowFormatError(
            f"{where}node {node!r} has the class_type {clipped(class_type)}, not a name",
            place=f"{node}.class_type",
            hint="The editor exports this for nodes that are not installed.",
        )
    if not isinstance(inputs, Mapping):
        found = "no inputs" if inputs is None else f"inputs of type {type(inputs).__name__}"
        raise WorkflowFormatError(f"{where}node {node!r} has {found}", place=f"{node}.inputs")
    return Node(
        class_type,
        {
            str(key): _value(_link(value, ids), f"{node}.inputs.{key}", where=where)
            for key, value in inputs.items()
        },
        _value(meta, f"{node}._meta", where=where) if isinstance(meta, Mapping) else None,
    )


def _link(value: Any, ids: Set[str]) -> Any:
    """Return a link with a numeric id as one with a string id, which is how nodes are keyed.

    JSON turns ids that are keys into strings, and leaves those in links as they are.
    """
    if isinstance(value, list | tuple) and len(value) == 2:
        source = value[0]
        if isinstance(source, int) and not isinstance(source, bool) and str(source) in ids:
            return [str(source), value[1]]
    return value


def _value(value: Any, place: str, *, where: str) -> Any:
    if is_handle(value) or is_pending(value):
        return value
    try:
        return tidy(value)
    except DamageError as damage:
        raise WorkflowFormatError(f"{where}{place}: {damage}", place=place) from damage


def still_pending(nodes: Mapping[str, Node]) -> WorkflowError | None:
    """Return the error that lists the files to upload, None when there are none."""
    places = [f"{node.info(key)}, input {name!r}" for key, node in nodes.items() for name in node.pending]
    if not places:
        return None
    return WorkflowError(
        f"files wait to be uploaded: {'; '.join(places)}",
        hint="submit() uploads them; comfy.files.upload() gives the value to put there.",
    )


def node_order(node: str) -> list[tuple[int, int, str]]:
    """Return the sort key of a node id: `2` before `10`, `57:3` after `57`."""
    parts = re.split(r"(\d{1,18})", node)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def save_graph(api: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write a graph with its nodes sorted by id; an existing file is replaced in one atomic step.

    Raises:
        OSError: The file cannot be written.
    """
    target = Path(path)
    ordered = {node: api[node] for node in sorted(api, key=node_order)}
    try:
        content = json.dumps(ordered, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # A lone surrogate, as truncated emoji leave it, cannot be encoded in UTF-8.
        content = json.dumps(ordered, indent=2).encode()
    write_whole(target, content + b"\n")
    return target
