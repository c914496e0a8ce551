"""Python names for ComfyUI's names, which may hold dots, spaces and anything else."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

__all__ = ["identifier", "identifiers", "output_names"]


def identifier(name: str) -> str:
    """Return the Python name of an input, class or type: `a.b` is `a__b`, other signs are `_`.

    Example:
        >>> identifier("resize_type.width"), identifier("Video Slice"), identifier("from")
        ('resize_type__width', 'Video_Slice', 'from_')
    """
    word = re.sub(r"\W", "_", name.replace(".", "__"))
    if not word or word[0].isdigit():
        word = f"n_{word}"
    return f"{word}_" if keyword.iskeyword(word) else word


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return the names by their Python names; what comes first keeps a name that two would have."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(identifier(name), name)
    return found


_TUPLE = frozenset(dir(tuple))


def output_names(names: Iterable[str]) -> list[str]:
    """Return the names by which the outputs of a node are attributes: each one once."""
    found: list[str] = []
    for slot, name in enumerate(names):
        word = identifier(name).lstrip("_") or "output"
        found.append(f"{word}_{slot}" if word in _TUPLE or word in found else word)
    return found
