"""Lists for people: aligned columns, ages, sizes."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterable, Iterator, Sequence

from .._console_lines import without_controls

__all__ = ["age_text", "columns", "counted", "short_text", "size_text", "when_text", "without_controls"]

_MAX_VALUE = 60


def columns(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield rows as lines with aligned columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    if not texts:
        return
    widths = [
        max(len(row[place]) for row in texts if place < len(row)) for place in range(max(map(len, texts)))
    ]
    for row in texts:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()


def short_text(value: object) -> str:
    """Return a value on one line, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"


def counted(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def when_text(milliseconds: float | None) -> str:
    """Return a server's time as local date and time, "" when it gave none."""
    if not milliseconds:
        return ""
    return datetime.datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M:%S")


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
