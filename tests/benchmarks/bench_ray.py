"""A fleet on Ray beside a pool: added latency, jobs per second, and the cost of a job as jobs grow.

    python tests/benchmarks/bench_ray.py                      # 10 to 1000 jobs, about three minutes
    python tests/benchmarks/bench_ray.py --jobs 10,100,1000,10000

Eight FakeComfy servers in processes of their own; both sides take turns in one run, and take turns
at going first. The machine's cores are shared by servers, workers and driver, so that the ratio
counts, not the seconds. The curve says what a job costs, and what driver and workers keep.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import logging
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from bench_tools import Row, percentile, ratio_row, show
from graphs import picture

from comfy_async import ComfyPool, ComfySession, Settings
from comfy_async.ray import ComfyFleet

SERVERS = 8
SETTINGS = Settings(request_seconds=120.0, connect_seconds=60.0)
LATENCY_ROUNDS, LATENCY_JOBS = 6, 20
RATE_ROUNDS, RATE_JOBS = 6, 400
WIDEST_BAR = 40
PAGE_BYTES, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Spent:
    """What processes have used so far: seconds of a processor, and MiB of memory."""

    seconds: float
    mebibytes: float

    @classmethod
    def by(cls, pids: Sequence[int]) -> Spent:
        """Read it for some processes together."""
        seconds = pages = 0.0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / TICKS
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(seconds, pages * PAGE_BYTES / 2**20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def servers(count: int) -> Iterator[list[str]]:
    """Run so many FakeComfy in processes of their own."""
    ports = [_free_port() for _ in range(count)]
    command = [sys.executable, "-m", "comfy_async.testing", "--step-seconds", "0", "--port"]
    running = [subprocess.Popen([*command, str(port)], stdout=subprocess.PIPE) for port in ports]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        yield [f"http://127.0.0.1:{port}" for port in ports]
    finally:
        for process in running:
            process.terminate()
            process.wait()


async def latencies(runner: Any, first: int) -> list[float]:
    """Return the seconds of jobs that run one after the other, after one to warm up."""
    await runner.run(picture(first))
    found = []
    for number in range(1, LATENCY_JOBS + 1):
        began = time.perf_counter()
        await runner.run(picture(first + number))
        found.append(time.perf_counter() - began)
    return found


async def seconds_for(runner: Any, count: int, first: int) -> float:
    """Return the seconds that a map takes."""
    began = time.perf_counter()
    ended = 0
    async with runner.map(
        (picture(first + number) for number in range(count)), limit=2 * SERVERS
    ) as finished:
        async for job in finished:
            ended += job.status == "completed"
    assert ended == count
    return time.perf_counter() - began


def turns(sides: dict[str, Any], number: int) -> list[tuple[str, Any]]:
    """Return the sides, each time another one first."""
    items = list(sides.items())
    first = number % len(items)
    return items[first:] + items[:first]


async def latency_rows(sides: dict[str, Any], colors: Iterator[int]) -> list[Row]:
    """Measure what a job takes from `run` to its result."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    added: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(LATENCY_ROUNDS):
        middle = {}
        for name, runner in turns(sides, number):
            each = await latencies(runner, next(colors))
            found[name] += each
            middle[name] = statistics.median(each) * 1000
        for name in sides:
            added[name].append(middle[name] - middle["session"])
    rows = []
    for name, values in found.items():
        notes = {"p5": percentile(values, 5) * 1000, "p95": percentile(values, 95) * 1000}
        rows.append(Row("ray", f"latency, {name}", statistics.median(values) * 1000, "ms", "", None, notes))
        if name != "session":
            spread = (min(added[name]), max(added[name]))
            rows.append(Row("ray", f"added by {name}", statistics.median(added[name]), "ms", "", spread))
    return rows


