"""One execution of one prompt (execution.py)."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Iterable
from typing import Any

from ._books import RunEnd
from ._context import Blocked, Interrupted, NodeContext, NodeError, Outcome
from ._core import Core
from ._graph import ExecutionPlan, MissingNodeError, is_link, signatures
from ._messages import text_frame
from ._progress import Place, ProgressBoard
from ._queue import QueueItem
from ._report import NodeReport

__all__ = ["CacheEntry", "Run"]

_ENDS: dict[str, RunEnd] = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}
_PREVIEW_METHODS = ("auto", "latent2rgb", "taesd")


class CacheEntry:
    """What a node gave, kept for the next prompt that needs just the same."""

    __slots__ = ("outputs", "shown")

    def __init__(self, outputs: tuple[Any, ...], shown: dict[str, Any] | None) -> None:
        self.outputs = outputs
        self.shown = shown


class Run:
    """One execution of one prompt.

    Attributes:
        messages: What the history keeps of the events.
        shown: The `executed` output and the meta of each node that showed something.
        interrupted: Whether it ended that way.
    """

    def __init__(self, core: Core, item: QueueItem, cache: dict[str, CacheEntry]) -> None:
        """Prepare a run; what the cache holds of other prompts is let go."""
        self._core = core
        self._item = item
        self._cache = cache
        self._sid = core.client_id
        self._prompt = item.prompt
        self._graph = dict(item.prompt)
        self._places = {node_id: Place.top(node_id) for node_id in item.prompt}
        self.messages: list[list[Any]] = []
        self.shown: dict[str, dict[str, Any]] = {}
        self.interrupted = False
        self._current = ""
        tell = self._post if core.capabilities.has("feature_flags") else None
        self._board = ProgressBoard(item.prompt_id, tell)
        classes = core.classes
        self._keys = signatures(self._prompt, lambda node_id: classes.fingerprint(self._prompt[node_id]))
        used = set(self._keys.values())
        for key in [key for key in cache if key not in used]:
            del cache[key]

    async def execute(self) -> bool:
        """Run it and return whether it succeeded.

        Raises:
            MissingNodeError: An input that its class does not declare is linked to no node.
        """
        prompt_id = self._item.prompt_id
        self._tell("execution_start", {"prompt_id": prompt_id})
        cached = [node_id for node_id in self._prompt if self._is_cached(node_id)]
        self._item.record.cached = cached
        self._tell("execution_cached", {"nodes": cached, "prompt_id": prompt_id})
        if self._core.doomed:
            self._end_without_a_node(*self._core.doomed.popleft())
            return False
        try:
            await self._all(self._item.outputs)
        except Interrupted:
            self._interrupted()
            return False
        except MissingNodeError:
            raise
        except Exception as error:
            self._failed(error)
            return False
        if self._core.capabilities.has("execution_success"):
            self._tell("execution_success", {"prompt_id": prompt_id})
        return True

    async def _all(self, outputs: Iterable[str]) -> None:
        """Run some nodes with all that they need, one after the other."""
        plan = ExecutionPlan(self._graph, is_cached=self._is_cached, is_output=self._is_output)
        for output in outputs:
            plan.require(output)
        while len(plan):
            node_id = plan.next()
            if self._places[node_id].parent is None:
                self._current = node_id
            await self._node(node_id)
            plan.complete(node_id)

    async def _node(self, node_id: str) -> None:
        """Run one node, or take it from the cache."""
        entry = self._cache.get(self._keys[node_id])
        if entry is not None:
            self._show_again(node_id, entry)
            return
        place = self._places[node_id]
        class_type = self._graph[node_id]["class_type"]
        loads = self._core.capabilities.has("node_activity") and "Loader" in class_type
        self._board.start(place, activity="loading" if loads else None)
        if self._sid is not None:
            self._core.current_node = place.display
            self._send("executing", {"node": node_id, "display_node": place.display})
        report = NodeReport(self._core, self._board, place=place, class_type=class_type)
        report.checkpoint()
        inputs = self._inputs(node_id)
        await self._core.gates.pass_by(class_type, step=None, prompt_id=self._item.prompt_id, node=node_id)
        outcome = self._blocked(node_id, inputs)
        if outcome is None:
            outcome = await self._core.classes.functions[class_type](self._context(node_id, report), inputs)
        if outcome.ui:
            self._show(place, outcome.ui)
        outputs = outcome.outputs
        if outcome.expansion:
            outputs = await self._expanded(place, outcome.expansion, outputs)
        self._cache[self._keys[node_id]] = CacheEntry(outputs, self.shown.get(node_id))
        self._board.finish(place)
        self._item.record.executed.append(node_id)
        await asyncio.sleep(0)

    async def _expanded(
        self, place: Place, expansion: dict[str, Any], outputs: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Run the graph that a node gave instead of a result, under ids of its own."""
        prefix = f"{place.node}.0.0."
        for name, node in expansion.items():
            inputs = {key: _moved(value, expansion, prefix) for key, value in node["inputs"].items()}
            self._graph[prefix + name] = {**node, "inputs": inputs}
            self._places[prefix + name] = place.inner(prefix + name)
            # Kept under a key that no later run has: what was expanded is expanded anew.
            self._keys[prefix + name] = f"{self._keys[place.node]}/{name}"
        moved = [_moved(output, expansion, prefix) for output in outputs]
        linked = [output[0] for output in moved if is_link(output)]
        shown = [prefix + name for name in expansion if self._is_output(prefix + name)]
        await self._all([*shown, *linked])
        return tuple(self._value(output) if is_link(output) else output for output in moved)

    def _context(self, node_id: str, report: NodeReport) -> NodeContext:
        """Return what the node's code gets to see."""
        core = self._core
        method = core.pace.preview_method
        asked = self._item.extra_data.get("preview_method", "default")
        if core.capabilities.has("preview_method") and asked not in (None, "default"):
            method = asked
        return NodeContext(
            node_id=node_id,
            prompt=self._prompt,
            extra_data=self._item.extra_data,
            folders=core.folders,
            workshop=core.workshop,
            report=report,
            previews=method in _PREVIEW_METHODS,
        )

    def _inputs(self, node_id: str) -> dict[str, Any]:
        """Return the node's inputs by name, links replaced by what they carry."""
        spec = self._core.classes.specs[self._graph[node_id]["class_type"]]
        values = {}
        for name, value in self._graph[node_id]["inputs"].items():
            if is_link(value):
                values[name] = self._value(value)
            elif name in spec.required or name in spec.optional:
                values[name] = value
        return values

    def _value(self, link: list[Any]) -> Any:
        """Return what a link carries."""
        return self._cache[self._keys[link[0]]].outputs[link[1]]

    def _blocked(self, node_id: str, inputs: dict[str, Any]) -> Outcome | None:
        """Say that a node cannot run because of a blocked input, None when it can."""
        blocks = [value for value in inputs.values() if isinstance(value, Blocked)]
        if not blocks:
            return None
        if blocks[0].message is not None:
            details = {
                "exception_message": f"Execution Blocked: {blocks[0].message}",
                "exception_type": "ExecutionBlocked",
                "traceback": [],
                "current_inputs": [],
                "current_outputs": [],
            }
            self._send("execution_error", self._where(node_id) | details, with_prompt=False)
        outputs = self._core.classes.specs[self._graph[node_id]["class_type"]].outputs
        return Outcome((Blocked(None),) * len(outputs))

    def _show(self, place: Place, output: dict[str, Any]) -> None:
        """Send what a node shows."""
        if self._core.assets is not None:
            output = self._core.assets.shown(output, self._item.prompt_id)
        meta = {
            "node_id": place.node,
            "display_node": place.display,
            "parent_node": place.parent,
            "real_node_id": place.real,
        }
        self.shown[place.node] = {"meta": meta, "output": output}
        self._send_executed(place, output)

    def _show_again(self, node_id: str, entry: CacheEntry) -> None:
        """Send what a cached node showed when it ran, null when that was nothing."""
        place = self._places[node_id]
        if entry.shown is not None:
            self.shown[node_id] = entry.shown
        self._send_executed(place, None if entry.shown is None else entry.shown["output"])
        self._board.finish(place)

    def _send_executed(self, place: Place, output: dict[str, Any] | None) -> None:
        """Send an output, to no socket when the prompt named no client."""
        if self._sid is not None:
            self._send("executed", {"node": place.node, "display_node": place.display, "output": output})

    def _interrupted(self) -> None:
        """End the run after an interrupt."""
        self.interrupted = True
        self._tell("execution_interrupted", self._where(self._current), to_all=True)

    def _failed(self, error: Exception) -> None:
        """End the run with a node's exception."""
        try:
            inputs = {name: [_plain(value)] for name, value in self._inputs(self._current).items()}
        except (KeyError, IndexError):
            inputs = {}
        kind = error.kind if isinstance(error, NodeError) else _full_name(type(error))
        details = {
            "exception_message": f"{error}\n",
            "exception_type": kind,
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": inputs,
            "current_outputs": list(self._prompt),
        }
        self._tell("execution_error", self._where(self._current) | details)

    def _end_without_a_node(self, kind: str, message: str) -> None:
        """End the run with an error that no node made, so that it names none and shows no inputs."""
        details: dict[str, Any] = {"exception_message": message, "exception_type": kind, "traceback": []}
        details |= {"prompt_id": self._item.prompt_id, "node_id": None, "node_type": None, "executed": []}
        self._tell("execution_error", details)

    def _where(self, node_id: str) -> dict[str, Any]:
        """Return where a run stands."""
        return {
            "prompt_id": self._item.prompt_id,
            "node_id": node_id,
            "node_type": self._graph[node_id]["class_type"],
            "executed": list(self._item.record.executed),
        }

    def _tell(self, event: str, data: dict[str, Any], *, to_all: bool = False) -> None:
        """Send an event that the history keeps; without a client id only some go out, to all."""
        stamped = {**data, "timestamp": int(time.time() * 1000)}
        self.messages.append([event, stamped])
        self._item.record.told = _ENDS.get(event)
        if self._sid is not None or to_all:
            self._post(text_frame(event, stamped))

    def _send(self, event: str, data: dict[str, Any], *, with_prompt: bool = True) -> None:
        """Send an event that leaves no trace."""
        if with_prompt:
            data = {**data, "prompt_id": self._item.prompt_id}
        self._post(text_frame(event, data))

    def _post(self, payload: str | bytes) -> None:
        self._core.hub.post(payload, self._sid)

    def _is_cached(self, node_id: str) -> bool:
        return self._keys.get(node_id) in self._cache

    def _is_output(self, node_id: str) -> bool:
        return self._core.classes.specs[self._graph[node_id]["class_type"]].is_output


def _plain(value: Any) -> Any:
    """Return a value as `current_inputs` shows it."""
    return value if value is None or isinstance(value, (int, float, str)) else str(value)


def _full_name(kind: type[BaseException]) -> str:
    """Return the name of an exception's class with its module, but for the builtin ones."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def _moved(value: Any, expansion: dict[str, Any], prefix: str) -> Any:
    """Return a link into an expansion as a link to where its nodes really are."""
    return [prefix + value[0], value[1]] if is_link(value) and value[0] in expansion else value
