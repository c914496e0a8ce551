"""The state of every node of one run, as `progress_state` tells it.

A message carries all nodes each time, so the JSON of those that did not change is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable

__all__ = ["ProgressBoard"]


class ProgressBoard:
    """Values and states of the nodes that have begun."""

    def __init__(self, prompt_id: str, tell: Callable[[str], None] | None) -> None:
        """Start with nothing begun; `tell` is None on servers that know no progress_state."""
        self._prompt_id = json.dumps(prompt_id)
        self._tell = tell
        self._parts: dict[str, str] = {}
        self._maximum: dict[str, float] = {}

    def start(self, node_id: str) -> None:
        """A node begins."""
        self._set(node_id, 0.0, 1.0, "running")

    def update(self, node_id: str, value: float, maximum: float) -> None:
        """A node is at a step."""
        self._set(node_id, value, maximum, "running")

    def finish(self, node_id: str) -> None:
        """A node is done, or was taken from the cache."""
        maximum = self._maximum.get(node_id, 1)
        self._set(node_id, maximum, maximum, "finished")

    def _set(self, node_id: str, value: float, maximum: float, state: str) -> None:
        """Note the state of a node and tell all of them."""
        self._maximum[node_id] = maximum
        if self._tell is None:
            return
        name = json.dumps(node_id)
        self._parts[node_id] = (
            f'{name}: {{"value": {value!r}, "max": {maximum!r}, "state": "{state}", "node_id": {name}, '
            f'"prompt_id": {self._prompt_id}, "display_node_id": {name}, "parent_node_id": null, '
            f'"real_node_id": {name}}}'
        )
        nodes = ", ".join(self._parts.values())
        self._tell(
            f'{{"type": "progress_state", "data": {{"prompt_id": {self._prompt_id}, "nodes": {{{nodes}}}}}}}'
        )
