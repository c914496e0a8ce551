"""ComfyUI-VideoHelperSuite: values kept by name, and widgets that depend on the chosen format.

Based on its VHS.core.js of May 2026. The class itself declares the settings and widgets of each
format, under `formats` in the options of its input `format`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..convert.declarations import Declared, read_declaration
from ..convert.model import JSON_OBJECT, MISSING, Graph, InputSlot, Node, Spot, Widget
from ..convert.saved_values import set_value
from ..convert.widgets import is_widget, make_widgets
from .pack import Pack, not_convertible
from .video_numbers import choose_load_format, press

__all__ = ["PACK"]

_COMBINE: Final = "VHS_VideoCombine"

# The pack's own kinds of widgets, and the editor's kinds that behave the same.
_KINDS: Final = {"VHSTIMESTAMP": "FLOAT", "VHSFLOAT": "FLOAT", "VHSINT": "INT", "VHSPATH": "STRING"}

# The order of values in files from before they were kept by name; None stands for a button.
_OLD_ORDERS: Final[dict[str, tuple[str | None, ...]]] = {
    "VHS_LoadImages": ("directory", None, "image_load_cap", "skip_first_images", "select_every_nth"),
    "VHS_LoadImagesPath": ("directory", "image_load_cap", "skip_first_images", "select_every_nth"),
    _COMBINE: ("frame_rate", "loop_count", "filename_prefix", "format", "pingpong", "save_image"),
    **dict.fromkeys(
        ("VHS_LoadVideo", "VHS_LoadVideoPath"),
        ("video", "force_rate", "force_size", "frame_load_cap", "skip_first_frames", "select_every_nth"),
    ),
}

_OLD_NAMES: Final = {_COMBINE: {"save_output": "save_image"}}


class _VideoHelper(Pack):
    """The rules for ComfyUI-VideoHelperSuite."""

    virtual = frozenset({"VHS_SelectLatest"})

    def claims(self, node_type: str) -> bool:
        """Return whether the type begins with `VHS_`."""
        return node_type.startswith("VHS_")

    def knows(self, node_type: str) -> bool:
        """Return True: the rules cover every class of the pack."""
        return True

    def declare(self, class_type: str, inputs: list[Declared]) -> list[Declared]:
        """Return the inputs with the pack's kinds of widgets replaced by the editor's."""
        return [_as_editor(item) for item in inputs]

    def created(self, node: Node, spec: Mapping[str, Any]) -> None:
        """Add a counter, mark the file name, and apply the settings of the default format."""
        if node.type == "VHS_BatchManager":
            node.add_widget("count", 0, "dummy")
        elif node.type == _COMBINE and (prefix := node.widget("filename_prefix")) is not None:
            prefix.text = "filename"
        chosen, formats = node.widget("format"), _formats(spec)
        if chosen is not None and formats:
            base = {widget.name: widget.options for widget in node.widgets}
            chosen.options = {**chosen.options, "formats": formats, "base": base}
            choose_load_format(node, formats, chosen.value, base)

    def restore(self, node: Node, values: Any) -> bool:
        """Set values by name; lists of old files are in the order of their version.

        Raises:
            ConversionError: A list is in an unknown order.
        """
        if isinstance(values, JSON_OBJECT):
            _clear(node)
            _by_name(node, values, {name: name for name in values})
            return True
        order = _OLD_ORDERS.get(node.type, ())
        if isinstance(values, list) and order and len(values) >= len(order):
            places = {name: place for place, name in enumerate(order) if name}
            _by_name(node, {name: values[place] for name, place in places.items()}, places)
            return True
        if isinstance(values, list) and (more := _beyond(node, values)):
            raise not_convertible(
                node,
                f"its values are in the order of an unknown old version: {more!r:.80} is left over",
                advice="Open the file in ComfyUI, set the values of this node again, and save it.",
                received=values,
            )
        return False

    def loaded(self, node: Node) -> None:
        """Rename an input to its name in the present version."""
        for slot in node.inputs:
            if slot.name == "batch_manager":
                slot.name = "meta_batch"

    def queued(self, root: Graph) -> None:
        """Raise for linked VHS_SelectLatest nodes, which set the server's newest file only in the editor.

        Raises:
            ConversionError: There is such a node.
        """
        for _, node in root.walk():
            if node.type == "VHS_SelectLatest" and node.outputs and node.outputs[0].links:
                raise not_convertible(
                    node,
                    "it sets another node to the server's newest file while the editor is open",
                    advice="Set the file in the node that it is linked to, and remove this node.",
                )


def _beyond(node: Node, values: list[Any]) -> list[Any]:
    """Return the values beyond those of the widgets, without those of buttons and previews."""
    return [
        value for value in values[len(node.widgets) :] if value not in (None, "", "image") and value != {}
    ]


def _formats(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings and widgets of a class's formats, {} when it has none."""
    inputs = spec.get("input")
    for section in ("required", "optional"):
        part = inputs.get(section) if isinstance(inputs, JSON_OBJECT) else None
        data = part.get("format") if isinstance(part, JSON_OBJECT) else None
        options = data[1] if isinstance(data, list | tuple) and len(data) > 1 else None
        formats = options.get("formats") if isinstance(options, JSON_OBJECT) else None
        if isinstance(formats, JSON_OBJECT):
            return formats
    return {}


