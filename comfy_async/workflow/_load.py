"""Recognizing a source: an API graph, an editor file, or a media file that carries them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WorkflowFormatError
from ._nodes import Node, parse_nodes
from ._reading import loads, read_source, unpack
from ._values import copy_json
from ._wrappers import is_editor, unwrapped

if TYPE_CHECKING:
    from .convert import Drawing

__all__ = ["Parts", "drawing_of", "open_editor", "open_source"]

Parts = tuple[dict[str, Node] | None, dict[str, Any] | None]
"""The nodes of an API graph and the editor file; at least one of the two."""


def open_source(source: Any) -> Parts:
    """Read a workflow from a path, JSON text, bytes, a dict or a media file.

    Raises:
        WorkflowFormatError: It is not a workflow, or is damaged; `place` says where.
        OSError: The file cannot be read.
    """
    path = _media_path(source)
    if path is not None:
        from .media import read_media

        return from_media(read_media(path), name=os.fspath(path))
    content, name = read_source(source, what="workflow")
    if isinstance(content, bytes):
        from .media import is_media, read_media

        if is_media(content[:64]):
            return from_media(read_media(content), name=name)
        content = unpack(content, name=name)
    if isinstance(content, str | bytes):
        content = loads(content, name=name)
    return from_json(content, name=name)


def open_editor(source: Any) -> dict[str, Any]:
    """Read an editor file, also from a picture that carries one.

    Raises:
        WorkflowFormatError: It is not an editor file, or is damaged.
        OSError: The file cannot be read.
    """
    if is_editor(source):
        return read_editor(source)
    _, editor = open_source(source)
    if editor is None:
        raise WorkflowFormatError(
            "this is not an editor file but a workflow in API format",
            hint="Workflow.load() takes it as it is.",
        )
    return editor


def from_json(data: Any, *, name: str = "") -> Parts:
    """Read a workflow from decoded JSON: a graph, an editor file, or an envelope of either.

    Raises:
        WorkflowFormatError: It is not a workflow, or is damaged.
    """
    prompt, drawing = unwrapped(data)
    if prompt is None and drawing is None:
        raise WorkflowFormatError(
            f"{name or 'this'} is not a workflow but a JSON {_json_type(data)}", place=name or "the top level"
        )
    nodes = None if prompt is None else parse_nodes(prompt, name=name)
    return nodes, None if drawing is None else read_editor(drawing, name=name)


def from_media(found: Mapping[str, Any], *, name: str) -> Parts:
    """Read what a picture, video or audio file carries: an API graph, an editor file, or both.

    Raises:
        WorkflowFormatError: It carries no workflow, or a damaged one.
    """
    if any(isinstance(found.get(key), Mapping) for key in ("prompt", "workflow")):
        return from_json(dict(found), name=name)
    told = f"{name or 'this file'} carries no workflow"
    if isinstance(found.get("parameters"), str):
        raise WorkflowFormatError(
            f"{told}, but the settings of another program (`parameters`, as Stable Diffusion web UI writes)",
            place=name,
            hint="Build the workflow in ComfyUI: such settings do not say which nodes to run.",
        )
    hint = "ComfyUI writes it unless --disable-metadata is set, and many web sites strip it."
    raise WorkflowFormatError(told, place=name, hint=hint)


def read_editor(data: Mapping[str, Any], *, name: str = "") -> dict[str, Any]:
    """Return a copy of an editor file after checking the parts that all other code relies on.

    Raises:
        WorkflowFormatError: Its nodes or links are damaged; `place` is `nodes[3].type`.
    """
    where = f"{name}: " if name else ""
    for index, node in enumerate(data["nodes"]):
        place = f"nodes[{index}]"
        if not isinstance(node, Mapping):
            raise WorkflowFormatError(f"{where}{place} is not an object", place=place)
        if not isinstance(node.get("id"), str | int):
            raise WorkflowFormatError(f"{where}{place} has no id", place=f"{place}.id")
        if not isinstance(node.get("type"), str):
            raise WorkflowFormatError(f"{where}{place} has no type", place=f"{place}.type")
    links = data.get("links")
    if links is not None and not isinstance(links, list | tuple | Mapping):
        raise WorkflowFormatError(f"{where}links is not a list", place="links")
    copied: dict[str, Any] = copy_json(data)
    return copied


def _media_path(source: Any) -> Path | None:
    """Return the path when the source is one of a media file, which may be too large to read whole."""
    if isinstance(source, str) and (source.lstrip("\ufeff \t\r\n")[:1] in {"", "{", "["} or "\n" in source):
        return None
    if not isinstance(source, str | os.PathLike) or "\0" in os.fspath(source):
        return None
    from .media import is_media

    path = Path(source)
    with path.open("rb") as file:
        return path if is_media(file.read(64)) else None


def _json_type(data: Any) -> str:
    if isinstance(data, list | tuple):
        return "list"
    return {str: "text", bool: "boolean", int: "number", float: "number"}.get(type(data), "null")


def drawing_of(
    editor: Mapping[str, Any],
    nodes: dict[str, Node] | None = None,
    origins: Mapping[tuple[str, str], Any] | None = None,
) -> Drawing:
    """Return an editor file with the graph converted from it; imported late, most workflows have none."""
    from .convert import Drawing

    return Drawing(editor, nodes, origins or {})
