"""What waits and what runs."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import NotComfyUIError
from ._resource import Resource
from ._schema_runs import QueueRecord, QueueState

__all__ = ["Queue", "QueueRecord", "QueueState"]


class Queue(Resource):
    """`comfy.queue`: what waits and what runs on the server, for everybody who uses it.

    Example:
        >>> fake.hold()
        >>> job = await comfy.submit(flow)
        >>> for waiting in (await comfy.queue.snapshot()).pending:
        ...     print(waiting.prompt_id == job.prompt_id, len(waiting.prompt), waiting.targets)
        True 8 ('9',)
    """

    async def snapshot(self) -> QueueState:
        """Return the queue, with every whole graph: megabytes when many jobs wait.

        Raises:
            ComfyError: The request failed.
        """
        await self._host.known_server()
        body = await self._host.api.queue(retry=True)
        # A long queue is megabytes of graphs, which are gone through once more here.
        return await asyncio.to_thread(self._state, body)

    def _state(self, body: Any) -> QueueState:
        """Read the answer of GET /queue."""
        try:
            made = QueueState.of_body(body)
        except (KeyError, TypeError):
            raise NotComfyUIError("GET /queue has another shape", server=self._host.base_url) from None
        return self._read(QueueState, made, "GET /queue")

    async def remaining(self) -> int:
        """Return how many jobs run or wait: the cheapest request there is.

        Raises:
            ComfyError: The request failed.
        """
        await self._host.known_server()
        return await self._host.api.queue_remaining()

    async def clear(self) -> None:
        """Take all waiting jobs of everybody out of the queue; what runs goes on.

        This session's own end as cancelled, at the next poll; those of others are lost to them.

        Raises:
            ComfyError: The request failed.
        """
        with self._host.stopping():
            await self._send("POST", "/queue", json={"clear": True}, retry=True)

    async def delete(self, *prompt_ids: str) -> None:
        """Take waiting jobs out of the queue; what runs goes on (Comfy Cloud stops that too).

        This session's own end as cancelled, at the next poll; `await job.cancel()` waits for it.

        Raises:
            ComfyError: The request failed.
        """
        if prompt_ids:
            with self._host.stopping(prompt_ids):
                await self._send("POST", "/queue", json={"delete": list(prompt_ids)}, retry=True)

    async def interrupt(self, prompt_id: str | None = None) -> None:
        """Stop the job that runs: whichever it is, or only this one.

        Servers before 0.3.57 cannot be told which: there it is stopped only when it is seen to run at
        this moment, and a job that begins during that one request may be stopped instead.

        Raises:
            ComfyError: The request failed.
        """
        which = None if prompt_id is None else (prompt_id,)
        with self._host.stopping(which, of=("running",)):
            await self._interrupt(prompt_id)

    async def _interrupt(self, prompt_id: str | None) -> None:
        """Interrupt by the best route that the server has."""
        if prompt_id is None:
            await self._send("POST", "/interrupt", json={})
        else:
            await self._host.known_server()
            await self._host.api.interrupt(prompt_id)
