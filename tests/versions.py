"""The oldest and the newest versions of what this stands on, with each Python that this machine has.

python tests/versions.py                           # a quick part of the suite everywhere
python tests/versions.py --all                     # all of it
python tests/versions.py --python 3.12 --only lowest tests/cli

Each pair has an environment of its own in a temporary folder. `lowest` are the lower bounds of
pyproject.toml, with the newest of what they bring in turn. It takes `uv`, and the package index.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = [f"3.{minor}" for minor in range(11, 20)]
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}

QUICK = ["tests/package", "tests/plugin", "tests/transport"]
QUICK += [
    "tests/cli/test_cli_run.py",
    "tests/cli/test_cli_terminal.py",
    "tests/display/test_notebook_show.py",
]
QUICK += ["tests/resources/test_files_download.py", "tests/resources/test_files_upload.py"]
QUICK += [
    "tests/face/test_errors.py",
    "tests/batch/test_map.py",
    "tests/base/test_paths.py",
    "tests/client/test_session.py",
]
"""What touches other people's packages, and a run of each kind."""

SCARCE = "ray"
"""It has wheels alone, and for a new Python they come late: without them its extra is left out."""

# An old version meets packages newer than itself, and uses what they have deprecated.
LENIENT = ["-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning"]
# anyio before 4.16 leaves the socket of a connection that was cut off to the garbage collector.
LENIENT += ["-W", "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"]


@dataclasses.dataclass
class Row:
    """One environment, and how the tests went there."""

    python: str
    which: str
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    outcome: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    ok: bool = False


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def pythons() -> dict[str, Path]:
    """Return each Python from 3.11 that answers to its name: on the path, or among pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found: dict[str, Path] = {}
    for name in PYTHONS:
        on_path = shutil.which(f"python{name}")
        places = [Path(on_path)] if on_path else []
        places += sorted(root.glob(f"{name}.*/bin/python{name}"), reverse=True)
        # A shim of pyenv is there for versions that are not in use, and fails.
        if running := next(filter(_answers, places), None):
            found[name] = running
    return found


def _answers(python: Path) -> bool:
    """Tell whether this runs."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def requirements() -> list[str]:
    """Return what `.[dev]` asks for, with our own extras spelled out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]

    def flat(lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            asked = Requirement(line)
            if asked.name == project["name"]:
                for extra in asked.extras:
                    yield from flat(extras[extra])
            else:
                yield line

    return sorted({*flat(project["dependencies"]), *flat(extras["dev"])})


def uv(*arguments: object, lines: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run uv; what it says is printed when it fails and is not asked again."""
    text = "\n".join(lines)
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    return subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)


def resolve(row: Row, python: Path) -> list[str]:
    """Return the versions to install, one `name==version` a line, without Ray where there is none.

    Raises:
        RuntimeError: There is no such set.
    """
    options = ["--resolution", RESOLUTIONS[row.which], "--python", python, "--no-build"]
    wanted = requirements()
    rest = [line for line in wanted if Requirement(line).name != SCARCE]
    for lines in (wanted, rest):
        done = uv("pip", "compile", "-", *options, "--no-header", "--no-annotate", lines=lines)
        if done.returncode == 0:
            return done.stdout.split()
        row.notes = [f"no {SCARCE} for it"]
    raise RuntimeError(done.stderr)


def install(row: Row, python: Path, folder: Path) -> Path:
    """Make the environment, and return its Python.

    Raises:
        RuntimeError: It cannot be made.
    """
    pinned = resolve(row, python)
    row.versions = dict(line.split("==") for line in pinned)
    inside = folder / "bin" / "python"
    for arguments, lines in (
        (["venv", "--seed", "--python", python, folder], []),
        (["pip", "install", "--python", inside, "--no-build", "-r", "-"], pinned),
        (["pip", "install", "--python", inside, "--no-deps", "-e", ROOT], []),
    ):
        done = uv(*arguments, lines=lines)
        if done.returncode:
            raise RuntimeError(done.stderr)
    return inside


def run_tests(row: Row, python: Path, tests: list[str]) -> None:
    """Run them, and note how they went."""
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    command += LENIENT if row.which == "lowest" else []
    command += ["--ignore=tests/ray"] if row.notes else []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as memory:
        around = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": memory, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=around, capture_output=True, text=True, check=False)
    row.ok = done.returncode == 0
    last = done.stdout.strip().rpartition("\n")[2]
    row.outcome = f"{re.sub(r' in .*', '', last)}, {time.monotonic() - begin:.0f} s"
    if not row.ok:
        say(done.stdout + done.stderr)


def table(rows: list[Row]) -> str:
    """Return who passed with what, in Markdown: an environment a column, a bound of ours a row."""
    bounds = {asked.name: str(asked.specifier) for asked in map(Requirement, requirements())}
    lines = [["", "asked for", *(f"{row.python} {row.which}" for row in rows)]]
    lines += [["---"] * len(lines[0])]
    lines += [["tests", "", *("; ".join([row.outcome, *row.notes]) for row in rows)]]
    lines += [
        [name, asked, *(row.versions.get(name, "none") for row in rows)] for name, asked in bounds.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Make the environments one after the other, run the tests in each, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tests", nargs="*", default=QUICK, help="what pytest is to run instead of the quick part"
    )
    parser.add_argument("--all", action="store_true", help="run the whole suite")
    parser.add_argument("--python", action="append", metavar="3.x", help="this one alone; may be given again")
    parser.add_argument("--only", choices=RESOLUTIONS, help="one end of the range alone")
    options = parser.parse_args()
    here = pythons()
    rows = []
    for name in options.python or here:
        if name not in here:
            parser.error(f"there is no Python {name} here, but {', '.join(here)}")
        for which in [options.only] if options.only else RESOLUTIONS:
            rows.append(row := Row(name, which))
            with tempfile.TemporaryDirectory(prefix="comfy-versions-") as folder:
                try:
                    python = install(row, here[name], Path(folder) / "venv")
                    run_tests(row, python, ["tests"] if options.all else options.tests)
                except RuntimeError as error:
                    row.outcome = "not installable"
                    say(str(error))
            say(f"{row.python} {row.which}: {row.outcome}")
    say(table(rows))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
