"""New nodes of a class: their slots and widgets, also those of dynamic combos and groups.

The frontend (1.49.6, litegraphService.ts and dynamicWidgets.ts) creates first the inputs for links,
then the widgets, each in display order; the inputs of a dynamic combo's option follow the combo's.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from ...errors import WorkflowFormatError
from .declarations import GROUP, Declared, in_display_order, option_inputs
from .editor_version import Editor
from .model import JSON_OBJECT, InputSlot, Node, OutputSlot, Widget
from .widgets import DYNAMIC_COMBO, is_widget, make_widgets

__all__ = ["Autogrow", "add_shim", "build_node", "choose", "fit_rows", "grow"]

_AUTOGROW = "COMFY_AUTOGROW_V3"

# comfy_api/latest/_io.py creates at most a hundred names for a group.
_MOST_INPUTS = 100
_MOST_IN_ALL = 10_000

# Widgets of these kinds cannot be overridden by a link.
_WITHOUT_SLOT = frozenset({GROUP, "COMFY_BRANCH_INPUT_NAMES"})
_MATCH_TYPE = "COMFY_MATCHTYPE_V3"

# Text widgets of these classes have %...% replaced when they are sent (saveImageExtraOutput.ts).
_SAVING_CLASSES = frozenset(
    {
        "SaveImage",
        "SaveImageAdvanced",
        "SaveSVGNode",
        "SaveVideo",
        "SaveAnimatedWEBP",
        "SaveWEBM",
        "SaveAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveAudioAdvanced",
        "SaveGLB",
        "Save3DAdvanced",
        "SaveGaussianSplat",
        "SavePointCloud",
        "SaveAnimatedPNG",
        "CLIPSave",
        "VAESave",
        "ModelSave",
        "LoraSave",
        "SaveLatent",
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class Autogrow:
    """A group of inputs that always has one more than are linked."""

    inputs: tuple[Declared, ...]
    names: tuple[str, ...] | None
    prefix: str
    min: int
    max: int

    def name(self, group: str, ordinal: int, key: str) -> str:
        """Return the name of the group's input number `ordinal`."""
        if self.names is not None:
            own = self.names[ordinal] if 0 <= ordinal < len(self.names) else "undefined"
            return f"{group}.{own}"
        return f"{group}.{self.prefix if len(self.inputs) == 1 else key}{ordinal}"

    def ordinal(self, group: str, name: str) -> int | None:
        """Return the number of the group's input with that name, None when there is none."""
        own = name[len(group) + 1 :]
        if self.names is not None:
            return self.names.index(own) if own in self.names else None
        digits = re.search(r"[0-9]+$", own)
        return int(digits[0]) if digits else None


def build_node(class_type: str, spec: Mapping[str, Any], declared: list[Declared], *, editor: Editor) -> Node:
    """Return a new node of a class with these declared inputs, with every value at its default.

    Raises:
        WorkflowFormatError: The class declares a group with too many inputs.
    """
    title = editor.titles.get(class_type) or spec.get("display_name") or class_type
    node = Node("", class_type, title=str(title), class_type=class_type, editor=editor)
    inputs = in_display_order(declared, spec)
    for item in inputs:
        _add_socket(node, item)
    for item in inputs:
        _add_widget(node, item)
    node.outputs = _outputs(spec)
    groups = spec.get("output_matchtypes")
    node.output_groups = tuple(groups) if isinstance(groups, list | tuple) else ()
    _finish(node)
    if editor.numbers_twins:
        _number_twins(node)
    return node


def _number_twins(node: Node) -> None:
    """Rename the second widget of the same name to `name#1`, as the editor does to keep values by name."""
    seen: dict[str, int] = {}
    for widget in node.widgets:
        count = seen.get(widget.name, 0)
        seen[widget.name] = count + 1
        if count:
            widget.name = f"{widget.name}#{count}"


def _outputs(spec: Mapping[str, Any]) -> list[OutputSlot]:
    """Return the outputs; one that matches an input has any type until it is linked."""
    types, names = spec.get("output"), spec.get("output_name")
    slots = []
    for index, kind in enumerate(types if isinstance(types, list | tuple) else ()):
        name = names[index] if isinstance(names, list | tuple) and index < len(names) else ""
        if isinstance(kind, list | tuple):
            kind = "COMBO"
        slots.append(OutputSlot(str(name), "*" if kind == _MATCH_TYPE else str(kind)))
    return slots


