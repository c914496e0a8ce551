"""In which order the nodes of a graph run, and which of them need not run again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

__all__ = ["ExecutionPlan", "MissingNodeError", "is_link", "signatures"]


class MissingNodeError(Exception):
    """A link that the validation does not look at leads to no node: a real worker dies of it."""


def is_link(value: Any) -> bool:
    """Whether an input is a link to an output of another node."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def signatures(prompt: dict[str, Any], fingerprint: Callable[[str], Any]) -> dict[str, str]:
    """Return a key of everything that a node's result depends on, for each node.

    Two nodes with one key give one result, whatever their ids: the key covers the class, the
    plain inputs, the fingerprint (a file's content, say) and the keys of the sources.
    """
    keys: dict[str, str] = {}
    opened: set[str] = set()
    for start in prompt:
        stack = [start]
        while stack:
            node_id = stack[-1]
            if node_id not in keys and node_id not in opened:
                opened.add(node_id)
                # An opened source without a key lies on the way here: a cycle, cut at this link.
                stack += [source for source in _sources(prompt, node_id) if source not in opened]
            elif node_id not in keys:
                keys[node_id] = _signature(prompt[node_id], fingerprint(node_id), keys)
                stack.pop()
            else:
                stack.pop()
    return keys


def _sources(prompt: dict[str, Any], node_id: str) -> list[str]:
    """Return the nodes that a node takes something from, those that exist."""
    values = prompt[node_id].get("inputs", {}).values()
    return [value[0] for value in values if is_link(value) and value[0] in prompt]


def _signature(node: dict[str, Any], fingerprint: Any, keys: dict[str, str]) -> str:
    """Return the key of a node whose sources have theirs."""
    parts = [node.get("class_type"), fingerprint]
    inputs = node.get("inputs", {})
    for name in sorted(inputs):
        value = inputs[name]
        parts += [name, (keys.get(value[0]), value[1]) if is_link(value) else ["", value]]
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


class ExecutionPlan:
    """What still has to run, and what may run next.

    The choice among ready nodes is ComfyUI's (comfy_execution/graph.py): an output node
    first, then what feeds one directly, then what feeds one through another node, then
    the one that was found first.
    """

    def __init__(
        self, prompt: dict[str, Any], *, is_cached: Callable[[str], bool], is_output: Callable[[str], bool]
    ) -> None:
        """Make an empty plan over a validated prompt."""
        self._prompt = prompt
        self._is_cached = is_cached
        self._is_output = is_output
        self._waits_for: dict[str, set[str]] = {}
        self._feeds: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        """Return how many nodes have yet to be done."""
        return len(self._waits_for)

    def require(self, output: str) -> None:
        """Add an output node and everything that it needs and the cache does not hold.

        Raises:
            MissingNodeError: Something that is needed is not there.
        """
        stack = [output]
        links = []
        while stack:
            node_id = stack.pop()
            if node_id in self._waits_for:
                continue
            if node_id not in self._prompt:
                raise MissingNodeError(f"Node {node_id} not found")
            self._waits_for[node_id] = set()
            self._feeds[node_id] = {}
            for value in self._prompt[node_id]["inputs"].values():
                if is_link(value) and not self._is_cached(value[0]):
                    stack.append(value[0])
                    links.append((value[0], node_id))
        for source, target in links:
            self._waits_for[target].add(source)
            self._feeds[source][target] = None

    def next(self) -> str:
        """Return the node to run next.

        Raises:
            LookupError: Every node waits for another one.
        """
        ready = [node_id for node_id, sources in self._waits_for.items() if not sources]
        if not ready:
            raise LookupError("Dependency cycle detected")
        for reaches in (self._is_output, self._feeds_output, self._feeds_feeder):
            for node_id in ready:
                if reaches(node_id):
                    return node_id
        return ready[0]

    def complete(self, node_id: str) -> None:
        """Take a node out and unblock those that waited for it."""
        del self._waits_for[node_id]
        for target in self._feeds.pop(node_id):
            self._waits_for[target].discard(node_id)

    def _feeds_output(self, node_id: str) -> bool:
        return any(self._is_output(target) for target in self._feeds[node_id])

    def _feeds_feeder(self, node_id: str) -> bool:
        return any(self._feeds_output(target) for target in self._feeds[node_id])
