"""What all benchmarks share: processes of their own, medians, and rows of a table."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

_COMPILED = tempfile.TemporaryDirectory(prefix="comfy_async_benchmarks_")


def compiled() -> dict[str, str]:
    """Return an environment in which modules are compiled once, as an installation does, not here."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": _COMPILED.name}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        figure: The letter or name of the figure, as `--only` takes it.
        name: What was measured.
        value: The number that counts, often a ratio.
        unit: Of the value; "x" for a ratio.
        target: What it has to be, for example ">= 0.7"; "" when there is no target.
        spread: The least and the greatest of the runs.
        notes: Whatever else is worth knowing, by name.
    """

    figure: str
    name: str
    value: float | str
    unit: str = ""
    target: str = ""
    spread: tuple[float, float] | None = None
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None when there is none."""
        if not self.target or isinstance(self.value, str):
            return None if not self.target else self.value == self.target.removeprefix("= ")
        relation, limit = self.target.split()
        return self.value >= float(limit) if relation == ">=" else self.value <= float(limit)


def ratio_row(figure: str, name: str, ratios: Sequence[float], *, target: str = "", **notes: Any) -> Row:
    """Return a row for ratios that were each measured side by side."""
    return Row(
        figure,
        name,
        statistics.median(ratios),
        "x",
        target,
        (min(ratios), max(ratios)),
        notes,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile, the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Worker:
    """A Python process that answers JSON lines with JSON lines.

    Attributes:
        patience: Seconds after which an answer is waited for no longer, None for ever.
    """

    patience: float | None = None

    def __init__(self, script: str | Path, *arguments: str, python: str = sys.executable) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [python, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # What other clients print of their progress is no row of the table.
            stderr=None if python == sys.executable else subprocess.DEVNULL,
            cwd=HERE,
            env=compiled() if python == sys.executable else None,
        )
        self.first = self._line()

    def ask(self, **request: Any) -> Any:
        """Send a request and return the answer.

        Raises:
            RuntimeError: The process ended, or it failed.
            TimeoutError: It does not answer any more: its loop is blocked.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self._line())
        if isinstance(answer, dict) and "failure" in answer:
            raise RuntimeError(answer["failure"])
        return answer

    def _line(self) -> str:
        assert self.process.stdout is not None
        # One line for each request: nothing is left in the buffer.
        if self.patience is not None:
            if not select.select([self.process.stdout], [], [], self.patience)[0]:
                self.process.kill()
                raise TimeoutError(f"no answer within {self.patience:g} s: the process was blocked")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        return line.strip()

    def close(self) -> None:
        """Let it end, or end it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextlib.contextmanager
def worker(script: str, *arguments: str, python: str = sys.executable) -> Iterator[Worker]:
    """Run a script of this folder in a process of its own."""
    running = Worker(HERE / script, *arguments, python=python)
    try:
        yield running
    finally:
        running.close()


def show(rows: Sequence[Row], say: Callable[[str], None]) -> None:
    """Print rows as a table."""
    for row in rows:
        value = row.value if isinstance(row.value, str) else f"{row.value:.4g}"
        spread = f"{row.spread[0]:.3g} to {row.spread[1]:.3g}" if row.spread else ""
        verdict = {None: "", True: "met", False: "MISSED"}[row.met]
        notes = ", ".join(f"{key} {_short(each)}" for key, each in row.notes.items())
        say(
            f"{row.figure:8} {row.name:44} {value:>9} {row.unit:8} {row.target:8} {verdict:6} "
            f"{spread:16} {notes}".rstrip()
        )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
