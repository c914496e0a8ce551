"""What polling brings: the queue and the history, read into facts and events."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ..events import (
    BaseEvent,
    Cancelled,
    Completed,
    Failed,
    NodeFinished,
    NodesCached,
    Started,
)

__all__ = [
    "HistoryEntry",
    "QueueEntry",
    "QueueSnapshot",
    "history_events",
    "parse_history",
    "parse_job",
    "parse_jobs",
    "parse_queue",
]

_OVER = frozenset({"completed", "failed", "cancelled"})


@dataclasses.dataclass(frozen=True, slots=True)
class QueueEntry:
    """One job in the server's queue; `prompt` and `extra_data` only when /queue was read.

    Attributes:
        place: How many jobs come first, where the server itself says so.
        told: The job as API v2 has it.
    """

    prompt_id: str
    number: float
    running: bool
    prompt: Mapping[str, Any] | None = None
    extra_data: Mapping[str, Any] | None = None
    place: int | None = None
    told: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """Everything that the server says it runs or will run, at one moment.

    Attributes:
        entries: By id.
        of: The jobs that were requested, None when all are in it: others may be there as well.
        reasons: What the server says of jobs that are not in it.
        over: Those that are not in it because they have ended, where the answer says so.
    """

    entries: Mapping[str, QueueEntry]
    of: frozenset[str] | None = None
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    over: frozenset[str] = frozenset()

    def tells_of(self, prompt_id: str) -> bool:
        """Say whether a job would be in it if the server had it."""
        return self.of is None or prompt_id in self.of

    def positions(self) -> dict[str, int]:
        """Return how many jobs come before each: by number, and never by the list's order.

        The pending list is a raw heap (execution.py, PromptQueue), sorted by nothing.
        """
        if self.of is not None:
            # A part of the queue ranks nobody.
            told = {e.prompt_id: 0 if e.running else e.place for e in self.entries.values()}
            return {prompt_id: place for prompt_id, place in told.items() if place is not None}
        running = [entry.prompt_id for entry in self.entries.values() if entry.running]
        waiting = sorted((e for e in self.entries.values() if not e.running), key=lambda e: e.number)
        ranks = dict.fromkeys(running, 0)
        ranks.update((entry.prompt_id, len(running) + rank) for rank, entry in enumerate(waiting))
        return ranks


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One finished job, as /history has it."""

    prompt_id: str
    succeeded: bool
    messages: tuple[tuple[str, Mapping[str, Any]], ...]
    outputs: Mapping[str, Mapping[str, Any]]
    prompt: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    display_nodes: Mapping[str, str]


def parse_queue(body: object) -> QueueSnapshot:
    """Read the answer of GET /queue.

    Raises:
        ValueError: It has another shape, so that it proves nothing about any job.
    """
    if not isinstance(body, Mapping):
        raise ValueError("the queue is no object")
    entries: dict[str, QueueEntry] = {}
    for name, running in (("queue_pending", False), ("queue_running", True)):
        rows = body.get(name)
        if not isinstance(rows, list):
            raise ValueError(f"the queue has no list {name!r}")
        for row in rows:
            entry = _queue_entry(row, running)
            entries[entry.prompt_id] = entry
    return QueueSnapshot(entries)


def _queue_entry(row: object, running: bool) -> QueueEntry:
    """Read `[number, prompt_id, prompt, extra_data, outputs]`; the cloud swaps the last two."""
    if not isinstance(row, list) or len(row) < 2 or not isinstance(row[1], str):
        raise ValueError("a row of the queue has another shape")
    extra = next((cell for cell in row[3:] if isinstance(cell, Mapping)), None)
    prompt = row[2] if len(row) > 2 and isinstance(row[2], Mapping) else None
    return QueueEntry(row[1], _as_number(row[0]), running, prompt, extra)


def parse_jobs(body: object) -> QueueSnapshot:
    """Read the answer of GET /api/jobs?status=pending,in_progress (0.6.0 and later).

    Raises:
        ValueError: It has another shape, or does not list everything.
    """
    rows = body.get("jobs") if isinstance(body, Mapping) else None
    if not isinstance(rows, list) or not isinstance(body, Mapping):
        raise ValueError("the list of jobs has another shape")
    pagination = body.get("pagination")
    if isinstance(pagination, Mapping) and pagination.get("has_more"):
        raise ValueError("the list of jobs is not whole")
    entries: dict[str, QueueEntry] = {}
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), str):
            raise ValueError("a row of the list of jobs has another shape")
        if row.get("status") in _OVER:
            # Not asked for; a job taken for waiting because of it would never end.
            continue
        running = row.get("status") == "in_progress"
        entries[row["id"]] = QueueEntry(row["id"], _as_number(row.get("priority")), running)
    return QueueSnapshot(entries)


