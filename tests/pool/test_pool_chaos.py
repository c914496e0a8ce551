"""Pools under random faults on every server: each job ends once, truly, and runs once unless it was lost.

More seeds than the tests have, or one alone:

    PYTHONPATH=tests/helpers python tests/pool/test_pool_chaos.py 1 50
"""

from __future__ import annotations

import asyncio
import collections
import functools
import random
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pool_tools import fakes, pool_of, teach
from pool_watchdog import watched, who_waits
from session_tools import graph

from comfy_async import ComfyError, ComfyPool, Job, JobError, Settings
from comfy_async._client.pool import pool_engine_of
from comfy_async._job.job import core_of
from comfy_async.testing import Chaos, FakeComfy, FastClock, RunRecord

JOBS = 40
# How long nobody may end once the faults are over, and after how long a round is explained.
CALM_SECONDS = 40.0
ROUND_SECONDS = 120.0


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
        await asyncio.wait([asyncio.ensure_future(core_of(job).ended.wait())])
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


async def pool_round(
    seed: int, *, jobs: int = JOBS, rate: float = 6.0, limit: int = 4, step_seconds: float = 0.002
) -> tuple[list[str], dict[str, int]]:
    """Run jobs on three servers under one seed's faults; return the problems and what became of the jobs."""
    rng = random.Random(seed)
    settings = Settings(clock=FastClock(8), request_seconds=3.0, connect_seconds=2.0, submit_seconds=60.0)
    problems: list[str] = []
    raging: list[Chaos] = []
    async with AsyncExitStack() as stack:
        servers = [
            teach(await stack.enter_async_context(FakeComfy(step_seconds=step_seconds))) for _ in range(3)
        ]
        pool = ComfyPool(
            [fake.url for fake in servers], settings=settings, away_seconds=None, limit=limit, attempts=20
        )
        report = functools.partial(who_waits, pool, servers, raging)
        await stack.enter_async_context(watched(ROUND_SECONDS, report))
        async with pool:
            async with AsyncExitStack() as storms:
                for n, fake in enumerate(servers):
                    chaos = fake.faults.chaos(seed * 10 + n, rate=rate)
                    raging.append(await storms.enter_async_context(chaos))
                work = [
                    asyncio.create_task(one_job(pool, n, random.Random(seed * 1000 + n)), name=f"job {n}")
                    for n in range(jobs)
                ]
                await asyncio.wait(work, timeout=rng.uniform(2.0, 6.0))
            if pending := await unending(work):
                problems.append(f"{len(pending)} jobs hang\n{report()}")
            for task in pending:
                task.cancel()
            results: list[Any] = await asyncio.gather(*work, return_exceptions=True)
            problems += await judge_all(results, servers)
            problems += left_behind(pool)
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("comfy_async")]
    problems += [f"left over: {task!r}" for task in left]
    statuses = collections.Counter(r[2] for r in results if isinstance(r, tuple))
    return problems, dict(statuses)


async def unending(work: list[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Return what hangs: slow is everything at times, on a machine that has other things to do."""
    done, pending = await asyncio.wait(work, timeout=0)
    while pending:
        done, pending = await asyncio.wait(pending, timeout=CALM_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
    return pending


async def judge_all(results: list[Any], servers: list[FakeComfy]) -> list[str]:
    """Hold every job against the books of all servers."""
    problems: list[str] = []
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
    return problems


def left_behind(pool: ComfyPool) -> list[str]:
    """Return what nobody will ever free, after every job has ended: places, and jobs that are followed."""
    engine = pool_engine_of(pool)
    members = engine.places.members
    found = [f"{member.url} keeps places for {member._jobs}" for member in members if member._jobs]
    found += [f"{member.url} follows {m}" for member in members if (m := member.engine.jobs.by_id)]
    if engine._going or engine.places.is_waited_for:
        found.append(f"somebody waits still: {engine._going} {engine.places._groups}")
    return found


@pytest.mark.parametrize("seed", range(1, 4))
async def test_every_job_ends_once_and_truly(seed: int) -> None:
    """Whatever breaks on three servers at once."""
    problems, statuses = await pool_round(seed)
    assert problems == []
    assert sum(statuses.values()) == JOBS
    assert statuses.get("completed", 0) > 0


async def test_a_hang_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Who waits, where in the code, on which server, and what that server knows."""
    async with fakes(1) as servers, pool_of(servers, limit=1) as pool:
        servers[0].hold()
        job = await pool.submit(graph(1))
        reports: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def report() -> str:
            reports.set_result(who_waits(pool, servers))
            return reports.result()

        async with watched(0.0, report):
            waiting = asyncio.create_task(pool.submit(graph(2)), name="the one that waits")
            found = await reports
        assert found in capsys.readouterr().err
        assert f"has a place: {job!r}" in found
        assert f"truth {servers[0].url}: life 0, running [], pending ['{job.prompt_id}']" in found
        assert "name='the one that waits'" in found
        assert "Places.take" in found
        assert "waits for a place" in found
        servers[0].release()
        await (await waiting)


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:3])
    for number in range(first, last + 1):
        found, became = asyncio.run(pool_round(number))
        sys.stdout.write(f"seed {number}: {became} {len(found)} problems\n")
        for line in found:
            sys.stdout.write(f"  {line}\n")
        sys.stdout.flush()
