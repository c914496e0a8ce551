"""The one worker: it takes prompts from the queue and runs them (main.py)."""

from __future__ import annotations

import asyncio
import time

from ._books import RunEnd
from ._core import Core
from ._gates import HISTORY
from ._graph import MissingNodeError
from ._messages import text_frame
from ._queue import QueueItem
from ._run import CacheEntry, Run

__all__ = ["Worker"]


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
        """Run what is queued, for ever, or until a prompt is its end as it is a real worker thread's."""
        while True:
            item = await self._core.queue.take()
            self._core.books.start(item.record)
            # The interrupt flag is cleared below, when the run begins: an interrupt that was
            # accepted before that is lost, as it can be on a real server.
            await asyncio.sleep(0)
            try:
                await self._one(item)
            except MissingNodeError as error:
                # Seen on 0.33.0 (execution.py, the first add_node): the prompt stays the running
                # one, and the server takes others and runs none until it is started anew.
                self._core.log(f"Exception in thread Thread-1 (prompt_worker): {error}")
                return

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
