"""A job's events as JSON objects with stable names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from .._job.job import core_of

if TYPE_CHECKING:
    from comfy_async import Event, Job, JobProgress

__all__ = ["JsonEvents", "queued_fields"]

_PROGRESS_EVERY_S: Final = 0.1


class JsonEvents:
    """Turns events into objects; at most ten of progress a second."""

    def __init__(self) -> None:
        """Start before the first event."""
        self._progress_at = float("-inf")
        self._preview_at = float("-inf")

    def lines(self, event: Event, job: Job, then: JobProgress) -> Iterator[dict[str, Any]]:
        """Yield the objects that an event makes: one or none. Ends are reported with their result."""
        import comfy_async as c

        match event:
            case c.Started():
                yield _base("started", job)
            case c.NodesCached(nodes=nodes):
                yield {**_base("nodes_cached", job), "nodes": list(nodes)}
            case c.NodeStarted():
                activity = then.activity if then.node == event.node else ""
                yield {**_node("node_started", event, job, then), "activity": activity}
            case c.Progress() | c.ProgressState() if then.node and self._due("_progress_at", event):
                yield {**_base("progress", job), **_progress(then)}
            case c.Preview() if self._due("_preview_at", event):
                yield {**_node("preview", event, job, then), "mime": event.mime, "bytes": len(event.image)}
            case c.ProgressText():
                yield {**_node("text", event, job, then), "text": event.text}
            case c.NodeFinished():
                yield {**_node("node_finished", event, job, then), "output": event.output}
            case c.NodeBlocked():
                yield {**_node("node_blocked", event, job, then), "message": event.exception_message}
            case c.Disconnected() | c.Reconnected() | c.PollingStarted():
                yield {**_base(event.type, job), "reason": event.reason}
            case c.UnknownEvent():
                # Custom nodes send their own.
                yield {**_base("other", job), "type": event.type, "data": dict(event.data)}
            case _:
                pass

    def _due(self, name: str, event: Event) -> bool:
        """Say whether the last one of this kind was long enough before."""
        now = event.received_at
        if now - getattr(self, name) < _PROGRESS_EVERY_S:
            return False
        setattr(self, name, now)
        return True


def _base(name: str, job: Job) -> dict[str, Any]:
    """Return what every object has."""
    return {"event": name, "prompt_id": job.prompt_id}


def queued_fields(job: Job) -> dict[str, Any]:
    """Return where and as what a job was queued."""
    return {
        **_base("queued", job),
        "server": job.ref["server"],
        "client_id": job.ref["client_id"],
        "queue_position": job.queue_position,
        "nodes": [
            {"node": info.id, "title": info.title, "class_type": info.class_type}
            for info in core_of(job).state.nodes.values()
        ],
    }


def _node(name: str, event: Any, job: Job, then: JobProgress) -> dict[str, Any]:
    """Return the fields of an event about a node."""
    return {
        **_base(name, job),
        "node": event.node,
        "title": event.title,
        "class_type": event.class_type,
        "fraction": round(then.fraction, 4),
    }


def _rounded(value: Any) -> Any:
    """Return a number without the digits that only counting in binary adds."""
    return round(value, 4) if isinstance(value, float) else value


def _progress(progress: JobProgress) -> dict[str, Any]:
    """Return how far it is."""
    return {
        "node": progress.node,
        "title": progress.title,
        "value": _rounded(progress.step),
        "max": _rounded(progress.steps),
        "activity": progress.activity,
        "fraction": round(progress.fraction, 4),
        "eta": None if progress.eta is None else round(progress.eta, 2),
        "nodes_done": progress.done,
        "nodes_total": progress.total,
    }
