"""The widgets that the frontend creates for declared inputs, with companion widgets.

Each maker returns the widgets of one input, in the order in which they take values from
`widgets_values`. Tested against every class of ComfyUI 0.33.0 in frontends 1.49.6 and 1.58.1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from .camera import VIEWPORTS
from .declarations import GROUP, Declared
from .model import JSON_OBJECT, MISSING, Node, Widget

__all__ = ["DYNAMIC_COMBO", "PACK_WIDGET", "is_widget", "make_widgets"]

DYNAMIC_COMBO: Final = "COMFY_DYNAMICCOMBO_V3"

PACK_WIDGET: Final = "PACK_WIDGET"
"""The kind of a widget that a pack creates; its value is set by the pack's rules."""

_Maker = Callable[[Declared, Node], list[Widget]]


def is_widget(declared: Declared, young: Collection[str] = ()) -> bool:
    """Return whether the input has a widget; `young` kinds and all others are for links only."""
    kind = declared.widget_type
    return kind in _MAKERS and kind not in young and not declared.socket_only


def make_widgets(declared: Declared, node: Node) -> list[Widget]:
    """Return the widgets of the input on the node, without those of a dynamic combo's option."""
    return _MAKERS[declared.widget_type](declared, node)


def _default(declared: Declared, fallback: Any) -> Any:
    """Return the declared default, the fallback when it is missing or null."""
    value = declared.options.get("default")
    return fallback if value is None else value


def _unsent(name: str, kind: str, value: Any) -> Widget:
    """Return a widget that is saved in the file and not sent."""
    return Widget(name, kind, value, sent=False)


def _control(declared: Declared) -> list[Widget]:
    """Return the companion `control_after_generate`, which changes the value after each run."""
    flag = declared.options.get("control_after_generate")
    name = flag if isinstance(flag, str) else "control_after_generate"
    return [_unsent(name, "combo", flag if isinstance(flag, str) else "randomize")]


def _int(declared: Declared, node: Node) -> list[Widget]:
    """An integer; without the flag, `seed` and `noise_seed` have a companion because of their names."""
    widget = Widget(declared.name, "int", _default(declared, 0), options=declared.options)
    flag = declared.options.get("control_after_generate")
    if flag is None:
        flag = declared.name in ("seed", "noise_seed")
    return [widget, *_control(declared)] if flag else [widget]


def _float(declared: Declared, node: Node) -> list[Widget]:
    """A number."""
    widget = Widget(declared.name, "float", _default(declared, 0), options=declared.options)
    return [widget, *_control(declared)] if declared.options.get("control_after_generate") else [widget]


def _boolean(declared: Declared, node: Node) -> list[Widget]:
    """A toggle."""
    return [Widget(declared.name, "toggle", _default(declared, False))]


def _string(declared: Declared, node: Node) -> list[Widget]:
    """A text, of one line or many."""
    kind = "multiline" if declared.options.get("multiline") else "text"
    text = "prompt" if declared.options.get("dynamicPrompts") is True else ""
    return [Widget(declared.name, kind, _default(declared, ""), text=text)]


def _markdown(declared: Declared, node: Node) -> list[Widget]:
    """A formatted text, which is empty at first and ignores the declared default."""
    return [Widget(declared.name, "markdown", "")]


def _combo(declared: Declared, node: Node) -> list[Widget]:
    """A combo; with `control_after_generate` it has two companions, the control and a filter."""
    if declared.options.get("multi_select"):
        widgets = [Widget(declared.name, "multi", [])]
    else:
        widgets = [
            Widget(declared.name, "combo", _first_choice(declared), options={"values": declared.choices})
        ]
        widgets += _remote(declared)
    if declared.options.get("control_after_generate"):
        widgets += [*_control(declared), _unsent("control_filter_list", "string", "")]
    return widgets


def _first_choice(declared: Declared) -> Any:
    """Return the value of a new combo; choices that are fetched from a URL are not known yet."""
    if default := declared.options.get("default"):
        return default
    if declared.choices:
        return declared.choices[0]
    return "Loading..." if declared.options.get("remote") else MISSING


