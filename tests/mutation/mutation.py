"""Mutation testing of the core: do the tests notice when a line is damaged?

    python tests/mutation/mutation.py map                        # once: which test runs which line
    python tests/mutation/mutation.py try --sample 300 --seed 1  # damage 300 lines, one after the other
    python tests/mutation/mutation.py again --seconds 120       # what survived, by more tests
    python tests/mutation/mutation.py show                       # the score, and what survived

Each damage is tried in a child of this process, by the tests that run its line, the quickest first, until
one fails. Nothing is written into the modules: the damaged one is made at its import. Tests that
start processes of their own see the whole ones there. Results stay in a folder outside of the repository.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import types
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from coverage.numbits import numbits_to_nums

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
sys.path.insert(0, str(HERE))

from mutants import Mutant, damaged, mutants_of  # noqa: E402

CORE: Final = ("_protocol", "_job", "_session", "_dialects", "_batch", "_pool")
_OF_THE_CORE: Final = (
    "base protocol job session dialects batch pool client transport resources otel simulation"
)
SUITE: Final = tuple(f"tests/{one}" for one in _OF_THE_CORE.split())
_HEAVY: Final = (
    "pytest",
    "pytest_asyncio",
    "hypothesis",
    "httpx",
    "websockets",
    "pydantic",
    "aiohttp",
    "respx",
)


class Damaged(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module, and makes it of its damaged tree."""

    def __init__(self, mutant: Mutant) -> None:
        """Damage this."""
        self._mutant = mutant
        self._path = ROOT / mutant.file
        self._name = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load the damaged module, None for any other."""
        if name != self._name:
            return None
        places = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self._path, loader=self, submodule_search_locations=places
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Take the usual kind of module."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the damaged code."""
        tree: ast.Module = damaged(self._path.read_text("utf-8"), self._mutant)
        exec(compile(tree, self._path, "exec"), module.__dict__)


def all_mutants(packages: Sequence[str]) -> list[Mutant]:
    """Return every damage of these packages."""
    return [
        mutant
        for package in packages
        for path in sorted((ROOT / "comfy_async" / package).rglob("*.py"))
        for mutant in mutants_of(ROOT, path)
    ]


def make_map(folder: Path, suite: Sequence[str]) -> None:
    """Run the suite once, and note which test runs which line, and how long each takes."""
    settings = folder / "coveragerc"
    settings.write_text(f"[run]\nsource = comfy_async\ndata_file = {folder / 'coverage'}\n", "utf-8")
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "by_test", *suite]
    paths = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "MUTATION_TAKEN": str(folder / "taken.json")}
    subprocess.run(command, cwd=ROOT, env=environment, check=False)


def read_map(folder: Path) -> tuple[dict[str, dict[int, set[str]]], dict[str, float]]:
    """Return the tests of each line by file, and what each test takes in seconds."""
    lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    with contextlib.closing(sqlite3.connect(folder / "coverage")) as store:
        rows: Iterable[tuple[str, str, bytes]] = store.execute(
            "SELECT file.path, context.context, numbits FROM line_bits "
            "JOIN file ON file.id = file_id JOIN context ON context.id = context_id WHERE context != ''"
        )
        for path, test, bits in rows:
            for line in numbits_to_nums(bits):
                lines[str(Path(path).relative_to(ROOT))][line].add(test)
    return lines, json.loads((folder / "taken.json").read_text("utf-8"))


def tests_for(
    mutant: Mutant, lines: Mapping[str, Mapping[int, set[str]]], taken: Mapping[str, float], limit: float
) -> list[str]:
    """Return tests of a damaged line, for so many seconds: few that run much of its module come first."""
    of_file = lines.get(mutant.file, {})
    # What stands outside of functions takes effect at the import: whoever uses the module may notice.
    found = set(of_file.get(mutant.line, ())) if mutant.function else set().union(*of_file.values())
    runs: dict[str, set[int]] = defaultdict(set)
    for line, tests in of_file.items():
        for test in tests & found:
            runs[test].add(line)
    chosen: list[str] = []
    seconds, fresh = 0.0, set(of_file)
    while runs and seconds < limit:
        best = max(runs, key=lambda test: (len(runs[test] & fresh) / (taken[test] + 0.1), -taken[test], test))
        if not runs[best] & fresh:
            # Every line is run by one of them: once more from the beginning.
            fresh = set(of_file)
        fresh -= runs.pop(best)
        seconds += taken[best]
        chosen.append(best)
    return sorted(chosen, key=lambda test: taken[test])


