"""Nodes that validate inputs themselves: object_info does not say so, ComfyUI's source does.

The table holds the nodes of ComfyUI 0.33; of other nodes, those with an upload button are
taken to look for the file themselves, as nearly all of them do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._keys import nearest
from .._nodes import Node
from .._specs import InputSpec
from .._values import is_handle, is_link, is_pending
from .values import EXCEPTION, Finding, unwrapped

__all__ = ["checks_itself", "checks_link_types", "own_findings"]

_ALL = frozenset({"*"})

_OWN: Mapping[str, frozenset[str]] = {
    "LoadImage": frozenset({"image"}),
    "LoadImageMask": frozenset({"image"}),
    "LoadImageOutput": frozenset({"image"}),
    "LoadLatent": frozenset({"latent"}),
    "LoadAudio": frozenset({"audio"}),
    "LoadVideo": frozenset({"file"}),
    "Load3D": _ALL,
    "Load3DAdvanced": _ALL,
    "CustomCombo": _ALL,
    "FluxProUltraImageNode": frozenset({"aspect_ratio"}),
}
_FILES: Mapping[str, str] = {
    "LoadImage": "image",
    "LoadImageMask": "image",
    "LoadImageOutput": "image",
    "LoadLatent": "latent",
    "LoadAudio": "audio",
    "LoadVideo": "file",
    "Load3D": "model_file",
    "Load3DAdvanced": "model_file",
}
_LENIENT = frozenset({"Load3D", "Load3DAdvanced"})

_REQUIRED: Mapping[str, frozenset[str]] = {
    **{name: frozenset({field}) for name, field in _FILES.items()},
    "CustomCombo": frozenset({"choice"}),
    "FluxProUltraImageNode": frozenset({"aspect_ratio"}),
}


def checks_itself(node: Node, spec: InputSpec) -> bool:
    """Tell whether the node looks after an input itself, so that ranges and lists do not count."""
    own = _OWN.get(node.class_type)
    if own is not None:
        return own is _ALL or spec.name in own
    return spec.is_upload and spec.type == "COMBO"


def checks_link_types(class_type: str) -> bool:
    """Tell whether the node judges the types of its links itself."""
    return class_type == "TripoConversionNode"


def missing_argument(node: Node) -> str | None:
    """Return the input without which the node's own validation breaks down."""
    required = sorted(_REQUIRED.get(node.class_type, ()))
    return next((name for name in required if name not in node.inputs), None)


def own_findings(node: Node, specs: Mapping[str, InputSpec]) -> list[tuple[str | None, Finding]]:
    """Return what the node's own validation has to say: (input, finding)."""
    name = missing_argument(node)
    if name is not None:
        return [(name, Finding(EXCEPTION, "the node's own validation needs this input"))]
    name = _FILES.get(node.class_type)
    spec = specs.get(name) if name is not None else None
    found = None if name is None else _file(node, name, spec)
    return [] if found is None else [(name, found)]


def _file(node: Node, name: str, spec: InputSpec | None) -> Finding | None:
    value = node.inputs[name]
    if is_pending(value) or is_handle(value):
        return None
    value = unwrapped(value)
    lenient = node.class_type in _LENIENT
    if lenient and (not value or value == "none"):
        return None
    if is_link(value) or not isinstance(value, str):
        return Finding(EXCEPTION, "the node's own validation takes the name of a file only", value)
    choices = spec.choices if spec is not None else None
    return None if choices is None else missing_file(value, choices)


def missing_file(value: str, choices: tuple[Any, ...]) -> Finding | None:
    """Return the finding for a file that the server's list of input files lacks.

    The list has the top level of the input folder only: what lies deeper or elsewhere is
    believed to be there.
    """
    plain = value.removesuffix("[input]").rstrip() if value.endswith("[input]") else value
    elsewhere = "/" in plain or "\\" in plain or plain.endswith(("[output]", "[temp]"))
    if not plain or plain in {".", ".."} or elsewhere or plain in choices:
        return None
    return Finding(
        "custom_validation_failed",
        f"the server has no input file {value!r}",
        value,
        nearest(plain, [choice for choice in choices if isinstance(choice, str)]),
        "Upload it: with_inputs() takes a path, and comfy.files.upload() uploads.",
    )
