"""PrimitiveNode: its value is written into the widgets that it is linked to.

When a prompt is queued, each primitive sets the widgets at the ends of its links (widgetInputs.ts,
widgetValuePropagation.ts). Numbers are rounded there as if they had been typed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from .declarations import Declared
from .model import (
    MISSING,
    Graph,
    InputSlot,
    Node,
    Rules,
    Spot,
    Widget,
)
from .saved_values import set_value
from .widgets import is_widget

__all__ = ["apply_primitives", "primitive_widgets", "rounded_for", "unrounded"]


def apply_primitives(root: Graph, replace: Callable[[str], str]) -> None:
    """Write each primitive's value into the widgets that it feeds.

    Args:
        root: The opened graph.
        replace: Replaces %...% in a text, for primitives with that option.
    """
    for graph, node in list(root.walk()):
        if node.type == "PrimitiveNode" and node.outputs:
            _apply(graph, node, replace)


def _apply(graph: Graph, node: Node, replace: Callable[[str], str]) -> None:
    """Write one primitive's value; its first link decides what kind of value it has."""
    targets = _targets(graph, node)
    if not targets or not _gives_widget(node, *targets[0]):
        return
    value, rules = _value(node, targets)
    spot = Spot(node.place, 0) if _has_value(node) else None
    if value and isinstance(value, str) and node.properties.get("Run widget replace on values"):
        value, spot = replace(value), None
    for target, slot in targets:
        widget = target.slot_widget(slot)
        if widget is not None and value is not MISSING:
            own: Rules = () if slot.host is not None else ((widget.kind, widget.options),)
            set_value(target, widget, rounded_for(widget, value) if own else value, spot)
            widget.rules = rules + own


def primitive_widgets(graph: Graph, node: Node) -> list[Widget]:
    """Return the widgets that a primitive writes its value into."""
    widgets = (target.slot_widget(slot) for target, slot in (_targets(graph, node) if node.outputs else ()))
    return [widget for widget in widgets if widget is not None]


def unrounded(value: Any, rules: Rules) -> bool:
    """Return whether a value passes through these widgets unchanged."""
    for kind, options in rules:
        if _is_number(value):
            widget = Widget("", kind, options=options)
            if _clamped(value, options) != value or rounded_for(widget, value) != value:
                return False
    return True


def _targets(graph: Graph, node: Node) -> list[tuple[Node, InputSlot]]:
    """Return the inputs at the ends of the node's links."""
    found = []
    for link_id in node.outputs[0].links:
        link = graph.links.get(link_id)
        target = graph.nodes.get(link.target_id) if link is not None else None
        slot = target.slot_of_link(link_id) if target is not None else None
        if target is not None and slot is not None:
            found.append((target, slot))
    return found


def _gives_widget(primitive: Node, node: Node, slot: InputSlot) -> bool:
    """Return whether the input has a widget, or a type that widgets exist for.

    A Reroute has the type of the primitive's output, not the one that it was saved with.
    """
    if node.slot_widget(slot) is not None:
        return True
    kind = primitive.outputs[0].type if node.type == "Reroute" else slot.type
    return is_widget(Declared(slot.name, kind, {}), node.editor.young)


def _has_value(node: Node) -> bool:
    """Return whether the primitive was saved with a value."""
    return isinstance(node.saved_values, list) and bool(node.saved_values)


def _value(node: Node, targets: list[tuple[Node, InputSlot]]) -> tuple[Any, Rules]:
    """Return the saved value, else that of the first widget that it feeds, and the rules that round it.

    A Reroute has no widget: then the declaration of the first other input with one is used, and
    without a saved value its default.
    """
    first = targets[0][0].slot_widget(targets[0][1])
    value = first.value if first is not None else MISSING
    if first is None:
        widgets = (target.slot_widget(slot) for target, slot in targets)
        first = next((widget for widget in widgets if widget is not None), None)
        value = first.options.get("default", MISSING) if first is not None else MISSING
    if _has_value(node):
        value = node.saved_values[0]
    if first is None or not _is_number(value):
        return value, ()
    options = _common_options([target.slot_widget(slot) for target, slot in targets])
    rounded = rounded_for(Widget("value", first.kind, options=options), _clamped(value, options))
    return rounded, ((first.kind, options),)


def _common_options(widgets: list[Widget | None]) -> dict[str, Any]:
    """Return the range and the step of the primitive's own widget, which result from its targets."""
    options: dict[str, Any] = dict(widgets[0].options) if widgets[0] is not None else {}
    for widget in widgets:
        if widget is None or widget.kind != (widgets[0] and widgets[0].kind):
            continue
        low = max(_limit(options, "min", -math.inf), _limit(widget.options, "min", -math.inf))
        high = min(_limit(options, "max", math.inf), _limit(widget.options, "max", math.inf))
        if low <= high:
            step = max(_limit(options, "step", 1), _limit(widget.options, "step", 1))
            options.update(min=low, max=high, step=step)
    return options


def _limit(options: Mapping[str, Any], name: str, fallback: float) -> Any:
    """Return an option that is a number, else the fallback."""
    value = options.get(name)
    return value if _is_number(value) else fallback


def _clamped(value: Any, options: Mapping[str, Any]) -> Any:
    """Return the value clamped to the range of the options."""
    return min(max(value, _limit(options, "min", -math.inf)), _limit(options, "max", math.inf))


def rounded_for(widget: Widget, value: Any) -> Any:
    """Return a number as the widget would round it if it were typed (useIntWidget.ts, useFloatWidget.ts)."""
    if not _is_number(value) or not math.isfinite(value):
        return value
    if widget.kind == "int":
        return _to_step(value, _limit(widget.options, "step", 1) or 1, _limit(widget.options, "min", 0))
    if widget.kind == "float":
        return _to_places(value, widget.options)
    return value


def _to_step(value: Any, step: Any, lowest: Any) -> Any:
    """Return the nearest multiple of the step, counted from the smallest value."""
    offset = math.fmod(lowest, step) if math.isfinite(lowest) and step != 1 else 0
    if offset == 0 and isinstance(value, int) and value % step == 0:
        return value
    rounded = math.floor((value - offset) / step + 0.5) * step + offset
    return int(rounded) if float(rounded).is_integer() else rounded


def _to_places(value: Any, options: Mapping[str, Any]) -> Any:
    """Return the number rounded to the decimals of its step or its `round`, within its range."""
    step = _limit(options, "step", 0.5)
    places = max(0, -math.floor(math.log10(step))) if step > 0 else 0
    unit = options.get("round") or (10.0**-places if places else 0)
    if not _is_number(unit) or unit <= 0:
        return value
    rounded = round(math.floor(value / unit + 0.5) * unit, places)
    return min(max(rounded, _limit(options, "min", 0)), _limit(options, "max", 2048))


def _is_number(value: Any) -> bool:
    """Return whether it is a number and not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)
