"""What API v2 sends of a running job, made of the frames that ComfyUI sends to the job's submitter."""

from __future__ import annotations

import base64
import dataclasses
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ._graph import is_link
from ._v2_manners import ApiV2

__all__ = ["LiveJob"]

_FORMATS = {1: "image/jpeg", 2: "image/png"}
_ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclasses.dataclass(slots=True, eq=False)
class LiveJob:
    """One job as API v2 knows it, besides what queue and history say.

    Attributes:
        workflow: The graph that runs, references replaced.
        shown: What its nodes have shown so far.
        progress: The latest progress, None before there is one.
        preview: The latest preview.
        canceling: Somebody asked for its end.
        expired: It has expired.
        end_was_told: Somebody was told how it ended.
        tell: What is called with an event and its data.
        output: What is called when a node has shown something.
        closing: What is called when the run has told its end, which may not be written yet.
    """

    id: str
    workflow: dict[str, Any]
    manners: ApiV2
    created_at: float
    metadata: Any = None
    priority: int | None = None
    shown: dict[str, Any] = dataclasses.field(default_factory=dict)
    progress: dict[str, Any] | None = None
    preview: dict[str, Any] | None = None
    canceling: bool = False
    expired: bool = False
    end_was_told: bool = False
    tell: Callable[[str, dict[str, Any]], None] = lambda event, data: None
    output: Callable[[], None] = lambda: None
    closing: Callable[[], None] = lambda: None
    _needed: set[str] = dataclasses.field(default_factory=set)
    _done: set[str] = dataclasses.field(default_factory=set)

    def need(self, outputs: Iterable[str]) -> None:
        """Count what some output nodes need, themselves included."""
        stack = list(outputs)
        while stack:
            node_id = stack.pop()
            if node_id in self._needed or node_id not in self.workflow:
                continue
            self._needed.add(node_id)
            stack += [value[0] for value in self.workflow[node_id]["inputs"].values() if is_link(value)]

    def hear(self, payload: str | bytes) -> None:
        """Take in a frame."""
        if isinstance(payload, bytes):
            self._picture(payload)
            return
        try:
            message = json.loads(payload)
        except ValueError:
            return
        data = message.get("data") if isinstance(message, dict) else None
        if not isinstance(data, dict):
            return
        kind = message.get("type")
        if kind == "executed" and isinstance(data.get("node"), str):
            if data.get("output"):
                self.shown[data["node"]] = data["output"]
                self.output()
        elif kind in _ENDS and data.get("exception_type") != "ExecutionBlocked":
            if kind == "execution_success" and self.manners.style == "cloud":
                self._done |= self._needed
                self._snapshot(None, None, None)
            self.closing()
        elif self.manners.style == "proxy":
            self._proxy_progress(str(kind), data)
        else:
            self._whole_progress(str(kind), data)

    def _whole_progress(self, kind: str, data: Mapping[str, Any]) -> None:
        """Count over the whole graph."""
        if kind == "execution_cached":
            self._done |= self._needed & set(data["nodes"])
            self._snapshot(None, None, None)
        elif kind == "progress_state" and isinstance(data.get("nodes"), dict):
            nodes = data["nodes"]
            self._done |= {node for node, state in nodes.items() if state.get("state") == "finished"}
            running = next((node for node, state in nodes.items() if state.get("state") == "running"), None)
            state = nodes.get(running, {})
            step, steps = state.get("value"), state.get("max")
            self._snapshot(running, step, steps)

    def _snapshot(self, node: str | None, step: float | None, steps: float | None) -> None:
        """Note and tell where the job stands; the graph's own nodes count, not those of expansions."""
        done = len(self._done & self._needed)
        total = len(self._needed)
        part = step / steps if node in self._needed and step and steps else 0.0
        known = self.workflow.get(node or "", {}).get("class_type")
        found = {
            "value": min(1.0, (done + part) / total) if total else 0.0,
            "nodes_done": done,
            "nodes_total": total,
            "current_node": node,
            "current_node_class": known,
            "step": None if step is None else int(step),
            "steps": None if steps is None else int(steps),
            "message": f"{known} {step:g}/{steps:g}" if known and steps and step is not None else known,
        }
        if found != self.progress:
            self.progress = found
            self.tell("progress", found)

    def _proxy_progress(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell of one message what the proxy tells of it, which is never the whole graph."""
        if kind == "progress":
            value, maximum = float(data.get("value") or 0), float(data.get("max") or 1)
            node = data.get("node")
            found = {
                "value": max(0.0, min(1.0, value / maximum)),
                "nodes_done": 0,
                "nodes_total": 0,
                "current_node": None if node is None else str(node),
                "step": int(value),
                "steps": int(maximum),
            }
        elif kind == "progress_state":
            nodes = data.get("nodes") or {}
            done = sum(state.get("state") == "finished" for state in nodes.values())
            running = next((node for node, state in nodes.items() if state.get("state") == "running"), None)
            state = nodes.get(running, {})
            part = state["value"] / state["max"] if state.get("max") else 0.0
            found = {
                "value": max(0.0, min(1.0, (done + part) / len(nodes))) if nodes else 0.0,
                "nodes_done": done,
                "nodes_total": len(nodes),
                "current_node": running,
                "step": None if running is None else int(state["value"]),
                "steps": None if running is None else int(state["max"]),
            }
        else:
            return
        self.tell("progress", found)

    def _picture(self, payload: bytes) -> None:
        """Take in a preview; a text under a node is none."""
        (kind,) = struct.unpack(">I", payload[:4]) if len(payload) >= 8 else (0,)
        if kind == 1:
            (form,) = struct.unpack(">I", payload[4:8])
            node, mime, image = "", _FORMATS.get(form, "image/jpeg"), payload[8:]
        elif kind == 4:
            (length,) = struct.unpack(">I", payload[4:8])
            meta = json.loads(payload[8 : 8 + length])
            node, mime, image = str(meta["node_id"]), meta["image_type"], payload[8 + length :]
        else:
            return
        encoded = base64.b64encode(image).decode()
        self.preview = {"node_id": node, "content_type": mime, "data_base64": encoded}
        self.tell("preview", self.preview)
