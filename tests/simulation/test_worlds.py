"""Worlds: people, servers and bad luck by a seed, judged by the servers' own books.

`python tests/simulation/run.py --worlds 2000 --jobs 2` lives through as many as you like.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from found import FOUND, PLANTED
from plants import planted
from sim_plan import FAULTS, USERS, V2_FAULTS, Fault, Plan, Step, draw
from sim_shrink import kinds, shrink
from sim_world import play

pytestmark = pytest.mark.usefixtures("_short_collections")

_HERE = Path(__file__).parent
_SMALL = 20


@pytest.fixture(scope="module")
def _short_collections() -> Iterator[None]:
    """Each world ends with a collection of garbage: what is loaded already is left out of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _loops_that_are_thrown_away() -> Iterator[None]:
    """A world keeps what asyncio complains of among its problems; what garbage says later is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.mark.parametrize("seed", range(1, 7))
def test_everything_is_as_promised(seed: int) -> None:
    """Every job has one end, as the server saw it; nothing ran twice; nothing is left open; in time."""
    verdict = play(draw(seed, jobs=_SMALL))
    assert verdict.problems == []
    assert sum(verdict.statuses.values()) == verdict.jobs >= _SMALL


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(name: str) -> None:
    """Worlds that once failed, shrunk to the fewest steps."""
    assert play(Plan.from_json(FOUND[name])).problems == []


@functools.cache
def _problems_of(line: str) -> list[str]:
    """Some worlds find several defects, and are lived through once without any."""
    return play(Plan.from_json(line)).problems


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_defect_is_found(name: str) -> None:
    """A small world finds it, and finds nothing without it."""
    plan = Plan.from_json(PLANTED[name])
    assert _problems_of(PLANTED[name]) == []
    with planted(name):
        assert play(plan).problems != []


def test_a_seed_is_a_world() -> None:
    """The same seed gives the same trace byte for byte, in another process with other hashes too."""
    seed = 43
    trace = play(draw(seed, jobs=_SMALL)).trace
    assert trace
    line = f"from sim_plan import draw; from sim_world import play; v = play(draw({seed}, jobs={_SMALL}))"
    other = subprocess.run(
        [sys.executable, "-c", f"{line}; import sys; sys.stdout.write(v.trace)"],
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": f"{_HERE}:{_HERE.parents[1]}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert other == trace
    assert play(draw(seed + 1, jobs=_SMALL)).trace != trace


def test_a_plan_is_a_line() -> None:
    """A world can be written down and read again."""
    plan = draw(7)
    assert Plan.from_json(plan.to_json()) == plan


def test_every_kind_happens() -> None:
    """A few hundred seeds have every user and every fault in them, and worlds without any fault."""
    plans = [draw(seed) for seed in range(300)]
    assert {step.kind for plan in plans for step in plan.steps} == set(USERS)
    assert {fault.kind for plan in plans for fault in plan.faults} == {*FAULTS, *V2_FAULTS}
    assert any(plan.calm for plan in plans)


def test_a_world_that_fails_is_shrunk() -> None:
    """What has nothing to do with a failure is left out."""
    steps = (Step(0.1, "run", 1), Step(1.0, "cancel", 9))
    plan = Plan(seed=3, steps=steps, faults=(Fault(0.5, "garbage", 1),), step_seconds=0.5, storm=2.0)
    with planted("two_ends"):
        problems = play(plan).problems
        small = shrink(plan, problems=problems)
        assert kinds(problems) & kinds(play(small).problems)
    assert problems
    assert [step.kind for step in small.steps] == ["cancel"]
    assert small.faults == ()
    assert dataclasses.replace(small, steps=steps) != plan
