"""Everything that must be green: lint, types, tests, coverage. One command, for you and for CI.

python tests/run_all.py            # all of it
python tests/run_all.py lint types # some of it

The tests must leave no file behind in the checkout but caches.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS: dict[str, list[list[str]]] = {
    "lint": [["ruff", "check", "."], ["ruff", "format", "--check", "."]],
    "types": [["mypy"], ["pyright", "--pythonpath", sys.executable]],
    "tests": [
        ["coverage", "run", "-m", "pytest", "-q"],
        ["coverage", "combine", "-q"],
        ["coverage", "report"],
    ],
}

PYTEST = STEPS["tests"][0]
MIDDLE = "job"
"""The folder of tests where the second half begins, which takes about as long as the first."""

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


def run(command: list[str]) -> int:
    """Run one command, and return its code."""
    begin = time.monotonic()
    line = " ".join(command)
    say(line)
    code = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode
    say(f"{line}: failed with {code}" if code else f"{line}: {time.monotonic() - begin:.0f} s")
    return code


def halves() -> list[list[str]]:
    """Return the folders of tests in two parts: the machines that run them have two cores or more."""
    folders = sorted({path.parts[len(ROOT.parts) + 1] for path in (ROOT / "tests").glob("*/test_*.py")})
    parts = [[name for name in folders if (name < MIDDLE) == early] for early in (True, False)]
    return [[f"tests/{name}" for name in part] for part in parts]


def run_halves() -> int:
    """Run the tests, both halves at once; print what each says when both are over; return a code."""
    begin = time.monotonic()
    running = []
    for part in halves():
        say(" ".join([*PYTEST, *part]))
        output = tempfile.TemporaryFile()
        command = [sys.executable, "-m", *PYTEST, *part]
        running.append((subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT), output))
    codes = []
    for process, output in running:
        codes.append(process.wait())
        output.seek(0)
        sys.stdout.write(output.read().decode("utf-8", "replace"))
        output.close()
    say(f"the tests: {time.monotonic() - begin:.0f} s, codes {codes}")
    return max(codes, key=abs)


def main() -> int:
    """Run the steps that were asked for, stop at the first that fails, and say how long each took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "steps", nargs="*", metavar="step", help=f"of {', '.join(STEPS)}; all when none is named"
    )
    steps = parser.parse_args().steps or list(STEPS)
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"there is no step {unknown[0]!r}: {', '.join(STEPS)}")
    before = files()
    for command in [command for step in steps for command in STEPS[step]]:
        if code := run_halves() if command == PYTEST else run(command):
            return code
    if left := sorted(files() - before):
        say(f"left behind in the checkout: {', '.join(left)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
