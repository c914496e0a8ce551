"""Options that are one of a few words."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["demand_word"]


def demand_word(name: str, value: object, known: Collection[object]) -> None:
    """Check an option's value.

    Raises:
        ValueError: It is none of the known ones.
    """
    if value not in known:
        raise ValueError(f"{name} is {' or '.join(map(repr, known))}, not {value!r}")
