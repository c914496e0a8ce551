"""What a batch runs: workflows times varied values, or rows of a table."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._app_values import app_of, with_values
from ._connection import UsageError
from ._rows import Row, RowsError, demand_right
from ._values import apply_values, demand_seeds, read_text, seeds_of

if TYPE_CHECKING:
    from comfy_async import NodeCatalog, Workflow

__all__ = ["Seeds", "Variant", "draw_seed", "read_rows", "read_varied", "variants"]

_RANGE: Final = re.compile(r"(-?\d+)\.\.(-?\d+)")
# A cell in quotes, then the rest of it, which has no place in a table; else one without quotes.
_CELL: Final = re.compile(r'"([^"]*(?:""[^"]*)*)"([^,\r\n]*)|([^,\r\n]*)')
_MOST: Final = 1_000_000
# Without a declared range: many partner nodes take no more. With one: a browser knows no larger ones.
_LARGEST_UNKNOWN: Final = (1 << 31) - 1
_LARGEST: Final = 1 << 50

Variant = tuple[Row, "Workflow"]
"""The values that make it another one, as texts, with the line of their row; and the workflow."""


@dataclasses.dataclass(frozen=True, slots=True)
class Seeds:
    """Numbers that count up from the first; each goes into every seed of a workflow."""

    first: int
    count: int = 1


def draw_seed(workflows: Iterable[Workflow], count: int, *, catalog: NodeCatalog) -> int:
    """Return a number that can be counted up from so many times and stays one that every seed takes.

    Raises:
        UsageError: A workflow has no seed, or one takes fewer numbers.
    """
    least, largest = 0, _LARGEST
    for workflow in workflows:
        if count > 1:
            demand_seeds(workflow, catalog)
        for item in seeds_of(workflow, catalog):
            least = max(least, 0 if item.min is None else int(item.min))
            largest = min(largest, _LARGEST_UNKNOWN if item.max is None else int(item.max))
    if largest - least + 1 < count:
        raise UsageError(f"--seeds {count}: the seeds take numbers from {least} to {largest} only")
    return random.SystemRandom().randint(least, largest - count + 1)


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


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV file with a header, or of JSON lines; the columns are inputs.

    An empty cell, or null, leaves the input as it is; `""` makes it an empty text.

    Raises:
        UsageError: It is neither, or a column is no input.
        OSError: It cannot be read.
    """
    text = read_text(path, newline="")
    found = list(_csv_rows(text, path) if path.suffix.lower() == ".csv" else _json_rows(text))
    demand_right(str(path), [row for row in found if isinstance(row, RowsError)], of=len(found))
    rows = [row for row in found if isinstance(row, Row)]
    if not rows:
        raise UsageError(f"{path} has no rows with inputs as columns, for example 6.text,3.seed")
    return rows


def _csv_rows(text: str, path: Path) -> Iterator[Row | RowsError]:
    """Yield the rows of a table whose first line names the inputs, and what is wrong with others.

    Raises:
        UsageError: It is no such table.
    """
    lines = _csv_lines(text, path)
    header = [(name or "").strip() for name in next(lines, (1, []))[1]]
    for name in header:
        try:
            _demand_input(name, 1)
        except RowsError as error:
            raise UsageError(f"{path}, line 1: {error}") from None
    if len(set(header)) < len(header):
        raise UsageError(f"{path}, line 1: two columns have one name")
    for number, cells in lines:
        if not any(cell is not None for cell in cells):
            continue
        if len(cells) > len(header):
            yield RowsError(number, f"{len(cells)} cells, and {len(header)} columns")
            continue
        given = {name: cell for name, cell in zip(header, cells, strict=False) if cell is not None}
        yield Row(given, line=number)


def _csv_lines(text: str, path: Path) -> Iterator[tuple[int, list[str | None]]]:
    """Yield each row with the number of its line; a cell without anything in it, not even quotes, is None.

    The csv module does not tell such a cell from an empty text in quotes.

    Raises:
        UsageError: A quote is never closed, or something follows it in its cell.
    """
    place, number, cells = 0, 1, list[str | None]()
    while place < len(text) or cells:
        match = _CELL.match(text, place)
        assert match is not None
        quoted, rest, plain = match.groups()
        if rest or (plain or "").startswith('"'):
            raise UsageError(f"{path}, line {number}: a quote in a cell is not closed, or text follows it")
        cells.append(quoted.replace('""', '"') if quoted is not None else plain or None)
        place, number_after = match.end(), number + match[0].count("\n")
        if text[place : place + 1] == ",":
            place, number = place + 1, number_after
            continue
        yield number, cells
        place += 2 if text.startswith("\r\n", place) else 1
        number, cells = number_after + 1, []


