"""Small editor files for the tests of the converter, written the way the editor saves them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfy_async.workflow import NodeCatalog
from comfy_async.workflow.convert import convert_editor

SUBGRAPH = "11111111-2222-4333-8444-555555555555"
INNER_SUBGRAPH = "66666666-7777-4888-8999-aaaaaaaaaaaa"


@functools.cache
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(Path(__file__).parents[1] / "data/object_info.json.gz")


def node(id: Any, type: str, *values: Any, **fields: Any) -> dict[str, Any]:
    """Return a node; `inputs` are (name, type, link[, widget]), `outputs` (type, links)."""
    inputs = [_input(*item) for item in fields.pop("inputs", ())]
    outputs = [{"name": kind, "type": kind, "links": links} for kind, links in fields.pop("outputs", ())]
    made = {"id": id, "type": type, "mode": 0, "inputs": inputs, "outputs": outputs, "properties": {}}
    if values:
        made["widgets_values"] = list(values)
    return {**made, **fields}


def _input(name: str, type: str, link: int | None, widget: str | None = None) -> dict[str, Any]:
    """Return an input slot."""
    slot: dict[str, Any] = {"name": name, "type": type, "link": link}
    return {**slot, "widget": {"name": widget}} if widget else slot


def editor(nodes: Sequence[Any], links: Sequence[Any] = (), **fields: Any) -> dict[str, Any]:
    """Return an editor file of version 0.4."""
    ids = [item["id"] for item in nodes if isinstance(item["id"], int)]
    base = {
        "last_node_id": max(ids, default=0),
        "last_link_id": 99,
        "version": 0.4,
        "groups": [],
        "extra": {},
    }
    return {**base, "nodes": list(nodes), "links": [list(link) for link in links], **fields}


def subgraph(nodes: Sequence[Any], links: Sequence[Any], **fields: Any) -> dict[str, Any]:
    """Return a definition; `inputs` and `outputs` are (name, type, link ids)."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    sides = {
        side: [
            {"id": f"{side}{index}", "name": name, "type": kind, "linkIds": ids}
            for index, (name, kind, ids) in enumerate(fields.pop(side, ()))
        ]
        for side in ("inputs", "outputs")
    }
    linked = [dict(zip(keys, link, strict=True)) for link in links]
    return {"id": SUBGRAPH, "name": "Sub", "nodes": list(nodes), "links": linked, **sides, **fields}


def convert(file: Any, classes: Any = None, **options: Any) -> dict[str, Any]:
    """Convert a file with the classes of a bare ComfyUI, or with these."""
    return convert_editor(file, catalog() if classes is None else classes, **options)


def inputs_of(file: Any, id: str, classes: Any = None, **options: Any) -> dict[str, Any]:
    """Convert a file and return the inputs of one node."""
    inputs: dict[str, Any] = convert(file, classes, **options)[id]["inputs"]
    return inputs


def one_class(*required: Any, **fields: Any) -> dict[str, Any]:
    """Return object_info with one class `Thing` whose required inputs are (name, type[, options])."""
    inputs: dict[str, Any] = {"required": {name: list(spec) for name, *spec in required}}
    if "optional" in fields:
        inputs["optional"] = {name: list(spec) for name, *spec in fields.pop("optional")}
    return {"Thing": {"input": inputs, "output": [], "output_name": [], **fields}}


def thing(*values: Any, **fields: Any) -> dict[str, Any]:
    """Return a file with one node of the class `Thing`."""
    return editor([node(1, "Thing", *values, **fields)])
