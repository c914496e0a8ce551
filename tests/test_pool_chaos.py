"""Pools under random faults on every server: each job ends once, truly, and runs once unless it was lost.

More seeds than the tests have, or one alone: `python tests/test_pool_chaos.py 1 50`.
"""

from __future__ import annotations

import asyncio
import collections
import random
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pool_tools import graph, teach

from comfy_async import ComfyError, ComfyPool, Job, JobError, Settings
from comfy_async.testing import FakeComfy, FastClock, RunRecord

JOBS = 40


async def one_job(pool: ComfyPool, number: int, rng: random.Random) -> tuple[int, Job | None, str]:
    """Live through one job in one of several ways; return it with what was told."""
    kind = rng.choice(("run", "iterate", "cancel", "fail"))
    flow = graph(number, "Break" if kind == "fail" else "Show")
    job = None
    try:
        job = await pool.submit(flow, extra_data={"number": number})
        if kind == "cancel":
            await asyncio.sleep(rng.uniform(0.0, 0.2))
            await job.cancel()
        if kind == "iterate":
            async for _ in job:
                pass
        await job
    except JobError:
        pass
    except ComfyError as error:
        # Whether it is cancelled is known later, when the servers can be asked again.
        if job is None:
            return number, None, type(error).__name__
        await asyncio.wait([asyncio.ensure_future(job._ended.wait())])
    assert job is not None
    return number, job, job.status


async def judge(number: int, job: Job | None, status: str, records: list[RunRecord]) -> list[str]:
    """Hold what was told against what the servers know, and the stream against its promises."""
    problems = []
    lasting = [row for row in records if row.end != "lost" and not row.forgotten]
    if len(lasting) > 1:
        problems.append(f"{number}: ran {[(row.end, row.told) for row in records]}")
    if job is None:
        return problems
    truth = {row.end for row in records} | {row.told for row in records}
    wanted = {"completed": {"success"}, "failed": {"error"}, "cancelled": {"interrupted", "deleted", "lost"}}
    if not truth & wanted.get(status, {"lost", "deleted", None}) and not any(
        row.forgotten for row in records
    ):
        problems.append(f"{number}: told {status}, true {truth}")
    events = [event async for event in job]
    if [event.terminal for event in events].count(True) != 1 or not events[-1].terminal:
        problems.append(f"{number}: {[event for event in events if event.terminal]}")
    return problems


async def pool_round(seed: int, *, jobs: int = JOBS, rate: float = 6.0) -> tuple[list[str], dict[str, int]]:
    """Run jobs on three servers under one seed's faults; return the problems and what became of the jobs."""
    rng = random.Random(seed)
    settings = Settings(clock=FastClock(8), request_seconds=3.0, connect_seconds=2.0, submit_seconds=60.0)
    problems: list[str] = []
    async with AsyncExitStack() as stack:
        servers = [teach(await stack.enter_async_context(FakeComfy(step_seconds=0.002))) for _ in range(3)]
        urls = [fake.url for fake in servers]
        async with ComfyPool(urls, settings=settings, away_seconds=None, limit=4, attempts=20) as pool:
            async with AsyncExitStack() as storms:
                for n, fake in enumerate(servers):
                    await storms.enter_async_context(fake.faults.chaos(seed * 10 + n, rate=rate))
                work = [
                    asyncio.create_task(one_job(pool, n, random.Random(seed * 1000 + n))) for n in range(jobs)
                ]
                await asyncio.wait(work, timeout=rng.uniform(2.0, 6.0))
            _, pending = await asyncio.wait(work, timeout=40.0)
            problems += [f"hangs: {task!r} {pool.servers}" for task in pending]
            for task in pending:
                task.cancel()
            results: list[Any] = await asyncio.gather(*work, return_exceptions=True)
            rows = collections.defaultdict(list)
            for fake in servers:
                for record in fake.books.accepted:
                    rows[record.extra_data.get("number")].append(record)
            for result in results:
                if isinstance(result, BaseException):
                    problems.append(repr(result))
                    continue
                number, job, status = result
                problems += await judge(number, job, status, rows[number])
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("comfy_async")]
    problems += [f"left over: {task!r}" for task in left]
    statuses = collections.Counter(r[2] for r in results if isinstance(r, tuple))
    return problems, dict(statuses)


@pytest.mark.parametrize("seed", range(1, 4))
async def test_every_job_ends_once_and_truly(seed: int) -> None:
    """Whatever breaks on three servers at once."""
    problems, statuses = await pool_round(seed)
    assert problems == []
    assert sum(statuses.values()) == JOBS
    assert statuses.get("completed", 0) > 0


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:3])
    for number in range(first, last + 1):
        found, became = asyncio.run(pool_round(number))
        sys.stdout.write(f"seed {number}: {became} {len(found)} problems\n")
        for line in found:
            sys.stdout.write(f"  {line}\n")
        sys.stdout.flush()
