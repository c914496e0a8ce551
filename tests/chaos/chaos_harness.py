"""Jobs under random faults: every one must end once, soon, and as the server's own books say.

One command runs as many as you like, and a failing seed alone:

    python tests/chaos/chaos_harness.py --jobs 10000
    python tests/chaos/chaos_harness.py --seed 4711
    python tests/chaos/chaos_harness.py --jobs 10000 --dialect api-v2
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import dataclasses
import random
import sys
import time
from collections.abc import Iterable
from typing import Any, Literal

from comfy_async import (
    Cancelled,
    ComfyError,
    ComfySession,
    Completed,
    Failed,
    Job,
    JobError,
    Lost,
    NodeFinished,
    NodeStarted,
    Queued,
    Settings,
    Started,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy, FastClock, RunRecord

TERMINAL = (Completed, Failed, Cancelled, Lost)
JOBS_PER_ROUND = 50
KEY = "comfyui-k3y-of-v2"


@dataclasses.dataclass
class Outcome:
    """What one job was told to have become."""

    prompt_id: str | None
    kind: str
    status: str
    problems: list[str] = dataclasses.field(default_factory=list)


def workflow(number: int, kind: str) -> dict[str, Any]:
    """Return a small graph: ten steps, or one that fails, or one that is always the same."""
    seed = 7 if kind == "cached" else number
    graph: dict[str, Any] = {
        "1": {"class_type": "ChaosSteps", "inputs": {"seed": seed}},
        "2": {"class_type": "ChaosOut", "inputs": {"value": ["1", 0]}},
    }
    if kind == "fail":
        graph["2"]["class_type"] = "ChaosFail"
    return graph


def prepare(fake: FakeComfy) -> None:
    """Teach the server the classes of `workflow`."""
    fake.script("ChaosSteps", inputs={"seed": "INT"}, outputs=["VALUE"], steps=5, cached=True)
    fake.script("ChaosOut", inputs={"value": "VALUE"}, is_output=True, output={"text": ["done"]}, cached=True)
    fake.script("ChaosFail", inputs={"value": "VALUE"}, is_output=True, error=("RuntimeError", "chaos"))


KINDS = ("run", "iterate", "leave", "cancel", "fail", "cached", "late")


async def one_job(comfy: ComfySession, number: int, rng: random.Random) -> Outcome:
    """Live through one job in one of the ways in which people use them."""
    kind = rng.choice(KINDS)
    graph = workflow(number, kind)
    pause = rng.uniform(0.0, 0.2)
    outcome = Outcome(None, kind, "none")
    try:
        if kind == "leave":
            async with comfy.stream(graph) as job:
                outcome.prompt_id = job.prompt_id
                async for event in job:
                    if isinstance(event, (Started, Completed)):
                        break
            outcome.status = job.status
            await _check_events(job, outcome)
            return outcome
        job = await comfy.submit(graph)
        outcome.prompt_id = job.prompt_id
        if kind == "cancel":
            await asyncio.sleep(pause)
            # Bounded: in the storm it may come back with a job that goes on, and ends below.
            await job.cancel()
        if kind == "iterate":
            async for _ in job:
                pass
        await job
    except JobError:
        pass
    except ComfyError as error:
        outcome.prompt_id = outcome.prompt_id or error.prompt_id
        outcome.status = f"error {type(error).__name__}"
        return outcome
    outcome.status = job.status
    await _check_events(job, outcome)
    return outcome


async def _check_events(job: Job, outcome: Outcome) -> None:
    """Hold the stream against its promises: one end, the last; nothing told twice."""
    if not job.done:
        outcome.problems.append(f"not ended: {job.status}")
        return
    events = [event async for event in job]
    ends = [event for event in events if isinstance(event, TERMINAL)]
    if len(ends) != 1 or events[-1] is not ends[0]:
        outcome.problems.append(f"ends: {ends!r}, last: {events[-1]!r}")
    for cls in (Queued, Started):
        count = sum(isinstance(event, cls) for event in events)
        if count > 1:
            outcome.problems.append(f"{cls.__name__} {count} times")
    for node_cls in (NodeStarted, NodeFinished):
        nodes = collections.Counter(e.node for e in events if isinstance(e, node_cls))
        outcome.problems += [f"{node_cls.__name__} {n} {c} times" for n, c in nodes.items() if c > 1]


def judge(outcome: Outcome, records: Iterable[RunRecord]) -> list[str]:
    """Compare what the client was told with what the server knows."""
    rows = list(records)
    history_lost = any(row.forgotten for row in rows)
    problems = list(outcome.problems)
    # A record that the server itself lost may be run again; any other may not.
    kept = [row for row in rows if row.end != "lost"]
    if len(kept) > 1 and not history_lost:
        problems.append(f"queued {len(rows)} times: {[row.end for row in rows]}")
    truth = {row.end for row in rows} | {row.told for row in rows if row.told}
    match outcome.status:
        case "completed":
            fine = "success" in truth
        case "failed":
            fine = "error" in truth
        case "cancelled":
            fine = bool(truth & {"interrupted", "deleted", "lost"}) or history_lost
        case "lost":
            fine = "lost" in truth or history_lost or (bool(truth) and "deleted" in truth)
        case _ if outcome.status.startswith("error"):
            fine = True
        case _:
            fine = False
    if not fine:
        problems.append(f"told {outcome.status}, true {[(row.end, row.told) for row in rows]}")
    return problems


@dataclasses.dataclass
class Report:
    """What a round, or many, gave."""

    jobs: int = 0
    faults: int = 0
    statuses: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    problems: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: Report) -> None:
        """Sum up."""
        self.jobs += other.jobs
        self.faults += other.faults
        self.statuses += other.statuses
        self.problems += other.problems


async def chaos_round(
    seed: int,
    *,
    jobs: int = JOBS_PER_ROUND,
    rate: float = 10.0,
    factor: float = 8.0,
    storm: float = 10.0,
    limit: float = 60.0,
    dialect: Literal["comfyui", "api-v2"] = "comfyui",
) -> Report:
    """Run jobs on one server under one seed's faults, with two sessions at once."""
    rng = random.Random(seed)
    report = Report(jobs=jobs)
    clock = FastClock(factor)
    settings = Settings(
        clock=clock,
        request_seconds=3.0,
        connect_seconds=2.0,
        submit_seconds=60.0,
        # A job of API v2 costs a request to look at, and the storm keeps most of them away.
        cancel_seconds=120.0 if dialect == "api-v2" else 30.0,
    )
    key = KEY if dialect == "api-v2" else None
    server = (
        FakeComfy(step_seconds=0.002)
        if key is None
        else FakeComfy(step_seconds=0.002, dialect=dialect, api_key=key)
    )
    async with server as fake:
        prepare(fake)
        if fake.v2 is not None:
            fake.v2.max_streams, fake.v2.lists_jobs = rng.choice((2, 8, 100)), rng.random() < 0.5
        sessions = [
            ComfySession(
                fake.url,
                api_key=key,
                dialect=dialect,
                settings=settings,
                transport="poll" if rng.random() < 0.1 else "auto",
            )
            for _ in range(2)
        ]
        for session in sessions:
            await session.connect()
        async with fake.faults.chaos(seed, rate=rate) as chaos:
            work = [
                asyncio.create_task(
                    one_job(rng.choice(sessions), seed * 1000 + n, random.Random(seed * 1000 + n))
                )
                for n in range(jobs)
            ]
            await asyncio.wait(work, timeout=storm)
            report.faults = len(chaos.log)
        # The storm is over, and the server healed: now everything must come to its end.
        _, pending = await asyncio.wait(work, timeout=limit)
        if pending:
            report.problems.append(f"seed {seed}: {len(pending)} jobs hang")
            for session in sessions:
                jobs_open = list(engine_of(session).jobs)
                report.problems.append(f"  {session!r} {session.connection} {jobs_open!r}")
        for task in pending:
            task.cancel()
        results = await asyncio.gather(*work, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                report.problems.append(f"seed {seed}: {result!r}")
                continue
            report.statuses[result.status] += 1
            rows = fake.books.of(result.prompt_id) if result.prompt_id else []
            for problem in judge(result, rows):
                report.problems.append(f"seed {seed}: {result.kind} {result.prompt_id}: {problem}")
        for session in sessions:
            await session.aclose()
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    report.problems += [f"seed {seed}: left over {task!r}" for task in left]
    return report


def main() -> int:
    """Run many rounds, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None, help="run this seed alone")
    parser.add_argument("--first", type=int, default=1, help="the first of many seeds")
    parser.add_argument("--dialect", choices=("comfyui", "api-v2"), default="comfyui")
    parser.add_argument("--rate", type=float, default=10.0, help="faults a second")
    options = parser.parse_args()
    total = Report()
    rounds = 1 if options.seed is not None else max(1, options.jobs // JOBS_PER_ROUND)
    begin = time.monotonic()
    for number in range(rounds):
        seed = options.seed if options.seed is not None else options.first + number
        report = asyncio.run(chaos_round(seed, rate=options.rate, dialect=options.dialect))
        total.add(report)
        for problem in report.problems:
            sys.stdout.write(f"{problem}\n")
        sys.stdout.write(f"seed {seed}: {report.faults} faults, {dict(report.statuses)}\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"{total.jobs} jobs, {total.faults} faults, {time.monotonic() - begin:.0f} s, "
        f"{dict(total.statuses)}, {len(total.problems)} problems\n"
    )
    return 1 if total.problems else 0


if __name__ == "__main__":
    sys.exit(main())