def _finish(node: Node) -> None:
    """Apply the frontend's own changes to new nodes of certain classes."""
    if node.type in _SAVING_CLASSES and (prefix := node.widget("filename_prefix")) is not None:
        prefix.text = "filename"
    elif node.type == "CustomCombo" and node.widgets:
        # customWidgets.ts: the index of the choice, and one text per choice, with an empty one at
        # the end.
        node.widgets[0].value = ""
        node.widgets += [Widget("index", "choice_index", 0), Widget("option1", "option", "")]
    elif node.type == "WebcamCapture":
        node.widgets.append(Widget("waiting for camera...", "button", "capture", sent=False))


def _add_input(node: Node, declared: Declared) -> None:
    """Add one input to a node, with its widgets if it has any."""
    _add_socket(node, declared)
    _add_widget(node, declared)


def _add_socket(node: Node, declared: Declared) -> None:
    """Add an input without a widget, or the inputs of an autogrow group."""
    if is_widget(declared, node.editor.young):
        return
    template = declared.options.get("template")
    if declared.type == _AUTOGROW and isinstance(template, JSON_OBJECT):
        _add_group(node, declared.name, template)
    elif declared.type == _MATCH_TYPE and isinstance(template, JSON_OBJECT):
        allowed = str(template.get("allowed_types", "*"))
        _add_input(node, declared.typed(allowed))
        node.match_types.setdefault(str(template.get("template_id", "")), {})[declared.name] = allowed
    else:
        node.inputs.append(InputSlot(declared.name, declared.type))


def _add_widget(node: Node, declared: Declared) -> None:
    """Add the widgets of an input, and the input through which a link overrides them."""
    if not is_widget(declared, node.editor.young):
        return
    if declared.widget_type == "COLOR" and any(_is_color(widget, declared.name) for widget in node.widgets):
        return
    widgets = make_widgets(declared, node)
    node.widgets += widgets
    if declared.widget_type == DYNAMIC_COMBO:
        choose(node, widgets[0])
    elif declared.widget_type == GROUP:
        fit_rows(node, widgets[0], 0)
    if declared.widget_type in _WITHOUT_SLOT or declared.options.get("socketless"):
        return
    node.inputs.append(InputSlot(declared.name, declared.type, widget=declared.name))


def _is_color(widget: Widget, name: str) -> bool:
    """Return whether it is a colour widget of that name, which is created only once."""
    return widget.kind == "color" and widget.name == name


def choose(node: Node, selector: Widget) -> None:
    """Replace the inputs of a dynamic combo's previous option by those of the present one.

    Links are kept for inputs of the same name, and dropped for others.
    """
    prefix = f"{selector.name}."
    removed = [slot for slot in node.inputs if slot.name.startswith(prefix)]
    node.inputs[:] = [slot for slot in node.inputs if not slot.name.startswith(prefix)]
    node.widgets[:] = [widget for widget in node.widgets if not widget.name.startswith(prefix)]
    value = selector.value
    if not isinstance(value, str) or value not in selector.options:
        return
    first_widget, first_slot = len(node.widgets), len(node.inputs)
    for declared in option_inputs(selector.options[value]):
        _add_input(node, declared.named(prefix + declared.name))
    at = next(index for index, widget in enumerate(node.widgets) if widget is selector) + 1
    node.widgets[at:] = node.widgets[first_widget:] + node.widgets[at:first_widget]
    _move_behind(node, selector.name, first_slot)
    for slot in removed:
        _reconnect(node, slot)


def fit_rows(node: Node, counter: Widget, count: int) -> None:
    """Add or remove rows of a group to have `count` of them, but at least as many as its class declares."""
    prefix = f"{counter.name}."
    count = max(count, _least(node, counter.name, counter.options.get("min"), 0))
    have = 0
    for widget in node.widgets:
        row = widget.name[len(prefix) :].partition(".")[0] if widget.name.startswith(prefix) else ""
        have = max(have, int(row) + 1 if row.isdecimal() else 0)
    for surplus in range(count, have):
        gone = f"{prefix}{surplus}."
        node.inputs[:] = [slot for slot in node.inputs if not slot.name.startswith(gone)]
        node.widgets[:] = [widget for widget in node.widgets if not widget.name.startswith(gone)]
    for new in range(have, count):
        _add_row(node, counter, f"{prefix}{new}.")


def _add_row(node: Node, counter: Widget, prefix: str) -> None:
    """Add one row's widgets after those of the previous rows; inputs from the file are kept."""
    first_widget, first_slot = len(node.widgets), len(node.inputs)
    for declared in option_inputs(counter.options.get("template")):
        own = len(node.widgets)
        _add_input(node, declared.named(prefix + declared.name))
        for index, companion in enumerate(node.widgets[own + 1 :]):
            companion.name = f"{prefix}{declared.name}.{index}"
    group = f"{counter.name}."
    last = max(
        index
        for index, widget in enumerate(node.widgets[:first_widget])
        if widget is counter or widget.name.startswith(group)
    )
    node.widgets[last + 1 :] = node.widgets[first_widget:] + node.widgets[last + 1 : first_widget]
    known = {slot.name: slot for slot in node.inputs[:first_slot]}
    added = node.inputs[first_slot:]
    del node.inputs[first_slot:]
    for slot in added:
        if (own_slot := known.get(slot.name)) is not None:
            own_slot.widget = slot.widget
        else:
            node.inputs.append(slot)


