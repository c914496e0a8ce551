"""A job of API v2: its snapshots and its stream, read into facts and events.

Sources: the public description of API v2 (schemas Job, Progress, Output, PreviewEvent) and
comfy-api-proxy 0.1.6, whose behaviour is named where it differs.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from .._base.labels import LABELS
from ..events import BaseEvent, NodeFinished, Preview, Progress, Started, UnknownEvent
from .plan import Plan
from .reducer import Overall
from .snapshot import HistoryEntry, QueueEntry

__all__ = ["JobTeller", "job_record", "listed_job", "read_job"]

_OPEN: Final = frozenset({"queued", "running", "canceling"})
_ENDS: Final[Mapping[str, str]] = {
    "succeeded": "execution_success",
    "failed": "execution_error",
    "canceled": "execution_interrupted",
}
_RECORD_STATUS: Final[Mapping[str, str]] = {
    "queued": "pending",
    "running": "in_progress",
    "canceling": "in_progress",
    "succeeded": "completed",
    "canceled": "cancelled",
}
# Under which word ComfyUI's own nodes show files of these kinds.
_KEYS: Final[Mapping[str, str]] = {"image": "images", "video": "video", "audio": "audio"}


def read_job(body: object, prompt_id: str) -> QueueEntry | HistoryEntry | None:
    """Read a job: one that waits or runs, one that has ended, or None for one that is lost.

    "expired" is no end but an absence: comfy-api-proxy says it of every job that it finds neither in
    ComfyUI's queue nor in its history, and for a moment that is every quick one.

    Raises:
        ValueError: It has another shape, so that it proves nothing about the job.
    """
    if not isinstance(body, Mapping) or body.get("id") != prompt_id:
        raise ValueError("it is not the job that was asked for")
    status = body.get("status")
    if status == "expired":
        return None
    if status in _OPEN:
        place = body.get("queue_position")
        return QueueEntry(
            prompt_id,
            math.inf,
            running=status != "queued",
            place=place if isinstance(place, int) and status == "queued" else None,
            extra_data=_kept(body),
            told=body,
        )
    last = _ENDS.get(str(status))
    if last is None:
        raise ValueError(f"its status is {str(status)[:40]!r}")
    return HistoryEntry(
        prompt_id=prompt_id,
        succeeded=status == "succeeded",
        messages=_messages(body, prompt_id, last),
        outputs=outputs_of(body.get("outputs")),
        prompt={},
        extra_data=_kept(body),
        display_nodes={},
    )


def job_record(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job in the format of ComfyUI's jobs API."""
    status, rows = str(body.get("status")), body.get("outputs")
    listed = rows if isinstance(rows, list) else []
    return {
        "id": body.get("id"),
        "status": _RECORD_STATUS.get(status, status),
        "create_time": _milliseconds(body.get("created_at")),
        "execution_start_time": _milliseconds(body.get("started_at")),
        "execution_end_time": _milliseconds(body.get("completed_at")),
        "execution_error": _failure(body["error"]) if body.get("error") else None,
        "outputs": outputs_of(listed),
        "outputs_count": len(listed),
        "queue_position": body.get("queue_position"),
    }


