"""Checking the values of one call before anything is sent; all problems are reported at once."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ...types import Problem, clipped
from .._keys import nearest
from .._values import DamageError, is_handle, is_pending, same_path, tidy
from .parts import AppInput

__all__ = ["WrongValueError", "problem", "unknown_name", "value_for"]

_Number = TypeVar("_Number", int, float, int | float)

_URL = re.compile(r"(?:https?|ftp|s3|gs)://", re.IGNORECASE)

_EDITOR_MAX = 2**50
"""The largest seed that the editor itself draws, so that its doubles keep every digit."""


class WrongValueError(ValueError):
    """Raised for a value that an input does not accept."""

    def __init__(self, type: str, message: str, *, close: tuple[Any, ...] = (), advice: str = "") -> None:
        """Keep ComfyUI's type of the problem, the message, the nearest values, and the advice."""
        super().__init__(message)
        self.type = type
        self.close = close
        self.advice = advice


def problem(name: str, value: Any, found: WrongValueError, item: AppInput | None = None) -> Problem:
    """Return the problem of one value; its `input` is the app's name for it."""
    return Problem(
        node=None,
        title="" if item is None else item.title,
        input=name,
        type=found.type,
        message=f"{name}: {found}" if item is not None else str(found),
        received=value if isinstance(value, str | float | bool) or _is_short(value) else None,
        nearest=tuple(map(str, found.close)),
        advice=found.advice,
    )


def _is_short(value: Any) -> bool:
    """Return whether it is an integer that is short enough to be shown."""
    return isinstance(value, int) and value.bit_length() < 1000


def value_for(item: AppInput, value: Any) -> Any:
    """Return a value as the workflow needs it.

    Raises:
        WrongValueError: The input does not accept it.
    """
    if getattr(value, "shape", None) == ():
        value = _cleaned(value)  # a numpy scalar
    if item.upload is not None:
        return _file(item, value)
    if item.is_seed and value == "random" and isinstance(value, str):
        return random.SystemRandom().randint(*_seed_range(item))
    if item.choices is not None or item.type == "COMBO":
        return _choice(item, value)
    return _CHECKS.get(item.type, _any)(item, value)


def _seed_range(item: AppInput) -> tuple[int, int]:
    low = max(int(item.minimum or 0), 0)
    high = min(int(item.maximum if item.maximum is not None else _EDITOR_MAX), _EDITOR_MAX)
    return min(low, high), high


def _wrong(value: Any, wanted: str, *, advice: str = "") -> WrongValueError:
    kind = "None" if value is None else f"{clipped(value)} ({type(value).__name__})"
    return WrongValueError("invalid_input_type", f"{kind} is not {wanted}", advice=advice)


def _text(_item: AppInput, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a text")
    return str(value)


def _truth(_item: AppInput, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false", advice="Give True or False.")
    return value


def _whole(item: AppInput, value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(value, "a whole number")
    return _within(item, int(value))


def _number(item: AppInput, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(value, "a number")
    return _within(item, value if type(value) in (int, float) else float(value))


def _within(item: AppInput, value: _Number) -> _Number:
    """Return a number after checking that it is in the range."""
    if item.minimum is not None and value < item.minimum:
        told = f"{clipped(value)} is too small; the minimum is {item.minimum}"
        raise WrongValueError("value_smaller_than_min", told, close=(item.minimum,))
    if item.maximum is not None and value > item.maximum:
        told = f"{clipped(value)} is too large; the maximum is {item.maximum}"
        raise WrongValueError("value_bigger_than_max", told, close=(item.maximum,))
    return value


def _choice(item: AppInput, value: Any) -> Any:
    """Return one of the choices, or a list of them when the input accepts several."""
    if isinstance(value, list | tuple) and isinstance(item.default, list):
        return [_choice(dataclasses.replace(item, default=None), one) for one in value]
    if item.choices is None:
        if isinstance(value, bool | int | float | str):
            return value
        raise _wrong(value, "a text, a number, true or false")
    for choice in item.choices:
        if type(choice) is type(value) and choice == value:
            return choice
        if isinstance(value, str) and isinstance(choice, str) and str(value) == choice:
            return choice
    if (other := same_path(value, item.choices)) is not None:
        return other
    close = nearest(value, [str(choice) for choice in item.choices]) if isinstance(value, str) else ()
    told = f"{clipped(value)} is none of the {len(item.choices)} choices"
    few = "" if close or len(item.choices) > 12 else f": {', '.join(map(str, item.choices))}"
    raise WrongValueError("value_not_in_list", told + few, close=close)


def _file(item: AppInput, value: Any) -> Any:
    """Return a file to upload, or the name of one that the server has."""
    if isinstance(value, str):
        return _file_name(value)
    if is_handle(value):
        return value
    if isinstance(value, os.PathLike):
        return _path(value)
    if not is_pending(value):
        raise _wrong(value, f"a file ({item.upload})", advice=_HOW_FILE)
    if item.upload != "image" and not isinstance(value, bytes | bytearray | memoryview) and not _reads(value):
        raise _wrong(value, f"a file ({item.upload})", advice="Give a path, bytes or an open file.")
    if isinstance(value, bytes | bytearray | memoryview) and not len(value):
        raise WrongValueError("invalid_input_type", "the file is empty")
    return value


_HOW_FILE = "Give a path (pathlib.Path), bytes, an open file, a Pillow image, or an array."


def _reads(value: Any) -> bool:
    return callable(getattr(value, "read", None))


def _file_name(value: str) -> str:
    """Return the name of a file on the server, which is no URL and has one line."""
    if _URL.match(value):
        told = f"{clipped(value)} is a URL, and files are not downloaded"
        raise WrongValueError("invalid_input_type", told, advice="Download it, and give the bytes or a path.")
    if not value.strip() or "\n" in value:
        raise _wrong(value, "a file name", advice=_HOW_FILE)
    return value


def _path(value: os.PathLike[Any]) -> Path:
    """Return a path after checking that its file exists."""
    path = Path(os.fsdecode(value))
    if _URL.match(os.fsdecode(value)) or re.match(r"https?:/", os.fsdecode(value)):
        told = f"{clipped(os.fsdecode(value))} is a URL, and files are not downloaded"
        raise WrongValueError("invalid_input_type", told, advice="Download it, and give the bytes or a path.")
    if not path.is_file():
        told = "is a folder" if path.is_dir() else "does not exist"
        raise WrongValueError("invalid_input_type", f"the file {clipped(str(path))} {told}")
    return path


def _any(_item: AppInput, value: Any) -> Any:
    """Return a value of any other type; a list is wrapped, so that it is never taken for a link."""
    clean = _cleaned(value)
    if clean is None:
        raise _wrong(None, "a value")
    return {"__value__": clean} if isinstance(clean, list) else clean


_CHECKS: dict[str, Callable[[AppInput, Any], Any]] = {
    "STRING": _text,
    "INT": _whole,
    "FLOAT": _number,
    "BOOLEAN": _truth,
}


def _cleaned(value: Any) -> Any:
    """Return a value in plain JSON types."""
    try:
        return tidy(value)
    except DamageError as damage:
        raise WrongValueError("invalid_input_type", f"{clipped(value)}: {damage}") from None


def unknown_name(name: str, known: Mapping[str, AppInput]) -> Problem:
    """Return the problem of a value with a name that no input has."""
    close = nearest(name, list(known))
    told = f"the app has no input {clipped(name)}"
    if not close:
        told += f"; it has {', '.join(known) or 'none'}"
    return problem(name, None, WrongValueError("unknown_input", told, close=close))
