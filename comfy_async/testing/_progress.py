"""The state of every node of one run, as `progress_state` has it.

A message carries all nodes each time, so the JSON of those that did not change is kept.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

__all__ = ["Place", "ProgressBoard"]


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Which node it is, and where in the submitted graph it shows.

    Attributes:
        node: The id it runs under; nodes of an expansion have ids such as `12.0.0.1`.
        display: The id under which people see it.
        parent: The node that it was expanded from, None for those of the submitted graph.
        real: The node of the submitted graph that it belongs to.
    """

    node: str
    display: str
    parent: str | None
    real: str

    @classmethod
    def top(cls, node: str) -> Place:
        """Return the place of a node of the submitted graph."""
        return cls(node, node, None, node)

    def inner(self, node: str) -> Place:
        """Return the place of a node that this one expanded into."""
        return Place(node, self.display, self.node, self.real)

    def ids(self, prompt_id: str) -> dict[str, Any]:
        """Return the ids as messages carry them."""
        return {
            "node_id": self.node,
            "prompt_id": prompt_id,
            "display_node_id": self.display,
            "parent_node_id": self.parent,
            "real_node_id": self.real,
        }


class ProgressBoard:
    """Values and states of the nodes that have begun."""

    def __init__(self, prompt_id: str, tell: Callable[[str], None] | None) -> None:
        """Start with nothing begun; `tell` is None on servers that know no progress_state."""
        self.prompt_id = prompt_id
        self._tell = tell
        self._parts: dict[str, str] = {}
        self._maximum: dict[str, float] = {}

    def start(self, place: Place, *, activity: str | None = None) -> None:
        """A node begins; on newer servers it may say what it does before it has steps."""
        self._set(place, 0.0, 1.0, "running", activity)

    def update(self, place: Place, value: float, maximum: float) -> None:
        """A node is at a step."""
        self._set(place, value, maximum, "running")

    def finish(self, place: Place) -> None:
        """A node is done, or was taken from the cache."""
        maximum = self._maximum.get(place.node, 1)
        self._set(place, maximum, maximum, "finished")

    def _set(
        self, place: Place, value: float, maximum: float, state: str, activity: str | None = None
    ) -> None:
        """Note the state of a node and send all of them."""
        self._maximum[place.node] = maximum
        if self._tell is None:
            return
        entry = {"value": value, "max": maximum, "state": state, **place.ids(self.prompt_id)}
        if activity is not None:
            entry["activity"] = activity
        self._parts[place.node] = f"{json.dumps(place.node)}: {json.dumps(entry)}"
        nodes = ", ".join(self._parts.values())
        data = f'{{"prompt_id": {json.dumps(self.prompt_id)}, "nodes": {{{nodes}}}}}'
        self._tell(f'{{"type": "progress_state", "data": {data}}}')