async def rate_row(sides: dict[str, Any], colors: Iterator[int]) -> Row:
    """Measure jobs per second."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(RATE_ROUNDS):
        for name, runner in turns(sides, number):
            rates[name].append(RATE_JOBS / await seconds_for(runner, RATE_JOBS, next(colors)))
    notes: dict[str, Any] = {f"{name}_per_s": statistics.median(each) for name, each in rates.items()}
    ratios = [far / near for far, near in zip(rates["fleet"], rates["pool"], strict=True)]
    return ratio_row("ray", f"jobs per second, {SERVERS} servers, fleet against pool", ratios, **notes)


async def curve(sides: dict[str, Any], jobs: list[int], colors: Iterator[int]) -> list[Row]:
    """Measure what a job costs in maps of more and more jobs."""
    fleet: ComfyFleet = sides["fleet"]
    workers = [about.pid for about in [await worker.about.remote() for worker in fleet.workers]]
    rows = []
    for number, count in enumerate(jobs):
        times: dict[str, list[float]] = {name: [] for name in sides}
        gc.collect()
        driver_before, workers_before = Spent.by([os.getpid()]), Spent.by(workers)
        notes: dict[str, float] = {}
        for again in range(max(1, min(5, 1000 // count))):
            for name, runner in turns(sides, number + again):
                before = Spent.by([os.getpid()]), Spent.by(workers)
                seconds = await seconds_for(runner, count, next(colors))
                times[name].append(seconds / count * 1000)
                if name == "fleet":
                    notes["driver_cpu_ms"] = (
                        (Spent.by([os.getpid()]).seconds - before[0].seconds) / count * 1000
                    )
                    notes["workers_cpu_ms"] = (Spent.by(workers).seconds - before[1].seconds) / count * 1000
        gc.collect()
        notes["driver_mib"] = Spent.by([os.getpid()]).mebibytes
        notes["driver_grew"] = notes["driver_mib"] - driver_before.mebibytes
        notes["workers_mib"] = Spent.by(workers).mebibytes
        notes["workers_grew"] = notes["workers_mib"] - workers_before.mebibytes
        notes["pool_ms"] = statistics.median(times["pool"])
        far = times["fleet"]
        row = Row(
            *("ray", f"a job of {count}, fleet", statistics.median(far), "ms", ""),
            (min(far), max(far)),
            notes,
        )
        rows.append(row)
        show([row], _say)
    return rows


def draw(rows: list[Row]) -> None:
    """Print the costs as bars: a straight line down is linear growth."""
    most = max(float(row.value) for row in rows)
    for row in rows:
        bar = "#" * max(1, round(float(row.value) / most * WIDEST_BAR))
        _say(f"{row.name:32} {float(row.value):7.2f} ms {bar}")


async def measure(urls: list[str], jobs: list[int]) -> list[Row]:
    """Measure all sides in turns."""
    async with (
        ComfySession(urls[0], settings=SETTINGS) as session,
        ComfyPool(urls, settings=SETTINGS) as pool,
        ComfyFleet(urls, session={"settings": SETTINGS}) as fleet,
    ):
        # Every job has a color of its own, so that no server answers from its cache.
        colors = iter(range(1, 1 << 24, 20_000))
        many = {"pool": pool, "fleet": fleet}
        rows = await latency_rows({"session": session, **many}, colors)
        for runner in many.values():
            await seconds_for(runner, 100, next(colors))
        rows.append(await rate_row(many, colors))
        show(rows, _say)
        costs = await curve(many, jobs, colors)
    draw(costs)
    return rows + costs


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", default="10,100,1000", help="numbers of jobs, with commas between")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    chosen = parser.parse_args()
    jobs = [int(number) for number in chosen.jobs.split(",")]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    began = time.monotonic()
    _say(f"{os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    with servers(SERVERS) as urls:
        rows = asyncio.run(measure(urls, jobs))
    _say(f"{time.monotonic() - began:.0f} s")
    if chosen.json:
        content = [dataclasses.asdict(row) for row in rows]
        chosen.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