def listed_job(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of a list of jobs, with its labels: pairs, or one text that holds them as JSON."""
    extra = _kept(row)
    status = str(row.get("status"))
    return {
        "id": row.get("id"),
        "status": _RECORD_STATUS.get(status, status),
        "create_time": _milliseconds(row.get("create_time") or row.get("created_at")),
        "workflow": {"extra_data": extra} if extra else None,
    }


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels of a job as ComfyUI's extra_data would have them."""
    labels = row.get("metadata")
    if isinstance(labels, str):
        try:
            labels = json.loads(labels)
        except ValueError:
            labels = None
    return {LABELS: labels} if isinstance(labels, Mapping) else {}


def outputs_of(value: object) -> dict[str, dict[str, Any]]:
    """Return what each node showed, by node id, in the format of ComfyUI's history.

    Raises:
        ValueError: It is no list of outputs.
    """
    if not isinstance(value, list):
        raise ValueError("its outputs are no list")
    found: dict[str, dict[str, Any]] = {}
    for row in value:
        if isinstance(row, Mapping):
            found.setdefault(str(row.get("node_id")), {}).setdefault(_key(row), []).append(_file(row))
    return found


def _key(row: Mapping[str, Any]) -> str:
    """Return ComfyUI's key for a kind of output."""
    return _KEYS.get(str(row.get("type")), "files")


def _file(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an output as nodes name their files; what API v2 says beyond that stays as it is.

    A size of 0 without a hash means that comfy-api-proxy does not know it.
    """
    known = dict(row)
    if not known.get("size_bytes") and known.get("hash") is None:
        known["size_bytes"] = None
    return {**known, "filename": str(row.get("name") or ""), "subfolder": "", "type": "output"}


def _messages(
    body: Mapping[str, Any], prompt_id: str, last: str
) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Return start and end as ComfyUI's history has them."""
    messages: list[tuple[str, Mapping[str, Any]]] = []
    started, ended = _milliseconds(body.get("started_at")), _milliseconds(body.get("completed_at"))
    if started is not None:
        messages.append(("execution_start", {"prompt_id": prompt_id, "timestamp": started}))
    data: dict[str, Any] = {"prompt_id": prompt_id, "timestamp": ended}
    if last == "execution_error":
        data |= _failure(body.get("error"))
    messages.append((last, data))
    return tuple(messages)


def _failure(error: object) -> dict[str, Any]:
    """Return why a job failed, in ComfyUI's format."""
    said = error if isinstance(error, Mapping) else {}
    code = str(said.get("code") or "")
    traceback = said.get("traceback")
    return {
        "exception_message": str(said.get("message") or ""),
        # What API v2 says of every node's error is no type.
        "exception_type": "" if code == "node_execution_error" else code,
        "node_id": said.get("node_id"),
        "node_type": said.get("class_type"),
        "traceback": traceback.splitlines(keepends=True) if isinstance(traceback, str) else [],
    }


def _milliseconds(value: object) -> int | None:
    """Return a time as ComfyUI has it, None for what is none."""
    try:
        return int(datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


@dataclasses.dataclass(slots=True)
class JobTeller:
    """Makes events of what API v2 says about one job while it waits and runs.

    Snapshots repeat themselves: what was reported is not reported again.

    Attributes:
        prompt_id: The job's id.
        plan: What its graph was going to do.
    """

    prompt_id: str
    plan: Plan
    _node: str | None = None
    _nodes_done: int = 0
    _files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    _pending: str | None = None
    _last: Mapping[str, Any] | None = None

    def snapshot(self, job: Mapping[str, Any], now: float, *, progress: bool) -> list[BaseEvent]:
        """Report a running job as it was polled; its `progress` only when no stream reports that."""
        if job.get("status") == "queued":
            return []
        events = self.started(now)
        far, outputs = job.get("progress"), job.get("outputs")
        for row in outputs if isinstance(outputs, list) else ():
            events += self.output(row, now)
        events += self._flushed(now)
        if progress and isinstance(far, Mapping):
            events += self.progress(far, now)
        return events

    def started(self, now: float) -> list[BaseEvent]:
        """Report that it runs."""
        return [
            Started(None, {}, self.prompt_id, received_at=now),
            # Nodes begin before others have ended: only what says so ends them.
            Overall(None, {}, self.prompt_id, received_at=now),
        ]

    def progress(self, data: Mapping[str, Any], now: float, raw: bytes | None = None) -> list[BaseEvent]:
        """Report how far it is: the whole graph, the node, its step.

        comfy-api-proxy counts only the nodes that have begun, and calls a single node's share the
        whole: such numbers are left out, the library's own are better.
        """
        node = data.get("current_node")
        node = node if isinstance(node, str) and node else None
        if node is None and not data.get("nodes_done") and not data.get("value"):
            # What a look has to say that knows nothing.
            return []
        if data == self._last:
            return []
        self._last = data
        events = self._flushed(now, unless=node)
        total, done = _count(data.get("nodes_total")), _count(data.get("nodes_done"))
        if total and total >= len(self.plan.weights):
            value = data.get("value")
            told = {"value": value, "done": done, "total": total}
            events.append(Overall(None, told, self.prompt_id, received_at=now))
        events += self._moved(node, done, now)
        step, steps = _count(data.get("step")), _count(data.get("steps"))
        shown = {"node": node, "value": step, "max": steps}
        if node is None:
            shown = {"node": None, "value": done, "max": total}
        event = Progress(raw, shown, self.prompt_id, received_at=now)
        events.append(event)
        return events

    def _moved(self, node: str | None, done: int, now: float) -> list[BaseEvent]:
        """Report the end of the node before, where the count of finished nodes has risen.

        Without that two nodes run at once, and neither has ended.
        """
        before, self._node = self._node, node
        risen, self._nodes_done = done > self._nodes_done, max(done, self._nodes_done)
        if before is None or node == before or not risen or before in self.plan.sinks:
            # A node that nobody reads from shows something: its output, or the end, tells.
            return []
        return [NodeFinished(None, {"node": before}, self.prompt_id, received_at=now)]

    def output(self, row: object, now: float) -> list[BaseEvent]:
        """Keep a file of a node; the node is reported once its files are together."""
        if not isinstance(row, Mapping):
            return []
        node, asset = str(row.get("node_id")), str(row.get("id"))
        files = self._files.setdefault(node, {})
        if asset in files:
            return []
        events = self._flushed(now, unless=node)
        files[asset] = row
        self._pending = node
        return events

    def _flushed(self, now: float, *, unless: str | None = None) -> list[BaseEvent]:
        """Report the node whose files came last, unless more may follow."""
        node = self._pending
        if node is None or node == unless:
            return []
        self._pending = None
        output = outputs_of(list(self._files[node].values()))[node]
        return [NodeFinished(None, {"node": node, "output": output}, self.prompt_id, received_at=now)]

    def preview(self, data: Mapping[str, Any], now: float) -> list[BaseEvent]:
        """Report a picture of work in progress."""
        encoded = data.get("data_base64")
        try:
            image = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
        except (binascii.Error, ValueError):
            image = b""
        if not image:
            return []
        node = data.get("node_id")
        about = {"node_id": node or None, "image_type": str(data.get("content_type") or "image/jpeg")}
        return [Preview(image, about, self.prompt_id, received_at=now)]

    def unknown(self, name: str, raw: bytes, data: Mapping[str, Any], now: float) -> list[BaseEvent]:
        """Pass on what a later version sends, as it came."""
        return [UnknownEvent(raw, data, self.prompt_id, received_at=now, type=name)]


def _count(value: object) -> int:
    """Return a number of nodes or steps, 0 when it is none."""
    return max(0, int(value)) if isinstance(value, int | float) and math.isfinite(value) else 0
