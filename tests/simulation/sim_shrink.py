"""From a world that fails to the smallest one that fails in the same way."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sim_plan import Plan
from sim_world import play

_T = TypeVar("_T")

_NUMBERS: Final = re.compile(r"node=[^>]*|\b[0-9a-f]{8}(-[0-9a-f-]{27})?\b|0x[0-9a-f]+|\d+(\.\d+)?")
_SIMPLER: Final[tuple[tuple[str, Any], ...]] = (
    ("shuffle", False),
    ("poll", False),
    ("named", False),
    ("pieces", 0.0),
    ("history_delay", 0.0),
    ("delay", (0.0001, 0.001)),
    ("sessions", 1),
    ("servers", 2),
    ("step_seconds", 0.0),
    ("version", "0.33.0"),
)


def kind_of(problem: str) -> str:
    """Return what a problem is, without its numbers and the user who had it."""
    text = problem.split(": ", 1)[-1] if re.match(r"\w+ \d+: ", problem) else problem
    return _NUMBERS.sub("#", text)[:50]


def kinds(problems: Sequence[str]) -> set[str]:
    """Return all kinds of problems."""
    return {kind_of(problem) for problem in problems if ": true: [" not in problem}


def shrink(
    plan: Plan,
    *,
    problems: Sequence[str],
    tell: Callable[[str], None] = lambda _line: None,
    most_worlds: int = 300,
) -> Plan:
    """Return the smallest plan that is found with one of these problems, within so many tries."""
    wanted = kinds(problems)
    tries = 0

    def fails(candidate: Plan) -> bool:
        nonlocal tries
        tries += 1
        return tries <= most_worlds and bool(kinds(play(candidate).problems) & wanted)

    while True:
        before = plan
        for name in ("steps", "faults"):
            plan = _with_fewer(plan, name, fails)
        tell(f"{len(plan.steps)} steps, {len(plan.faults)} faults after {tries} worlds")
        for name, value in _SIMPLER:
            changed: dict[str, Any] = {name: value}
            candidate = dataclasses.replace(plan, **changed)
            if name == "servers" and plan.shape != "pool":
                continue
            if candidate != plan and fails(candidate):
                plan = candidate
        if plan == before or tries > most_worlds:
            return plan


def _with_fewer(plan: Plan, name: str, fails: Callable[[Plan], bool]) -> Plan:
    """Return a plan with as few of its steps, or faults, as fail."""

    def having(rest: list[Any]) -> Plan:
        changed: dict[str, Any] = {name: tuple(rest)}
        return dataclasses.replace(plan, **changed)

    return having(_fewer(getattr(plan, name), lambda rest: fails(having(rest))))


def _fewer(items: Sequence[_T], fails: Callable[[list[_T]], bool]) -> list[_T]:
    """Leave out as many as possible, large parts first."""
    kept = list(items)
    size = len(kept)
    while size >= 1:
        begin = 0
        while begin < len(kept):
            rest = kept[:begin] + kept[begin + size :]
            if fails(rest):
                kept = rest
            else:
                begin += size
        size //= 2
    return kept
