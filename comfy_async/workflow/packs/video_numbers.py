"""VideoHelperSuite's numbers: clamped and rounded whenever they are set, also while a file is opened.

A format for loading videos (`formats` of the input `format`) has its own steps for sizes and
numbers of frames, and its frame rate replaces that of the previous format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from ..convert.model import JSON_OBJECT, Node, Widget

__all__ = ["choose_load_format", "press"]

_FITTED: Final = ("force_rate", "custom_width", "custom_height", "frame_load_cap")


def press(widget: Widget) -> None:
    """Clamp and round a number that was just set."""
    value = widget.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return
    pressed: float | None
    if widget.kind == "int":
        pressed = _whole(value, widget.options)
    elif widget.kind == "float":
        pressed = _broken(value, widget.options)
    else:
        return
    if pressed != value:
        widget.value, widget.spot = pressed, None


def _whole(value: float, options: Mapping[str, Any]) -> float | None:
    """Return a number clamped and rounded to its step; None without a step, as in JavaScript."""
    high, low, step, shift = (options.get(name) for name in ("max", "min", "step", "mod"))
    if _is_number(high) and high and value > high:
        value = high
    if _is_number(low) and low and value < low:
        value = low
    if value == 0:
        return value
    if not _is_number(step) or not step:
        return None
    offset: float = shift if _is_number(shift) else 0
    steps = math.floor((value - offset) / step + 0.5)
    return float(steps * step + offset) if isinstance(step, float) else steps * int(step) + offset


def _broken(value: float, options: Mapping[str, Any]) -> float:
    """Return a number rounded as its input declares, at most its maximum."""
    unit, high = options.get("round"), options.get("max")
    if _is_number(unit) and unit:
        value = math.floor(value / unit + 0.5) * unit
    return high if _is_number(high) and high and value > high else value


def choose_load_format(node: Node, formats: Any, value: Any, base: Mapping[str, Mapping[str, Any]]) -> None:
    """Set the numbers' steps to the chosen format's, and defaults of the last format to the new ones.

    Args:
        node: The node.
        formats: The settings of each format.
        value: The chosen format.
        base: The options that the class declares, by widget.
    """
    chosen = formats.get(value) if isinstance(formats, JSON_OBJECT) and isinstance(value, str) else None
    if not isinstance(chosen, JSON_OBJECT):
        return
    asked = _asked(chosen)
    for name in _FITTED:
        widget = node.widget(name)
        if widget is None:
            continue
        was_default = "reset" in widget.options and widget.options["reset"] == widget.value
        widget.options = {**base.get(name, {}), **asked.get(name, {})}
        if was_default and widget.options.get("reset") is not None:
            widget.value, widget.spot = widget.options["reset"], None
        press(widget)


def _asked(chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options that a format sets, by widget."""
    asked: dict[str, dict[str, Any]] = {}
    if "target_rate" in chosen:
        asked["force_rate"] = {"reset": chosen["target_rate"]}
    if isinstance(sizes := chosen.get("dim"), list | tuple) and len(sizes) > 1:
        for name, default in zip(("custom_width", "custom_height"), [*sizes[2:4], None, None], strict=False):
            asked[name] = {"step": sizes[0], "mod": sizes[1]} | ({"reset": default} if default else {})
    if isinstance(frames := chosen.get("frames"), list | tuple) and len(frames) > 1:
        asked["frame_load_cap"] = {"step": frames[0], "mod": frames[1]}
    return asked


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether it is a number and not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)
