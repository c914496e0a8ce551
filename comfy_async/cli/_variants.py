"""What a batch runs: workflows times varied values, or rows of a table."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._connection import UsageError
from ._values import apply_values

if TYPE_CHECKING:
    from comfy_async import Workflow

__all__ = ["Variant", "read_rows", "read_varied", "variants"]

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_MOST = 1_000_000

Variant = tuple[dict[str, str], "Workflow"]
"""The values that make it another one, as texts, and the workflow."""


def read_varied(settings: Iterable[str]) -> list[list[tuple[str, str]]]:
    """Return, for each `KEY=VALUES`, the pairs of key and one value.

    Raises:
        UsageError: It names no values.
        OSError: A file cannot be read.
    """
    found = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        values = _values(text)
        if not equals or "." not in key or not values:
            raise UsageError(
                f'--vary takes NODE.INPUT=1..8, =["a", "b"] or =@FILE with one a line, not {setting!r}'
            )
        found.append([(key.strip(), value) for value in values])
    return found


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header, or of JSON lines; the columns are inputs.

    Raises:
        UsageError: It is neither.
        OSError: It cannot be read.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        rows = [dict(row) for row in csv.DictReader(text.splitlines())]
    else:
        try:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise UsageError(f"{path} is neither CSV nor JSON lines: {error}") from error
    if not rows or not all(isinstance(row, dict) and row for row in rows):
        raise UsageError(f"{path} has no rows with inputs as columns, for example 6.text,3.seed")
    return [{str(key): _text(value) for key, value in row.items() if value not in (None, "")} for row in rows]


def variants(
    workflows: Sequence[Workflow],
    *,
    varied: Sequence[Sequence[tuple[str, str]]],
    rows: Sequence[dict[str, str]],
    seeds: int | None,
    first_seed: int,
) -> list[Variant]:
    """Return every workflow with every row and every combination; `seeds` draws so many of each.

    The draws depend on `first_seed` alone, and stand among the values.

    Raises:
        UsageError: There would be none, or millions.
        UnknownInputError: No node or input has that name.
    """
    made: list[Variant] = []
    for workflow in workflows:
        for row in rows or [{}]:
            for pairs in itertools.product(*varied):
                values = {**row, **dict(pairs)}
                changed = apply_values(workflow, [f"{key}={value}" for key, value in values.items()])
                made += _drawn(changed, values, seeds=seeds, first=first_seed)
                if len(made) > _MOST:
                    raise UsageError(f"that makes more than {_MOST} workflows")
    return made


def _drawn(workflow: Workflow, values: dict[str, str], *, seeds: int | None, first: int) -> Iterable[Variant]:
    """Return a workflow with so many draws of its seeds, and which draw of which seeds that is."""
    if seeds is None:
        return [(values, workflow)]
    places = [(item.node, item.input) for item in workflow.inputs() if item.kind == "seed"]
    made = []
    for draw in range(first, first + seeds):
        other = workflow.randomized(draw)
        drawn = {f"{node}.{name}": str(other.get(node, name)) for node, name in places}
        made.append(({**values, "draw": str(draw), **drawn}, other))
    return made


def _values(text: str) -> list[str]:
    """Return the values that a text stands for."""
    match = _RANGE.fullmatch(text)
    if match:
        first, last = int(match[1]), int(match[2])
        step = 1 if last >= first else -1
        return [str(number) for number in range(first, last + step, step)]
    if text.startswith("@") and not text.startswith("@@"):
        lines = Path(text[1:]).expanduser().read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.strip()]
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return [_text(item) for item in value] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Return a value as --set takes it."""
    return value if isinstance(value, str) else json.dumps(value)
