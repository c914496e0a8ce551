"""What a prompt is going to do: its nodes, who needs whom, and how much each node weighs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..types import NodeInfo

__all__ = ["Plan", "Plans"]

# Inputs that say how many steps a sampler makes, in the core nodes and in the common packs.
_STEP_INPUTS: Final = ("steps", "num_inference_steps")
_MAX_WEIGHT: Final = 10_000.0
_PLANS_KEPT: Final = 32

# Its images leave through the preview hook and are in no history (nodes_websocket, PROTOCOL 0.10).
SOCKET_OUTPUT_CLASS: Final = "SaveImageWebsocket"

# Core nodes that write a file whenever they run, and show it.
_SAVERS: Final = frozenset(
    {
        "SaveImage",
        "SaveAnimatedPNG",
        "SaveAnimatedWEBP",
        "SaveAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveGLB",
        "SaveVideo",
        "SaveWEBM",
    }
)


class Plan:
    """The submitted graph, seen as work to do.

    A node weighs as many units as it makes steps, where the workflow says, else one. The
    weights never change while the job runs: that keeps the fraction monotonic and moving.
    """

    __slots__ = ("nodes", "parents", "savers", "sinks", "socket_outputs", "total_weight", "weights")

    def __init__(self, graph: Mapping[str, Any], *, targets: Iterable[str] | None = None) -> None:
        """Read an API graph; `targets` are the outputs asked for, None means all."""
        parents = {str(node): _parents(spec) for node, spec in graph.items() if isinstance(spec, Mapping)}
        needed = _closure(parents, targets) if targets is not None else parents.keys()
        self.nodes: Mapping[str, NodeInfo] = {
            str(node): _info(str(node), spec) for node, spec in graph.items() if isinstance(spec, Mapping)
        }
        self.parents = {node: parents[node] for node in parents if node in needed}
        consumed = {parent for sources in self.parents.values() for parent in sources}
        self.sinks = frozenset(node for node in self.parents if node not in consumed)
        self.weights = {node: _weight(graph[node]) for node in self.parents}
        self.total_weight = sum(self.weights.values())
        self.socket_outputs = frozenset(
            node for node in self.parents if self.nodes[node].class_type == SOCKET_OUTPUT_CLASS
        )

        self.savers = frozenset(node for node in self.parents if self.nodes[node].class_type in _SAVERS)

    def unsaved(self, outputs: Mapping[str, object]) -> tuple[str, ...]:
        """Return the nodes that save a file whenever they run, and of which nothing came."""
        return tuple(sorted(self.savers - {node for node, shown in outputs.items() if shown}))

    def needs(self, node: str) -> set[str]:
        """Return a node and everything that it reads from, near and far."""
        return _closure(self.parents, [node])

    def unneeded(self, cached: Iterable[str]) -> set[str]:
        """Return the nodes that need not run since everything that needs them is cached."""
        have = set(cached)
        alive: set[str] = set()
        stack = [node for node in self.sinks if node not in have]
        while stack:
            node = stack.pop()
            if node not in alive:
                alive.add(node)
                stack.extend(p for p in self.parents[node] if p in self.parents and p not in have)
        return self.parents.keys() - alive - have

    def is_delivery(self, node: str | None, mime: str) -> bool:
        """Say whether a preview frame is an output image rather than work in progress.

        A node that nobody reads from runs only if it is an output node, and the samplers'
        previews are JPEG: a PNG of such a node is what SaveImageWebsocket and its likes send.
        """
        if node is None:
            return False
        base = node if node in self.nodes else node.partition(".")[0]
        return base in self.socket_outputs or (mime == "image/png" and base in self.sinks)


class Plans:
    """The latest plans, shared by jobs whose workflows differ in nothing but values.

    A thousand variants of one workflow have one plan: it is most of what an open job would hold.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Start without any."""
        self._known: dict[object, Plan] = {}

    def of(self, graph: Mapping[str, Any], *, targets: Iterable[str] | None = None) -> Plan:
        """Return the plan of an API graph, an earlier one when it says the same."""
        wanted = None if targets is None else tuple(targets)
        key = (
            wanted,
            tuple(
                (node, _info(node, spec), _parents(spec), _weight(spec))
                for node, spec in graph.items()
                if isinstance(spec, Mapping)
            ),
        )
        plan = self._known.pop(key, None)
        if plan is None:
            plan = Plan(graph, targets=wanted)
            if len(self._known) >= _PLANS_KEPT:
                del self._known[next(iter(self._known))]
        # The latest stand last.
        self._known[key] = plan
        return plan


def _parents(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the nodes that this one reads from."""
    inputs = spec.get("inputs")
    if not isinstance(inputs, Mapping):
        return ()
    return tuple(
        value[0]
        for value in inputs.values()
        # As ComfyUI tells a link from a list of numbers (comfy_execution/graph_utils.py, is_link).
        if isinstance(value, (list, tuple))
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
    )


def _closure(parents: Mapping[str, tuple[str, ...]], targets: Iterable[str]) -> set[str]:
    """Return the targets and everything that they need."""
    seen: set[str] = set()
    stack = [str(target) for target in targets]
    while stack:
        node = stack.pop()
        if node not in seen and node in parents:
            seen.add(node)
            stack.extend(parents[node])
    return seen


def _info(node: str, spec: Mapping[str, Any]) -> NodeInfo:
    """Return the node's title."""
    meta = spec.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    class_type = str(spec.get("class_type") or "")
    return NodeInfo(node, str(title) if title else class_type, class_type)


def _weight(spec: Mapping[str, Any]) -> float:
    """Return the node's steps where the workflow says, else 1."""
    inputs = spec.get("inputs")
    if isinstance(inputs, Mapping):
        for name in _STEP_INPUTS:
            steps = inputs.get(name)
            if isinstance(steps, (int, float)) and 1 <= steps <= _MAX_WEIGHT:
                return float(steps)
    return 1.0
