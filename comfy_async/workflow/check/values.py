"""Checking one value against its specification, with the server's own conversions and limits."""

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
"""The server's type for an exception that was raised during validation."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one input, without its node and name."""

    type: str
    message: str
    received: Any = None
    nearest: tuple[str, ...] = ()
    advice: str = ""
    warning: bool = False


def unwrapped(value: Any) -> Any:
    """Return the value without its `{"__value__": ...}` wrapper, if it has one."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value


def check_value(spec: InputSpec, value: Any, *, limits: bool = True) -> Finding | None:
    """Return why the server would reject a value, or a warning about it; None when there is neither.

    Args:
        spec: The input.
        value: The value, wrapped or not.
        limits: Whether to check ranges and choices: the server does not check them for an
            input that the node validates itself.
    """
    try:
        converted = _converted(spec, unwrapped(value))
    except (ValueError, TypeError, OverflowError):
        return Finding("invalid_input_type", f"this is not a {_KINDS[spec.type]}", unwrapped(value))
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
    """Return a warning when the server converts a value to one that was surely not meant."""
    if isinstance(_raw_type(spec), list):
        return None
    is_odd = (
        (spec.type == "STRING" and (value is None or isinstance(value, dict | list)))
        or (spec.type == "BOOLEAN" and value is None)
        or (spec.type == "INT" and isinstance(value, float) and value != converted)
    )
    if not is_odd:
        return None
    told = f"the server converts {clipped(value)} to {clipped(converted)}"
    return Finding("value_changed", told, value, warning=True)


def value_for_link(spec: InputSpec, value: Any) -> Finding | None:
    """Return a warning for a value in an input that only accepts links, None for other inputs.

    The server does not validate values of such types, but the node fails when it runs. It is a
    warning because only what the server rejects is an error.
    """
    if not isinstance(_raw_type(spec), str) or spec.type not in _LINKED:
        return None
    if unwrapped(value) is None and not spec.required:
        return None
    pending = is_pending(value) or is_handle(value)
    shown = f"a file ({type(value).__name__})" if pending else clipped(unwrapped(value))
    told = f"it takes a link of type {spec.type}, not {shown}: the server accepts it, but the node fails"
    advice = 'A link is ["node", slot].' + (" Load the file with a node and link to that." if pending else "")
    received = None if pending else unwrapped(value)
    return Finding("value_for_link", told, received, (), advice, warning=True)


# ComfyUI's types whose values are Python objects, which JSON cannot express.
_LINKED = frozenset(
    "MODEL CLIP VAE CONDITIONING LATENT IMAGE MASK CONTROL_NET CLIP_VISION CLIP_VISION_OUTPUT STYLE_MODEL "
    "UPSCALE_MODEL GLIGEN SAMPLER SIGMAS NOISE GUIDER AUDIO VIDEO".split()
)


def _converted(spec: InputSpec, value: Any) -> Any:
    """Return the value converted as in execution.py, where texts that hold a number become numbers."""
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
        told = f"{clipped(value)} is too small; the minimum is {least}"
        return Finding("value_smaller_than_min", told, value, (str(least),))
    if "max" in spec.options and value > most:
        told = f"{clipped(value)} is too large; the maximum is {most}"
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
        return Finding(kind, f"{first} is not available: the server has no choices for this input", value)
    names = [choice for choice in choices if isinstance(choice, str)]
    word = wrong[0] if isinstance(wrong[0], str) else clipped(wrong[0])
    close = nearest(word, names) or tuple(str(choice) for choice in choices[:5])
    return Finding(kind, f"{first} {not_among(choices)}", value, close)


def truth_of(value: Any) -> Finding | None:
    """Return a warning for a text in a boolean input that the server reads otherwise than it says.

    To the server every text but "" is true.
    """
    if not isinstance(value, str):
        return None
    meant = truth(value)
    if meant is None or meant is not bool(value):
        told = f"the server takes the text {clipped(value)} as {str(bool(value)).lower()}"
        return Finding("text_for_boolean", told, value, ("true", "false"), warning=True)
    return None


def not_among(choices: Sequence[Any]) -> str:
    """Return the predicate of a message: that a value is none of these choices."""
    if len(choices) > 1:
        return f"is none of the {len(choices)} choices"
    return "is not the only valid choice" if choices else "is not available: the server has no choices"