def _least(node: Node, name: str, wanted: Any, fallback: int) -> int:
    """Return the minimum number of inputs of a group.

    Raises:
        WorkflowFormatError: It is more than a hundred, the limit of the server itself.
    """
    least = wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else fallback
    if least > _MOST_INPUTS or len(node.inputs) > _MOST_IN_ALL:
        raise WorkflowFormatError(
            f"the catalog is at fault: the class {node.type!r} declares {least} inputs for {name!r}",
            place=f"{node.type}.input.{name}",
            hint=f"A group of inputs has at most {_MOST_INPUTS}; report it to the author of the node.",
        )
    return least


def _move_behind(node: Node, name: str, first: int) -> None:
    """Move the inputs from index `first` on to follow the input of that name, if there is one."""
    at = next((index + 1 for index, slot in enumerate(node.inputs) if slot.name == name), 0)
    if at:
        added = node.inputs[first:]
        del node.inputs[first:]
        node.insert_inputs(at, added)


def _reconnect(node: Node, old: InputSlot) -> None:
    """Move the link of a removed input to the new input of the same name, if there is one."""
    for index, slot in enumerate(node.inputs):
        if slot.name == old.name:
            slot.link = old.link
            if slot.link is not None:
                node.point_link(index)
                grow(node, slot)
            return


def _add_group(node: Node, group: str, template: Mapping[str, Any]) -> None:
    """Add an autogrow group with one input more than its minimum."""
    names = template.get("names")
    names = tuple(map(str, names)) if isinstance(names, list | tuple) else None
    least, most = _least(node, group, template.get("min", 1), 1), template.get("max", _MOST_INPUTS)
    node.autogrow[group] = Autogrow(
        inputs=tuple(option_inputs(template.get("input"))),
        names=names,
        prefix=str(template.get("prefix") or ""),
        min=least,
        max=len(names) if names is not None else most if isinstance(most, int) else _MOST_INPUTS,
    )
    for ordinal in range(max(1, least + 1)):
        _grow_to(node, group, ordinal)


def grow(node: Node, slot: InputSlot) -> None:
    """Add the next input of the group that a linked input belongs to."""
    group = slot.name.rpartition(".")[0]
    found = node.autogrow.get(group)
    if found is not None and (ordinal := found.ordinal(group, slot.name)) is not None:
        _grow_to(node, group, ordinal + 1)


def _grow_to(node: Node, group: str, ordinal: int) -> None:
    """Add the group's input number `ordinal` after its predecessor; a link that it has already is kept."""
    found: Autogrow = node.autogrow[group]
    if ordinal >= found.max or not found.inputs:
        return
    first, first_widget, beside = len(node.inputs), len(node.widgets), len(found.inputs) > 1
    for declared in found.inputs:
        _add_input(node, declared.named(found.name(group, ordinal, declared.name)))
        if beside:
            add_shim(node, node.inputs[-1])
    _share_values(node, first_widget)
    new = node.inputs[first:]
    del node.inputs[first:]
    for slot in new:
        for old in [old for old in node.inputs if old.name == slot.name]:
            node.inputs.remove(old)
            slot.link = old.link if slot.link is None else slot.link
            slot.label = old.label if slot.label is None else slot.label
    before = found.name(group, ordinal - 1, found.inputs[-1].name)
    places = [index for index, slot in enumerate(node.inputs) if slot.name.startswith(before)]
    at = places[-1] + 1 if places else len(node.inputs)
    node.insert_inputs(at, new)


def add_shim(node: Node, slot: InputSlot) -> None:
    """Add the placeholder that the frontend shows for a group's input and also counts as a widget."""
    name = slot.widget or slot.name
    if node.widget(name) is None:
        node.widgets.append(Widget(name, "shim", saved=False))
    slot.widget = name


def _share_values(node: Node, first: int) -> None:
    """Replace widgets that were created a second time by the first ones: values are kept by name."""
    for index in range(first, len(node.widgets)):
        again = node.widgets[index]
        for widget in node.widgets[:first]:
            if widget.name == again.name and widget.kind == again.kind:
                node.widgets[index] = widget
                break