def _json_rows(text: str) -> Iterator[Row | RowsError]:
    """Yield the rows of JSON lines, which end at a line feed only, and what is wrong with others."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _json_row(line, number)
        except RowsError as error:
            yield error


def _json_row(line: str, number: int) -> Row:
    """Return the row of one line.

    Raises:
        RowsError: It is no JSON object, or names no inputs.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowsError(number, f"this is neither CSV nor JSON: {error}") from error
    if not isinstance(row, dict) or not row:
        raise RowsError(number, 'no object with inputs, such as {"6.text": "a cat"}')
    for key in row:
        _demand_input(key, number)
    return Row({key: _text(value) for key, value in row.items() if value is not None}, line=number)


def _demand_input(name: str, line: int) -> None:
    """Check that a column has the form of an input's name: NODE.INPUT, or that of an app.

    Raises:
        RowsError: It has not.
    """
    node, _, field = name.rpartition(".")
    if name.isidentifier():
        return
    if not node or not field or ";" in name or "\t" in name:
        raise RowsError(
            line,
            f"the column {name!r} is no NODE.INPUT, such as 6.text, and no input's name; columns "
            "are separated by commas, and `comfy-async inputs` and `app` list what can be one",
        )


def variants(
    workflows: Sequence[Workflow],
    *,
    varied: Sequence[Sequence[tuple[str, str]]],
    rows: Sequence[Row],
    rows_name: str = "--rows",
    seeds: Seeds | None = None,
    catalog: NodeCatalog | None = None,
) -> list[Variant]:
    """Return every workflow with every row and every combination, with each of the seeds.

    Raises:
        UsageError: There would be none, or millions.
        UnknownInputError: No node or input has that name, or does not take the value.
    """
    made: list[Variant] = []
    for workflow in workflows:
        for row, with_row in _with_rows(workflow, rows or [Row()], rows_name, catalog):
            for pairs in itertools.product(*varied):
                changed = apply_values(with_row, dict(pairs), source="--vary", catalog=catalog)
                made += _with_seeds(changed, Row({**row, **dict(pairs)}, line=row.line), seeds, catalog)
                if len(made) > _MOST:
                    raise UsageError(f"that makes more than {_MOST} workflows")
    return made


def _with_rows(
    workflow: Workflow, rows: Sequence[Row], name: str, catalog: NodeCatalog | None
) -> list[Variant]:
    """Return a workflow with the values of each row.

    Raises:
        UsageError: Several rows are wrong; or a value's file cannot be read.
        UnknownInputError: One is, or all in the same way.
    """
    from comfy_async import UnknownInputError

    app = app_of(workflow, rows, catalog)
    made: list[Variant] = []
    wrong: list[RowsError] = []
    for row in rows:
        try:
            made.append((row, with_values(workflow, row, catalog=catalog, app=app)))
        except (UsageError, UnknownInputError) as error:
            wrong.append(RowsError.of(row.line, error))
    demand_right(name, wrong, of=len(rows))
    return made


def _with_seeds(
    workflow: Workflow, values: Row, seeds: Seeds | None, catalog: NodeCatalog | None
) -> Iterator[Variant]:
    """Yield a workflow with each of the seeds, and what makes it another one."""
    if seeds is None:
        yield values, workflow
        return
    keys = [item.key for item in seeds_of(workflow, catalog)]
    for seed in range(seeds.first, seeds.first + seeds.count):
        told = {"draw": str(seed), **dict.fromkeys(keys, str(seed))}
        yield (
            Row({**values, **told}, line=values.line),
            workflow.with_seed(seed, catalog=catalog) if keys else workflow,
        )


def _values(text: str) -> list[str]:
    """Return the values that a text stands for."""
    match = _RANGE.fullmatch(text)
    if match:
        first, last = int(match[1]), int(match[2])
        step = 1 if last >= first else -1
        return [str(number) for number in range(first, last + step, step)]
    if text.startswith("@") and not text.startswith("@@"):
        lines = read_text(Path(text[1:]).expanduser()).split("\n")
        return [line for line in lines if line.strip()]
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return [_text(item) for item in value] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Return a value as --set takes it."""
    return value if isinstance(value, str) else json.dumps(value)