def _as_editor(item: Declared) -> Declared:
    """Return an input with the pack's kind of widget replaced by the editor's."""
    return item.shown_as(_KINDS[item.widget_type]) if item.widget_type in _KINDS else item


def _by_name(node: Node, saved: Mapping[str, Any], places: Mapping[str, int | str]) -> None:
    """Set each widget to the value of its name, including those that the format adds meanwhile."""
    values = _with_sizes(saved)
    renamed = _OLD_NAMES.get(node.type, {})
    index = 0
    while index < len(node.widgets):
        widget = node.widgets[index]
        index += 1
        name = widget.name if widget.name in values else renamed.get(widget.name, "")
        if widget.kind == "button" or name not in values:
            continue
        spot = Spot(node.place, places[name]) if name in places else None
        set_value(node, widget, values[name], spot)
        press(widget)
        if widget.name == "format":
            choose_load_format(
                node, widget.options.get("formats"), widget.value, widget.options.get("base", {})
            )
            _bring_format(node, widget, index)


def _clear(node: Node) -> None:
    """Remove falsy defaults, as the editor does when values are kept by name."""
    for widget in node.widgets:
        if widget.kind != "button" and not widget.value:
            widget.value = MISSING


def _with_sizes(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the old combo `force_size` converted to two numbers."""
    values = dict(saved)
    size = values.get("force_size")
    if not isinstance(size, str):
        return values
    if "x" in size:
        sides = size.split("x")[:2]
    else:
        sides = [
            "?" if size in ("Disabled", "Custom Height") else "",
            "?" if size in ("Disabled", "Custom Width") else "",
        ]
    for name, side in zip(("custom_width", "custom_height"), sides, strict=True):
        if side == "?":
            values[name] = 0
        elif side.strip().isdigit():
            values[name] = int(side)
    return values


def _bring_format(node: Node, widget: Widget, index: int) -> None:
    """Insert the widgets that the chosen format declares after its combo.

    Raises:
        ConversionError: The format declares an input of an unknown kind.
    """
    formats, chosen = widget.options.get("formats"), widget.value
    if not isinstance(formats, JSON_OBJECT) or not isinstance(chosen, str):
        return
    declared = formats.get(chosen)
    if not isinstance(declared, list | tuple):
        return
    brought: list[Widget] = []
    for item in declared:
        if not isinstance(item, list | tuple) or len(item) < 2:
            continue
        one = _as_editor(read_declaration(str(item[0]), list(item[1:])))
        if not is_widget(one):
            raise not_convertible(
                node,
                f"input {one.name!r} of the format {widget.value!r} is of an unknown kind, {one.widget_type}",
                received=widget.value,
            )
        brought += make_widgets(one, node)
        slot = next((slot for slot in node.inputs if slot.name == one.name), None)
        if slot is None:
            node.inputs.append(InputSlot(one.name, one.type, widget=one.name))
        else:
            slot.widget = one.name
    node.widgets[index:index] = brought


PACK: Final = _VideoHelper()
"""The rules for ComfyUI-VideoHelperSuite."""
