"""Damaged files with nodes of packs and group nodes end in a named error, never in a KeyError."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_async.errors import ConversionError, WorkflowFormatError
from comfy_async.workflow.convert import convert_editor

TRUTH: dict[str, Any] = json.loads(
    gzip.decompress((Path(__file__).parents[1] / "data" / "packs_truth.json.gz").read_bytes())
)
FILES = [case["editor"] for cases in TRUTH["cases"].values() for case in cases.values()]
WRONG: list[Any] = [
    None,
    0,
    -1,
    1.5,
    "",
    "x",
    "1",
    [],
    {},
    [[]],
    [1, 2],
    {"a": 1},
    True,
    10**30,
    float("inf"),
]


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to everything in a file."""
    steps = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from places(inner, (*path, step))


def damaged(rng: random.Random) -> Any:
    """Return a file in which something is missing or of another kind."""
    file = copy.deepcopy(rng.choice(FILES))
    for _ in range(rng.choice([1, 1, 2, 3])):
        *path, last = rng.choice(list(places(file)))
        part = file
        for step in path:
            part = part[step]
        if rng.random() < 0.15:
            del part[last]
        else:
            part[last] = copy.deepcopy(rng.choice(WRONG))
    return file


@pytest.mark.parametrize("seed", range(8))
def test_damage_is_named(seed: int) -> None:
    """Whatever is broken, it is converted or told with its place."""
    rng = random.Random(seed)
    for _ in range(40):
        file = damaged(rng)
        with contextlib.suppress(ConversionError, WorkflowFormatError):
            convert_editor(file, TRUTH["classes"])
