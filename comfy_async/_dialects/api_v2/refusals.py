"""The refusals of API v2, in ComfyUI's format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...types import clipped

__all__ = ["REFUSALS", "in_comfyui_words"]

REFUSALS: Final = frozenset(
    {"invalid_workflow", "workflow_format_ui", "missing_asset", "idempotency_key_reuse"}
)
"""The codes of 422 that say something of this prompt; others are errors of the server."""


def in_comfyui_words(body: Mapping[str, Any], graph: bytes) -> Mapping[str, Any]:
    """Return an error as ComfyUI's POST /prompt would word it: `error` and `node_errors`.

    The public description has a list of {field, reason} for each node; comfy-api-proxy passes on what
    ComfyUI itself answered.
    """
    error = body.get("error")
    said = error if isinstance(error, Mapping) else {}
    details = said.get("details")
    details = details if isinstance(details, Mapping) else {}
    code = str(said.get("code") or "")
    nodes = details.get("node_errors")
    rows = nodes if isinstance(nodes, Mapping) else {}
    sent = json.loads(graph) if rows else {}
    found = {str(node): _node(row, sent.get(str(node))) for node, row in rows.items()}
    if code == "missing_asset":
        found = _missing_assets(graph, details, str(said.get("message") or "")) or found
    return {"error": {"type": code, "message": said.get("message") or code}, "node_errors": found}


def _node(rows: object, spec: object) -> Mapping[str, Any]:
    """Return the problems of one node, given what was sent of it."""
    if isinstance(rows, Mapping):
        return rows
    listed = rows if isinstance(rows, list) else []
    sent = spec if isinstance(spec, Mapping) else {}
    found = [_complaint(row, sent) for row in listed if isinstance(row, Mapping)]
    return {"errors": found, "class_type": str(sent.get("class_type") or "")}


def _complaint(row: Mapping[str, Any], sent: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return one problem: {field, reason} in ComfyUI's format, with the value that the answer leaves out."""
    if "type" in row:
        return row
    reason = str(row.get("reason") or "")
    # The one reason of the public description's example that ComfyUI has another word for.
    kind = {"missing_input": "required_input_missing"}.get(reason, reason)
    message, details = str(row.get("message") or reason), ""
    extra: dict[str, Any] = {} if row.get("field") is None else {"input_name": str(row["field"])}
    name, inputs = extra.get("input_name"), sent.get("inputs")
    if name == "class_type":
        # The class is no input.
        extra, message = {}, f"the server has no node class {str(sent.get('class_type') or '')!r}"
    elif isinstance(inputs, Mapping) and name in inputs:
        extra["received_value"] = inputs[name]
        details = f"received {clipped(inputs[name])}"
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _missing_assets(graph: bytes, details: Mapping[str, Any], message: str) -> dict[str, Mapping[str, Any]]:
    """Return the inputs whose assets the server lacks: those it names, else all that refer to any."""
    named = details.get("missing_ids")
    ids = {str(one) for one in named} if isinstance(named, list) else set()
    references = list(_references(graph))
    meant = [row for row in references if row[2] in ids] or [row for row in references if row[2] in message]
    found: dict[str, Mapping[str, Any]] = {}
    for node, name, asset in meant or references:
        complaint = {
            "type": "missing_asset",
            "message": "the server has no such asset (any more)",
            "details": asset,
            "extra_info": {"input_name": name, "received_value": asset},
        }
        entry = found.setdefault(node, {"errors": []})
        entry["errors"].append(complaint)
    return found


def _references(graph: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield the references to assets in a graph: node, input, the asset's id."""
    for node, spec in json.loads(graph).items():
        inputs = spec.get("inputs") if isinstance(spec, dict) else None
        for name, value in (inputs or {}).items():
            if isinstance(value, dict) and value.get("__type") == "core/ASSET":
                yield node, name, str((value.get("info") or {}).get("id"))
