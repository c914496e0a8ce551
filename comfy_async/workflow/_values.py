"""What may stand in a node's input: JSON, links, lists in their wrapping, files to upload."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .._base.places import is_stored
from ..errors import WorkflowFormatError

__all__ = [
    "DamageError",
    "copy_json",
    "is_handle",
    "is_link",
    "is_pending",
    "plain",
    "same_path",
    "tidy",
    "truth",
    "wrap",
]

MAX_DEPTH = 200
"""Levels of lists and objects in one value: more is damage, and would end in a RecursionError."""


class DamageError(ValueError):
    """A value that JSON cannot carry; the caller adds the place."""


def is_link(value: Any) -> bool:
    """Tell whether a value is `[id, slot]` as ComfyUI tells it (graph_utils.is_link)."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
        and not isinstance(value[1], bool)
    )


def is_handle(value: Any) -> bool:
    """Tell whether a value is a file that was uploaded and knows its name on the server."""
    return hasattr(value, "name_for_input")


def is_pending(value: Any) -> bool:
    """Tell whether a value must be uploaded before it can be sent.

    Paths, bytes, open files, files of fsspec, Pillow images and numpy arrays are told by what
    they can do, so that no library is imported. A text is a text, whatever it begins with.
    """
    if isinstance(value, os.PathLike | bytes | bytearray | memoryview) or is_stored(value):
        return True
    if isinstance(value, str | int | float | list | tuple | Mapping | type) or value is None:
        return False
    if is_handle(value):
        return False
    looks_like_image = callable(getattr(value, "save", None)) and hasattr(value, "mode")
    looks_like_array = bool(getattr(value, "shape", ())) and hasattr(value, "dtype")
    return callable(getattr(value, "read", None)) or looks_like_image or looks_like_array


def tidy(value: Any, *, depth: int = 0) -> Any:
    """Copy a value into plain JSON types.

    Raises:
        DamageError: It holds NaN, an infinity, a key that is no text, or something else that
            JSON cannot express.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise DamageError(f"{value} is no number that JSON knows")
    if depth >= MAX_DEPTH:
        raise DamageError("it is nested too deeply")
    if isinstance(value, list | tuple):
        return [tidy(item, depth=depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): tidy(item, depth=depth + 1) for key, item in value.items()}
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return tidy(value.item(), depth=depth + 1)
    raise DamageError(f"a {type(value).__name__} cannot be sent")


_TRUTHS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def truth(text: str) -> bool | None:
    """Return what a text means where yes or no is asked for, None when it means neither."""
    return _TRUTHS.get(text.strip().lower()) if len(text) < 20 else None


def wrap(value: Any) -> Any:
    """Return a value as a node's input carries it: a list that is no link gets its wrapping.

    Files to upload and handles of uploaded files stay what they are.

    Raises:
        DamageError: The value cannot be sent.
    """
    if is_handle(value) or is_pending(value):
        return value
    if is_link(value):
        if value[1] != int(value[1]) or value[1] < 0:
            raise DamageError(f"{value[1]!r} is no output slot")
        return [str(value[0]), int(value[1])]
    clean = tidy(value)
    # A bare list of other than a link is refused by the server: bad_linked_input.
    return {"__value__": clean} if isinstance(clean, list) else clean


def plain(value: Any) -> Any:
    """Return a copy in plain JSON types of a value that `wrap` or `tidy` made."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, str) and type(value) is not str:
        return str.__str__(value)
    return _sent(value) if is_handle(value) else value


def _sent(handle: Any) -> Any:
    """Return what stands for a file on its server: its name, or a reference to its asset."""
    reference = getattr(handle, "reference", None)
    return str(handle.name_for_input) if reference is None else plain(dict(reference))


def copy_json(value: Any, *, depth: int = 0) -> Any:
    """Copy JSON, with null for NaN and the infinities, as the editor itself writes them.

    Raises:
        WorkflowFormatError: It holds something that is no JSON, or is nested too deeply.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if depth < MAX_DEPTH and isinstance(value, list | tuple):
        return [copy_json(item, depth=depth + 1) for item in value]
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {str(key): copy_json(item, depth=depth + 1) for key, item in value.items()}
    reason = "is nested too deeply" if depth >= MAX_DEPTH else f"holds a {type(value).__name__}"
    raise WorkflowFormatError(f"the editor file {reason}")


def same_path(value: Any, choices: Iterable[Any]) -> str | None:
    """Return the choice that differs from a value only in its path separators."""
    if not isinstance(value, str):
        return None
    wanted = value.replace("\\", "/")
    fitting = (choice for choice in choices if isinstance(choice, str))
    return next((choice for choice in fitting if choice.replace("\\", "/") == wanted), None)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise DamageError(f"the key {key!r} is no text")
