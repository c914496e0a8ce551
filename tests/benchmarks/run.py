"""All figures of comfy_async, measured side by side in one run.

    python tests/benchmarks/run.py                       # our own rows, within five minutes
    python tests/benchmarks/run.py --peers               # the other clients too, within thirty
    python tests/benchmarks/run.py --only a,c --json out.json

Figures: a and b events per second, c latency, d a thousand jobs, e imports, f downloads,
g outcomes, v2 beside comfy-sdk (with --peers), drop and deaf recovery, quiet the cost of waiting,
scale and pool ten thousand jobs, hooks what they cost. A ratio is always against a run of the
other side in between.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import bench_clients
import bench_downloads
import bench_events
import bench_faults
import bench_hooks
import bench_imports
import bench_scale
import bench_v2
import install_peers
from bench_tools import Row, show

ORDER = ["a", "b", "c", "d", "e", "f", "g", "v2", "drop", "deaf", "quiet", "scale", "pool", "hooks"]
Figure: TypeAlias = Callable[[], Iterable[Row]]

# They wait more than they work, so they may run beside each other.
WAITING = ["quiet", "deaf", "drop", "g"]


def figures(peers: bench_clients.Peers, *, scale: float, quiet: float) -> dict[str, Figure]:
    """Return the figures by name."""
    return {
        "a": lambda: bench_events.figure_a(scale),
        "b": lambda: bench_events.figure_b(scale),
        "c": lambda: bench_clients.figure_c(peers, scale),
        "d": lambda: bench_clients.figure_d(peers, scale),
        "e": lambda: bench_imports.figure_e(scale),
        "f": lambda: bench_downloads.figure_f(scale),
        "g": lambda: bench_clients.figure_g(peers, scale),
        "v2": lambda: bench_v2.figure_v2(peers, scale),
        "drop": lambda: bench_faults.figure_drop(scale),
        "deaf": lambda: bench_faults.figure_deaf(scale),
        "quiet": lambda: bench_faults.figure_quiet(scale, seconds=quiet),
        "scale": lambda: bench_scale.figure_scale(scale),
        "pool": lambda: bench_scale.figure_pool(scale),
        "hooks": lambda: bench_hooks.figure_hooks(scale),
    }


def machine() -> dict[str, Any]:
    """Return what it ran on."""
    return {
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "machine": platform.machine(),
        "model": _model(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default="", help="figures to measure, with commas between")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--peers", action="store_true", help="install and run the other clients")
    parser.add_argument("--peers-in", type=Path, default=install_peers.FOLDER, metavar="FOLDER")
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the work, to try the command")
    parser.add_argument("--quiet-seconds", type=float, default=60.0)
    found = parser.parse_args()
    found.only = [name for name in found.only.split(",") if name] or ORDER
    return found


def measure(
    wanted: dict[str, Figure], say: Callable[[str], None], *, waiting: Iterable[str] = WAITING
) -> list[Row]:
    """Measure, printing each row when it is known, those of the `waiting` figures last."""
    rows: list[Row] = []

    def take(found: Iterable[Row]) -> None:
        for row in found:
            rows.append(row)
            show([row], say)

    with concurrent.futures.ThreadPoolExecutor(len(WAITING)) as pool:
        beside = [wanted.pop(name) for name in waiting if name in wanted]
        results = [pool.submit(_listed, each) for each in beside]
        for each in wanted.values():
            take(each())
        for result in results:
            take(result.result())
    return rows


def _listed(each: Figure) -> list[Row]:
    return list(each())


def main() -> int:
    """Measure what is asked for, print a table, write JSON."""
    chosen = options()
    peers = {bench_clients.OURS: sys.executable}
    refused: list[Row] = []
    if chosen.peers:
        found, reasons = install_peers.install(chosen.peers_in)
        peers |= found
        refused = [Row("peers", name, "cannot", notes={"reason": why}) for name, why in reasons.items()]
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    began = time.monotonic()
    every = figures(peers, scale=chosen.scale, quiet=chosen.quiet_seconds)
    rows = refused + measure(
        {name: every[name] for name in chosen.only if name in every},
        lambda line: print(line, flush=True),
        # Of the peers some are busy while they wait.
        waiting=[name for name in WAITING if name != "g" or not chosen.peers],
    )
    seconds = time.monotonic() - began
    missed = [row.name for row in rows if row.met is False]
    print(f"{seconds:.0f} s; targets missed: {', '.join(missed) or 'none'}")
    if chosen.json:
        content = {
            "day": time.strftime("%d %B %Y").lstrip("0"),
            "machine": about,
            "seconds": seconds,
            "rows": [{**dataclasses.asdict(row), "met": row.met} for row in rows],
        }
        chosen.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
