"""How far a job is and how long it will take: arithmetic over its events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias

from ..events import Progress
from ..types import JobProgress
from .plan import Plan

__all__ = ["Meter", "Timings"]

Timings: TypeAlias = MutableMapping[str, float]
"""Seconds a class of nodes takes for one unit of weight, learned from the jobs of a session."""

# Until the end is heard the fraction stays below one, and the last step must still move it.
_BELOW_ONE = 0.999

_LEARNING_RATE = 0.5


class _Running:
    """A node at work: when it began, and the first and the latest step that were reported."""

    __slots__ = ("first_at", "first_value", "latest", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.first_at: float | None = None
        self.first_value = 0.0
        self.latest: Progress | None = None

    def steps(self) -> tuple[float, float]:
        """Return the step and the number of steps, (0, 0) while none was reported."""
        return (self.latest.value, self.latest.max) if self.latest is not None else (0.0, 0.0)

    def share(self) -> float:
        """Return the part of the node that is done, 0 to 1."""
        value, maximum = self.steps()
        return min(1.0, max(0.0, value / maximum)) if maximum > 0 else 0.0

    def seconds_per_step(self) -> float | None:
        """Return the pace since the first step, or None before the second."""
        value, _ = self.steps()
        if self.latest is None or self.first_at is None or value <= self.first_value:
            return None
        # Frames that came together were read at one moment, which measures nothing.
        elapsed = self.latest.received_at - self.first_at
        return elapsed / (value - self.first_value) if elapsed > 0.0 else None


class Meter:
    """Counts weights and seconds; reads a progress frame only when it is needed."""

    __slots__ = (
        "_activities",
        "_by_key",
        "_done_weight",
        "_fraction",
        "_latest",
        "_overall",
        "_plain_seconds",
        "_plan",
        "_running",
        "_step_seconds",
        "_timings",
        "finished",
        "node_seconds",
        "started_at",
    )

    def __init__(self, plan: Plan, timings: Timings) -> None:
        """Start with nothing done."""
        self._plan = plan
        self._timings = timings
        self._running: dict[str, _Running] = {}
        self._by_key: dict[object, _Running] = {}
        self._activities: dict[str, tuple[str, float]] = {}
        self._done_weight = 0.0
        self._fraction = 0.0
        self._latest: tuple[str, tuple[float, float]] | None = None
        self._overall: tuple[float, int, int] | None = None
        self._plain_seconds: list[float] = []
        self._step_seconds: float | None = None
        self.finished: set[str] = set()
        self.node_seconds: dict[str, float] = {}
        self.started_at: float | None = None

    @property
    def running_nodes(self) -> set[str]:
        """The nodes at work."""
        return set(self._running)

    @property
    def running_node(self) -> str | None:
        """The node at work that began last."""
        return next(reversed(self._running), None)

    def cached(self, nodes: Iterable[str]) -> None:
        """Count the cached nodes, and those that only cached nodes need, as done."""
        nodes = [node for node in nodes if node in self._plan.weights]
        for node in (*nodes, *self._plan.unneeded(nodes)):
            self._count(node)

    def node_started(self, node: str, now: float) -> None:
        """Note when a node began."""
        self._running[node] = _Running(now)

    def node_finished(self, node: str, now: float) -> None:
        """Count a node and learn what it took."""
        self._count(node)
        running = self._running.pop(node, None)
        if running is None:
            return
        self._by_key = {key: run for key, run in self._by_key.items() if run is not running}
        self._latest = node, running.steps()
        seconds = max(0.0, now - running.since)
        self.node_seconds[node] = self.node_seconds.get(node, 0.0) + seconds
        self._learn(node, seconds, running)

    def activities(self, nodes: Mapping[str, Any], now: float) -> None:
        """Note the activity of each node; one that has not changed goes on since it began."""
        said: dict[str, tuple[str, float]] = {}
        for node, state in nodes.items():
            word = state.get("activity") if isinstance(state, Mapping) else None
            if not isinstance(word, str) or state.get("state") != "running":
                continue
            if word := " ".join(word.split()):
                known = self._activities.get(node)
                said[node] = known if known is not None and known[0] == word else (word, now)
        self._activities = said

    def overall(self, value: object, *, done: int, total: int) -> None:
        """Take over what the server itself counts, of which it knows more: cached nodes, for example."""
        share = value if isinstance(value, int | float) else done / total
        share = min(1.0, max(0.0, share)) * _BELOW_ONE if math.isfinite(share) else 0.0
        self._fraction = max(self._fraction, share)
        self._overall = self._fraction, done, total

    def step(self, event: Progress) -> bool:
        """Keep a progress frame unread; False when it is the first of its node."""
        running = self._by_key.get(event.key)
        if running is None:
            return False
        running.latest = event
        return True

    def first_step(self, node: str, event: Progress) -> None:
        """Read the first progress frame of a node: from it the pace is measured."""
        running = self._running.get(node)
        if running is None:
            return
        if running.latest is None:
            running.first_at, running.first_value = event.received_at, event.value
        running.latest = event
        self._by_key[event.key] = running

    def snapshot(self, now: float, *, completed: bool) -> JobProgress:
        """Return the progress at this moment, never less than the one before."""
        node, step, steps = self._shown(completed=completed)
        info = None
        if node is not None:
            info = self._plan.nodes.get(node) or self._plan.nodes.get(node.partition(".")[0])
        share, done, total = self._overall or (self._share(), len(self.finished), len(self._plan.weights))
        self._fraction = 1.0 if completed else max(self._fraction, share)
        at_work = node is not None and node in self._running
        activity, since = self._activities.get(node or "", ("", now)) if at_work else ("", now)
        return JobProgress(
            fraction=self._fraction,
            eta=0.0 if completed else self._eta(now),
            node=node,
            title=(info.title or info.class_type) if info is not None else (node or ""),
            step=step,
            steps=steps,
            done=done,
            total=total,
            activity=activity,
            activity_seconds=max(0.0, now - since),
        )

    def _shown(self, *, completed: bool) -> tuple[str | None, float, float]:
        """Return a node and its step: the one at work, or the last one while none is.

        Frames come several at a time: when the last step is read, its node has finished already.
        """
        node = self.running_node
        if node is not None:
            return node, *self._running[node].steps()
        if completed or self._latest is None:
            return None, 0.0, 0.0
        return self._latest[0], *self._latest[1]

    def _count(self, node: str) -> None:
        """Add a node's weight once."""
        weight = self._plan.weights.get(node)
        if weight is not None and node not in self.finished:
            self.finished.add(node)
            self._done_weight += weight

    def _share(self) -> float:
        """Return the part of all weights that is done."""
        if not self._plan.total_weight:
            return 0.0
        done = self._done_weight
        for node, running in self._running.items():
            if node not in self.finished:
                done += self._plan.weights.get(node, 0.0) * running.share()
        return min(1.0, done / self._plan.total_weight) * _BELOW_ONE

    def _learn(self, node: str, seconds: float, running: _Running) -> None:
        """Remember the seconds per unit of weight, by class."""
        weight = self._plan.weights.get(node)
        if weight is None:
            return
        pace = running.seconds_per_step()
        if pace is not None:
            self._step_seconds = pace
        if pace is None and weight == 1.0:
            self._plain_seconds.append(seconds)
        kind = self._plan.nodes[node].class_type
        known = self._timings.get(kind)
        each = seconds / weight
        self._timings[kind] = each if known is None else known + _LEARNING_RATE * (each - known)

    def _eta(self, now: float) -> float | None:
        """Return the seconds to go, None while less than half of the work can be estimated."""
        if self.started_at is None:
            return None
        parts = {node: self._left(node, running, now) for node, running in self._running.items()}
        waiting = self._plan.weights.keys() - self.finished - self._running.keys()
        parts.update((node, self._estimate(node)) for node in waiting)
        self._guess(parts, now)
        if self._running and all(parts[node] is None for node in self._running):
            return None
        known = sum(self._weight(node) for node, part in parts.items() if part is not None)
        unknown = sum(self._weight(node) for node, part in parts.items() if part is None)
        if unknown > known:
            return None
        return sum(part for part in parts.values() if part is not None)

    def _weight(self, node: str) -> float:
        """Return a node's weight, 1 for what the workflow does not have: it was made while it ran."""
        return self._plan.weights.get(node, 1.0)

    def _left(self, node: str, running: _Running, now: float) -> float | None:
        """Return the seconds that a running node still needs."""
        pace = running.seconds_per_step()
        if pace is not None and running.latest is not None:
            value, maximum = running.steps()
            return max(0.0, (maximum - value) * pace - (now - running.latest.received_at))
        whole = self._estimate(node)
        return None if whole is None else max(0.0, whole - (now - running.since))

    def _estimate(self, node: str) -> float | None:
        """Return the seconds that a waiting node will take, by what is known of its class."""
        weight = self._plan.weights.get(node)
        if weight is None:
            return None
        known = self._timings.get(self._plan.nodes[node].class_type)
        if known is not None:
            return known * weight
        if weight > 1.0:
            pace = self._step_seconds or self._running_pace()
            return None if pace is None else pace * weight
        return None

    def _guess(self, parts: dict[str, float | None], now: float) -> None:
        """Fill in what plain nodes of unknown classes may take, once as many others were measured.

        One quick node says nothing about the slow one behind it, and a node that has run for
        longer than the guess has proved it wrong.
        """
        plain = [node for node, part in parts.items() if part is None and self._weight(node) == 1.0]
        if not self._plain_seconds or len(self._plain_seconds) < len(plain):
            return
        # One slow loader says nothing about the others.
        usual = sorted(self._plain_seconds)[(len(self._plain_seconds) - 1) // 2]
        for node in plain:
            running = self._running.get(node)
            left = usual if running is None else usual - (now - running.since)
            if running is None or left > 0.0:
                parts[node] = left

    def _running_pace(self) -> float | None:
        """Return the pace of any node at work."""
        for running in self._running.values():
            pace = running.seconds_per_step()
            if pace is not None:
                return pace
        return None
