"""Nodes that validate inputs themselves, which is known from their source and not from object_info.

The table has the nodes of ComfyUI 0.33 and of the packs whose source was read. Of other nodes,
those with an upload button are assumed to look for the file themselves, as nearly all of them do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from ..._base.places import is_stored
from ...types import clipped
from .._keys import nearest
from .._nodes import Node
from .._specs import FILE_INPUTS, InputSpec
from .._values import is_handle, is_link, is_pending
from .values import EXCEPTION, Finding, unwrapped

__all__ = [
    "A_TEXT",
    "UNSEEN",
    "absent_file",
    "annotated",
    "checks_itself",
    "checks_link_types",
    "makes_outputs",
    "own_findings",
]

UNSEEN = "unseen_file"
"""The library's own problem type for a file that is in none of the server's lists."""

A_TEXT = (
    "A text names a file on the server. To upload one of yours, give its path: a pathlib.Path, not a text."
)
"""Advice for a file name in an input that accepts uploads."""

# The scheme is bounded, so that megabytes of text are not searched.
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,30}://", re.IGNORECASE)

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
    # Values that the machine does not support are replaced when the node runs.
    "ModelAttentionBackend": frozenset({"attention"}),
    "SelectModelDevice": frozenset({"device"}),
    "SelectCLIPDevice": frozenset({"device"}),
    "SelectVAEDevice": frozenset({"device"}),
    "FluxProUltraImageNode": frozenset({"aspect_ratio"}),
    "VHS_LoadVideo": frozenset({"video"}),
    "VHS_LoadVideoFFmpeg": frozenset({"video"}),
    "VHS_LoadAudioUpload": frozenset({"audio"}),
}
_LENIENT = frozenset({"Load3D", "Load3DAdvanced"})

_FOLDERS = ("[input]", "[output]", "[temp]")

# Their output types are a tuple that returns a type for any slot number.
_MORE_OUTPUTS = frozenset(
    {"ImpactInversedSwitch", "Dynamic Context (rgthree)", "Dynamic Context Switch (rgthree)"}
)

_REQUIRED: Mapping[str, frozenset[str]] = {
    **{name: frozenset({field}) for name, field in FILE_INPUTS.items()},
    "CustomCombo": frozenset({"choice"}),
    "ModelAttentionBackend": frozenset({"attention"}),
    "FluxProUltraImageNode": frozenset({"aspect_ratio"}),
}


def checks_itself(node: Node, spec: InputSpec, value: Any, *, pack: bool) -> bool:
    """Return whether the node validates an input itself, so that the server skips ranges and choices.

    A pack's list of choices counts as one of files when the value ends in its folder, as in
    `a.png [output]`: such names are never in the list, and the pack looks for the file itself.
    """
    own = _OWN.get(node.class_type)
    if own is not None:
        return own is _ALL or spec.name in own
    if spec.type != "COMBO":
        return False
    return spec.is_upload or (pack and isinstance(value, str) and value.endswith(_FOLDERS))


def makes_outputs(class_type: str) -> bool:
    """Return whether the node is known to have outputs that it does not declare."""
    return class_type in _MORE_OUTPUTS


def checks_link_types(class_type: str) -> bool:
    """Return whether the node checks the types of its links itself."""
    return class_type == "TripoConversionNode"


def missing_argument(node: Node) -> str | None:
    """Return the missing input without which the node's own validation raises, None for none."""
    required = sorted(_REQUIRED.get(node.class_type, ()))
    return next((name for name in required if name not in node.inputs), None)


def own_findings(node: Node, specs: Mapping[str, InputSpec]) -> list[tuple[str | None, Finding]]:
    """Return what the node's own validation would report, as (input, finding)."""
    name = missing_argument(node)
    if name is not None:
        return [(name, Finding(EXCEPTION, "the node's own validation needs this input"))]
    name = FILE_INPUTS.get(node.class_type)
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
        return Finding(EXCEPTION, "the node's own validation accepts only a file name", value)
    choices = spec.choices if spec is not None else None
    return None if choices is None else missing_file(value, choices)


def missing_file(value: str, choices: tuple[Any, ...]) -> Finding | None:
    """Return what is wrong with a file name, by the server's list of input files.

    The list has only the top level of the input folder. For files in subfolders and other
    folders the server must be asked.
    """
    plain, folder = annotated(value)
    if not plain or plain in {".", ".."} or (folder == "input" and plain in choices):
        return None
    advice = A_TEXT
    kind, shown = "custom_validation_failed", clipped(value)
    if plain[:5].lower() == "data:":
        how = "Decode it and pass the bytes: with_inputs() takes them, and submit() uploads them."
        return Finding(kind, f"{shown} is a data: URI, not a file on the server", value, (), how)
    if _URL.match(plain):
        how = "Download it, and pass the bytes or a path to with_inputs()."
        return Finding(kind, f"{shown} is a URL, not a file on the server", value, (), how)
    if PureWindowsPath(plain).is_absolute() or PurePosixPath(plain).is_absolute():
        how = f"{advice} The server looks on its own disk, which cannot be checked here."
        return Finding(kind, f"{shown} is a path, not a file in the server's folders", value, (), how)
    if folder != "input" or "/" in plain or "\\" in plain:
        told = f"it is unknown whether the server has the file {shown}: its lists do not cover that folder"
        return Finding(UNSEEN, told, value, (), advice, warning=True)
    names = [choice for choice in choices if isinstance(choice, str)]
    return Finding(kind, f"the server has no input file {shown}", value, nearest(plain, names), advice)


def absent_file(value: Any) -> Finding | None:
    """Return what is wrong with a path that is to be uploaded, None when its file exists."""
    if not isinstance(value, os.PathLike) or is_stored(value):
        return None
    path = os.fspath(value)
    if os.path.isfile(path):
        return None
    told = "is a folder" if os.path.isdir(path) else "does not exist"
    return Finding("missing_file", f"the file {clipped(os.fsdecode(path))} {told}, and cannot be uploaded")


def annotated(value: str) -> tuple[str, str]:
    """Return a file's name and its folder: `a.png [temp]` is in temp, a plain name is in input."""
    for folder in ("input", "output", "temp"):
        if value.endswith(f"[{folder}]"):
            return value.removesuffix(f"[{folder}]").rstrip(), folder
    return value, "input"
