"""A FakeComfy in a process of its own, told what to do by JSON lines on stdin.

    python tests/benchmarks/bench_server.py '{"history_delay": 0.5}'    # prints its URL

Times that it tells are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import collections
import json
import sys
import time
from typing import Any

from comfy_async.testing import FakeComfy, Gate

WAITS = {"Wait100": 0.1, "Wait300": 0.3, "Wait1200": 1.2, "Wait3000": 3.0, "WaitHour": 3600.0}


class Remote:
    """The server, by the names of what can be asked of it."""

    def __init__(self, fake: FakeComfy) -> None:
        """Teach the server classes that wait or fail."""
        self.fake = fake
        self.gates: list[Gate] = []
        for name, seconds in WAITS.items():
            fake.script(
                name,
                inputs={"image": "IMAGE"},
                outputs=["IMAGE"],
                delay=seconds,
                returns=lambda values: [values["image"]],
            )
        fake.script("Boom", inputs={"image": "IMAGE"}, outputs=["IMAGE"], error=("ValueError", "it broke"))

    async def clear(self) -> dict[str, Any]:
        """Forget what was counted."""
        books = self.fake.books
        books.accepted.clear()
        books.requests.clear()
        books.sockets_opened = books.sockets_now
        return {}

    async def records(self) -> list[dict[str, Any]]:
        """Return when the accepted prompts came, ran and ended."""
        return [
            {
                "prompt_id": record.prompt_id,
                "queued_at": record.queued_at,
                "started_at": record.started_at,
                "finished_at": record.finished_at,
                "ended_at": record.ended_at,
                "end": record.end,
            }
            for record in self.fake.books.accepted
        ]

    async def counts(self) -> dict[str, Any]:
        """Return how much was asked for."""
        books = self.fake.books
        by_route = collections.Counter(
            {f"{method} {path}": n for (method, path), n in books.requests.items()}
        )
        sockets = by_route.pop("GET /ws", 0)
        return {
            "requests": by_route.total(),
            "by_route": dict(by_route.most_common(8)),
            "sockets": books.sockets_opened,
            "upgrades": sockets,
            "accepted": len(books.accepted),
            "ended": sum(record.end is not None for record in books.accepted),
        }

    async def close_gate(self, class_type: str) -> dict[str, Any]:
        """Hold every run at a class of nodes."""
        self.gates.append(self.fake.gate(class_type))
        return {}

    async def reached(self) -> dict[str, Any]:
        """Wait until a run stands at the gate."""
        await self.gates[-1].reached()
        return {}

    async def open_gates(self) -> dict[str, Any]:
        """Let every run go on."""
        while self.gates:
            self.gates.pop().open()
        return {"at": time.monotonic()}

    async def running(self) -> str:
        """Wait until something runs and return its id."""
        return await self.fake.running()

    async def pending(self) -> str:
        """Wait until a prompt is pending and return its id."""
        await self.fake.wait_for(lambda _books: bool(self.fake.core.queue.pending))
        return self.fake.core.queue.pending[0].prompt_id

    async def drop(self, how: str = "reset") -> dict[str, Any]:
        """End all sockets."""
        self.fake.faults.drop_sockets(how)  # type: ignore[arg-type]
        return {"at": time.monotonic()}

    async def deafen(self) -> dict[str, Any]:
        """Forget all sockets."""
        self.fake.faults.deafen()
        return {"at": time.monotonic()}

    async def hold(self) -> dict[str, Any]:
        """Start nothing more."""
        self.fake.hold()
        return {}

    async def release(self) -> dict[str, Any]:
        """Start prompts again."""
        self.fake.release()
        return {"at": time.monotonic()}

    async def interrupt(self) -> dict[str, Any]:
        """Interrupt what runs, as another client would."""
        self.fake.core.interrupt()
        return {}

    async def delete(self, prompt_id: str) -> dict[str, Any]:
        """Take a pending prompt out, as another client would."""
        self.fake.core.queue.delete(prompt_id)
        return {}

    async def restart(self) -> dict[str, Any]:
        """Go away for half a second; queue and history are lost."""
        await self.fake.faults.restart(history=False, down_for=0.5)
        return {}

    async def pace(self, history_delay: float) -> dict[str, Any]:
        """Change how late the history is."""
        self.fake.pace.history_delay = history_delay
        return {}

    async def idle(self) -> dict[str, Any]:
        """End everything that is held or still runs, and wait until the queue is empty."""
        await self.open_gates()
        self.fake.release()
        for item in list(self.fake.core.queue.pending):
            self.fake.core.queue.delete(item.prompt_id)
        if self.fake.core.queue.running:
            self.fake.core.interrupt()
        async with asyncio.timeout(10):
            await self.fake.idle()
        return {}


async def main() -> None:
    """Serve until stdin closes."""
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    async with FakeComfy(**options) as fake:
        remote = Remote(fake)
        print(fake.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            try:
                answer: Any = await getattr(remote, request.pop("do"))(**request)
            except Exception as error:
                answer = {"failure": repr(error)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
