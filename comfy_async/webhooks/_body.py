"""The body of a webhook."""

from __future__ import annotations

import datetime
import json
from typing import Any

from .._job.job import Job, core_of
from ..errors import JobFailedError
from ..events import BaseEvent, NodeEvent

__all__ = ["about_end", "about_event"]


def about_end(job: Job, at: float) -> tuple[str, bytes]:
    """Return type and body for a job that has ended, at that Unix time: no prompt, and no key."""
    data = _about(job)
    if job.status == "completed":
        result = core_of(job).result
        data["duration"] = result.duration
        data["outputs"] = [
            {
                "node": file.node,
                "title": file.title,
                "kind": file.kind,
                "filename": file.filename,
                "subfolder": file.subfolder,
                "type": file.type,
                # What came by the socket lies nowhere.
                "url": None if file.type == "websocket" else file.url,
            }
            for file in result.files
        ]
    elif job.error is not None:
        data["error"] = _about_error(job)
    return _written(f"job.{job.status}", at, data)


def about_event(job: Job, event: BaseEvent, kind: str) -> tuple[str, bytes]:
    """Return type and body for something that happened to a job."""
    data = _about(job)
    if isinstance(event, NodeEvent) and event.node is not None:
        data |= {"node": event.node, "title": event.title, "class_type": event.class_type}
    return _written(kind, event.received_at, data)


def _about(job: Job) -> dict[str, Any]:
    """Return what identifies a job."""
    return {
        "id": job.prompt_id,
        "status": job.status,
        "server": core_of(job).owner.base_url,
        "index": job.index,
        "labels": dict(getattr(job, "labels", {})),
    }


def _about_error(job: Job) -> dict[str, Any]:
    """Return an error with its message, in which the server may have repeated a key."""
    error, veil = job.error, core_of(job).owner.veil
    found: dict[str, Any] = {"type": type(error).__name__, "message": veil(error)}
    if isinstance(error, JobFailedError):
        found |= {"node": error.node, "class_type": error.class_type, "exception_type": error.exception_type}
    return found


def _written(kind: str, at: float, data: dict[str, Any]) -> tuple[str, bytes]:
    """Return type and body as JSON."""
    when = datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat().replace("+00:00", "Z")
    message = {"type": kind, "timestamp": when, "data": data}
    return kind, json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
