"""Giving saved values back to widgets: by position as the frontend does, or by name.

Frontend 1.49.6 restores `widgets_values` by position (LGraphNode.configure): each widget that
is saved takes the next value, and a choice brings its own widgets before the next one is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .declarations import Declared
from .model import JSON_OBJECT, MISSING, Node, Spot, Widget
from .node_from_class import choose

__all__ = ["CONTROL_WORDS", "choices", "restore", "set_value"]

# What these show is made in the editor when a prompt is queued, never read from the file.
_EDITOR_ONLY = frozenset({"viewport", "load3d", "audio", "webcam"})

CONTROL_WORDS = frozenset({"fixed", "increment", "decrement", "randomize", "increment-wrap"})
"""How a number changes after a run; in a list of values they tell that there are companions."""


def restore(
    node: Node,
    values: Sequence[Any] | Mapping[str, Any] | None,
    named: Mapping[str, Any] | None,
    *,
    declared: Sequence[Declared],
) -> None:
    """Give a node's saved values to its widgets; widgets without one keep their default.

    A list is taken by position whenever there is one. `widgets_values_named` (1.49 and later)
    serves files that have no list, and so does a `widgets_values` object, which packs like
    VideoHelperSuite write.
    """
    if isinstance(values, JSON_OBJECT):
        _by_name(node, values)
    elif values is not None:
        _by_position(node, values, _places(node, values, declared))
    elif named is not None:
        _by_name(node, named)
    _settle(node)


def set_value(node: Node, widget: Widget, value: Any, spot: Spot | None = None) -> None:
    """Set a widget's value, which was read at the spot, and let what depends on it follow."""
    if widget.kind in _EDITOR_ONLY:
        return
    if widget.kind == "multiline" and value is None:
        value = ""  # a text area shows null as nothing
    widget.value, widget.spot, widget.rules = value, spot, ()
    if widget.kind == "dynamic":
        choose(node, widget)
    elif widget.kind == "option":
        _fit_options(node, widget)


def _by_name(node: Node, values: Mapping[str, Any]) -> None:
    """Take each widget's value by its name; a choice is made before its own widgets are filled."""
    index = 0
    while index < len(node.widgets):
        widget = node.widgets[index]
        if widget.saved and widget.name in values:
            set_value(node, widget, values[widget.name], Spot(node.place, widget.name))
        index += 1


def _by_position(node: Node, values: Sequence[Any], places: Sequence[int]) -> None:
    """Give the values at these places to the saved widgets in their order."""
    skipping = _lacks_companions(node, [values[place] for place in places])
    rest = iter(places)
    index = 0
    while index < len(node.widgets):
        widget = node.widgets[index]
        index += 1
        if not widget.saved or (skipping and _is_companion(widget)):
            continue
        place = next(rest, None)
        if place is None:
            return
        set_value(node, widget, values[place], Spot(node.place, place))


def _is_companion(widget: Widget) -> bool:
    """Return whether the widget says how another one changes after a run."""
    return not widget.sent and widget.kind == "combo"


def _lacks_companions(node: Node, values: Sequence[Any]) -> bool:
    """Return whether the list is from before numbers had companions.

    Then it is short by exactly the companions, and none of their places has one of their words.
    """
    saved = [widget for widget in node.widgets if widget.saved and widget.kind != "button"]
    places = [index for index, widget in enumerate(saved) if _is_companion(widget)]
    if not places or any(widget.kind in ("dynamic", "option") for widget in saved):
        return False
    if len(values) != len(saved) - len(places):
        return False
    return not any(isinstance(value, str) and value in CONTROL_WORDS for value in values)


def _places(node: Node, values: Sequence[Any], declared: Sequence[Declared]) -> Sequence[int]:
    """Return the places of the widgets' values.

    Left out are those of inputs that were widgets before frontend 1.16 and are sockets now. As
    in the frontend, the list must have a value for each widget, each `forceInput` input and
    each companion that the class asks for by its flag.
    """
    names = {widget.name for widget in node.widgets}
    dropped: list[bool] = []
    for item in declared:
        if item.name in names or item.socket_only:
            dropped.append(item.socket_only)
            if item.options.get("control_after_generate"):
                dropped.append(False)
    if len(dropped) != len(values):
        return range(len(values))
    return [place for place, drop in enumerate(dropped) if not drop]


def _fit_options(node: Node, widget: Widget) -> None:
    """Keep one empty option at the end of a CustomCombo (customWidgets.ts)."""
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
    """Repair one value: a choice that is null, an old sampler's name, the place of a choice."""
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
    """Return what a choice may be, nothing for other widgets."""
    if widget.kind == "combo":
        return tuple(widget.options.get("values") or ())
    return tuple(widget.options) if widget.kind == "dynamic" else ()
