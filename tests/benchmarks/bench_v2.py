"""Figure v2: comfy_async and comfy-sdk on Comfy API v2, each on a comfy-api-proxy before a FakeComfy."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from typing import Any

import graphs
from bench_clients import CASES, LATE, LIMIT_S, OURS, Peers, driven
from bench_tools import Row, Worker, percentile, worker

SDK = "comfy-sdk"
DIRECT = {OURS: OURS, SDK: "comfy-sdk on API v2"}
"""The driver that takes the proxy's URL as it is."""
AT_ONCE = (20, 200)


@contextlib.contextmanager
def served(name: str, peers: Peers, options: str = "{}") -> Iterator[tuple[Worker, Worker, Worker]]:
    """Run a server, a proxy before it, and a client."""
    with (
        worker("bench_server.py", options) as server,
        worker("bench_proxy.py", server.first, python=peers[SDK]) as proxy,
        driven(DIRECT[name], proxy.first, peers[name], patience=LIMIT_S + 100) as driver,
    ):
        yield server, proxy, driver


def figure_v2(peers: Peers, scale: float = 1.0) -> Iterator[Row]:
    """Latency, requests of many at once, and the cases; nothing where comfy-sdk is not installed."""
    names = [name for name in DIRECT if name in peers] if SDK in peers else []
    for middle in (None, "Wait300"):
        yield from beside([latency(name, peers, middle, 30 if scale >= 1 else 3) for name in names])
    for jobs in AT_ONCE:
        yield from beside([many(name, peers, max(2, int(jobs * scale))) for name in names])
    for name in names:
        for case, play in CASES.items():
            yield outcome(name, peers, case, play)


def beside(rows: list[Row]) -> list[Row]:
    """Add what the last is of the first."""
    if len(rows) < 2 or any(isinstance(row.value, str) for row in rows):
        return rows
    ratio = float(rows[-1].value) / float(rows[0].value)
    return [*rows, Row("v2", f"{SDK} / {OURS}: {rows[0].name.partition(': ')[2]}", ratio, "x", ">= 1")]


def latency(name: str, peers: Peers, middle: str | None, count: int) -> Row:
    """From execution_success to the result, of jobs one after the other."""
    with served(name, peers) as (server, proxy, driver):
        driver.ask(do="one", graph=graphs.picture(0))
        server.ask(do="clear")
        proxy.ask(do="clear")
        done = driver.ask(
            do="sequence", graphs=[graphs.picture(number, middle=middle) for number in range(1, count + 1)]
        )
        records = server.ask(do="records")
        asked = proxy.ask(do="counts")
    good = [job["outcome"] == "completed" and job["images"] > 0 for job in done]
    late = [
        1000 * (job["at"] - record["finished_at"])
        for job, record, ok in zip(done, records, good, strict=False)
        if ok
    ]
    what = f"{name}: await, {'jobs of 0.3 s' if middle else 'jobs that are over at once'}"
    notes = {"right": f"{sum(good)} of {count}", "requests a job": asked["requests"] / count}
    if not late:
        return Row("v2", what, "no result", notes={**notes, "error": done[0].get("error", "")[:90]})
    notes["99th percentile"] = percentile(late, 99)
    return Row("v2", what, statistics.median(late), "ms", "", (min(late), max(late)), notes)


def many(name: str, peers: Peers, jobs: int) -> Row:
    """The requests of that many jobs at once."""
    with served(name, peers) as (server, proxy, driver):
        driver.ask(do="one", graph=graphs.picture(0))
        server.ask(do="idle")
        proxy.ask(do="clear")
        work = [graphs.picture(number) for number in range(1, jobs + 1)]
        found = driver.ask(do="many", graphs=work, limit=90.0)
        asked = proxy.ask(do="counts")
    good = sum(job["outcome"] == "completed" and job["images"] > 0 for job in found["results"])
    errors = sorted({job["error"] for job in found["results"] if "error" in job})
    notes = {
        "right": f"{good} of {jobs}",
        "streams": asked["by_route"].get("GET /api/v2/jobs/{id}/events", 0),
        "wall s": found["wall"],
        "cpu s": found["cpu"],
        **({"error": errors[0][:90]} if errors else {}),
    }
    return Row("v2", f"{name}: requests of {jobs} jobs at once", asked["requests"], "", notes=notes)


def outcome(name: str, peers: Peers, case: str, play: Any) -> Row:
    """Play one case."""
    with served(name, peers, LATE) as (server, _proxy, driver):
        server.ask(do="clear")
        driver.patience = LIMIT_S + 5
        try:
            verdict, notes = play(server, driver)
        except TimeoutError as error:
            verdict, notes = "hung", {"error": str(error)}
    return Row("v2", f"{name}: {case}", verdict, notes=notes)
