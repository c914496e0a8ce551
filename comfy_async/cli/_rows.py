"""The rows of a table, and what is wrong with them: each with the line where it stands."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

from ._connection import UsageError
from ._tables import short_text
from ._words import in_a_terminal

__all__ = ["Row", "RowsError", "demand_right", "rows_lines", "values_text"]

_NAMED: Final = 20
_LINES: Final = 5


class Row(dict[str, str]):
    """Values by the names of inputs, as texts.

    Attributes:
        line: Where they stand in their file, from 1; 0 when they stand in none.
    """

    def __init__(self, values: Mapping[str, str] | None = None, *, line: int = 0) -> None:
        """Hold the values."""
        super().__init__(values or {})
        self.line = line


def values_text(values: Row) -> str:
    """Return on one line what makes a job of a batch another one, and where its row stands."""
    # `draw` is what --seed takes to begin with; the seeds themselves have the number too.
    drawn = values.get("draw")
    shown = {name: text for name, text in values.items() if name != "draw"}
    if drawn is not None and drawn not in shown.values():
        shown = {**shown, "draw": drawn}
    text = short_text(" ".join(f"{name}={text}" for name, text in shown.items()))
    return " ".join(filter(None, [text, f"(line {values.line})" if values.line else ""]))


class RowsError(UsageError):
    """A row that is wrong, or several.

    Attributes:
        line: Where the first of them stands.
        rows: Each of several, as JSON has it.
    """

    def __init__(self, line: int, text: str, *, cause: Exception | None = None) -> None:
        """Say what is wrong with one."""
        super().__init__(text)
        self.line = line
        self.cause = cause
        self.rows: list[dict[str, object]] = []

    @classmethod
    def of(cls, line: int, error: Exception) -> RowsError:
        """Return what an error says of one row, its findings too."""
        problems = [in_a_terminal(str(problem)) for problem in getattr(error, "problems", ())]
        text = "; ".join(problems) or in_a_terminal(str(error.args[0] if error.args else error))
        nearest = [str(name) for name in getattr(error, "candidates", ())]
        if nearest and not any(name in text for name in nearest):
            text = f"{text}; did you mean: {', '.join(nearest)}"
        return cls(line, text, cause=error)


def demand_right(name: str, wrong: Sequence[RowsError], *, of: int) -> None:
    """Check that no row is wrong.

    Args:
        name: The file, as a message names it.
        wrong: Those that are.
        of: How many rows there are in all.

    Raises:
        UsageError: Some are; it names them, those with one fault together.
        Exception: The own error of the only one, or of all when they have the same.
    """
    if not wrong:
        return
    by_text: dict[str, list[int]] = {}
    for error in wrong:
        by_text.setdefault(str(error), []).append(error.line)
    if len(by_text) == 1:
        where = f"{name}, {_lines(next(iter(by_text.values())))}"
        cause = wrong[0].cause
        if cause is None or isinstance(cause, UsageError):
            raise UsageError(f"{where}: {wrong[0]}")
        cause.args = (f"{where}: {cause.args[0]}", *cause.args[1:])
        raise cause
    cut = f"; the first {_NAMED} faults are" if len(by_text) > _NAMED else ""
    made = RowsError(wrong[0].line, f"{name}: {len(wrong)} of {of} rows are wrong{cut}")
    shown = list(itertools.islice(by_text.items(), _NAMED))
    made.rows = [{"lines": lines, "message": text} for text, lines in shown]
    raise made


def _lines(lines: Sequence[int]) -> str:
    """Return the numbers of lines, as a message names them."""
    shown = ", ".join(map(str, lines[:_LINES]))
    more = f" and {len(lines) - _LINES} more" if len(lines) > _LINES else ""
    return f"line{'s' if len(lines) > 1 else ''} {shown}{more}"


def rows_lines(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return what is wrong with rows, a line for each fault."""
    found = []
    for row in rows:
        lines = row["lines"]
        assert isinstance(lines, list)
        found.append(f"{_lines(lines)}: {row['message']}")
    return found
