"""Labels and keys: by what a job is found again later; the server keeps them with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["LABELS", "checked_key", "checked_labels", "has_labels", "labels_of"]

LABELS: Final = "comfy_async_labels"
"""The key of `extra_data` under which a job's labels are sent: queue and history show them there."""

# A trace context (W3C) is 55 characters and up to 512 more; everybody who reads the queue reads these.
_MOST: Final = 32
_NAME_CHARS: Final = 64
_VALUE_CHARS: Final = 512
_KEY_CHARS: Final = 512


def checked_labels(labels: Any) -> dict[str, str]:
    """Return labels as they are sent, {} for None.

    Raises:
        ValueError: They are not text to text, too many, or one is too long or cannot be written.

    Example:
        >>> checked_labels({"user": "7"})
        {'user': '7'}
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise ValueError(f"labels is a mapping such as {{'user': '7'}}, not {_shown(labels)}")
    if len(labels) > _MOST:
        raise ValueError(f"a job has at most {_MOST} labels, not {len(labels)}")
    for name, value in labels.items():
        _demand_text("the name of a label", name, most=_NAME_CHARS)
        if not name or "=" in name:
            raise ValueError(f"the name of a label is not empty and has no '=' in it: {_shown(name)}")
        _demand_text(f"the label {name!r}", value, most=_VALUE_CHARS)
    return dict(labels)


def checked_key(key: Any) -> str:
    """Return what one job is for, as it is.

    Raises:
        ValueError: It is no text, empty, too long or cannot be written.
    """
    _demand_text("the key", key, most=_KEY_CHARS)
    if not key:
        raise ValueError("the key is an empty text: every job would be the same one")
    return str(key)


def labels_of(extra_data: object) -> dict[str, str]:
    """Return the labels in what was sent along with a prompt; what is no label of ours is left out."""
    found = extra_data.get(LABELS) if isinstance(extra_data, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, str)}


def has_labels(labels: Mapping[str, str], wanted: Iterable[tuple[str, str]]) -> bool:
    """Say whether all that is wanted is among the labels."""
    return all(labels.get(name) == value for name, value in wanted)


def _demand_text(what: str, value: object, *, most: int) -> None:
    """Check that something is a text that is not too long.

    Raises:
        ValueError: It is none, too long, or holds half of a character.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} is a text, not {_shown(value)}")
    if len(value) > most:
        raise ValueError(f"{what} has at most {most} characters, not {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is no Unicode text: {_shown(value)}") from None


def _shown(value: object) -> str:
    """Return a value for an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
