"""Converting a text for an input of another type: a boolean, a number, a picture."""

from __future__ import annotations

import math
import re
from typing import Any

from ..types import clipped
from ._nodes import Node
from ._specs import FILE_INPUTS, InputSpec
from ._values import DamageError, truth

__all__ = ["meant"]


def meant(value: Any, node: Node, name: str, spec: InputSpec | None) -> Any:
    """Return a text converted to the type of its input; values of other types are returned as they are.

    The server reads every text but "" as true, so `"false"` from a command line or a table would
    mean its opposite. Without a specification the present value decides whether it is a boolean.

    Raises:
        DamageError: The input is a boolean and the text is neither true nor false, or the input
            expects a file and the text is a damaged data: URI or a URL.
    """
    if type(value) is not str:
        return value
    if _is_file(node, name, spec) and value[:5].lower() == "data:":
        return _decoded(value)
    if FILE_INPUTS.get(node.class_type) == name and _URL.match(value):
        raise DamageError(f"{clipped(value)} is a URL: download it, and pass the bytes or a path")
    if spec is None:
        return _yes_or_no(value) if isinstance(node.inputs.get(name), bool) else value
    if spec.type == "BOOLEAN":
        return _yes_or_no(value)
    if spec.type in _NUMBERS:
        return _number(value, spec.type)
    if spec.choices and value not in spec.choices:
        return next((choice for choice in spec.choices if _writes(value, choice)), value)
    return value


_URL = re.compile(r"https?://", re.IGNORECASE)

_NUMBERS: dict[str, type[int] | type[float]] = {"INT": int, "FLOAT": float}


def _is_file(node: Node, name: str, spec: InputSpec | None) -> bool:
    return FILE_INPUTS.get(node.class_type) == name or (spec is not None and spec.is_upload)


def _yes_or_no(text: str) -> bool:
    told = truth(text)
    if told is None:
        raise DamageError(f"{clipped(text)} is neither true nor false")
    return told


def _number(text: str, kind: str) -> Any:
    """Return the number that a text holds, else the text: `check` reports what the server rejects."""
    try:
        number = _NUMBERS[kind](text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _writes(text: str, choice: Any) -> bool:
    """Return whether a text stands for a choice that is a number or a boolean."""
    if isinstance(choice, bool):
        return truth(text) is choice
    return isinstance(choice, int | float) and text.strip() == str(choice)


def _decoded(uri: str) -> bytes:
    """Return the content of a `data:` URI, which is uploaded like any bytes."""
    import base64
    import urllib.parse

    head, comma, content = uri.partition(",")
    try:
        if not comma:
            raise ValueError("it has no comma")
        if head.lower().endswith(";base64"):
            return base64.b64decode(urllib.parse.unquote(content), validate=False)
        return urllib.parse.unquote_to_bytes(content)
    except ValueError as error:
        raise DamageError(f"the data: URI is damaged ({error})") from error
