"""What `nodes` and `models` do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import Connection, opened
from ._tables import noted, prose, range_text, screen_width, size_text
from ._workflows import catalog_of

if TYPE_CHECKING:
    from comfy_async import NodeCatalog

    from ._report import Report

__all__ = ["keep_catalog", "show_models", "show_nodes"]

_MAX_CHOICES = 12
_FLAGS = {"deprecated": "deprecated", "api_node": "paid partner service", "output_node": "output node"}


async def show_nodes(text: str, connection: Connection, report: Report, *, catalog: Path | None) -> int:
    """Print one class, or those that a search finds; without a text all of them.

    Raises:
        NotFoundError: There is none.
        ComfyError: The request failed.
        OSError: The catalog's file cannot be read.
    """
    known = await catalog_of(connection, catalog)
    if text in known:
        _show_class(known, text, report)
        return 0
    found = known.search(text) if text else [known.node(name) for name in known]
    if not found:
        raise _nothing(known, text)
    items = ({"event": "node", **_summary(node)} for node in found)
    rows = ((node.name, node.display_name, node.category) for node in found)
    report.table(items, rows, empty="there are none", whole=0)
    return 0


async def keep_catalog(
    connection: Connection,
    report: Report,
    *,
    catalog: Path | None,
    stubs: Path | None,
    apps: Iterable[Path] = (),
    save: Path | None,
) -> int:
    """Write the catalog, or typed stubs of it and of apps.

    Raises:
        ComfyError: The request failed.
        OSError: A file cannot be written.
    """
    known = await catalog_of(connection, catalog)
    written: list[Path] = []
    if save is not None:
        written.append(known.save(save))
    if stubs is not None:
        from comfy_async.workflow.build import write_stubs

        written += write_stubs(known, stubs)
        written += _app_stubs(known, apps, stubs)
    for path in written:
        report.item({"event": "written", "path": str(path), "nodes": len(known)}, str(path))
    return 0


def _app_stubs(known: NodeCatalog, paths: Iterable[Path], folder: Path) -> list[Path]:
    """Write a typed function for each app; two of one name are numbered.

    Raises:
        ComfyError: A file is no workflow.
        OSError: A file cannot be read or written.
    """
    from comfy_async import App

    from ..workflow.apps import write_app_stubs
    from ..workflow.apps.names import unique

    apps = [App.load(path, known) for path in paths]
    names = unique([(app.name,) for app in apps])
    found = {name: (app.reading, app.description) for name, app in zip(names, apps, strict=True)}
    return write_app_stubs(found, folder) if found else []


async def show_models(connection: Connection, report: Report, *, folder: str | None, name: str | None) -> int:
    """Print the kinds of models, the models of one, or the metadata of one model.

    Raises:
        NotFoundError: There is no such kind or model.
        ComfyError: The request failed.
    """
    async with opened(connection) as comfy:
        if folder is None:
            lines: list[dict[str, Any]] = [
                {"event": "model_folder", "folder": kind} for kind in await comfy.models.folders()
            ]
        elif name is None:
            lines = await _models(comfy, folder)
        else:
            known = await comfy.models.resolve(folder, name)
            metadata = await comfy.models.metadata(folder, known)
            lines = [{"event": "model", "folder": folder, "name": known, "metadata": metadata}]
    if name is not None:
        metadata = lines[0]["metadata"]
        text = "\n".join(f"{key}: {value}" for key, value in metadata.items())
        report.item(lines[0], text or "its file says nothing")
    else:
        report.table(lines, map(_cells, lines), empty="there are none", whole=0)
    return 0


async def _models(comfy: Any, folder: str) -> list[dict[str, Any]]:
    """Return the models of a kind, with sizes where the server has them."""
    from comfy_async import ComfyError

    names = await comfy.models.list(folder)
    try:
        sizes = {model.name: model.size for model in await comfy.models.details(folder)}
    except ComfyError:
        sizes = {}
    return [{"event": "model", "folder": folder, "name": name, "size": sizes.get(name)} for name in names]


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    """Return a line of `models` as cells."""
    return (line.get("name") or line["folder"], size_text(line.get("size")))


def _show_class(catalog: NodeCatalog, name: str, report: Report) -> None:
    """Print one class with its inputs and outputs."""
    node = catalog.node(name)
    fields = {
        "event": "node",
        **_summary(node),
        "inputs": list(map(_input_fields, node.inputs)),
        "outputs": [{"slot": out.slot, "name": out.name, "type": out.type} for out in node.outputs],
    }
    flags = [text for flag, text in _FLAGS.items() if getattr(node, flag)]
    lines = [f"{node.name}  {node.display_name}  ({', '.join([node.category, *flags])})"]
    if node.description:
        lines.append(prose(node.description.strip()))
    width = screen_width()
    inputs = ((f"  {spec.name}", spec.type, *_input_cells(spec)) for spec in node.inputs)
    outputs = ((f"  {out.slot}", out.name, out.type) for out in node.outputs)
    lines += ["inputs:", *noted(inputs, width=width), "outputs:", *noted(outputs, width=width)]
    report.item(fields, "\n".join(lines))


def _input_fields(spec: Any) -> dict[str, Any]:
    """Return an input for scripts."""
    return {
        "name": spec.name,
        "type": spec.type,
        "required": spec.required,
        "default": spec.default,
        "min": spec.min,
        "max": spec.max,
        "choices": None if spec.choices is None else list(spec.choices),
    }


def _input_cells(spec: Any) -> tuple[str, str]:
    """Return whether an input is needed, and what it takes."""
    needed = "" if spec.required else "optional"
    if spec.choices is not None:
        more = f", … ({len(spec.choices)})" if len(spec.choices) > _MAX_CHOICES else ""
        return needed, ", ".join(map(str, spec.choices[:_MAX_CHOICES])) + more
    parts = [] if spec.default in (None, "") else [f"default {spec.default}"]
    if text := range_text(spec.min, spec.max):
        parts.append(text)
    return needed, ", ".join(parts)


def _summary(node: Any) -> dict[str, Any]:
    """Return what is known of a class at a glance."""
    return {
        "name": node.name,
        "display_name": node.display_name,
        "category": node.category,
        "description": node.description,
        "module": node.python_module,
        "output_node": node.output_node,
        "deprecated": node.deprecated,
        "api_node": node.api_node,
    }


def _nothing(catalog: NodeCatalog, text: str) -> Exception:
    """Return the error for a search without result, with what comes near."""
    import difflib

    from comfy_async import NotFoundError

    near = difflib.get_close_matches(text, list(catalog), 3, 0.5)
    return NotFoundError(
        f"no node class has {text!r} in name, category or description",
        hint=f"Nearest: {', '.join(near)}." if near else "`comfy-async nodes` lists all of them.",
    )
