"""Ten thousand jobs: nothing is lost, memory is bounded, and the cost grows as the number does."""

from __future__ import annotations

from bench_tools import Row, worker

NUMBERS = (1000, 3000, 10_000)


def figure_scale(scale: float = 1.0) -> list[Row]:
    """Run more and more jobs through one session, a few at once and all at once."""
    rows = []
    plans = [(number, 100) for number in NUMBERS] + [(NUMBERS[-1], NUMBERS[-1])]
    for number, at_once in plans if scale >= 1 else plans[:1]:
        number, at_once = int(number * scale), max(2, int(at_once * scale))
        with worker("bench_server.py") as server, worker("client_jobs.py", server.first) as client:
            found = client.ask(do="scale", jobs=number, at_once=at_once)
            counts = server.ask(do="counts")
        if not found["completed"] == counts["accepted"] == counts["ended"] == number:
            raise AssertionError(f"{number} jobs: {found}, {counts}")
        notes = {
            "wall_s": found["wall"],
            "client_mib": found["mib"],
            "requests": counts["requests"],
            "sockets": counts["sockets"],
        }
        name = f"{number} jobs, {at_once} open at once"
        rows.append(Row("scale", name, 1000 * found["cpu"] / number, "ms CPU", notes=notes))
    return rows
