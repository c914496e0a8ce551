"""One value against its specification, with the server's own conversions and limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ...types import clipped
from .._keys import nearest
from .._specs import InputSpec
from .._values import is_handle, is_pending, same_path, truth

__all__ = ["Finding", "check_value", "not_among", "truth_of", "unwrapped", "value_for_link"]

EXCEPTION = "exception_during_inner_validation"
"""The server's type for whatever its validation did not foresee."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one input, without its place."""

    type: str
    message: str
    received: Any = None
    nearest: tuple[str, ...] = ()
    advice: str = ""
    warning: bool = False


def unwrapped(value: Any) -> Any:
    """Return what the server makes of a wrapped value."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value


def check_value(spec: InputSpec, value: Any, *, limits: bool = True) -> Finding | None:
    """Return what the server has against a value, None when it takes it.

    Args:
        spec: The input.
        value: The value, wrapped or not.
        limits: Whether ranges and choices count: a node that validates an input itself
            is not held to them.
    """
    try:
        converted = _converted(spec, unwrapped(value))
    except (ValueError, TypeError, OverflowError):
        return Finding("invalid_input_type", f"this is no {_KINDS[spec.type]}", unwrapped(value))
    odd = _changed(spec, unwrapped(value), converted)
    if spec.type == "BOOLEAN":
        return odd or truth_of(unwrapped(value))
    if not limits:
        return odd
    try:
        return _out_of_range(spec, converted) or _not_in_list(spec, converted) or odd
    except TypeError as error:
        return Finding(EXCEPTION, f"the server cannot compare this value: {error}", converted)


_KINDS = {"INT": "whole number", "FLOAT": "number"}


def _changed(spec: InputSpec, value: Any, converted: Any) -> Finding | None:
    """Return a warning for a value of which the server makes another one, surely not what was meant."""
    if isinstance(_raw_type(spec), list):
        return None
    is_odd = (
        (spec.type == "STRING" and (value is None or isinstance(value, dict | list)))
        or (spec.type == "BOOLEAN" and value is None)
        or (spec.type == "INT" and isinstance(value, float) and value != converted)
    )
    if not is_odd:
        return None
    told = f"the server makes {clipped(converted)} of {clipped(value)}"
    return Finding("value_changed", told, value, warning=True)


def value_for_link(spec: InputSpec, value: Any) -> Finding | None:
    """Return what is wrong with a value where only a link has any sense, None when it may have some.

    The server validates no value of such a type, and its node fails when it runs: a warning, since
    errors are what the server refuses.
    """
    if not isinstance(_raw_type(spec), str) or spec.type not in _LINKED:
        return None
    if unwrapped(value) is None and not spec.required:
        return None
    pending = is_pending(value) or is_handle(value)
    shown = f"a file ({type(value).__name__})" if pending else clipped(unwrapped(value))
    told = f"it takes a link to {spec.type}, not {shown}: the server does not mind, and the node fails"
    advice = 'A link is ["node", slot].' + (" A file goes into a node that loads it." if pending else "")
    received = None if pending else unwrapped(value)
    return Finding("value_for_link", told, received, (), advice, warning=True)


# Types of ComfyUI's own that are objects of Python: no value of JSON is one.
_LINKED = frozenset(
    "MODEL CLIP VAE CONDITIONING LATENT IMAGE MASK CONTROL_NET CLIP_VISION CLIP_VISION_OUTPUT STYLE_MODEL "
    "UPSCALE_MODEL GLIGEN SAMPLER SIGMAS NOISE GUIDER AUDIO VIDEO".split()
)


def _converted(spec: InputSpec, value: Any) -> Any:
    """Convert as execution.py does: texts that hold a number are numbers to it."""
    if isinstance(_raw_type(spec), list):
        return value
    if spec.type == "INT":
        return int(value)
    if spec.type == "FLOAT":
        return float(value)
    if spec.type == "STRING":
        return str(value)
    return bool(value) if spec.type == "BOOLEAN" else value


def _raw_type(spec: InputSpec) -> Any:
    return spec.raw[0] if isinstance(spec.raw, list | tuple) and spec.raw else spec.type


def _out_of_range(spec: InputSpec, value: Any) -> Finding | None:
    least, most = spec.options.get("min"), spec.options.get("max")
    if "min" in spec.options and value < least:
        told = f"{clipped(value)} is too small; it begins at {least}"
        return Finding("value_smaller_than_min", told, value, (str(least),))
    if "max" in spec.options and value > most:
        told = f"{clipped(value)} is too large; it ends at {most}"
        return Finding("value_bigger_than_max", told, value, (str(most),))
    return None


def _not_in_list(spec: InputSpec, value: Any) -> Finding | None:
    if spec.type != "COMBO":
        return None
    choices = spec.choices or ()
    several = bool(spec.options.get("multiselect")) and isinstance(value, list)
    wrong = [one for one in (value if several else [value]) if one not in choices]
    if not wrong:
        return None
    kind, first = "value_not_in_list", clipped(wrong[0])
    respelled = [other for one in wrong if (other := same_path(one, choices)) is not None]
    if len(respelled) == len(wrong):
        told = f"{first} is spelled with other path separators on this server"
        return Finding(kind, told, value, tuple(respelled), "localized(catalog) respells it.")
    if not choices:
        return Finding(kind, f"{first} is none of the choices: the server has none", value)
    names = [choice for choice in choices if isinstance(choice, str)]
    word = wrong[0] if isinstance(wrong[0], str) else clipped(wrong[0])
    close = nearest(word, names) or tuple(str(choice) for choice in choices[:5])
    return Finding(kind, f"{first} {not_among(choices)}", value, close)


def truth_of(value: Any) -> Finding | None:
    """Return what to know of a text that stands for yes or no: to the server every text but "" is yes."""
    if not isinstance(value, str):
        return None
    meant = truth(value)
    if meant is None or meant is not bool(value):
        told = f"the server takes the text {clipped(value)} as {str(bool(value)).lower()}"
        return Finding("text_for_boolean", told, value, ("true", "false"), warning=True)
    return None


def not_among(choices: Sequence[Any]) -> str:
    """Say of a value that it is none of the choices, however many there are."""
    if len(choices) > 1:
        return f"is none of the {len(choices)} choices"
    return "is not the one choice that there is" if choices else "is no choice: the server has none"
