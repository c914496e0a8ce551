"""Lists for people: aligned columns, ages, sizes."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from .._display.console_lines import without_controls

__all__ = [
    "CUT",
    "CUT_SIGN",
    "age_text",
    "choices_text",
    "columns",
    "fitted",
    "folded",
    "has_colours",
    "json_text",
    "noted",
    "prose",
    "range_text",
    "screen_width",
    "short_text",
    "size_text",
    "when_text",
    "without_controls",
]

_MAX_VALUE = 60
_MAX_CHOICES = 40
_MIN_COLUMN = 8
# Dates, states and numbers are whole or of no use.
_SHORT_COLUMN = 12
_MIN_PROSE = 20
_GAP = "  "
_BELOW = "    "
CUT_SIGN = "…"
_COMMAND = re.compile(r"`[^`\n]*`")
_JOINER = "\x1f"
# Below these a number reads better with its digits.
_LEAST_POWER = (1 << 31) - 1

CUT = f"what ends in {CUT_SIGN} is cut: --json has it whole"


def columns(
    rows: Iterable[Sequence[object]], *, width: int | None = None, whole: int | None = None
) -> Iterator[str]:
    """Yield rows as lines with aligned columns, the widest ones cut until they fit a terminal.

    Where that is not enough, the last cells of a row come on lines below it.

    Args:
        rows: The cells.
        width: The columns of the terminal, None for lines of any length.
        whole: The place of cells that are there to be copied, such as ids: they are never cut.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    if not texts:
        return
    widths = [
        max(cell_len(row[place]) for row in texts if place < len(row))
        for place in range(max(map(len, texts)))
    ]
    groups = [widths] if width is None else _placed(widths, width, whole)
    for row in texts:
        cells = iter(row)
        for group in groups:
            indent = "" if group is groups[0] else _BELOW
            line = _GAP.join(_cell(cell, most) for most, cell in zip(group, cells, strict=False))
            if line.strip() or not indent:
                yield f"{indent}{line}".rstrip()


def noted(rows: Iterable[Sequence[object]], *, width: int | None) -> Iterator[str]:
    """Yield rows as lines with aligned columns, of which the last goes on below itself where it is long."""
    rows = list(rows)
    heads = list(columns(row[:-1] for row in rows))
    indent = max(map(cell_len, heads), default=0) + len(_GAP)
    for head, row in zip(heads, rows, strict=True):
        first, *rest = folded(str(row[-1]), width, indent=indent) or [""]
        yield f"{set_cell_size(head, indent)}{first}".rstrip()
        yield from (f"{' ' * indent}{part}" for part in rest)


def _placed(widths: list[int], width: int, whole: int | None) -> list[list[int]]:
    """Return widths of columns that fit, by the lines of a row; all on one where a column alone does not."""
    fitted_ = _fitted(widths, width, whole)
    if max(fitted_) > width or width <= _MIN_PROSE:
        return [fitted_]
    count = len(widths)
    while count > 1 and _together(fitted_) > width:
        count -= 1
        fitted_ = _fitted(widths[:count], width, whole)
    if count == len(widths):
        return [fitted_]
    below = None if whole is None else whole - count
    return [fitted_, *_placed(widths[count:], width - len(_BELOW), below)]


def _together(widths: list[int]) -> int:
    """Return the width of columns beside each other."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _fitted(widths: list[int], width: int, whole: int | None) -> list[int]:
    """Return widths of columns that fit beside each other, as long as each keeps something to read."""
    free = [place for place, most in enumerate(widths) if place != whole and most > _SHORT_COLUMN]
    widths = list(widths)
    too_much = _together(widths) - width
    while too_much > 0:
        place = max(free, key=widths.__getitem__, default=None)
        if place is None:
            break
        others = [widths[other] for other in free if other != place]
        target = max(_MIN_COLUMN, max(others, default=0), widths[place] - too_much)
        if target == widths[place]:
            target = widths[place] - 1
        if target < _MIN_COLUMN:
            break
        too_much -= widths[place] - target
        widths[place] = target
    return widths


def _cell(text: str, width: int) -> str:
    """Return a text as wide as its column; letters of some scripts take two columns of a terminal each."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(f"{set_cell_size(text, width - 1).rstrip()}{CUT_SIGN}", width)