def _remote(declared: Declared) -> list[Widget]:
    """Return the companions of a combo whose choices are fetched from a URL (useRemoteWidget.ts)."""
    remote = declared.options.get("remote")
    if not isinstance(remote, JSON_OBJECT):
        return []
    widgets = [_unsent("Auto-refresh after generation", "toggle", False)]
    if remote.get("refresh_button"):
        widgets.append(Widget("refresh", "button", "refresh"))
    return widgets


def _dynamic_combo(declared: Declared, node: Node) -> list[Widget]:
    """A dynamic combo, whose options have inputs of their own; its default is its first key."""
    options = declared.options.get("options")
    keyed = {
        option["key"]: option.get("inputs")
        for option in (options if isinstance(options, list | tuple) else ())
        if isinstance(option, JSON_OBJECT) and isinstance(option.get("key"), str)
    }
    value = next(iter(keyed), MISSING)
    return [Widget(declared.name, "dynamic", value, options=keyed)]


def _bounding_box(declared: Declared, node: Node) -> list[Widget]:
    """A rectangle; its four numbers are saved beside it."""
    box = _default(declared, {"x": 0, "y": 0, "width": 512, "height": 512})
    fields = ("x", "y", "width", "height")
    return [
        Widget(declared.name, "box", box),
        *(
            _unsent(field, "number", box.get(field) if isinstance(box, JSON_OBJECT) else None)
            for field in fields
        ),
    ]


def _valued(kind: str, fallback: Any) -> _Maker:
    """Return a maker of single widgets with the declared default, else the fallback."""

    def maker(declared: Declared, node: Node) -> list[Widget]:
        return [Widget(declared.name, kind, _default(declared, fallback))]

    return maker


def _constant(kind: str, value: Any) -> _Maker:
    """Return a maker of single widgets with a fixed initial value, which ignores the declared default."""

    def maker(declared: Declared, node: Node) -> list[Widget]:
        return [Widget(declared.name, kind, value)]

    return maker


def _color(declared: Declared, node: Node) -> list[Widget]:
    """A colour; the default may be declared one level deeper, in `options`."""
    inner = declared.options.get("options")
    deeper = inner.get("default") if isinstance(inner, JSON_OBJECT) else None
    return [Widget(declared.name, "color", _default(declared, deeper if deeper is not None else "#000000"))]


def _nested(kind: str, key: str, fallback: Any) -> _Maker:
    """Return a maker of widgets whose value is declared under a key, or a level deeper in `options`."""

    def maker(declared: Declared, node: Node) -> list[Widget]:
        inner = declared.options.get("options")
        value = declared.options.get(key) if node.editor.reads_plainly else None
        if value is None:
            value = inner.get(key) if isinstance(inner, JSON_OBJECT) else None
        return [Widget(declared.name, kind, fallback if value is None else value)]

    return maker


def _rows(declared: Declared, node: Node) -> list[Widget]:
    """The number of rows of a dynamic group; the fields of the rows are widgets of their own."""
    least = declared.options.get("min")
    return [Widget(declared.name, "rows", least or 0, sent=False, options=declared.options)]


def _branch(declared: Declared, node: Node) -> list[Widget]:
    """A choice among the linked inputs; a new node has none."""
    return [Widget(declared.name, "combo", "")]


def _unseen(kind: str, value: Any, *, saved: bool) -> _Maker:
    """Return a maker of views: they are not sent, and are saved in the file or not."""

    def maker(declared: Declared, node: Node) -> list[Widget]:
        return [Widget(declared.name, kind, value, saved=saved, sent=False)]

    return maker


def _video_edit(declared: Declared, node: Node) -> list[Widget]:
    """Trim and crop of a video."""
    features = declared.options.get("features") or ("trim", "crop")
    parts = {
        "trim": {"start_time": 0, "duration": 0},
        "crop": {"x": 0, "y": 0, "width": 0, "height": 0},
    }
    value = {name: part for name, part in parts.items() if name in features}
    return [Widget(declared.name, "videoedit", _default(declared, value))]


