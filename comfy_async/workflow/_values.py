"""The values of a node's inputs: JSON, links, wrapped lists, files to upload."""

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
"""The most levels of lists and objects in one value; more would raise a RecursionError."""


class DamageError(ValueError):
    """Raised for a value that JSON cannot express; the caller adds the place."""


def is_link(value: Any) -> bool:
    """Return whether a value is a link `[id, slot]`, as ComfyUI decides it (graph_utils.is_link)."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
        and not isinstance(value[1], bool)
    )


def is_handle(value: Any) -> bool:
    """Return whether a value is the handle of an uploaded file, which has its name on the server."""
    return hasattr(value, "name_for_input")


def is_pending(value: Any) -> bool:
    """Return whether a value must be uploaded before it can be sent.

    Paths, bytes, open files, files of fsspec, Pillow images and numpy arrays are recognized by
    their attributes, so that no library is imported. A string is never a file to upload.
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
    """Return a copy of a value in plain JSON types.

    Raises:
        DamageError: It holds NaN, an infinity, a key that is not a string, or something else that
            JSON cannot express.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise DamageError(f"{value} is not a number in JSON")
    if depth >= MAX_DEPTH:
        raise DamageError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list | tuple):
        return [tidy(item, depth=depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): tidy(item, depth=depth + 1) for key, item in value.items()}
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return tidy(value.item(), depth=depth + 1)
    raise DamageError(f"a {type(value).__name__} cannot be sent as JSON")


_TRUTHS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def truth(text: str) -> bool | None:
    """Return the boolean that a text means ("true", "no", "on", "0" and so on), None for other texts."""
    return _TRUTHS.get(text.strip().lower()) if len(text) < 20 else None


def wrap(value: Any) -> Any:
    """Return a value as a node's input holds it: a list that is not a link becomes `{"__value__": [...]}`.

    Files to upload and handles of uploaded files are returned as they are.

    Raises:
        DamageError: The value cannot be sent.
    """
    if is_handle(value) or is_pending(value):
        return value
    if is_link(value):
        if value[1] != int(value[1]) or value[1] < 0:
            raise DamageError(f"{value[1]!r} is not an output slot: slots are numbered from 0")
        return [str(value[0]), int(value[1])]
    clean = tidy(value)
    # The server rejects a bare list that is not a link: bad_linked_input.
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
    """Return what is sent for an uploaded file: its name, or a reference to its asset."""
    reference = getattr(handle, "reference", None)
    return str(handle.name_for_input) if reference is None else plain(dict(reference))


def copy_json(value: Any, *, depth: int = 0) -> Any:
    """Return a copy of JSON, with null for NaN and the infinities, as the editor itself writes them.

    Raises:
        WorkflowFormatError: It holds something that is not JSON, or is nested too deeply.
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
    """Return the choice that equals a value except for path separators, None when there is none."""
    if not isinstance(value, str):
        return None
    wanted = value.replace("\\", "/")
    fitting = (choice for choice in choices if isinstance(choice, str))
    return next((choice for choice in fitting if choice.replace("\\", "/") == wanted), None)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise DamageError(f"the key {key!r} is not a string")
