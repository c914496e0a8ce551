"""Restoring the saved values of widgets: by position as the editor does, or by name.

The editor restores `widgets_values` by position (LGraphNode.configure): each widget that is
saved takes the next value; a dynamic combo or a group adds its own widgets before the next value
is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConversionError
from ...types import Problem
from .declarations import GROUP, Declared, holds
from .javascript import as_text
from .model import MISSING, Node, Spot, Widget
from .node_from_class import choose, fit_rows

__all__ = [
    "CONTROL_WORDS",
    "choices",
    "left_by_name",
    "places_of",
    "restore",
    "restore_by_name",
    "set_value",
    "takes_all",
]

# The values of these kinds are made in the editor when a prompt is queued, not read from the file.
_EDITOR_ONLY = frozenset({"viewport", "load3d", "audio", "webcam", "branch_names"})

CONTROL_WORDS = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
"""The values of `control_after_generate`; in a list of values they show that the companion is saved."""


def restore(node: Node, values: Sequence[Any], places: Sequence[int]) -> None:
    """Set widgets, in their order, to the values at these indexes; the others keep their values."""
    _by_position(node, values, places)
    _settle(node)


def restore_by_name(node: Node, values: Mapping[str, Any]) -> None:
    """Set each widget to the value of its name; a dynamic combo adds its widgets before these are set.

    Packs like VideoHelperSuite write `widgets_values` as an object. `widgets_values_named` is read
    only for classes that declare it, as in the editor.
    """
    index = 0
    while index < len(node.widgets):
        widget = node.widgets[index]
        if widget.saved and widget.name in values:
            _take(node, widget, values[widget.name], Spot(node.place, widget.name), most=len(values))
        index += 1
    _settle(node)


def left_by_name(node: Node, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the values of an object that no widget or input of the node has, each as `{name: value}`."""
    known = {widget.name for widget in node.widgets} | {slot.name for slot in node.inputs}
    # Under such names previews store display state, which is not the value of an input.
    lost = {name: value for name, value in values.items() if name not in known and "preview" not in name}
    return [{name: value} for name, value in lost.items() if value not in ("", None)]


def set_value(node: Node, widget: Widget, value: Any, spot: Spot | None = None) -> None:
    """Set a widget's value, which was read at the spot, and update the widgets that depend on it."""
    if widget.kind in _EDITOR_ONLY:
        return
    if widget.kind in ("multiline", "markdown") and not isinstance(value, str):
        value = _in_text_area(value, node)
    widget.value, widget.spot, widget.rules = value, spot, ()
    if widget.kind == "dynamic":
        choose(node, widget)
    elif widget.kind == "rows":
        fit_rows(node, widget, _rows(value))
    elif widget.kind == "option":
        _fit_options(node, widget)


def _in_text_area(value: Any, node: Node) -> Any:
    """Return the value of a text area that is set to something that is not a text; null becomes ""."""
    if value is None:
        return ""
    return as_text(value) if node.editor.writes_texts else value


