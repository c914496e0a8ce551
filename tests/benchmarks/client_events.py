"""The client's side of figures a and b: a bare loop and sessions take turns at the same frames.

    python tests/benchmarks/client_events.py PORT KIND FRAMES JOBS ROUNDS VARIANT...

Prints one JSON object: for each variant the wall and CPU seconds of each round.
"""

from __future__ import annotations

import asyncio
import gc
import json
import struct
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import websockets

from comfy_async import (
    ComfySession,
    Job,
    Preview,
    Progress,
    ProgressState,
    Queued,
    Settings,
    Workflow,
)
from comfy_async.events import BaseEvent

LARGE = Settings(mailbox_events=10_000_000, mailbox_bytes=1 << 40)
NODES = 300
GRAPH = Workflow.load(
    {
        str(number): {"class_type": "Work", "inputs": {"source": [str(number - 1), 0]} if number > 1 else {}}
        for number in range(1, NODES + 1)
    }
)


class Plan:
    """What is sent in each round, and how it is set off."""

    def __init__(self, port: int, kind: str, frames: int, jobs: int) -> None:
        """Keep what is wanted."""
        self.url = f"http://127.0.0.1:{port}"
        self.port, self.kind, self.frames, self.jobs = port, kind, frames, jobs
        self.sent = 0

    async def prepare(self, prompt_ids: list[str]) -> None:
        """Let the server encode the frames of a round."""
        body = {"kind": self.kind, "count": self.frames, "prompt_ids": prompt_ids}
        async with httpx.AsyncClient(timeout=60) as client:
            self.sent = (await client.post(f"{self.url}/bench/plan", json=body)).json()["frames"]
        _, self._trigger = await asyncio.open_connection("127.0.0.1", self.port)

    def go(self) -> tuple[float, float]:
        """Let the server send, and return the times at this moment."""
        gc.collect()
        began = time.perf_counter(), time.process_time()
        self._trigger.write(b"POST /bench/go HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        return began

    def stop(self) -> None:
        """Close what set it off."""
        self._trigger.close()


async def bare(plan: Plan) -> dict[str, Any]:
    """Read with websockets and `json.loads`, and nothing else."""
    url = f"ws://127.0.0.1:{plan.port}/ws?clientId=bare"
    # The server answers no pings: it does nothing but send.
    async with websockets.connect(url, max_size=None, ping_interval=None) as socket:
        await plan.prepare([str(uuid.uuid4()) for _ in range(plan.jobs)])
        await socket.recv()
        wall, cpu = plan.go()
        seen = 0
        while seen < plan.sent:
            message = await socket.recv()
            if isinstance(message, str):
                data = json.loads(message)["data"]
                read_bare(data)
            else:
                _, length = struct.unpack(">II", message[:8])
                data = json.loads(message[8 : 8 + length])
                _ = data["prompt_id"], data["node_id"], data["image_type"], message[8 + length :]
            seen += 1
        result = _times(wall, cpu, seen=seen, dropped=0)
    plan.stop()
    return result


def read_bare(data: dict[str, Any]) -> None:
    """Read the fields that the sessions' consumers read."""
    _ = data["prompt_id"]
    if "value" in data:
        _ = data["node"], data["value"], data["max"]
    elif "nodes" in data:
        _ = data["nodes"]


def read(event: BaseEvent) -> None:
    """Read every field of an event."""
    _: Any = event.prompt_id
    if isinstance(event, Progress):
        _ = event.node, event.value, event.max
    elif isinstance(event, ProgressState):
        _ = event.nodes
    elif isinstance(event, Preview):
        _ = event.node, event.mime, event.image


async def eager(job: Job) -> int:
    """Read every field as fast as possible, and count the frames."""
    seen = 0
    async for event in job:
        read(event)
        seen += event.raw is not None and type(event) is not Queued
    return seen


async def awaiting(job: Job) -> int:
    """Read every field and await something for each event, as whoever shows them does."""
    seen = 0
    async for event in job:
        read(event)
        await asyncio.sleep(0)
        seen += event.raw is not None and type(event) is not Queued
    return seen


async def sleeping(job: Job) -> int:
    """Sleep after each event."""
    seen = 0
    async for event in job:
        read(event)
        await asyncio.sleep(0.001)
        seen += event.raw is not None and type(event) is not Queued
    return seen


Variant = Callable[[Plan], Awaitable[dict[str, Any]]]


def session(consumer: Callable[[Job], Awaitable[int]], settings: Settings) -> Variant:
    """Return a variant: one consumer for each job of one session."""

    async def run(plan: Plan) -> dict[str, Any]:
        async with ComfySession(plan.url, settings=settings) as comfy:
            jobs = [await comfy.submit(GRAPH) for _ in range(plan.jobs)]
            await plan.prepare([job.prompt_id for job in jobs])
            tasks = [asyncio.ensure_future(consumer(job)) for job in jobs]
            await asyncio.sleep(0)
            wall, cpu = plan.go()
            await asyncio.gather(*(job.result() for job in jobs))
            ended = time.perf_counter() - wall
            # Not measured on: a consumer that sleeps takes as long as it likes.
            seen = sum(await asyncio.gather(*tasks)) if consumer is not sleeping else -1
            result = _times(wall, cpu, seen=seen, dropped=sum(job.dropped for job in jobs))
            if seen < 0:
                result = {**result, "wall": ended, "seen": sum(await asyncio.gather(*tasks))}
                result["dropped"] = sum(job.dropped for job in jobs)
        plan.stop()
        if result["seen"] + result["dropped"] != plan.sent:
            raise AssertionError(f"{result['seen']} seen, {result['dropped']} dropped, {plan.sent} sent")
        return result

    return run


VARIANTS: dict[str, Variant] = {
    "bare": bare,
    "all read": session(eager, LARGE),
    "default": session(eager, Settings()),
    "awaiting": session(awaiting, Settings()),
    "sleeping": session(sleeping, Settings()),
}


def _times(wall: float, cpu: float, *, seen: int, dropped: int) -> dict[str, Any]:
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "seen": seen,
        "dropped": dropped,
    }


async def main() -> None:
    """Run all variants in turn, as often as asked for."""
    port, kind, frames, jobs, rounds, *names = sys.argv[1:]
    plan = Plan(int(port), kind, int(frames), int(jobs))
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(int(rounds)):
        for name in names:
            results[name].append(await VARIANTS[name](plan))
            gc.collect()
    print(json.dumps({"sent": plan.sent, "results": results}))


if __name__ == "__main__":
    asyncio.run(main())
