"""Telling what a source is: an API graph, an editor file, or a file that carries them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import WorkflowFormatError
from ._nodes import Node, parse_nodes
from ._reading import loads, read_source, unpack
from ._values import copy_json

__all__ = ["Parts", "is_editor", "open_editor", "open_source"]

Parts = tuple[dict[str, Node] | None, dict[str, Any] | None]
"""The nodes of an API graph and the editor file; at least one of the two."""


def is_editor(data: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether JSON is what the editor saves: it has a list of nodes, an API graph none."""
    return isinstance(data, Mapping) and isinstance(data.get("nodes"), list | tuple)


def open_source(source: Any) -> Parts:
    """Read whatever a workflow can be loaded from.

    Raises:
        WorkflowFormatError: It is no workflow, or damaged; the place is named.
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
        WorkflowFormatError: It is none, or damaged.
        OSError: The file cannot be read.
    """
    if is_editor(source):
        return read_editor(source)
    _, editor = open_source(source)
    if editor is None:
        raise WorkflowFormatError(
            "this is no editor file but a workflow in API format", hint="Workflow.load() takes it as it is."
        )
    return editor


def from_json(data: Any, *, name: str = "") -> Parts:
    """Read a workflow from decoded JSON, also from the body of a POST /prompt.

    Raises:
        WorkflowFormatError: It is no workflow, or damaged.
    """
    if not isinstance(data, Mapping):
        raise WorkflowFormatError(
            f"{name or 'this'} is no workflow but a JSON {_json_type(data)}", place=name or "the top level"
        )
    if is_editor(data):
        return None, read_editor(data, name=name)
    body = data.get("prompt")
    if isinstance(body, Mapping) and "class_type" not in data["prompt"]:
        extra = data.get("extra_data")
        info = extra.get("extra_pnginfo") if isinstance(extra, Mapping) else None
        editor = info.get("workflow") if isinstance(info, Mapping) else None
        nodes, own_editor = from_json(body, name=name)
        return nodes, own_editor or (read_editor(editor, name=name) if is_editor(editor) else None)
    return parse_nodes(data, name=name), None


def from_media(found: Mapping[str, Any], *, name: str) -> Parts:
    """Read a workflow from what a picture, film or sound carries; the API graph goes first.

    Raises:
        WorkflowFormatError: It carries none, or a damaged one.
    """
    prompt, editor = found.get("prompt"), found.get("workflow")
    kept = read_editor(editor, name=name) if is_editor(editor) else None
    if isinstance(prompt, Mapping):
        nodes, own_editor = from_json(prompt, name=name)
        return nodes, own_editor or kept
    if kept is not None:
        return None, kept
    raise WorkflowFormatError(
        f"{name or 'this file'} carries no workflow",
        place=name,
        hint="ComfyUI writes it unless --disable-metadata is set, and many web sites strip it.",
    )


def read_editor(data: Mapping[str, Any], *, name: str = "") -> dict[str, Any]:
    """Copy an editor file after a look at what everything else relies on.

    Raises:
        WorkflowFormatError: Its nodes or links are damaged; `place` is `nodes[3].type`.
    """
    where = f"{name}: " if name else ""
    for index, node in enumerate(data["nodes"]):
        place = f"nodes[{index}]"
        if not isinstance(node, Mapping):
            raise WorkflowFormatError(f"{where}{place} is no object", place=place)
        if not isinstance(node.get("id"), str | int):
            raise WorkflowFormatError(f"{where}{place} has no id", place=f"{place}.id")
        if not isinstance(node.get("type"), str):
            raise WorkflowFormatError(f"{where}{place} has no type", place=f"{place}.type")
    links = data.get("links")
    if links is not None and not isinstance(links, list | tuple | Mapping):
        raise WorkflowFormatError(f"{where}links is no list", place="links")
    copied: dict[str, Any] = copy_json(data)
    return copied


def _media_path(source: Any) -> Path | None:
    """Return the path when the source names a media file, which may be too large to be read whole."""
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
