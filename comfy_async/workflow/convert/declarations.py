"""The declared inputs of a node class, in the order in which the frontend creates slots and widgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .model import JSON_OBJECT

__all__ = [
    "GROUP",
    "Declared",
    "declared_inputs",
    "holds",
    "in_display_order",
    "option_inputs",
    "read_declaration",
]

GROUP: Final = "COMFY_DYNAMICGROUP_V3"
"""Rows of fields, as many as the user wants; `LoadLoraModel` has one (since frontend 1.55.18)."""

# Classes to which frontend 1.49.6 itself adds an input that the server does not declare:
# a player (uploadAudio.ts), a 3D preview (saveMesh.ts) and a 3D viewport (load3dAdvanced.ts).
_EXTRA_INPUTS: dict[str, tuple[str, str]] = {
    "LoadAudio": ("audioUI", "AUDIO_UI"),
    "SaveAudio": ("audioUI", "AUDIO_UI"),
    "PreviewAudio": ("audioUI", "AUDIO_UI"),
    "SaveAudioMP3": ("audioUI", "AUDIO_UI"),
    "SaveAudioOpus": ("audioUI", "AUDIO_UI"),
    "SaveAudioAdvanced": ("audioUI", "AUDIO_UI"),
    "SaveGLB": ("image", "PREVIEW_3D"),
    "Preview3D": ("image", "PREVIEW_3D"),
    "Load3DAdvanced": ("viewport_state", "LOAD_3D_ADVANCED"),
}

_UPLOAD_FLAGS = ("image_upload", "video_upload", "animated_image_upload")


class Declared:
    """One input that a class declares.

    Attributes:
        name: Its name.
        type: Its type, "COMBO" for a choice.
        options: The options, the second part of the declaration.
        choices: The choices of a combo.
        widget_type: The kind of its widget, usually its type.
        socket_only: Whether only a link can fill it.
    """

    __slots__ = ("choices", "name", "options", "socket_only", "type", "widget_type")

    def __init__(self, name: str, type: str, options: Mapping[str, Any], choices: Sequence[Any] = ()) -> None:
        """Keep the parts, and derive what is needed often."""
        self.name = name
        self.type = type
        self.options = options
        self.choices = choices
        wanted = options.get("widgetType")
        self.widget_type = wanted if wanted and isinstance(wanted, str) else type
        self.socket_only = bool(options.get("forceInput"))

    def named(self, name: str) -> Declared:
        """Return a copy with another name."""
        return Declared(name, self.type, self.options, self.choices)

    def typed(self, type: str) -> Declared:
        """Return a copy with another type."""
        return Declared(self.name, type, self.options, self.choices)

    def shown_as(self, widget_type: str) -> Declared:
        """Return a copy with another kind of widget."""
        shown = Declared(self.name, self.type, self.options, self.choices)
        shown.widget_type = widget_type
        return shown


def read_declaration(name: str, data: Any) -> Declared:
    """Read `[type, options]`; a list in place of the type has the choices of a combo."""
    parts = data if isinstance(data, list | tuple) else [data]
    kind = parts[0] if parts else "UNKNOWN"
    options = parts[1] if len(parts) > 1 and isinstance(parts[1], JSON_OBJECT) else {}
    if isinstance(kind, list | tuple):
        return Declared(name, "COMBO", options, kind)
    if kind == "COMBO":
        choices = options.get("options")
        return Declared(name, "COMBO", options, choices if isinstance(choices, list | tuple) else ())
    return Declared(name, kind if isinstance(kind, str) else "UNKNOWN", options)


def _sections(inputs: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the inputs of the required and the optional section."""
    for section in ("required", "optional"):
        part = inputs.get(section) if isinstance(inputs, JSON_OBJECT) else None
        if isinstance(part, JSON_OBJECT):
            yield section, part


def declared_inputs(class_type: str, spec: Mapping[str, Any]) -> list[Declared]:
    """Return the inputs of a class in declaration order, with those that the frontend adds."""
    found: list[Declared] = []
    for section, part in _sections(spec.get("input")):
        items = [read_declaration(name, data) for name, data in part.items()]
        if section == "required":
            items += _additions(class_type, items)
        else:
            items = [_without_default_input(item) for item in items]
        found += items
    return found


def _without_default_input(item: Declared) -> Declared:
    """Return an optional input with an old `defaultInput` replaced by `forceInput` (nodeDefStore.ts)."""
    if item.options.get("defaultInput"):
        return Declared(item.name, item.type, {**item.options, "forceInput": True}, item.choices)
    return item


def _additions(class_type: str, required: list[Declared]) -> list[Declared]:
    """Return the inputs that the frontend adds to the required ones."""
    added = []
    if (extra := _EXTRA_INPUTS.get(class_type)) is not None:
        added.append(Declared(*extra, {}))
    for item in required:
        if item.type == "COMBO" and any(item.options.get(flag) is True for flag in _UPLOAD_FLAGS):
            added.append(Declared("upload", "IMAGEUPLOAD", {}))
            break
    if any(item.name == "audio" and item.options.get("audio_upload") is True for item in required):
        added.append(Declared("upload", "AUDIOUPLOAD", {}))
    return added


def option_inputs(inputs: Any) -> list[Declared]:
    """Return the inputs of a dynamic combo's option, or those in the template of an autogrow group."""
    return [read_declaration(name, data) for _, part in _sections(inputs) for name, data in part.items()]


def holds(item: Declared, kind: str) -> bool:
    """Return whether an input is of a type, or has an option or template with one that is."""
    if item.type == kind:
        return True
    options = item.options.get("options")
    template = item.options.get("template")
    brought = [
        option.get("inputs")
        for option in (options if isinstance(options, list | tuple) else ())
        if isinstance(option, JSON_OBJECT)
    ]
    if isinstance(template, JSON_OBJECT):
        brought += [template, template.get("input")]
    return any(holds(each, kind) for inputs in brought for each in option_inputs(inputs))


def in_display_order(inputs: list[Declared], spec: Mapping[str, Any]) -> list[Declared]:
    """Return the inputs in the order of `input_order`, those that it lacks last."""
    order = spec.get("input_order")
    if not isinstance(order, JSON_OBJECT):
        return inputs
    parts = [order.get("required"), order.get("optional")]
    listed = [name for part in parts if isinstance(part, list | tuple) for name in part]
    # A damaged catalog may hold anything here.
    wanted = [name for name in listed if isinstance(name, str)]
    if wanted == [item.name for item in inputs]:
        return inputs
    by_name = {item.name: item for item in inputs}
    declared = {name for _, part in _sections(spec.get("input")) for name in part}
    ordered = {name: by_name[name] for name in wanted if name in declared and name in by_name}
    return [*ordered.values(), *(item for item in inputs if item.name not in ordered)]
