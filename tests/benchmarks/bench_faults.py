"""From a drop, and from a silent socket, to the result of a job that finished meanwhile; a quiet socket."""

from __future__ import annotations

import statistics
import time

from bench_tools import Row, worker

LATE = '{"history_delay": 0.5}'


def figure_drop(scale: float = 1.0) -> list[Row]:
    """Break the socket in three ways, let the job end at once, and wait for its result."""
    rounds = 6 if scale >= 1 else 1
    times = []
    with worker("bench_server.py", LATE) as server, worker("client_jobs.py", server.first) as client:
        for number in range(rounds):
            server.ask(do="close_gate", class_type="Wait100")
            client.ask(do="open", sessions=1, middle="Wait100", seconds=0.1)
            server.ask(do="reached")
            at = server.ask(do="drop", how=("reset", "close", "cut")[number % 3])["at"]
            server.ask(do="open_gates")
            times += [ended - at for ended in client.ask(do="ended")["at"]]
    return _rows("drop", "from a drop to the result", times, limit=2)


def figure_deaf(scale: float = 1.0) -> list[Row]:
    """Deafen sessions at different moments of their watch, let the jobs end, and wait."""
    sessions = 6 if scale >= 1 else 1
    with worker("bench_server.py", '{"history_delay": 0.1}') as server:
        with worker("client_jobs.py", server.first) as client:
            server.ask(do="close_gate", class_type="Wait100")
            client.ask(do="open", sessions=sessions, middle="Wait100", seconds=0.9)
            server.ask(do="reached")
            at = server.ask(do="deafen")["at"]
            server.ask(do="open_gates")
            times = [ended - at for ended in client.ask(do="ended")["at"]]
    return _rows("deaf", "from a silent socket to the result", times, limit=10)


def figure_quiet(scale: float = 1.0, *, seconds: float = 60.0) -> list[Row]:
    """Let one job run without an event, and count the requests of a minute."""
    seconds = seconds if scale >= 1 else 1.0
    with worker("bench_server.py") as server, worker("client_jobs.py", server.first) as client:
        client.ask(do="open", sessions=1, middle="WaitHour", seconds=1.0)
        server.ask(do="clear")
        time.sleep(seconds)
        counts = server.ask(do="counts")
        client.ask(do="leave")
    per_minute = counts["requests"] * 60 / seconds
    target = "<= 12" if scale >= 1 else ""
    return [
        Row("quiet", "requests while one job is quiet", per_minute, "a minute", target, None,
            {"seconds": seconds, **counts["by_route"]})
    ]  # fmt: skip


def _rows(figure: str, name: str, times: list[float], *, limit: float) -> list[Row]:
    spread = (min(times), max(times))
    return [
        Row(figure, name, statistics.median(times), "s", f"<= {limit:g}", spread, {"times": len(times)}),
        Row(figure, f"{name}, worst", max(times), "s", f"<= {limit:g}"),
    ]