def tried(mutant: Mutant | None, tests: Sequence[str], seconds: float) -> str:
    """Return "killed", "survived", "timeout", "no test", or "broken" for what is no verdict."""
    if not tests:
        return "no test"
    child = os.fork()
    if child == 0:
        _be_damaged(mutant, tests)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            # 2 is a module that cannot be imported; whatever else there is, no test has failed.
            return {0: "survived", 1: "killed", 2: "killed"}.get(code, f"broken ({code})")
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def _be_damaged(mutant: Mutant | None, tests: Sequence[str]) -> None:
    """Run the tests with a damaged module, as a process of its own, which ends here."""
    code = 3
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.chdir(ROOT)
        import pytest

        class First:
            """Pytest has a finder of its own for the modules of its plugins: this one comes before it."""

            @pytest.hookimpl(tryfirst=True)
            def pytest_load_initial_conftests(self) -> None:
                if mutant is not None:
                    sys.meta_path.insert(0, Damaged(mutant))

        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        # The parent has imported some of pytest's plugins already.
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*options, *tests], plugins=[First()]))
    finally:
        os._exit(code)


def attempt(folder: Path, options: argparse.Namespace) -> None:
    """Try a sample of damages, and note how each went."""
    for name in _HEAVY:
        importlib.import_module(name)
    assert "comfy_async" not in sys.modules, "it must be imported by the children, with the damage"
    lines, taken = read_map(folder)
    sound = sorted(taken, key=lambda test: taken[test])[:200:10]
    assert tried(None, sound, 300.0) == "survived", "the tests fail without any damage"
    if options.what == "again":
        chosen = [Mutant(**row["mutant"]) for row in latest(folder) if row["verdict"] == "survived"]
        known = set()
    else:
        chosen = all_mutants(options.only or CORE)
        random.Random(options.seed).shuffle(chosen)
        known = {json.dumps(row["mutant"]) for row in latest(folder)}
        chosen = chosen[: options.sample]
    chosen = chosen[options.part :: options.parts]
    with (folder / f"results{options.part}.jsonl").open("a", encoding="utf-8") as file:
        for number, mutant in enumerate(chosen):
            row = dataclasses.asdict(mutant)
            if json.dumps(row) in known:
                continue
            tests = tests_for(mutant, lines, taken, options.seconds)
            limit = 10.0 + 3 * sum(taken[test] for test in tests)
            verdict = tried(mutant, tests, limit)
            noted = {"at": time.time(), "mutant": row, "verdict": verdict, "tests": len(tests)}
            file.write(json.dumps(noted) + "\n")
            file.flush()
            print(
                f"{number + 1}/{len(chosen)} {verdict:9} {mutant.file}:{mutant.line} {mutant.what}",
                flush=True,
            )


def latest(folder: Path) -> list[dict[str, Any]]:
    """Return what was noted last of each damage."""
    rows = [
        json.loads(line)
        for path in folder.glob("results*.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    rows.sort(key=lambda row: row.get("at", 0.0))
    return list({json.dumps(row["mutant"]): row for row in rows}.values())


def show(folder: Path) -> None:
    """Print the score of each package, and what was not noticed."""
    rows = latest(folder)
    counted: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        counted[row["mutant"]["file"].split("/")[1]][row["verdict"]] += 1
    for package, verdicts in sorted(counted.items()):
        noticed = verdicts["killed"] + verdicts["timeout"]
        print(f"{package:12} {noticed} of {sum(verdicts.values())} noticed  {dict(verdicts)}")
    total = sum(row["verdict"] in ("killed", "timeout") for row in rows)
    print(f"{'all':12} {total} of {len(rows)} noticed: {100 * total / max(1, len(rows)):.1f} %")
    for row in sorted(rows, key=lambda row: (row["mutant"]["file"], row["mutant"]["line"])):
        if row["verdict"] in ("survived", "no test"):
            mutant = row["mutant"]
            print(f"{row['verdict']:9} {mutant['file']}:{mutant['line']}  {mutant['what']}")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["map", "try", "again", "show"])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "comfy_async_mutants")
    parser.add_argument("--seconds", type=float, default=15.0, help="what the tests of a damage take")
    parser.add_argument("--sample", type=int, default=300, help="how many damages of all to try")
    parser.add_argument("--seed", type=int, default=1, help="chooses them")
    parser.add_argument("--only", nargs="*", help="packages instead of the core: _protocol _job")
    parser.add_argument("--part", type=int, default=0, help="which part, of")
    parser.add_argument("--parts", type=int, default=1, help="so many processes")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.what == "map":
        make_map(options.folder, SUITE)
    elif options.what in ("try", "again"):
        attempt(options.folder, options)
    else:
        show(options.folder)


if __name__ == "__main__":
    main()
