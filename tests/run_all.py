"""Everything that must be green: lint, types, tests. One command, for you and for CI.

python tests/run_all.py            # all of it
python tests/run_all.py lint types # some of it
python tests/run_all.py quick      # the tests that take no minute, while you work
python tests/run_all.py coverage   # the tests once more, half as slow again, and what they cover

The tests must leave no file behind in the checkout but caches.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent

# A third worker fills the time in which two wait for servers, browsers and Ray.
PYTEST = ["pytest", "-q", "-n", "3"]

STEPS: dict[str, list[list[str]]] = {
    "lint": [["ruff", "check", "."], ["ruff", "format", "--check", "."]],
    "types": [["mypy"], ["pyright", "--pythonpath", sys.executable]],
    "tests": [PYTEST],
    "quick": [[*PYTEST, *(f"tests/{name}" for name in ("base", "dialects", "job", "protocol"))]],
    "coverage": [
        ["coverage", "run", "-m", *PYTEST],
        ["coverage", "combine", "-q"],
        ["coverage", "report"],
    ],
}
DEFAULT = ("lint", "types", "tests")
TOGETHER = ("types",)
"""Steps whose commands use a core each."""

CACHES = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".coverage"})


def say(line: str) -> None:
    """Print a line in time with what the commands print."""
    sys.stdout.write(f"--- {line}\n")
    sys.stdout.flush()


def files() -> set[str]:
    """Return what lies in the checkout and is not git's; nothing where there is no git."""
    try:
        command = ["git", "ls-files", "--others", "-z"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return set()
    return {name for name in listed.split("\0") if name and CACHES.isdisjoint(Path(name).parts)}


def run(step: str) -> int:
    """Run the commands of a step, one after the other or at once, and return the first bad code."""
    bad = 0
    running = [start(command) for command in STEPS[step]] if step in TOGETHER else []
    for number, command in enumerate(STEPS[step]):
        process, output, begin = running[number] if running else start(command, shown=True)
        code = process.wait()
        if output is not None:
            output.seek(0)
            sys.stdout.write(output.read().decode("utf-8", "replace"))
            output.close()
        line = " ".join(command)
        say(f"{line}: failed with {code}" if code else f"{line}: {time.monotonic() - begin:.0f} s")
        bad = bad or code
        if code and not running:
            break
    return bad


def start(
    command: list[str], *, shown: bool = False
) -> tuple[subprocess.Popen[bytes], IO[bytes] | None, float]:
    """Start a command, what it prints shown at once or kept for later."""
    say(" ".join(command))
    output = None if shown else tempfile.TemporaryFile()
    line = [sys.executable, "-m", *command]
    # The tests start hundreds of programs: each would compile the package anew.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(line, cwd=ROOT, env=env, stdout=output, stderr=output), output, time.monotonic()


def main() -> int:
    """Run the steps that were asked for, stop at the first that fails, and say how long each took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "steps",
        nargs="*",
        metavar="step",
        help=f"of {', '.join(STEPS)}; {', '.join(DEFAULT)} when none is named",
    )
    steps = parser.parse_args().steps or list(DEFAULT)
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"there is no step {unknown[0]!r}: {', '.join(STEPS)}")
    before = files()
    for step in steps:
        if code := run(step):
            return code
    if left := sorted(files() - before):
        say(f"left behind in the checkout: {', '.join(left)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
