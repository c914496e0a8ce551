"""The one worker: it takes prompts from the queue and runs them (main.py, execution.py)."""

from __future__ import annotations

import asyncio
import time
import traceback
from typing import Any

from ._books import RunEnd
from ._context import Blocked, Interrupted, NodeContext, NodeError, Outcome
from ._core import Core
from ._gates import HISTORY
from ._graph import ExecutionPlan, is_link, signatures
from ._messages import image_frame, image_with_metadata_frame, progress_text_frame, text_frame
from ._progress import ProgressBoard
from ._queue import QueueItem

__all__ = ["Worker"]

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


class Worker:
    """Runs one prompt after the other; keeps the results of the last one."""

    def __init__(self, core: Core) -> None:
        """Make a worker with an empty cache."""
        self._core = core
        self._cache: dict[str, CacheEntry] = {}
        self._freeing = False

    def free(self) -> None:
        """Forget all cached results, before the next run."""
        self._freeing = True

    async def work(self) -> None:
        """Run what is queued, for ever."""
        while True:
            item = await self._core.queue.take()
            self._core.books.start(item.record)
            # The interrupt flag is cleared below, when the run begins: an interrupt that was
            # accepted before that is lost, as it can be on a real server.
            await asyncio.sleep(0)
            await self._one(item)

    async def _one(self, item: QueueItem) -> None:
        """Run a prompt, write the history, and only then send the end marker."""
        core = self._core
        core.interrupting = False
        core.client_id = core.account or item.extra_data.get("client_id")
        if self._freeing:
            self._cache.clear()
            self._freeing = False
        run = Run(core, item, self._cache)
        success = await run.execute()
        core.current_node = None
        item.record.finished_at = time.monotonic()
        if core.pace.history_delay > 0:
            await asyncio.sleep(core.pace.history_delay)
        await core.gates.pass_by(HISTORY, step=None, prompt_id=item.prompt_id, node="")
        status = {
            "status_str": "success" if success else "error",
            "completed": success,
            "messages": run.messages,
        }
        shown = run.shown
        entry = {
            "outputs": {node_id: told["output"] for node_id, told in shown.items()},
            "status": status,
            "meta": {node_id: told["meta"] for node_id, told in shown.items()},
        }
        core.queue.done(item, entry)
        if core.client_id is not None:
            marker = {"node": None, "prompt_id": item.prompt_id}
            core.hub.post(text_frame("executing", marker), core.client_id)
        core.log(f"Prompt executed in {time.monotonic() - item.record.started_at:.2f} seconds")
        how: RunEnd = "success" if success else "interrupted" if run.interrupted else "error"
        core.books.end(item.record, how)


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
        self.messages: list[list[Any]] = []
        self.shown: dict[str, dict[str, Any]] = {}
        self.interrupted = False
        tell = self._post if core.capabilities.has("feature_flags") else None
        self._board = ProgressBoard(item.prompt_id, tell)
        classes = core.classes
        self._keys = signatures(self._prompt, lambda node_id: classes.fingerprint(self._prompt[node_id]))
        used = set(self._keys.values())
        for key in [key for key in cache if key not in used]:
            del cache[key]

    async def execute(self) -> bool:
        """Run it and return whether it succeeded."""
        prompt_id = self._item.prompt_id
        self._tell("execution_start", {"prompt_id": prompt_id})
        cached = [node_id for node_id in self._prompt if self._is_cached(node_id)]
        self._item.record.cached = cached
        self._tell("execution_cached", {"nodes": cached, "prompt_id": prompt_id})
        specs = self._core.classes.specs
        plan = ExecutionPlan(
            self._prompt,
            is_cached=self._is_cached,
            is_output=lambda node_id: specs[self._prompt[node_id]["class_type"]].is_output,
        )
        for output in self._item.outputs:
            plan.require(output)
        while len(plan):
            node_id = plan.next()
            try:
                await self._node(node_id)
            except Interrupted:
                self._interrupted(node_id)
                return False
            except Exception as error:
                self._failed(node_id, error)
                return False
            plan.complete(node_id)
        if self._core.capabilities.has("execution_success"):
            self._tell("execution_success", {"prompt_id": prompt_id})
        return True

    async def _node(self, node_id: str) -> None:
        """Run one node, or take it from the cache."""
        entry = self._cache.get(self._keys[node_id])
        if entry is not None:
            self._show_again(node_id, entry)
            return
        self._board.start(node_id)
        if self._sid is not None:
            self._core.current_node = node_id
            self._send("executing", {"node": node_id, "display_node": node_id})
        report = NodeReport(self._core, self._item, self._board, node_id)
        report.checkpoint()
        inputs = self._inputs(node_id)
        class_type = self._prompt[node_id]["class_type"]
        await self._core.gates.pass_by(class_type, step=None, prompt_id=self._item.prompt_id, node=node_id)
        outcome = self._blocked(node_id, inputs)
        if outcome is None:
            outcome = await self._core.classes.functions[class_type](self._context(node_id, report), inputs)
        if outcome.ui:
            self._show(node_id, outcome.ui)
        self._cache[self._keys[node_id]] = CacheEntry(outcome.outputs, self.shown.get(node_id))
        self._board.finish(node_id)
        self._item.record.executed.append(node_id)
        await asyncio.sleep(0)

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
        spec = self._core.classes.specs[self._prompt[node_id]["class_type"]]
        values = {}
        for name, value in self._prompt[node_id]["inputs"].items():
            if is_link(value):
                values[name] = self._cache[self._keys[value[0]]].outputs[value[1]]
            elif name in spec.required or name in spec.optional:
                values[name] = value
        return values

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
            self._send("execution_error", self._place(node_id) | details, with_prompt=False)
        outputs = self._core.classes.specs[self._prompt[node_id]["class_type"]].outputs
        return Outcome((Blocked(None),) * len(outputs))

    def _show(self, node_id: str, output: dict[str, Any]) -> None:
        """Tell what a node shows."""
        meta = {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
        self.shown[node_id] = {"meta": meta, "output": output}
        if self._sid is not None:
            self._send("executed", {"node": node_id, "display_node": node_id, "output": output})

    def _show_again(self, node_id: str, entry: CacheEntry) -> None:
        """Tell what a cached node showed when it ran, null when that was nothing."""
        if entry.shown is not None:
            self.shown[node_id] = entry.shown
        if self._sid is not None:
            output = None if entry.shown is None else entry.shown["output"]
            self._send("executed", {"node": node_id, "display_node": node_id, "output": output})
        self._board.finish(node_id)

    def _interrupted(self, node_id: str) -> None:
        """End the run after an interrupt."""
        self.interrupted = True
        self._tell("execution_interrupted", self._place(node_id), to_all=True)

    def _failed(self, node_id: str, error: Exception) -> None:
        """End the run with a node's exception."""
        try:
            inputs = {name: [_plain(value)] for name, value in self._inputs(node_id).items()}
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
        self._tell("execution_error", self._place(node_id) | details)

    def _place(self, node_id: str) -> dict[str, Any]:
        """Return where a run ended."""
        return {
            "prompt_id": self._item.prompt_id,
            "node_id": node_id,
            "node_type": self._prompt[node_id]["class_type"],
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


class NodeReport:
    """What a running node can tell, and where it can be stopped."""

    def __init__(self, core: Core, item: QueueItem, board: ProgressBoard, node_id: str) -> None:
        """Report for one node of one run."""
        self._core = core
        self._item = item
        self._board = board
        self._node_id = node_id
        self._class_type = item.prompt[node_id]["class_type"]

    def checkpoint(self) -> None:
        """Raise Interrupted when an interrupt is pending, and consume it.

        Raises:
            Interrupted: Somebody asked for it.
        """
        if self._core.interrupting:
            self._core.interrupting = False
            raise Interrupted

    async def step(self, number: int, *, seconds: float | None = None) -> None:
        """Spend the time of a step, and wait at its gate."""
        seconds = self._core.pace.step_seconds if seconds is None else seconds
        if seconds > 0:
            await asyncio.sleep(seconds)
        await self._core.gates.pass_by(
            self._class_type, step=number, prompt_id=self._item.prompt_id, node=self._node_id
        )

    async def progress(self, value: float, maximum: float, image: tuple[str, bytes] | None = None) -> None:
        """Report a step, with a preview in the form that the client negotiated.

        Raises:
            Interrupted: Somebody asked for it.
        """
        self.checkpoint()
        hub, sid = self._core.hub, self._core.client_id
        self._board.update(self._node_id, value, maximum)
        modern = hub.supports(sid, "supports_preview_metadata")
        if image is not None and modern:
            frame = image_with_metadata_frame(*image, node=self._node_id, prompt_id=self._item.prompt_id)
            hub.post(frame, sid)
        data = {"value": value, "max": maximum, "prompt_id": self._item.prompt_id, "node": self._node_id}
        hub.post(text_frame("progress", data), sid)
        if image is not None and not modern:
            hub.post(image_frame(*image), sid)
        await asyncio.sleep(0)

    def text(self, message: str) -> None:
        """Show a line of text under the node."""
        self._core.hub.post(progress_text_frame(self._node_id, message), self._core.client_id)

    def send(self, event: str, data: Any) -> None:
        """Send a message of any type to the client."""
        self._core.hub.post(text_frame(event, data), self._core.client_id)


def _plain(value: Any) -> Any:
    """Return a value as `current_inputs` shows it."""
    return value if value is None or isinstance(value, (int, float, str)) else str(value)


def _full_name(kind: type[BaseException]) -> str:
    """Return the name of an exception's class with its module, but for the builtin ones."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
