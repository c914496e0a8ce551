"""Converting a text from a form, a table or a command line to the type of an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._values import truth

__all__ = ["parsed"]


def parsed(text: str, *, type: str, choices: Sequence[Any] | None, is_file: bool) -> Any:
    """Return a text as a value of an input's type, unchanged when it cannot be converted."""
    if is_file:
        return text
    if choices is not None:
        return next((choice for choice in choices if _writes(text, choice)), text)
    stripped = text.strip()
    if type == "BOOLEAN":
        told = truth(stripped)
        return text if told is None else told
    if type in ("INT", "FLOAT"):
        return _read_number(stripped, text)
    return text


def _read_number(stripped: str, text: str) -> Any:
    """Return the number that a text holds, else the text."""
    for kind in (int, float):
        try:
            return kind(stripped)
        except ValueError:
            continue
    return text


def _writes(text: str, choice: Any) -> bool:
    """Return whether a text stands for a choice."""
    if isinstance(choice, str):
        return text == choice
    if isinstance(choice, bool):
        return truth(text) is choice
    return text.strip() == str(choice)
