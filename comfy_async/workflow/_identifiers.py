"""Python names for ComfyUI's names, which may contain dots, spaces and other characters."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

__all__ = ["identifier", "identifiers", "output_names"]


def identifier(name: str) -> str:
    """Return the Python name of an input, class or type: `.` becomes `__`, other characters `_`.

    Example:
        >>> identifier("resize_type.width"), identifier("Video Slice"), identifier("from")
        ('resize_type__width', 'Video_Slice', 'from_')
    """
    word = re.sub(r"\W", "_", name.replace(".", "__"))
    if not word or word[0].isdigit():
        word = f"n_{word}"
    return f"{word}_" if keyword.iskeyword(word) else word


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return the names by their Python names; of two with the same Python name the first is kept."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(identifier(name), name)
    return found


_TUPLE = frozenset(dir(tuple))


def output_names(names: Iterable[str]) -> list[str]:
    """Return the attribute names of a node's outputs, in order and without duplicates."""
    found: list[str] = []
    for slot, name in enumerate(names):
        word = identifier(name).lstrip("_") or "output"
        found.append(f"{word}_{slot}" if word in _TUPLE or word in found else word)
    return found
