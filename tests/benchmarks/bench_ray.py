"""A fleet on Ray beside a pool: added latency, jobs per second, and the cost of a job as jobs grow.

    python tests/benchmarks/bench_ray.py                      # 10 to 1000 jobs, about two minutes
    python tests/benchmarks/bench_ray.py --jobs 10,100,1000,10000

Eight FakeComfy servers in processes of their own; both sides take turns in one run. The machine's
cores are shared by servers, workers and driver, so that the ratio counts, not the seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from bench_tools import Row, percentile, show
from graphs import picture

from comfy_async import ComfyPool, ComfySession, Settings
from comfy_async.ray import ComfyFleet

SERVERS = 8
SETTINGS = Settings(request_seconds=120.0, connect_seconds=60.0)


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


async def latencies(runner: Any, count: int, first: int) -> list[float]:
    """Return the seconds of jobs that run one after the other, after one to warm up."""
    await runner.run(picture(first))
    found = []
    for number in range(1, count + 1):
        began = time.perf_counter()
        await runner.run(picture(first + number))
        found.append(time.perf_counter() - began)
    return found


async def rate(runner: Any, count: int, first: int) -> float:
    """Return jobs per second of a map."""
    began = time.perf_counter()
    ended = 0
    async with runner.map(
        (picture(first + number) for number in range(count)), limit=2 * SERVERS
    ) as finished:
        async for job in finished:
            ended += job.status == "completed"
    assert ended == count
    return count / (time.perf_counter() - began)


async def measure(urls: list[str], jobs: list[int]) -> list[Row]:
    """Measure both sides in turns."""
    rows: list[Row] = []
    async with (
        ComfySession(urls[0], settings=SETTINGS) as session,
        ComfyPool(urls, settings=SETTINGS) as pool,
        ComfyFleet(urls, session={"settings": SETTINGS}) as fleet,
    ):
        colors = iter(range(1, 1 << 24, 20_000))
        direct, far = [], []
        for _ in range(3):
            direct += await latencies(session, 20, next(colors))
            far += await latencies(fleet, 20, next(colors))
        added = (statistics.median(far) - statistics.median(direct)) * 1000
        spread = ((percentile(far, 5) * 1000), (percentile(far, 95) * 1000))
        notes = {"session_ms": statistics.median(direct) * 1000, "fleet_ms": statistics.median(far) * 1000}
        rows.append(Row("ray", "latency that the fleet adds to a job", added, "ms", "", spread, notes))
        for count in jobs:
            near = await rate(pool, count, next(colors))
            away = await rate(fleet, count, next(colors))
            notes = {"pool_per_s": near, "fleet_per_s": away, "fleet_ms_a_job": 1000 / away}
            rows.append(Row("ray", f"{count} jobs, fleet against pool", away / near, "x", notes=notes))
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", default="10,100,1000", help="numbers of jobs, with commas between")
    jobs = [int(number) for number in parser.parse_args().jobs.split(",")]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with servers(SERVERS) as urls:
        show(asyncio.run(measure(urls, jobs)), print)
    return 0


if __name__ == "__main__":
    sys.exit(main())
