"""The state of one job as a plain state machine: events in, what changed out.

Every fact about a job passes `JobState.apply`, whether the socket sent it or polling found it.
That is why a job ends exactly once and nothing is reported twice: the state knows what was reported.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..events import (
    BaseEvent,
    Cancelled,
    Completed,
    Failed,
    Lost,
    NodeEvent,
    NodeFinished,
    NodesCached,
    NodeStarted,
    Preview,
    Progress,
    ProgressState,
    Queued,
    Started,
)
from ..types import JobProgress, JobStatus, NodeInfo
from .activities import activities_in
from .decode import ExecutingNone
from .meter import Meter, Timings
from .plan import Plan

__all__ = ["JobState", "Overall"]

_FINISHED: Final = b'"finished"'


class Overall(BaseEvent):
    """How far a job is as its server counts: `value` (0 to 1), `done` and `total` nodes. Internal.

    A server that counts also says which nodes have ended: the start of one is no end of another.
    """

    __slots__ = ()
    type = "overall"


class JobState:
    """What is known about one job.

    Example:
        >>> from comfy_async._protocol.plan import Plan
        >>> state = JobState("9e721e8c-948f-48d8-a684-409836d205e3", Plan(flow.to_api()))
        >>> state.apply(Started(prompt_id=state.prompt_id))
        [<Queued 9e721e8c>, <Started 9e721e8c>]
    """

    __slots__ = (
        "_activities",
        "_ends_are_told",
        "_finished_count",
        "_has_progress_state",
        "_intact",
        "_is_over",
        "_pending_end",
        "_start",
        "_unsure",
        "cached",
        "ended_at",
        "gap",
        "images",
        "meter",
        "number",
        "outputs",
        "plan",
        "prompt_id",
        "queued_at",
        "shown",
        "started_at",
        "status",
        "terminal",
        "was_started",
    )

    def __init__(self, prompt_id: str, plan: Plan, *, timings: Timings | None = None) -> None:
        """Start before the submission; `timings` carries what earlier jobs took."""
        self.prompt_id = prompt_id
        self.plan = plan
        self.meter = Meter(plan, timings if timings is not None else {})
        self.status: JobStatus = "submitting"
        self.number: float | None = None
        self.queued_at: float | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.was_started: set[str] = set()
        self.shown: set[str] = set()
        self.cached: tuple[str, ...] | None = None
        self.outputs: dict[str, Mapping[str, Any]] = {}
        self.images: dict[str, list[Preview]] = {}
        self.terminal: BaseEvent | None = None
        self.gap = False
        self._start: Started | None = None
        self._unsure = False
        self._intact: set[str] = set()
        self._is_over = False
        self._pending_end: BaseEvent | None = None
        self._has_progress_state = False
        self._ends_are_told = False
        self._finished_count = 0
        self._activities: list[tuple[int, bytes]] = []

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes of the submitted workflow."""
        return self.plan.nodes

    @property
    def wants_history(self) -> bool:
        """True when the run has ended and only the history knows what was missed."""
        return self._is_over and self.terminal is None

    @property
    def running_node(self) -> str | None:
        """The node that runs, the one begun last if there are several."""
        return self.meter.running_node

    @property
    def missing(self) -> tuple[str, ...]:
        """Output nodes whose images only the socket carries and may have been lost in a gap."""
        if not self.gap:
            return ()
        whole = self._intact & self.meter.finished
        return tuple(sorted(self.plan.socket_outputs - whole))

    @property
    def duration(self) -> float:
        """Seconds of the run, by the server's clock where start or end was not received; 0.0 if unknown."""
        start, end = self._start, self.terminal
        if start is None or end is None or self.started_at is None or self.ended_at is None:
            return 0.0
        if start.raw is None or end.raw is None:
            begun, over = _stamp(start), _stamp(end)
            if begun is not None and over is not None:
                return max(0.0, (over - begun) / 1000)
        return max(0.0, self.ended_at - self.started_at)

    def progress(self, now: float) -> JobProgress:
        """Return how far the job is; `now` is Unix seconds."""
        progress = self.meter.snapshot(now, completed=self.status == "completed")
        if self.terminal is not None and progress.fraction < 1.0:
            # A job that failed or was stopped has nothing to go, and is not there.
            return dataclasses.replace(progress, eta=None)
        return progress

    def mark_gap(self) -> None:
        """Note that frames may have been missed since the job was submitted."""
        if self.terminal is None:
            self.gap = True
            self._unsure = True
            # A node that runs through the gap may deliver images to nobody.
            self._intact -= self.meter.running_nodes

    def repeats(self, event: BaseEvent) -> bool:
        """Process a progress frame that changes nothing but the step; False for all others.

        The same as `apply`, at a fraction of its cost: such frames come by the thousand.
        """
        if self.terminal is not None:
            return False
        if type(event) is Progress:
            event.plan_nodes = self.plan.nodes
            return self.meter.step(event)
        if type(event) is ProgressState and self._has_progress_state and not self._unsure:
            raw = event.raw
            return (
                raw is not None
                and raw.count(_FINISHED) == self._finished_count
                and activities_in(raw) == self._activities
            )
        return False

    def apply(self, event: BaseEvent) -> list[BaseEvent]:
        """Process one fact and return the events to report, in order; often just the event itself."""
        if self.terminal is not None:
            return []
        if isinstance(event, NodeEvent):
            event.plan_nodes = self.plan.nodes
        handler = _HANDLERS.get(type(event))
        return [event] if handler is None else handler(self, event)

    def finish_without_history(self) -> list[BaseEvent]:
        """Accept the end that was received, although the history never came; [] without one."""
        event, self._pending_end = self._pending_end, None
        return [] if event is None else self._end(event)

    def _queued(self, event: BaseEvent) -> list[BaseEvent]:
        """POST /prompt was answered; events may have come before it."""
        assert isinstance(event, Queued)
        if "number" in event.data:
            self.number = event.number
        if self.queued_at is not None:
            return []
        self.queued_at = event.received_at
        if self.status == "submitting":
            self.status = "pending"
        return [event]

    def _started(self, event: BaseEvent) -> list[BaseEvent]:
        assert isinstance(event, Started)
        if self._start is None or _stamp(self._start) is None:
            # What was only inferred knows no time; the history, which comes later, does.
            self._start = event
        if self.started_at is not None:
            return []
        told: list[BaseEvent] = []
        if self.status == "submitting":
            # It runs, so it was accepted: the answer of POST /prompt is still under way.
            told = self._queued(Queued(None, {}, self.prompt_id, received_at=event.received_at))
        self.started_at = event.received_at
        self.status = "running"
        self.meter.started_at = event.received_at
        return [*told, event]

    def _nodes_cached(self, event: BaseEvent) -> list[BaseEvent]:
        assert isinstance(event, NodesCached)
        if self.cached is not None:
            return []
        self.cached = event.nodes
        self.meter.cached(event.nodes)
        return [*self._imply_start(event), event]

    def _node_started(self, event: BaseEvent) -> list[BaseEvent]:
        assert isinstance(event, NodeStarted)
        node = event.node
        assert node is not None
        if node in self.meter.running_nodes or (event.prompt_id is None and node in self.meter.finished):
            # A reconnect repeats the running node without a prompt_id (server.py, the /ws handler).
            return []
        told = self._imply_start(event)
        if not self._has_progress_state and not self._ends_are_told:
            # Before 0.3.45 the next node's start is the only sign that one has finished.
            for running in sorted(self.meter.running_nodes):
                told += self._finish_node(running, event.received_at)
        if event.raw is not None and event.prompt_id is not None:
            self._intact.add(node)
        self.was_started.add(node)
        self.meter.node_started(node, event.received_at)
        return [*told, event]

    def _progress(self, event: BaseEvent) -> list[BaseEvent]:
        assert isinstance(event, Progress)
        if self.meter.step(event):
            return [event]
        node = event.node
        told = self._imply_start(event)
        if node is not None and node not in self.meter.running_nodes and self._unsure:
            told += self._imply_node_started(node, event.received_at)
        if node is not None:
            self.meter.first_step(node, event)
        return [*told, event]

    def _progress_state(self, event: BaseEvent) -> list[BaseEvent]:
        assert isinstance(event, ProgressState)
        self._has_progress_state = True
        if self.repeats(event):
            return [event]
        raw = event.raw or b""
        self._finished_count, self._activities = raw.count(_FINISHED), activities_in(raw)
        self.meter.activities(event.nodes, event.received_at)
        told = self._imply_start(event)
        tail: list[BaseEvent] = []
        for node, state in event.nodes.items():
            if not isinstance(state, Mapping):
                continue
            if self._unsure and state.get("state") in ("running", "finished"):
                told += self._imply_node_started(node, event.received_at)
            if state.get("state") == "finished":
                tail += self._finish_node(node, event.received_at)
        self._unsure = False
        return [*told, event, *tail]

    def _executed(self, event: BaseEvent) -> list[BaseEvent]:
        assert isinstance(event, NodeFinished)
        node = event.node
        if node is None:
            return [event]
        if event.output is not None:
            self.outputs[node] = event.output
        if node in self.shown:
            return []
        self.shown.add(node)
        told = self._imply_start(event)
        if event.raw is None:
            # The history knows no order: what this node needs had finished before it.
            for running in sorted((self.meter.running_nodes & self.plan.needs(node)) - {node}):
                told += self._finish_node(running, event.received_at)
        self.meter.node_finished(node, event.received_at)
        return [*told, event]

    def _preview(self, event: BaseEvent) -> list[BaseEvent]:
        assert isinstance(event, Preview)
        node = event.node
        if node is not None and self.plan.is_delivery(node, event.mime):
            event.delivered = True
            self.images.setdefault(node, []).append(event)
        return [event]

    def _completed(self, event: BaseEvent) -> list[BaseEvent]:
        if self.gap and event.raw is not None:
            self._pending_end = event
            self._is_over = True
            return []
        return self._end(event)

    def _overall(self, event: BaseEvent) -> list[BaseEvent]:
        self._ends_are_told = True
        if event.data:
            self.meter.overall(event.data["value"], done=event.data["done"], total=event.data["total"])
        return []

    def _over(self, event: BaseEvent) -> list[BaseEvent]:
        """`executing` null without an end before it: old servers, or a gap; the history knows."""
        self._is_over = True
        return []

    def _end(self, event: BaseEvent) -> list[BaseEvent]:
        """Take the job to its one end."""
        told: list[BaseEvent] = []
        if isinstance(event, Completed):
            told += self._imply_start(event)
            for node in sorted(self.meter.running_nodes):
                told += self._finish_node(node, event.received_at)
        self.status = _STATUS[type(event)]
        self.terminal = event
        self.ended_at = event.received_at
        return [*told, event]

    def _imply_start(self, event: BaseEvent) -> list[BaseEvent]:
        """Whatever happens to a job's nodes proves that it runs, even without a message for its start."""
        if self.started_at is not None:
            return []
        return self._started(Started(None, {}, self.prompt_id, received_at=event.received_at))

    def _imply_node_started(self, node: str, now: float) -> list[BaseEvent]:
        """A node whose start was missed is reported as started."""
        if node in self.was_started or node in self.shown:
            return []
        event = NodeStarted(None, {"node": node}, self.prompt_id, received_at=now)
        return self.apply(event)

    def _finish_node(self, node: str, now: float) -> list[BaseEvent]:
        """A node has ended without an `executed` message: it shows nothing."""
        if node in self.shown:
            self.meter.node_finished(node, now)
            return []
        self.shown.add(node)
        self.meter.node_finished(node, now)
        event = NodeFinished(None, {"node": node}, self.prompt_id, received_at=now)
        event.plan_nodes = self.plan.nodes
        return [event]


def _stamp(event: BaseEvent) -> float | None:
    """Return the server's time of an event in milliseconds, None when it did not say."""
    stamp = event.data.get("timestamp")
    return stamp if isinstance(stamp, (int, float)) and math.isfinite(stamp) else None


_HANDLERS: Final[Mapping[type, Callable[[JobState, BaseEvent], list[BaseEvent]]]] = {
    Queued: JobState._queued,
    Started: JobState._started,
    NodesCached: JobState._nodes_cached,
    NodeStarted: JobState._node_started,
    Progress: JobState._progress,
    ProgressState: JobState._progress_state,
    NodeFinished: JobState._executed,
    Preview: JobState._preview,
    Completed: JobState._completed,
    Failed: JobState._end,
    Cancelled: JobState._end,
    Lost: JobState._end,
    ExecutingNone: JobState._over,
    Overall: JobState._overall,
}

_STATUS: Final[Mapping[type, JobStatus]] = {
    Completed: "completed",
    Failed: "failed",
    Cancelled: "cancelled",
    Lost: "lost",
}
