"""Live through many simulated worlds, and say what was not as promised.

    python tests/simulation/run.py --worlds 2000 --seed 1 --jobs 2
    python tests/simulation/run.py --only 4711 --shrink
    python tests/simulation/run.py --worlds 20 --plant cancel_believed
    python tests/simulation/run.py --plan '{"seed":4711, ...}'

A world that fails is a seed: the same one fails again, everywhere. `--shrink` gives the fewest steps
and faults that still fail, as a plan that `--plan` takes and `found.py` keeps.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import gc
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from plants import PLANTS, planted
from sim_plan import Plan, draw
from sim_shrink import kinds, shrink
from sim_world import Verdict, play

_SHOWN = 6
_WIDTH = 300


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def begin_process() -> None:
    """Leave what is loaded out of every collection of garbage; asyncio's complaints are problems anyway."""
    warnings.simplefilter("ignore")
    gc.collect()
    gc.freeze()


def one(seed: int, *, jobs: int, plant: str | None) -> tuple[int, Verdict, float]:
    """Live through one world; return the processor's seconds too."""
    began = time.process_time()
    with planted(plant) if plant else contextlib.nullcontext():
        verdict = play(draw(seed, jobs=jobs))
    # Megabytes that nobody reads here.
    return seed, dataclasses.replace(verdict, trace=""), time.process_time() - began


def verdicts(options: argparse.Namespace) -> Iterator[tuple[int, Verdict, float]]:
    """Live through all of them, in as many processes as asked for."""
    work = functools.partial(one, jobs=options.size, plant=options.plant)
    seeds = range(options.seed, options.seed + options.worlds)
    if options.jobs == 1:
        begin_process()
        yield from map(work, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        options.jobs, mp_context=context, initializer=begin_process
    ) as pool:
        yield from pool.map(work, seeds, chunksize=4)


def show(seed: int, verdict: Verdict) -> None:
    """Print what was wrong with a world."""
    plan = draw(seed)
    say(f"seed {seed}: {plan.shape} {plan.version}, {verdict.faults} faults, {verdict.seconds:.0f} s long")
    for problem in verdict.problems[:_SHOWN]:
        say(f"    {problem[:_WIDTH]}")


def many(options: argparse.Namespace) -> int:
    """Live through many worlds; return how many failed."""
    began = time.perf_counter()
    statuses: collections.Counter[str] = collections.Counter()
    found: collections.Counter[str] = collections.Counter()
    bad = jobs = faults = 0
    cpu = simulated = 0.0
    for seed, verdict, seconds in verdicts(options):
        jobs += verdict.jobs
        faults += verdict.faults
        cpu += seconds
        simulated += verdict.seconds
        statuses.update(verdict.statuses)
        if verdict.problems:
            bad += 1
            found.update(kinds(verdict.problems))
            show(seed, verdict)
            if options.plant:
                break
    say(
        f"{options.worlds} worlds, {jobs} jobs, {faults} faults, {simulated / 3600:.1f} simulated hours in "
        f"{time.perf_counter() - began:.1f} s ({cpu:.1f} s of processor): {bad} failed"
    )
    say(f"told: {dict(statuses.most_common())}")
    for kind, count in found.most_common():
        say(f"{count} times: {kind}")
    return bad


def alone(plan: Plan, options: argparse.Namespace) -> int:
    """Live through one world, and shrink it when it fails."""
    begin_process()
    with planted(options.plant) if options.plant else contextlib.nullcontext():
        verdict = play(plan)
        for problem in verdict.problems:
            say(problem)
        say(f"{verdict.jobs} jobs, {verdict.statuses}")
        if options.trace:
            Path(options.trace).write_text(verdict.trace)
        if verdict.problems and options.shrink:
            say(shrink(plan, problems=verdict.problems, tell=say).to_json())
    return len(verdict.problems)


def main() -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--size", type=int, default=50, help="what people do in one world")
    parser.add_argument("--only", type=int, help="this seed alone")
    parser.add_argument("--plan", help="this plan alone, as JSON")
    parser.add_argument("--shrink", action="store_true", help="make it as small as it fails")
    parser.add_argument("--trace", help="where to write what went over the network")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="plant a defect, and stop when it is found")
    options = parser.parse_args()
    if options.plan is not None:
        return 1 if alone(Plan.from_json(options.plan), options) else 0
    if options.only is not None:
        return 1 if alone(draw(options.only, jobs=options.size), options) else 0
    return 1 if many(options) else 0
