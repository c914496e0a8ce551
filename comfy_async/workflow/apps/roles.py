"""Naming inputs by their role: `prompt` for the text that becomes a sampler's positive conditioning."""

from __future__ import annotations

from collections.abc import Iterator

from .._edits import consumers
from .._nodes import Graph
from .._specs import DYNAMIC_COMBO, InputSpec
from ..catalog import NodeCatalog
from .names import word
from .parts import Target, UploadKind

__all__ = ["NAMELESS", "PROMPTS", "file_kind", "is_widget_type", "output_type", "role"]

NAMELESS = frozenset({"value", "string", "text", "number", "int", "float", "boolean", "choice", "input"})
"""Names that say nothing about the role of an input."""

PROMPTS = frozenset(
    {
        "prompt",
        "negative_prompt",
        "positive",
        "negative",
        "positive_prompt",
        "text",
        "text_g",
        "text_l",
        "clip_l",
    }
    | {"clip_g", "t5xxl", "llama", "caption", "tags", "lyrics", "instructions", "system_prompt"}
)
"""Names of inputs that hold prompts."""

_WIDGETS = frozenset({"STRING", "INT", "FLOAT", "BOOLEAN", "COMBO", DYNAMIC_COMBO})

_FILES: dict[tuple[str, str], UploadKind] = {
    ("LoadImage", "image"): "image",
    ("LoadImageMask", "image"): "image",
    ("LoadImageOutput", "image"): "image",
    ("LoadAudio", "audio"): "audio",
    ("LoadVideo", "file"): "video",
    ("VHS_LoadVideo", "video"): "video",
    ("VHS_LoadVideoFFmpeg", "video"): "video",
    ("VHS_LoadAudioUpload", "audio"): "audio",
}

_FLAGS: tuple[tuple[str, UploadKind], ...] = (
    ("image_upload", "image"),
    ("animated_image_upload", "image"),
    ("video_upload", "video"),
    ("audio_upload", "audio"),
)

_OUTPUTS = (
    ("IMAGE", "image"),
    ("VIDEO", "video"),
    ("AUDIO", "audio"),
    ("MESH", "model_3d"),
    ("FILE_3D", "model_3d"),
    ("LOAD_3D", "model_3d"),
    ("VHS_FILENAMES", "video"),
    ("STRING", "text"),
)

_SEARCHED = 200


def is_widget_type(spec: InputSpec) -> bool:
    """Return whether an input accepts a value: the editor has a widget for it."""
    return not spec.force_input and (
        spec.type in _WIDGETS
        or spec.is_upload
        or spec.default is not None
        or bool(spec.options.get("socketless"))
    )


def file_kind(class_type: str, name: str, spec: InputSpec | None) -> UploadKind | None:
    """Return the kind of file that can be uploaded to an input, None when it accepts no files."""
    for flag, kind in _FLAGS if spec is not None else ():
        if spec is not None and spec.options.get(flag):
            return kind
    return _FILES.get((class_type, name))


def output_type(catalog: NodeCatalog, class_type: str) -> str:
    """Return the kind of an output node: "image", "video", "audio", "model_3d", "text" or "any"."""
    types = ",".join(spec.type for spec in catalog.inputs(class_type)).upper().split(",")
    lowered = class_type.lower()
    if "3d" in lowered or "glb" in lowered:
        return "model_3d"
    if class_type.startswith(("SaveWEBM", "VHS_VideoCombine")):
        return "video"
    return next((kind for wanted, kind in _OUTPUTS if any(wanted in found for found in types)), "any")


def role(graph: Graph, catalog: NodeCatalog, target: Target) -> str:
    """Return the name of an input by its role, else the last part of its own name."""
    key, name = target
    leaf = word(name.rpartition(".")[2]) or "value"
    node = graph[key]
    if name == "value" and len(node.inputs) == 1:
        fed = next(((other, field) for other, field, _ in consumers(graph, key)), None)
        return leaf if fed is None or fed[0] == key else role(_without(graph, key), catalog, fed)
    if leaf not in ("text", "prompt"):
        return leaf
    ends = {*_ends(graph, key)}
    if "negative" in ends and "positive" not in ends:
        return "negative_prompt"
    gives = {output.type for output in catalog.outputs(node.class_type)}
    return "prompt" if "positive" in ends or "CONDITIONING" in gives else leaf


def _without(graph: Graph, key: str) -> Graph:
    """Return the graph without a node, which prevents endless recursion in a cycle."""
    return {other: node for other, node in graph.items() if other != key}


def _ends(graph: Graph, key: str) -> Iterator[str]:
    """Yield `positive` and `negative` for the inputs of samplers and guiders that a node's outputs reach."""
    seen, waiting = {key}, [key]
    while waiting and len(seen) < _SEARCHED:
        for other, name, _ in consumers(graph, waiting.pop()):
            leaf = name.rpartition(".")[2]
            if leaf in ("positive", "negative"):
                yield leaf
            elif leaf.startswith(("conditioning", "text", "string", "prompt", "value")) and other not in seen:
                seen.add(other)
                waiting.append(other)