def _rows(value: Any) -> int:
    """Return the number of rows of a group's saved count, 0 for a value that is not a number."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return max(0, math.trunc(value)) if known else 0


def _take(node: Node, widget: Widget, value: Any, spot: Spot, *, most: int) -> None:
    """Set a widget's value, one of `most` saved ones; that number limits the rows of a group.

    Raises:
        ConversionError: A group has more rows than the file has values.
    """
    if widget.kind == "rows" and _rows(value) > max(widget.options.get("max") or 0, most):
        raise _too_many_rows(node, widget, value)
    set_value(node, widget, value, spot)


def _too_many_rows(node: Node, widget: Widget, value: Any) -> ConversionError:
    """Return the error for a group that has more rows than values."""
    message = f"{widget.name!r} was saved with {value} rows, but not with as many values"
    problem = Problem(
        node=node.id,
        title=node.title or "",
        class_type=node.type,
        input=widget.name,
        type="values_lost",
        message=message,
        received=value,
        advice="Open the file in ComfyUI, set the rows again and save it.",
    )
    return ConversionError(f"node {node.id} ({node.type}): {message}", problems=[problem])


def _by_position(node: Node, values: Sequence[Any], places: Sequence[int]) -> None:
    """Set the saved widgets, in their order, to the values at these indexes."""
    rest = iter(places)
    index = 0
    while index < len(node.widgets):
        widget = node.widgets[index]
        index += 1
        if not widget.saved:
            continue
        place = next(rest, None)
        if place is None:
            return
        _take(node, widget, values[place], Spot(node.place, place), most=len(values))
    node.surplus = [values[place] for place in rest]


def takes_all(node: Node, declared: Sequence[Declared]) -> bool:
    """Return whether `places_of` would return all indexes of any list for a new node of a class."""
    return not any(item.socket_only for item in declared) and all(widget.saved for widget in node.widgets)


def places_of(node: Node, values: Sequence[Any], declared: Sequence[Declared]) -> Sequence[int]:
    """Return the indexes of the values for a new node's widgets (migrateWidgetsValues).

    Left out are the values of inputs that were widgets before frontend 1.16 and are for links only
    now, and of widgets that are no longer saved. As in the editor, the list must have a value for
    each widget, each `forceInput` input and each companion that the class declares by its flag.
    """
    if any(holds(item, GROUP) for item in declared):
        return range(len(values))
    dropped = _dropped(node, declared)
    if True not in dropped and len(values) == sum(widget.saved for widget in node.widgets):
        return range(len(values))
    unsaved = {index for index, widget in enumerate(node.widgets) if not widget.saved}
    places = [place for place in range(len(values)) if place not in unsaved]
    if len(places) != len(dropped):
        places = list(range(len(values)))
    if len(places) != len(dropped):
        return places
    return [place for place, drop in zip(places, dropped, strict=True) if not drop]


def _dropped(node: Node, declared: Sequence[Declared]) -> list[bool]:
    """Return for each index of an old list whether its value is no longer used."""
    saved = {widget.name: widget.saved for widget in node.widgets}
    dropped: list[bool] = []
    for item in declared:
        if item.socket_only or saved.get(item.name, False):
            dropped.append(item.socket_only)
            if item.options.get("control_after_generate"):
                dropped.append(False)
    return dropped


def _fit_options(node: Node, widget: Widget) -> None:
    """Keep exactly one empty option at the end of a CustomCombo (customWidgets.ts)."""
    last = node.widgets[-1]
    if widget is last:
        if widget.value:
            node.widgets.append(Widget(f"option{len(node.widgets) - 1}", "option", ""))
    elif not widget.value and len(node.widgets) > 1 and node.widgets[-2] is widget and not last.value:
        node.widgets.pop()


def _settle(node: Node) -> None:
    """Repair values as the frontend does after loading a file (app.loadGraphData)."""
    index = 0
    while index < len(node.widgets):
        _settle_widget(node, node.widgets[index])
        index += 1


def _settle_widget(node: Node, widget: Widget) -> None:
    """Repair one value: a combo that is null, the name of an old sampler, the index of a choice."""
    if widget.value is None or widget.value is MISSING:
        if found := choices(widget):
            set_value(node, widget, found[0])
    if widget.kind == "choice_index":
        options = [option.value for option in node.widgets[2:]]
        choice = node.widgets[0].value
        widget.value = options.index(choice) if choice in options else -1
    elif widget.name == "sampler_name" and node.type in ("KSampler", "KSamplerAdvanced"):
        if isinstance(widget.value, str):
            widget.value = widget.value.removeprefix("sample_")


def choices(widget: Widget) -> Sequence[Any]:
    """Return the choices of a combo, () for other widgets."""
    if widget.kind == "combo":
        return tuple(widget.options.get("values") or ())
    return tuple(widget.options) if widget.kind == "dynamic" else ()
