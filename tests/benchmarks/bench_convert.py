"""Processor time of converting the official templates, beside other converters if wanted.

    python tests/benchmarks/bench_convert.py [--rounds 3] [--peer PYTHON] [--before CHECKOUT]

PYTHON is the interpreter of a virtual environment that has comfy-cli, CHECKOUT the folder of
another version of this package; each runs in a process of its own. All read the same files and
the same object_info, take turns, and the best round of each template counts.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.resources
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"

# Runs where the other converter is: reads the jobs, answers with seconds by template for each
# line on stdin. Before it stands what makes `convert` and `info` of it.
WORKER = """
files = json.load(open(sys.argv[2]))
for _ in sys.stdin:
    seconds = {}
    for name, editor in files.items():
        started = time.process_time()
        try:
            convert(editor, info)
        except Exception as error:
            seconds[name] = None
            continue
        seconds[name] = time.process_time() - started
    print(json.dumps(seconds), flush=True)
"""
CLI = """
import gzip, json, sys, time
from comfy_cli.workflow_to_api import convert_ui_to_api as convert
info = json.load(gzip.open(sys.argv[1]))
"""
BEFORE = """
import json, sys, time
sys.path.insert(0, sys.argv[3])
from comfy_async import NodeCatalog
from comfy_async.workflow.convert import convert_editor as convert
info = NodeCatalog.load(sys.argv[1])
"""

Round = Callable[[], dict[str, float | None]]


def templates() -> dict[str, Any]:
    """Return the official templates that are editor files."""
    folder = importlib.resources.files("comfyui_workflow_templates_json") / "templates"
    found = {}
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.name.endswith(".json"):
            content = json.loads(item.read_text("utf-8"))
            if isinstance(content, dict) and "nodes" in content:
                found[item.name.removesuffix(".json")] = content
    return found


def our_round(files: dict[str, Any]) -> Round:
    """Return a function that converts all files once."""
    from comfy_async.errors import WorkflowError
    from comfy_async.workflow.catalog import NodeCatalog
    from comfy_async.workflow.convert import convert_editor

    catalog = NodeCatalog.load(DATA / "object_info.json.gz")

    def run() -> dict[str, float | None]:
        seconds: dict[str, float | None] = {}
        for name, editor in files.items():
            started = time.process_time()
            try:
                convert_editor(editor, catalog)
            except WorkflowError:
                seconds[name] = None
                continue
            seconds[name] = time.process_time() - started
        return seconds

    return run


def best(rounds: list[dict[str, float | None]]) -> dict[str, float]:
    """Return the best time of each template that could be converted."""
    names = [name for name, seconds in rounds[0].items() if seconds is not None]
    return {name: min(seconds for each in rounds if (seconds := each[name]) is not None) for name in names}


def report(label: str, seconds: dict[str, float]) -> None:
    """Print one line."""
    times = sorted(seconds.values())
    slowest = max(seconds, key=lambda name: seconds[name])
    print(
        f"{label:12} {len(times)} templates, per template: mean {statistics.fmean(times) * 1e3:.2f} ms, "
        f"median {statistics.median(times) * 1e3:.2f} ms, "
        f"95 % within {times[int(len(times) * 0.95)] * 1e3:.2f} ms, "
        f"slowest {seconds[slowest] * 1e3:.2f} ms ({slowest})"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Processor time of converting the official templates.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has comfy-cli")
    parser.add_argument("--before", metavar="CHECKOUT", help="the folder of another version")
    options = parser.parse_args()
    files = templates()
    runs: dict[str, tuple[Round, list[dict[str, float | None]]]] = {"comfy_async": (our_round(files), [])}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as others:
        jobs = Path(folder, "files.json")
        jobs.write_text(json.dumps(files))
        if options.peer:
            runs["comfy-cli"] = (others.enter_context(other(options.peer, CLI, jobs)), [])
        if options.before:
            before = other(sys.executable, BEFORE, jobs, str(Path(options.before).resolve()))
            runs["before"] = (others.enter_context(before), [])
        for _ in range(options.rounds):
            for run, times in runs.values():
                times.append(run())
    results = {label: best(times) for label, (_, times) in runs.items()}
    for label, seconds in results.items():
        report(label, seconds)
    ours = results.pop("comfy_async")
    for label, theirs in results.items():
        both = ours.keys() & theirs.keys()
        slower = [name for name in both if ours[name] > theirs[name]]
        ratio = statistics.fmean(ours[n] for n in both) / statistics.fmean(theirs[n] for n in both)
        print(f"on {len(both)} templates both convert: {ratio:.2f} of {label}'s time, {len(slower)} slower")


@contextlib.contextmanager
def other(python: str, converter: str, jobs: Path, *more: str) -> Iterator[Round]:
    """Start another converter, and yield what lets it convert all files once."""
    command = [python, "-c", converter + WORKER, str(DATA / "object_info.json.gz"), str(jobs), *more]
    peer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    yield lambda: ask(peer)
    peer.communicate()


def ask(peer: subprocess.Popen[str]) -> dict[str, float | None]:
    """Let the other converter run once."""
    assert peer.stdin is not None
    assert peer.stdout is not None
    peer.stdin.write("go\n")
    peer.stdin.flush()
    answer = peer.stdout.readline()
    if not answer:
        sys.exit("the other converter ended early")
    seconds: dict[str, float | None] = json.loads(answer)
    return seconds


if __name__ == "__main__":
    main()
