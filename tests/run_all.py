"""Everything that must be green: lint, types, tests, coverage. One command, for you and for CI.

python tests/run_all.py            # all of it
python tests/run_all.py lint types # some of it
"""

from __future__ import annotations

import subprocess
import sys
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


def main() -> int:
    """Run the steps that were asked for, stop at the first that fails, and say how long each took."""
    wanted = sys.argv[1:] or list(STEPS)
    for step in wanted:
        for command in STEPS[step]:
            begin = time.monotonic()
            line = " ".join(command)
            sys.stdout.write(f"--- {line}\n")
            sys.stdout.flush()
            code = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode
            if code != 0:
                sys.stdout.write(f"--- {line}: failed with {code}\n")
                return code
            sys.stdout.write(f"--- {line}: {time.monotonic() - begin:.0f} s\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