def _image_compare(declared: Declared, node: Node) -> list[Widget]:
    """Two pictures side by side: sent, but not saved in the file."""
    return [Widget(declared.name, "imagecompare", ["", ""], saved=False)]


def _upload_button(label: str) -> _Maker:
    """Return a maker of upload buttons, which have a place in the file and are not sent."""

    def maker(declared: Declared, node: Node) -> list[Widget]:
        return [_unsent(declared.name, "button", label)]

    return maker


def _player(declared: Declared, node: Node) -> list[Widget]:
    """An audio player: neither saved nor sent."""
    return [Widget(declared.name, "player", "", saved=False, sent=False)]


def _audio_recorder(declared: Declared, node: Node) -> list[Widget]:
    """A recording, and the button that makes it."""
    return [Widget(declared.name, "audio", ""), _unsent(declared.name, "button", "")]


def _webcam(declared: Declared, node: Node) -> list[Widget]:
    """A picture from the camera."""
    return [Widget(declared.name, "webcam", "")]


def _load_3d(declared: Declared, node: Node) -> list[Widget]:
    """A 3D viewport; on nodes with a model file three buttons precede it, and these are sent."""
    viewport = Widget("viewport_state" if node.class_type in VIEWPORTS else "image", "viewport", "")
    if node.widget("model_file") is None:
        return [viewport]
    return [
        Widget("upload 3d model", "button", "upload3dmodel"),
        Widget("upload extra resources", "button", "uploadExtraResources"),
        Widget("clear", "button", "clear"),
        viewport,
    ]


def _load_3d_advanced(declared: Declared, node: Node) -> list[Widget]:
    """A 3D viewport alone."""
    return [Widget("viewport_state", "viewport", "")]


def _preview_3d(declared: Declared, node: Node) -> list[Widget]:
    """A 3D viewport that sends nothing."""
    return [Widget("image", "load3d", "")]


_CURVE = {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}

_MAKERS: dict[str, _Maker] = {
    "INT": _int,
    "FLOAT": _float,
    "BOOLEAN": _boolean,
    "STRING": _string,
    "MARKDOWN": _markdown,
    "COMBO": _combo,
    DYNAMIC_COMBO: _dynamic_combo,
    "COLOR": _color,
    PACK_WIDGET: _valued("custom", MISSING),
    "COLORS": _valued("colors", []),
    "CURVE": _valued("curve", _CURVE),
    "RANGE": _valued("range", {"min": 0, "max": 1}),
    "PAINTER": _valued("painter", ""),
    "COMPOSITOR": _valued("compositor", {}),
    "BOUNDING_BOX": _bounding_box,
    "BOUNDING_BOXES": _valued("boundingboxes", []),
    "TEXTAREA": _nested("textarea", "default", ""),
    "CHART": _nested("chart", "data", {}),
    "GALLERIA": _nested("galleria", "images", []),
    "VIDEO_EDIT": _video_edit,
    "LIGHT_INFO_PREVIEW": _constant("lights", []),
    "CAMERA_ANGLE_VIEW": _unseen("camera_angle", "camera", saved=True),
    "CAMERA_INFO_STATE": _unseen("camera_info", MISSING, saved=False),
    "RESOLUTION_PREVIEW": _unseen("resolution", MISSING, saved=False),
    GROUP: _rows,
    "COMFY_BRANCH_SELECTOR": _branch,
    "COMFY_BRANCH_INPUT_NAMES": _constant("branch_names", []),
    "IMAGECOMPARE": _image_compare,
    "IMAGEUPLOAD": _upload_button("image"),
    "AUDIOUPLOAD": _upload_button(""),
    "AUDIO_UI": _player,
    "AUDIO_RECORD": _audio_recorder,
    "WEBCAM": _webcam,
    "LOAD_3D": _load_3d,
    "LOAD_3D_ADVANCED": _load_3d_advanced,
    "PREVIEW_3D": _preview_3d,
}
