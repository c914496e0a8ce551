"""Figures a and b: events per second through a session, against a bare `websockets` loop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench_tools import HERE, Row, compiled, ratio_row, worker

# Several times what a default mailbox keeps unread.
FRAMES = {
    "progress": 30_000,
    "progress_state 30": 12_000,
    "progress_state 300": 3_000,
    "preview 40 kB": 3_000,
}
TARGETS = {"progress": 0.7, "progress_state 30": 0.6, "progress_state 300": 0.6, "preview 40 kB": 0.9}
DEFAULT_TARGETS = {"progress": 1.2, "progress_state 30": 3.0, "progress_state 300": 2.0}
ROUNDS = 7


def measure(kind: str, *, jobs: int, variants: list[str], scale: float) -> dict[str, Any]:
    """Run one kind in processes of its own: one sends, one receives."""
    rounds = ROUNDS if scale >= 1 else 1
    count = max(20, int(FRAMES[kind] * scale / jobs))
    with worker("blaster.py") as blaster:
        command = [sys.executable, str(HERE / "client_events.py"), blaster.first]
        command += [kind, str(count), str(jobs), str(rounds), *variants]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=compiled())
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def rows(figure: str, kind: str, answer: dict[str, Any], targets: dict[str, str]) -> list[Row]:
    """Return a row for each variant: how fast it is, as a multiple of the bare loop's rate."""
    base = answer["results"]["bare"]
    made = []
    for name, runs in answer["results"].items():
        if name == "bare":
            continue
        ratios = [mine["wall"] ** -1 * theirs["wall"] for mine, theirs in zip(runs, base, strict=True)]
        cpu = sorted(theirs["cpu"] / mine["cpu"] for mine, theirs in zip(runs, base, strict=True))
        rate = answer["sent"] / sorted(run["wall"] for run in runs)[len(runs) // 2]
        made.append(
            ratio_row(
                figure,
                f"{kind}, {name}",
                ratios,
                target=targets.get(name, ""),
                cpu=cpu[len(cpu) // 2],
                per_s=round(rate),
                sent=answer["sent"],
                seen=runs[-1]["seen"],
                dropped=runs[-1]["dropped"],
            )
        )
    return made


def figure_a(scale: float = 1.0) -> Iterator[Row]:
    """One job: everything read with a large mailbox, and the default mailbox."""
    for kind in FRAMES:
        targets = {"all read": f">= {TARGETS[kind]}"}
        if kind in DEFAULT_TARGETS:
            targets["default"] = f">= {DEFAULT_TARGETS[kind]}"
            targets["awaiting"] = targets["default"]
        variants = ["bare", "all read", "default", *(["awaiting"] if kind in DEFAULT_TARGETS else [])]
        answer = measure(kind, jobs=1, variants=variants, scale=scale)
        yield from rows("a", kind, answer, targets)


def figure_b(scale: float = 1.0) -> Iterator[Row]:
    """A hundred jobs on one socket, and consumers that sleep."""
    jobs = 100 if scale >= 1 else 5
    for kind in ("progress", "progress_state 30"):
        answer = measure(kind, jobs=jobs, variants=["bare", "all read", "default"], scale=scale)
        yield from rows("b", f"{jobs} jobs, {kind}", answer, {})
        answer = measure(kind, jobs=1, variants=["bare", "sleeping"], scale=scale / 2)
        yield from rows("b", kind, answer, {})
