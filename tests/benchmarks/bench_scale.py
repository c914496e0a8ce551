"""Ten thousand jobs: nothing is lost, memory is bounded, and the cost grows as the number does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bench_tools import Row, worker

NUMBERS = (1000, 3000, 10_000)
SERVERS = 8


def figure_scale(scale: float = 1.0) -> Iterator[Row]:
    """Run more and more jobs through one session, a few at once and all at once."""
    plans = [(number, 100) for number in NUMBERS] + [(NUMBERS[-1], NUMBERS[-1])]
    for number, at_once in plans if scale >= 1 else plans[:1]:
        number, at_once = int(number * scale), max(2, int(at_once * scale))
        with worker("bench_server.py") as server, worker("client_jobs.py", server.first) as client:
            found = client.ask(do="scale", jobs=number, at_once=at_once)
            counts = server.ask(do="counts")
        yield _row(f"{number} jobs, {at_once} open at once", number, found, [counts])


def figure_pool(scale: float = 1.0) -> Iterator[Row]:
    """Run as many through a pool of eight servers, each in a process of its own."""
    for number in (NUMBERS[0], NUMBERS[-1]) if scale >= 1 else (int(NUMBERS[0] * scale),):
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(worker("bench_server.py")) for _ in range(SERVERS)]
            client = stack.enter_context(worker("client_jobs.py", servers[0].first))
            found = client.ask(do="pool", jobs=number, urls=[server.first for server in servers])
            counts = [server.ask(do="counts") for server in servers]
        yield _row(f"{number} jobs, {SERVERS} servers", number, found, counts)


def _row(name: str, number: int, found: dict[str, Any], counts: list[dict[str, Any]]) -> Row:
    """Return a row for jobs none of which was lost or run twice."""
    accepted, ended = (sum(each[key] for each in counts) for key in ("accepted", "ended"))
    if not found["completed"] == accepted == ended == number:
        raise AssertionError(f"{number} jobs: {found}, {counts}")
    notes = {
        "wall_s": found["wall"],
        "client_mib": found["mib"],
        "requests": sum(each["requests"] for each in counts),
        "sockets": sum(each["sockets"] for each in counts),
    }
    if len(counts) > 1:
        notes["least"] = min(each["accepted"] for each in counts)
        notes["most"] = max(each["accepted"] for each in counts)
    return Row("scale", name, 1000 * found["cpu"] / number, "ms CPU", notes=notes)
