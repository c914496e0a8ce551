"""The records of jobs: queue, history and jobs API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from .._base.labels import labels_of
from ._resource import Record, as_mapping

__all__ = ["HistoryRecord", "JobRecord", "JobsPage", "QueueRecord", "QueueState"]

JobStatus = Literal["pending", "in_progress", "completed", "failed", "cancelled"]


class QueueRecord(Record):
    """A job in the queue.

    Attributes:
        number: Its place: lower runs first.
        prompt_id: The job.
        prompt: The whole graph, in API format.
        extra_data: What was sent along: client_id, create_time in ms, without keys.
        targets: The output nodes that will run.
        labels: The labels that it was submitted with: `submit(labels=...)`.
    """

    number: float = 0.0
    prompt_id: str
    prompt: dict[str, Any] = Field(default_factory=dict)
    extra_data: dict[str, Any] = Field(default_factory=dict)
    targets: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels that it was submitted with."""
        return labels_of(self.extra_data)

    @classmethod
    def of_row(cls, row: object) -> dict[str, Any]:
        """Read `[number, id, prompt, extra_data, targets]`; the cloud has the last two swapped."""
        cells = list(row) if isinstance(row, list | tuple) else []
        rest = cells[3:]
        targets = next((cell for cell in rest if isinstance(cell, list | tuple)), ())
        return {
            "number": cells[0] if cells else None,
            "prompt_id": cells[1] if len(cells) > 1 else None,
            "prompt": as_mapping(cells[2]) if len(cells) > 2 else {},
            "extra_data": next((cell for cell in rest if isinstance(cell, Mapping)), {}),
            "targets": tuple(map(str, targets)),
        }


class QueueState(Record):
    """The queue at one moment; `pending` in the order in which it will run."""

    running: tuple[QueueRecord, ...] = ()
    pending: tuple[QueueRecord, ...] = ()

    @classmethod
    def of_body(cls, body: Any) -> dict[str, Any]:
        """Read the answer of GET /queue, whose list of waiting jobs is a raw heap (PROTOCOL 0.11)."""
        pending = [QueueRecord.of_row(row) for row in body["queue_pending"]]
        running = [QueueRecord.of_row(row) for row in body["queue_running"]]
        pending.sort(key=lambda entry: entry["number"] if isinstance(entry["number"], int | float) else 0)
        return {"running": running, "pending": pending}

    def __len__(self) -> int:
        """Count the running and waiting jobs."""
        return len(self.running) + len(self.pending)


class HistoryRecord(Record):
    """A finished job, as the server keeps it.

    Attributes:
        prompt_id: The job.
        number: The place that it had in the queue.
        status: "completed", "failed" or "cancelled".
        prompt: The graph, in API format.
        extra_data: What was sent along, without keys.
        outputs: What each node showed, by node id.
        messages: What happened: pairs of the event's type and its data.
        meta: By node id, which node showed it in the editor.
        labels: The labels that it was submitted with: `submit(labels=...)`.
    """

    prompt_id: str
    number: float = 0.0
    status: JobStatus = "completed"
    prompt: dict[str, Any] = Field(default_factory=dict)
    extra_data: dict[str, Any] = Field(default_factory=dict)
    outputs: dict[str, Any] = Field(default_factory=dict)
    messages: tuple[tuple[str, dict[str, Any]], ...] = ()
    meta: dict[str, Any] = Field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that it was submitted with."""
        return labels_of(self.extra_data)

    @classmethod
    def of_entry(cls, prompt_id: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Read one entry of GET /history."""
        row = QueueRecord.of_row(entry.get("prompt"))
        status = as_mapping(entry.get("status"))
        messages = [pair for pair in status.get("messages") or () if len(pair) == 2]
        known = {"prompt", "outputs", "status", "meta", "prompt_id"}
        return {
            **{key: value for key, value in entry.items() if key not in known},
            "prompt_id": prompt_id,
            "number": row["number"] or 0.0,
            "status": _fate(status.get("status_str", "success"), {pair[0] for pair in messages}),
            "prompt": row["prompt"],
            "extra_data": row["extra_data"],
            "outputs": as_mapping(entry.get("outputs")),
            "messages": messages,
            "meta": as_mapping(entry.get("meta")),
        }


def _fate(status: str, messages: set[str]) -> str:
    """An interrupted job has the status "error" and a message of its own."""
    if status == "success":
        return "completed"
    return "cancelled" if "execution_interrupted" in messages else "failed"


class JobRecord(Record):
    """A job, as the jobs API shows it; times in Unix milliseconds.

    Attributes:
        id: The job's prompt_id.
        status: "pending", "in_progress", "completed", "failed" or "cancelled".
        priority: Its number in the queue.
        outputs: What each node showed; only for one finished job by itself.
        preview_output: One file to show for it, else the beginning of a text: `preview_text`.
        workflow: `prompt` and `extra_data` as they were sent, only for one job by itself; before it has
            ended only from newer servers.
        workflow_id: The id of the editor's workflow, when one was sent along.
        workflow_version_id: The version of that workflow, from the cloud.
        queue_position: How many jobs come first while it waits, from the cloud.
        queue_reason: Why it waits, from the cloud: "concurrency_limit" or "capacity".
        executor: What runs it, as the cloud reports it.
        deployment: The deployment that it belongs to, as the cloud reports it.
    """

    id: str
    status: str
    priority: float | None = None
    create_time: float | None = None
    update_time: float | None = None
    execution_start_time: float | None = None
    execution_end_time: float | None = None
    execution_error: dict[str, Any] | None = None
    execution_status: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    outputs_count: int | None = None
    previewable_outputs_count: int | None = None
    preview_output: dict[str, Any] | None = None
    workflow: dict[str, Any] | None = None
    workflow_id: str | None = None
    workflow_version_id: str | None = None
    queue_position: int | None = None
    queue_reason: str | None = None
    executor: Any = None
    deployment: Any = None

    @property
    def preview_text(self) -> str | None:
        """What it shows where that is text, None where it is a file; `…` where the server has cut it."""
        shown = self.preview_output or {}
        content = shown.get("content")
        if not isinstance(content, str):
            return None
        return f"{content}…" if shown.get("truncated") else content

    @property
    def labels(self) -> dict[str, str] | None:
        """Its labels; None where the answer does not have them, as in the pages of a list."""
        extra_data = (self.workflow or {}).get("extra_data")
        return labels_of(extra_data) if isinstance(extra_data, Mapping) else None

    @property
    def done(self) -> bool:
        """True once it has ended, in whatever way."""
        return self.status in {"completed", "failed", "cancelled"}

    @field_validator("execution_error", mode="before")
    @classmethod
    def _no_text(cls, value: object) -> object:
        """Keep an error that is only a text."""
        return {"exception_message": value} if isinstance(value, str) else value


class Pagination(Record):
    """Where in the list a page stands."""

    offset: int = 0
    limit: int | None = None
    total: int | None = None
    has_more: bool = False
    next_cursor: str | None = None


class JobsPage(Record):
    """A page of the list of jobs."""

    jobs: tuple[JobRecord, ...] = ()
    pagination: Pagination = Field(default_factory=Pagination)