def parse_job(body: object) -> QueueEntry | None:
    """Read the answer of GET /api/jobs/{id}; None when the job waits or runs no more.

    Raises:
        ValueError: It has another shape, so that it proves nothing about the job.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("id"), str):
        raise ValueError("it is no job")
    if body.get("status") in _OVER:
        return None
    workflow = body.get("workflow")
    workflow = workflow if isinstance(workflow, Mapping) else {}
    prompt, extra = workflow.get("prompt"), workflow.get("extra_data")
    return QueueEntry(
        body["id"],
        _as_number(body.get("priority")),
        body.get("status") == "in_progress",
        prompt if isinstance(prompt, Mapping) else None,
        extra if isinstance(extra, Mapping) else None,
    )


def parse_history(body: object, prompt_id: str) -> HistoryEntry | None:
    """Read the answer of GET /history/{id}; None when the server has no such entry.

    Raises:
        ValueError: It has another shape, so that it proves nothing about the job.
    """
    if not isinstance(body, Mapping):
        raise ValueError("the history is no object")
    entry = body.get(prompt_id)
    if entry is None:
        if body:
            raise ValueError("the history is that of another job")
        return None
    if not isinstance(entry, Mapping):
        raise ValueError("the history entry is no object")
    status = entry.get("status")
    status = status if isinstance(status, Mapping) else {}
    row = entry.get("prompt")
    cells = row if isinstance(row, list) else []
    return HistoryEntry(
        prompt_id=prompt_id,
        # Entries without a status come from servers before 2023, and from custom executors.
        succeeded=status.get("status_str", "success") == "success",
        messages=_messages(status.get("messages")),
        outputs=_objects(entry.get("outputs")),
        prompt=cells[2] if len(cells) > 2 and isinstance(cells[2], Mapping) else {},
        extra_data=next((cell for cell in cells[3:] if isinstance(cell, Mapping)), {}),
        display_nodes={
            node: str(meta["display_node"])
            for node, meta in _objects(entry.get("meta")).items()
            if meta.get("display_node") is not None
        },
    )


def history_events(entry: HistoryEntry, now: float) -> list[BaseEvent]:
    """Return the history of a job as events, in the order in which they happened."""
    prompt_id = entry.prompt_id
    events: list[BaseEvent] = []
    by_type = dict(entry.messages)
    for kind, cls in (("execution_start", Started), ("execution_cached", NodesCached)):
        if kind in by_type:
            events.append(cls(None, by_type[kind], prompt_id, received_at=now))
    for node, output in entry.outputs.items():
        data = {"node": node, "display_node": entry.display_nodes.get(node, node), "output": output}
        events.append(NodeFinished(None, data, prompt_id, received_at=now))
    events.append(_end(entry, by_type, now))
    return events


def _end(entry: HistoryEntry, by_type: Mapping[str, Mapping[str, Any]], now: float) -> BaseEvent:
    """Return the end: an interrupted job has status "error" and its own message."""
    if entry.succeeded:
        return Completed(None, by_type.get("execution_success", {}), entry.prompt_id, received_at=now)
    if "execution_interrupted" in by_type:
        return Cancelled(None, by_type["execution_interrupted"], entry.prompt_id, received_at=now)
    return Failed(None, by_type.get("execution_error", {}), entry.prompt_id, received_at=now)


def _messages(value: object) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Read the pairs of type and data that are well formed."""
    if not isinstance(value, list):
        return ()
    return tuple(
        (pair[0], pair[1])
        for pair in value
        if isinstance(pair, (list, tuple))
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], Mapping)
    )


def _objects(value: object) -> Mapping[str, Mapping[str, Any]]:
    """Read an object of objects, leaving out what is none."""
    if not isinstance(value, Mapping):
        return {}
    return {str(key): item for key, item in value.items() if isinstance(item, Mapping)}


def _as_number(value: object) -> float:
    """Return a number, infinity for what is none: an unknown place is the last."""
    try:
        number = float(value) if isinstance(value, (int, float)) else math.inf
    except OverflowError:
        return math.inf
    return math.inf if math.isnan(number) else number
