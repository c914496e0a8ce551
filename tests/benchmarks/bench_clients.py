"""Figures c, d and g: the latency, the cost and the outcomes of clients, on one FakeComfy."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphs
from bench_tools import HERE, Row, Worker, percentile, worker

LATE = '{"history_delay": 0.5}'
OURS = "comfy_async"
LIMIT_S = 20.0
JOBS = {"comfy_api_simplified": 200, "comfy-sdk": 200, "comfy-script": 200, "comfy-cli": 20}
"""Fewer for those that would take minutes, or whose proxy takes no thousand connections."""
JOBS_OF_ALL = 1000
PER_JOB = ("wall_ms_per_job", "cpu_ms_per_job")

Peers = dict[str, str]
"""The interpreter of each client by its name."""


@contextlib.contextmanager
def driven(name: str, url: str, python: str, *, patience: float = 240.0) -> Iterator[Worker]:
    """Run one client in its own process.

    Raises:
        RuntimeError: It cannot start.
    """
    driver = Worker(HERE / "driver.py", name, url, python=python)
    try:
        if driver.first != "ready":
            raise RuntimeError(driver.first)
        driver.patience = patience
        yield driver
    finally:
        driver.close()


def attempt(figure: str, name: str, measure: Any, *arguments: Any) -> list[Row]:
    """Return the rows of a client, or the reason why it has none."""
    try:
        rows: list[Row] = measure(name, *arguments)
    except (RuntimeError, OSError) as error:
        return [Row(figure, name, "cannot", notes={"reason": str(error)})]
    return rows


# c


def figure_c(peers: Peers, scale: float = 1.0) -> Iterator[Row]:
    """From execution_success on the wire to the result, with a history 500 ms late."""
    ours = 0.0
    for name, python in peers.items():
        count = (40 if name == OURS else 12) if scale >= 1 else 3
        rows = attempt("c", name, latency, python, count)
        yield from rows
        if name == OURS:
            ours = float(rows[0].value)
        elif rows[0].spread:
            yield Row("c", f"{name} / {OURS}", float(rows[0].value) / ours, "x")


def latency(name: str, python: str, count: int) -> list[Row]:
    """Run jobs one after the other, and compare the server's clock with the client's."""
    with worker("bench_server.py", LATE) as server, driven(name, server.first, python) as driver:
        driver.ask(do="one", graph=graphs.picture(0))
        server.ask(do="idle")
        server.ask(do="clear")
        done = driver.ask(do="sequence", graphs=[graphs.picture(n) for n in range(1, count + 1)])
        records = server.ask(do="records")
        counts = server.ask(do="counts")
    good = [job["outcome"] == "completed" and job["images"] > 0 for job in done]
    late = [
        1000 * (job["at"] - record["finished_at"])
        for job, record, ok in zip(done, records, good, strict=False)
        if ok
    ]
    if not late:
        return [Row("c", name, "no result", notes={"error": done[0].get("error", "")})]
    target = "<= 20" if name == OURS else ""
    return [
        Row("c", f"{name}: await after execution_success", statistics.median(late), "ms", target,
            (min(late), max(late)), {"right": f"{sum(good)} of {count}", "requests": counts["requests"],
                                     "sockets": counts["sockets"]}),
        Row("c", f"{name}: the same, 99th percentile", percentile(late, 99), "ms", target),
    ]  # fmt: skip


# d


def figure_d(peers: Peers, scale: float = 1.0) -> Iterator[Row]:
    """Many short jobs on one client, all at once; and the memory of open jobs.

    The history is not late here: the server's one worker would spend 500 s on a thousand jobs.
    """
    ours = {}
    for name, python in peers.items():
        jobs = max(2, int(JOBS.get(name, JOBS_OF_ALL) * scale))
        rows = attempt("d", name, many, python, jobs, 3 if name == OURS and scale >= 1 else 1)
        yield from rows
        figures = {key: rows[0].notes[key] for key in PER_JOB if key in rows[0].notes}
        if name == OURS:
            ours = figures
        for key, value in figures.items() if name != OURS else ():
            yield Row("d", f"{name} / {OURS}, {key}", value / ours[key], "x")
    with worker("bench_server.py") as server, worker("client_jobs.py", server.first) as client:
        server.ask(do="hold")
        found = client.ask(do="memory", jobs=max(20, int(JOBS_OF_ALL * scale)))
    yield Row("d", "memory of an open job", found["bytes"], "bytes", "<= 10000", notes=found["notes"])


def many(name: str, python: str, jobs: int, rounds: int) -> list[Row]:
    """Run the jobs at once, in as many rounds, each with a server and a client of its own."""
    runs = [_many(name, python, jobs) for _ in range(rounds)]
    walls = [run["wall"] for run in runs]
    middle = sorted(runs, key=lambda run: run["cpu"])[rounds // 2]
    errors = {job["error"] for run in runs for job in run["results"] if job["outcome"] != "completed"}
    notes = {
        "right": f"{min(run['good'] for run in runs)} of {jobs}",
        "wall_ms_per_job": 1000 * statistics.median(walls) / jobs,
        "cpu_ms_per_job": 1000 * middle["cpu"] / jobs,
        "requests": middle["requests"],
        "sockets": middle["sockets"],
        **({"error": sorted(errors)[0][:90]} if errors else {}),
    }
    spread = (min(walls), max(walls)) if rounds > 1 else None
    return [Row("d", f"{name}: {jobs} jobs at once", statistics.median(walls), "s", "", spread, notes)]


def _many(name: str, python: str, jobs: int) -> dict[str, Any]:
    """Run the jobs at once."""
    with worker("bench_server.py") as server, driven(name, server.first, python) as driver:
        driver.ask(do="one", graph=graphs.picture(0))
        server.ask(do="idle")
        server.ask(do="clear")
        work = [graphs.picture(n) for n in range(1, jobs + 1)]
        found = driver.ask(do="many", graphs=work, limit=90.0)
        counts = server.ask(do="counts")
    good = sum(job["outcome"] == "completed" and job["images"] > 0 for job in found["results"])
    return {**found, **counts, "good": good}


# g


def figure_g(peers: Peers, scale: float = 1.0) -> Iterator[Row]:
    """What each client makes of each case: right, wrong or hung."""
    for name, python in peers.items():
        for case, play in CASES.items():
            try:
                verdict, notes = outcome(name, python, play)
            except (RuntimeError, OSError) as error:
                verdict, notes = "cannot", {"reason": str(error)[:120]}
            target = "= right" if name == OURS else ""
            yield Row("g", f"{name}: {case}", verdict, target=target, notes=notes)
            if "reason" in notes:
                break


def outcome(name: str, python: str, play: Any) -> tuple[str, dict[str, Any]]:
    """Play one case on a server and with a client of its own."""
    with (
        worker("bench_server.py", LATE) as server,
        driven(name, server.first, python, patience=LIMIT_S + 5) as driver,
    ):
        server.ask(do="clear")
        try:
            verdict, notes = play(server, driver)
        except TimeoutError as error:
            verdict, notes = "hung", {"error": str(error)}
        counts = server.ask(do="counts")
    return verdict, {**notes, "requests": counts["requests"], "sockets": counts["sockets"]}


def judged(found: dict[str, Any], *, wanted: str) -> tuple[str, dict[str, Any]]:
    """Hold an outcome against the truth: a result with a picture, or an error."""
    notes = {"error": found["error"][:90]} if "error" in found else {}
    if found["outcome"] in {"hung", "cannot"}:
        return found["outcome"], notes
    if wanted == "completed":
        good = found["outcome"] == "completed" and found["images"] > 0
    else:
        good = found["outcome"] == "raised"
    return ("right" if good else "wrong"), notes or {"images": found.get("images", "")}


def normal(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """A node of 0.3 s; the added latency is what the client took beyond the run."""
    found = driver.ask(do="one", graph=graphs.picture(1, middle="Wait300"), limit=LIMIT_S)
    record = server.ask(do="records")[0]
    verdict, notes = judged(found, wanted="completed")
    run = record["finished_at"] - record["started_at"]
    return verdict, {**notes, "added_ms": 1000 * (found["at"] - found["began"] - run)}


def instant(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """Ten runs that are over at once."""
    done = driver.ask(do="sequence", graphs=[graphs.picture(n) for n in range(10)], limit=LIMIT_S)
    return worst([judged(found, wanted="completed") for found in done])


def cached(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """The same graph again: nothing runs."""
    done = driver.ask(do="sequence", graphs=[graphs.picture(7)] * 3, limit=LIMIT_S)
    return worst([judged(found, wanted="completed") for found in done])


def node_error(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """A node raises."""
    found = driver.ask(do="one", graph=graphs.picture(1, middle="Boom"), limit=LIMIT_S)
    return judged(found, wanted="raised")


def rejected(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """The server answers 400."""
    return judged(driver.ask(do="one", graph=graphs.rejected(), limit=LIMIT_S), wanted="raised")


def partly_rejected(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """The server answers 200 and will not run one of two outputs: silence is wrong."""
    found = driver.ask(do="one", graph=graphs.partly_rejected(1), limit=LIMIT_S)
    return judged(found, wanted="raised")


def interrupted(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """Somebody interrupts the run."""
    driver.ask(do="begin", graphs=[graphs.picture(1, middle="Wait1200")], limit=LIMIT_S)
    server.ask(do="running")
    time.sleep(0.3)
    server.ask(do="interrupt")
    return judged(driver.ask(do="finish")[0], wanted="raised")


def deleted(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """Somebody deletes it while it is pending: no event ever comes."""
    server.ask(do="hold")
    driver.ask(do="begin", graphs=[graphs.picture(1)], limit=LIMIT_S)
    prompt_id = server.ask(do="pending")
    time.sleep(0.5)
    server.ask(do="delete", prompt_id=prompt_id)
    server.ask(do="release")
    return judged(driver.ask(do="finish")[0], wanted="raised")


def dropped(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """The socket breaks while it runs."""
    driver.ask(do="begin", graphs=[graphs.picture(1, middle="Wait1200")], limit=LIMIT_S)
    server.ask(do="running")
    time.sleep(0.3)
    server.ask(do="drop")
    return judged(driver.ask(do="finish")[0], wanted="completed")


def silent(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """The socket falls silent while it runs."""
    driver.ask(do="begin", graphs=[graphs.picture(1, middle="Wait1200")], limit=LIMIT_S)
    server.ask(do="running")
    time.sleep(0.3)
    server.ask(do="deafen")
    return judged(driver.ask(do="finish")[0], wanted="completed")


def restarted(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """The server goes away and forgets the job."""
    driver.ask(do="begin", graphs=[graphs.picture(1, middle="Wait1200")], limit=LIMIT_S)
    server.ask(do="running")
    time.sleep(0.3)
    server.ask(do="restart")
    return judged(driver.ask(do="finish")[0], wanted="raised")


def twenty(server: Worker, driver: Worker) -> tuple[str, dict[str, Any]]:
    """Twenty at once."""
    server.ask(do="pace", history_delay=0.05)
    work = [graphs.picture(n) for n in range(20)]
    done = driver.ask(do="many", graphs=work, limit=LIMIT_S)["results"]
    return worst([judged(found, wanted="completed") for found in done])


def worst(verdicts: list[tuple[str, dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """Return the worst of several verdicts, and how many were right."""
    found = [verdict for verdict, _ in verdicts]
    name = next((each for each in ("hung", "wrong") if each in found), "right")
    notes = next((notes for verdict, notes in verdicts if verdict == name), {})
    return name, {**notes, "right": f"{found.count('right')} of {len(found)}"}


CASES = {
    "normal": normal,
    "instant": instant,
    "cached": cached,
    "node error": node_error,
    "rejected": rejected,
    "partly rejected": partly_rejected,
    "interrupted": interrupted,
    "deleted while pending": deleted,
    "socket dropped": dropped,
    "socket silent": silent,
    "server restarted": restarted,
    "20 at once": twenty,
}


def interpreter(folder: Path, name: str) -> str:
    """Return the Python of a client's virtual environment."""
    return str(folder / name / "bin" / "python")
