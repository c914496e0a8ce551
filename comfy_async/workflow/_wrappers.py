"""Finding workflows inside requests, history entries, exports and the bodies of other services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

__all__ = ["Pair", "is_editor", "unwrapped"]

Pair = tuple[Mapping[Any, Any] | None, Mapping[str, Any] | None]
"""An API graph and an editor file as they stand in JSON."""

_MOST_LAYERS = 5

_NOTHING: Pair = (None, None)


def is_editor(data: Any) -> TypeGuard[Mapping[str, Any]]:
    """Return whether JSON is an editor file: it has a list `nodes`, which an API graph has not."""
    return isinstance(data, Mapping) and isinstance(data.get("nodes"), list | tuple)


def unwrapped(data: Any, *, layers: int = _MOST_LAYERS) -> Pair:
    """Return the graph and the editor file inside JSON; an object that contains neither counts as a graph.

    Supported are the body of POST /prompt, entries of the history, the queue and /api/jobs, what the
    editor's own `graphToPrompt()` returns, and `{"input": {"workflow": ...}}` of serverless workers.
    """
    if _is_queue_item(data):
        return _sent(data[2], data[3] if len(data) > 3 else None, layers=layers)
    if not isinstance(data, Mapping):
        return _NOTHING
    if is_editor(data):
        return None, data
    if _is_graph(data) or layers <= 0:
        return data, None
    for key in ("prompt", "output"):
        inner = data.get(key)
        if isinstance(inner, Mapping) or _is_queue_item(inner):
            return _both(_sent(inner, data.get("extra_data"), layers=layers), data, layers=layers)
    for key in ("workflow", "input"):
        if isinstance(data.get(key), Mapping):
            return unwrapped(data[key], layers=layers - 1)
    return _only_entry(data, layers=layers) or (data, None)


def _both(pair: Pair, data: Mapping[Any, Any], *, layers: int) -> Pair:
    """Return the pair with the editor file that is stored beside the graph, if it has none yet."""
    prompt, drawing = pair
    beside = data.get("workflow")
    if drawing is None and isinstance(beside, Mapping):
        drawing = unwrapped(beside, layers=layers - 1)[1]
    return prompt, drawing


def _sent(prompt: Any, extra: Any, *, layers: int) -> Pair:
    """Return a graph, and the editor file that was sent along with it."""
    graph, drawing = unwrapped(prompt, layers=layers - 1)
    info = extra.get("extra_pnginfo") if isinstance(extra, Mapping) else None
    beside = info.get("workflow") if isinstance(info, Mapping) else None
    return graph, drawing if drawing is not None or not is_editor(beside) else beside


def _only_entry(data: Mapping[Any, Any], *, layers: int) -> Pair | None:
    """Return the workflow in the only entry of a history: GET /history/{id} returns entries by id."""
    if len(data) != 1:
        return None
    entry = next(iter(data.values()))
    is_entry = isinstance(entry, Mapping) and _is_queue_item(entry.get("prompt"))
    return unwrapped(entry, layers=layers - 1) if is_entry else None


def _is_queue_item(data: Any) -> TypeGuard[list[Any]]:
    """Return whether this is `[number, id, graph, extra_data, outputs]`, as in queue and history."""
    if not isinstance(data, list | tuple) or len(data) < 3:
        return False
    number, prompt_id, graph = data[:3]
    return isinstance(number, int | float) and isinstance(prompt_id, str) and isinstance(graph, Mapping)


def _is_graph(data: Mapping[Any, Any]) -> bool:
    return any(isinstance(node, Mapping) and "class_type" in node for node in data.values())
