"""What only comfy_async is asked for: memory, faults, quiet, and thousands of jobs.

python tests/benchmarks/client_jobs.py URL     # then JSON lines on stdin
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
import tracemalloc
from typing import Any

import graphs

from comfy_async import ComfyPool, ComfySession, Workflow


class Client:
    """One process with one session at a time."""

    def __init__(self, url: str) -> None:
        """Talk to this server."""
        self.url = url
        self.sessions: list[ComfySession] = []
        self.waits: list[asyncio.Task[float]] = []

    async def memory(self, jobs: int) -> dict[str, Any]:
        """Return the bytes of an open job beyond the workflow, which the caller holds anyway."""
        base = Workflow.load(graphs.text_to_image())
        variants = [base.with_inputs({"3.seed": seed}) for seed in range(jobs + 10)]
        async with ComfySession(self.url) as comfy:
            held = [await comfy.submit(variant) for variant in variants[:10]]
            peaks = {}
            tracemalloc.start()
            try:
                before = _traced()
                held += [await comfy.submit(variant, previews="none") for variant in variants[10:]]
                peaks["open"] = (_traced() - before) / jobs
            finally:
                tracemalloc.stop()
            assert not any(job.done for job in held)
        return {"bytes": peaks["open"], "notes": {"jobs": jobs}}

    async def scale(self, jobs: int, at_once: int) -> dict[str, Any]:
        """Run many jobs, `at_once` of them open, and say what they cost."""
        base = Workflow.load(graphs.picture())
        gc.collect()
        rss = _rss()
        wall, cpu = time.perf_counter(), time.process_time()
        completed: set[str] = set()
        numbers = iter(range(jobs))

        async def work(comfy: ComfySession) -> None:
            for number in numbers:
                result = await comfy.run(base.with_inputs({"1.color": number + 1}))
                assert len(result.images) == 1
                completed.add(result.prompt_id)

        async with ComfySession(self.url) as comfy:
            await asyncio.gather(*(work(comfy) for _ in range(at_once)))
        return {
            "completed": len(completed),
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "mib": (_rss() - rss) / (1 << 20),
        }

    async def pool(self, urls: list[str], jobs: int) -> dict[str, Any]:
        """Run many jobs through a pool of servers, and say what they cost."""
        base = Workflow.load(graphs.picture())
        gc.collect()
        rss = _rss()
        wall, cpu = time.perf_counter(), time.process_time()
        variants = (base.with_inputs({"1.color": number + 1}) for number in range(jobs))
        completed: set[int | None] = set()
        async with ComfyPool(urls) as pool, pool.map(variants, limit=8 * len(urls)) as finished:
            async for job in finished:
                assert len((await job).images) == 1
                completed.add(job.index)
        return {
            "completed": len(completed),
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "mib": (_rss() - rss) / (1 << 20),
        }

    async def open(self, sessions: int, middle: str, seconds: float) -> dict[str, Any]:
        """Open sessions with one running or waiting job each, some time apart."""
        for number in range(sessions):
            comfy = await ComfySession(self.url).connect()
            job = await comfy.submit(graphs.picture(time.monotonic_ns() % 1_000_000, middle=middle))

            async def wait(job: Any = job) -> float:
                await job
                return time.monotonic()

            self.sessions.append(comfy)
            self.waits.append(asyncio.create_task(wait(), name=f"wait {number}"))
            await asyncio.sleep(seconds)
        return {}

    async def ended(self) -> dict[str, Any]:
        """Wait for the jobs and return when each was known to have ended; close the sessions."""
        async with asyncio.timeout(60):
            times = await asyncio.gather(*self.waits)
        for comfy in self.sessions:
            await comfy.aclose()
        self.sessions, self.waits = [], []
        return {"at": times}

    async def leave(self) -> dict[str, Any]:
        """Close the sessions without waiting for anything."""
        for wait in self.waits:
            wait.cancel()
        await asyncio.gather(*self.waits, return_exceptions=True)
        for comfy in self.sessions:
            await comfy.aclose()
        self.sessions, self.waits = [], []
        return {}


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def main() -> None:
    """Serve until stdin closes."""
    client = Client(sys.argv[1])
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = await getattr(client, request.pop("do"))(**request)
        except Exception as error:
            answer = {"failure": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
