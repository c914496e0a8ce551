"""Lists for people: aligned columns, ages, sizes."""

from __future__ import annotations

import datetime
import json
import math
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    "range_text",
    "screen_width",
    "short_text",
    "size_text",
    "when_text",
    "without_controls",
]

_MAX_VALUE = 60
_MAX_CHOICES = 40
_MIN_COLUMN = 20
_GAP = "  "
CUT_SIGN = "…"
# Below these a number reads better with its digits.
_LEAST_POWER = (1 << 31) - 1

CUT = f"what ends in {CUT_SIGN} is cut: --json has it whole"


def columns(
    rows: Iterable[Sequence[object]], *, width: int | None = None, whole: int | None = None
) -> Iterator[str]:
    """Yield rows as lines with aligned columns, the widest ones cut until they fit a terminal.

    Args:
        rows: The cells.
        width: The columns of the terminal, None for lines of any length.
        whole: The place of cells that are there to be copied, such as ids: they are never cut.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    if not texts:
        return
    widths = [
        max(len(row[place]) for row in texts if place < len(row)) for place in range(max(map(len, texts)))
    ]
    if width is not None:
        widths = _fitted(widths, width, whole)
    for row in texts:
        cells = (_cut(cell, most).ljust(most) for cell, most in zip(row, widths, strict=False))
        yield _GAP.join(cells).rstrip()


def _fitted(widths: list[int], width: int, whole: int | None) -> list[int]:
    """Return widths of columns that fit beside each other, as long as each keeps something to read."""
    widths = list(widths)
    too_much = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while too_much > 0:
        free = [place for place in range(len(widths)) if place != whole]
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
    """Return a text as lines that fit beside an indent, broken between words; unbroken without a width."""
    if width is None or width <= indent + _MIN_COLUMN:
        return [text] if text else []
    return textwrap.wrap(text, width - indent, break_long_words=False, break_on_hyphens=False)


def fitted(line: str, width: int | None) -> list[str]:
    """Return a line as several that fit a terminal; a command stays whole, for it is to be copied."""
    words = line.lstrip()
    if width is None or len(line) <= width or not words or words.startswith("comfy-async "):
        return [line]
    indent = len(line) - len(words)
    first, *rest = folded(words, width, indent=indent + 2 * bool(indent))
    return [f"{' ' * indent}{first}", *(f"{' ' * (indent + 2 * bool(indent))}{part}" for part in rest)]


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