def _cut(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}{CUT_SIGN}"


def range_text(low: object, high: object) -> str:
    """Return a range as people read it, "" for none: `1..100`, `0..2^64-1`."""
    if low is None and high is None:
        return ""
    return f"{_bound_text(low)}..{_bound_text(high)}"


def _bound_text(bound: object) -> str:
    """Return one end of a range, a large power of two as that."""
    if isinstance(bound, int) and abs(bound) >= _LEAST_POWER:
        for text, power in (("2^{}", bound), ("2^{}-1", bound + 1), ("-2^{}", -bound)):
            if power > 0 and power & (power - 1) == 0:
                return text.format(power.bit_length() - 1)
    return "" if bound is None else str(bound)


def choices_text(choices: Sequence[object], *, most: int = _MAX_CHOICES) -> str:
    """Return choices on a line of about so many characters, and how many there are when not all are there."""
    shown: list[str] = []
    for name in map(str, choices):
        if shown and sum(map(len, shown)) + 2 * len(shown) + len(name) > most:
            return f"{', '.join(shown)}, {CUT_SIGN} ({len(choices)})"
        shown.append(name)
    return ", ".join(shown)


def screen_width() -> int | None:
    """Return the columns of the terminal that stdout is, None when it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Say whether stdout is a terminal that shows colours, and whose user wants them (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in {"dumb", "unknown"}
    return sys.stdout.isatty() and not plain


def folded(text: str, width: int | None, *, indent: int) -> list[str]:
    """Return a text as lines that fit beside an indent, broken between words; unbroken without a width.

    A `command` in it is not broken where it has room on a line: it is to be copied.
    """
    if width is None or width <= indent + _MIN_PROSE:
        return [text] if text else []
    most = width - indent

    def joined(match: re.Match[str]) -> str:
        # A comma or a closing bracket behind it stays on its line.
        return match[0].replace(" ", _JOINER) if len(match[0]) < most - 2 else match[0]

    found = textwrap.wrap(_COMMAND.sub(joined, text), most, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_JOINER, " ") for line in found]


def fitted(line: str, width: int | None) -> list[str]:
    """Return a line as several that fit a terminal; a command stays whole, for it is to be copied."""
    words = line.lstrip()
    if width is None or len(line) <= width or not words or words.startswith("comfy-async "):
        return [line]
    indent = len(line) - len(words)
    first, *rest = folded(words, width, indent=indent + 2 * bool(indent))
    return [f"{' ' * indent}{first}", *(f"{' ' * (indent + 2 * bool(indent))}{part}" for part in rest)]


def prose(text: str) -> str:
    """Return a text whose lines fit the terminal that stdout is, or as it is where that is none."""
    width = screen_width()
    return "\n".join(part for line in text.split("\n") for part in fitted(line, width))


def short_text(value: object) -> str:
    """Return a value on one line, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return _cut(text, _MAX_VALUE)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return JSON that every reader takes and stdout can hold.

    It is in ASCII where the encoding lacks a letter, or for a lone surrogate, and has null where a
    server said NaN or infinity, as JavaScript writes them.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str, indent=indent)
    except ValueError:
        value = _without_nan(value)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, default=str, indent=indent)
    return text


def _without_nan(value: object) -> object:
    """Return a value with null in the place of what is no number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return [_without_nan(inner) for inner in value] if isinstance(value, list | tuple) else value


def when_text(milliseconds: float | None) -> str:
    """Return a server's time as local date and time, as a date in another year, "" when it gave none."""
    if not milliseconds:
        return ""
    when = datetime.datetime.fromtimestamp(milliseconds / 1000)
    is_recent = when.year == datetime.datetime.now().year
    return when.strftime("%m-%d %H:%M" if is_recent else "%Y-%m-%d")


def age_text(milliseconds: object) -> str:
    """Return how long ago something was, "" when unknown."""
    if not isinstance(milliseconds, int | float) or milliseconds <= 0:
        return ""
    seconds = max(0, time.time() - milliseconds / 1000)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def size_text(size: float | None) -> str:
    """Return a size in bytes as people read it, "" when unknown."""
    if size is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
