"""The spans of one job: itself, its waits in queues, its nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from .._job.job import Job
from ..errors import JobFailedError
from ..events import (
    BaseEvent,
    Disconnected,
    Failed,
    NodeFinished,
    NodesCached,
    NodeStarted,
    PollingStarted,
    Queued,
    Reconnected,
    Started,
)
from ..types import JobStatus
from . import _names as names
from ._instruments import Instruments

__all__ = ["JobSpans"]

_FAULTY: Final[frozenset[JobStatus]] = frozenset({"failed", "lost"})


class JobSpans:
    """The spans of one job, each ended once, whatever becomes of it.

    The attributes of the job itself are set at once at its end: the SDK takes a lock each time. Of a
    job that is not recorded (no SDK, or not sampled) only times are kept, for the histograms.

    Attributes:
        span: Its own, from the submission to the end.
    """

    __slots__ = (
        "_began",
        "_context",
        "_facts",
        "_failed_node",
        "_instruments",
        "_nodes",
        "_queue",
        "_queued_at",
        "_recording",
        "_server",
        "_started_at",
        "_tracer",
        "span",
    )

    def __init__(self, span: Span, began: int, *, tracer: Tracer, instruments: Instruments) -> None:
        """Go on with the span of a submission, begun at that many nanoseconds of Unix time."""
        self.span = span
        self._began = began
        self._tracer = tracer
        self._instruments = instruments
        self._recording = span.is_recording()
        self._context: Context = trace.set_span_in_context(span, Context())
        self._server: names.Attributes = {}
        self._facts: dict[str, AttributeValue] = {}
        self._queue: Span | None = None
        self._nodes: dict[str, Span] = {}
        self._failed_node: str | None = None
        self._queued_at = began
        self._started_at: int | None = None

    def take(self, job: Job, event: BaseEvent) -> None:
        """Process an event: most are steps of a node, which count for nothing here."""
        handler = (_HANDLERS if self._recording else _MEASURED).get(type(event))
        if handler is not None:
            handler(self, job, event)

    def end(self, job: Job) -> None:
        """The job has had its end."""
        now = time.time_ns()
        status, span = job.status, self.span
        faulty = status in _FAULTY
        error = type(job.error).__name__ if faulty else ""
        self._close_parts(now, error)
        facts = {**self._server, names.STATUS: status}
        if faulty:
            facts[names.ERROR_TYPE] = error
        if self._recording:
            if faulty:
                span.set_status(Status(StatusCode.ERROR, error))
                if isinstance(job.error, JobFailedError) and job.error.exception_type:
                    self._facts[names.REMOTE_ERROR] = job.error.exception_type
            span.set_attributes({**self._facts, **facts, names.PROMPT_ID: job.prompt_id})
        span.end(now)
        self._instruments.jobs.add(1, facts)
        self._instruments.job.record((now - self._began) / 1e9, facts)

    def leave(self, job: Job) -> None:
        """It is not followed any more: it may be running still, and is neither a success nor an error."""
        now = time.time_ns()
        self._close_parts(now, "")
        facts = {**self._facts, **self._server, names.STATUS: job.status, names.PROMPT_ID: job.prompt_id}
        self.span.set_attributes(facts)
        self.span.add_event("comfyui.job.left", timestamp=now)
        self.span.end(now)

    def _queued(self, job: Job, _event: BaseEvent) -> None:
        """It waits: for the first time, or on another server after the first has lost it."""
        now = time.time_ns()
        self._close_parts(now, "")
        self._server = names.server_of(job.ref["server"])
        if self._recording:
            self._queue = self._tracer.start_span("comfyui.queue", context=self._context, start_time=now)
        self._queued_at = now

    def _started(self, _job: Job, _event: BaseEvent) -> None:
        """It runs."""
        now = time.time_ns()
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.end(now)
        if self._server:
            self._instruments.queue.record((now - self._queued_at) / 1e9, self._server)
        self._started_at = now

    def _nodes_cached(self, _job: Job, event: BaseEvent) -> None:
        """What the server had already does not run, and gets no span."""
        assert isinstance(event, NodesCached)
        self._facts[names.CACHED] = len(event.nodes)

    def _node_started(self, _job: Job, event: BaseEvent) -> None:
        """A node runs; several may at once."""
        assert isinstance(event, NodeStarted)
        node = event.node
        if node is None or node in self._nodes:
            return
        kind = event.class_type or "node"
        facts = {names.NODE_ID: node, names.NODE_CLASS: kind, names.NODE_TITLE: event.title}
        self._nodes[node] = self._tracer.start_span(f"comfyui.node {kind}", self._context, attributes=facts)

    def _node_finished(self, _job: Job, event: BaseEvent) -> None:
        """A node is done; one that sends its cached output again never ran."""
        assert isinstance(event, NodeFinished)
        span = self._nodes.pop(event.node or "", None)
        if span is not None:
            span.end()

    def _failed(self, _job: Job, event: BaseEvent) -> None:
        """Mark the span of the node that failed."""
        assert isinstance(event, Failed)
        self._failed_node = event.node

    def _connection(self, _job: Job, event: BaseEvent) -> None:
        """Its connection was lost, or is back."""
        self.span.add_event(f"comfyui.{event.type}")

    def _close_parts(self, now: int, error: str) -> None:
        """End what still runs within the job."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.end(now)
        started_at, self._started_at = self._started_at, None
        if started_at is not None:
            self._instruments.run.record((now - started_at) / 1e9, self._server)
        for node, span in self._nodes.items():
            if error and node == self._failed_node:
                span.set_attribute(names.ERROR_TYPE, error)
                span.set_status(Status(StatusCode.ERROR, error))
            span.end(now)
        self._nodes.clear()


_HANDLERS: Final[Mapping[type, Callable[[JobSpans, Job, BaseEvent], None]]] = {
    Queued: JobSpans._queued,
    Started: JobSpans._started,
    NodesCached: JobSpans._nodes_cached,
    NodeStarted: JobSpans._node_started,
    NodeFinished: JobSpans._node_finished,
    Failed: JobSpans._failed,
    Disconnected: JobSpans._connection,
    Reconnected: JobSpans._connection,
    PollingStarted: JobSpans._connection,
}
_MEASURED: Final[Mapping[type, Callable[[JobSpans, Job, BaseEvent], None]]] = {
    Queued: JobSpans._queued,
    Started: JobSpans._started,
}
