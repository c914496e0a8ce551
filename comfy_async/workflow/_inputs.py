"""The inputs worth changing in a workflow: prompts, seeds, pictures, sizes, models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

from ._edits import consumers, seed_inputs
from ._nodes import Graph, Node
from ._specs import InputSpec
from ._values import is_link, is_pending, plain
from .catalog import NodeCatalog

__all__ = ["MODEL_ENDINGS", "InputKind", "WorkflowInput", "list_inputs"]

InputKind = Literal["text", "file", "seed", "size", "model", "sampling", "output", "other"]

_ORDER: tuple[InputKind, ...] = ("text", "file", "seed", "size", "model", "sampling", "output", "other")

MODEL_ENDINGS = (".safetensors", ".ckpt", ".sft", ".pt", ".pt2", ".pth", ".bin", ".gguf", ".onnx", ".pkl")
_FILE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".exr", ".svg"),
    *(".mp4", ".webm", ".mov", ".mkv", ".avi", ".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a"),
    *(".glb", ".gltf", ".obj", ".fbx", ".stl", ".ply", ".latent"),
)

_NAMES: dict[InputKind, frozenset[str]] = {
    "text": frozenset(
        {"text", "prompt", "positive", "negative", "positive_prompt", "negative_prompt", "text_g", "text_l"}
        | {"clip_l", "clip_g", "t5xxl", "llama", "caption", "tags", "lyrics", "instructions", "system_prompt"}
    ),
    "file": frozenset({"image", "mask", "video", "audio", "file", "model_file", "latent"}),
    "size": frozenset(
        {"width", "height", "batch_size", "length", "frames", "num_frames", "video_frames", "megapixels"}
        | {"duration", "seconds", "fps", "frame_rate", "resolution", "aspect_ratio", "size", "num_images"}
    ),
    "sampling": frozenset(
        {"steps", "cfg", "denoise", "guidance", "sampler_name", "scheduler", "start_at_step", "end_at_step"}
        | {"shift", "strength", "strength_model", "strength_clip", "weight", "guidance_scale", "cfg_scale"}
    ),
    "output": frozenset({"filename_prefix"}),
}


@dataclasses.dataclass(frozen=True, slots=True)
class WorkflowInput:
    """A value in a workflow that people change between runs.

    Attributes:
        node: The node's id.
        title: Its title, "" when it has none.
        class_type: Its class.
        input: The input's name.
        kind: Its kind: "text", "file", "seed", "size", "model", "sampling", "output" or "other".
        value: Its present value.
        type: Its type in the catalog, "" without one.
        choices: The choices on the server, None when it is not a combo or they are unknown.
        min: The smallest allowed value, or None.
        max: The largest allowed value, or None.

    Example:
        >>> WorkflowInput("3", "KSampler", "KSampler", "seed", "seed", 42).key
        '3.seed'
    """

    node: str
    title: str
    class_type: str
    input: str
    kind: InputKind
    value: Any
    type: str = ""
    choices: tuple[Any, ...] | None = dataclasses.field(default=None, repr=False)
    min: int | float | None = None
    max: int | float | None = None

    @property
    def key(self) -> str:
        """The key under which `with_inputs` changes it."""
        return f"{self.node}.{self.input}"


def list_inputs(graph: Graph, catalog: NodeCatalog | None, *, every: bool = False) -> list[WorkflowInput]:
    """Return the inputs worth changing, prompts first; with `every` all that are not links."""
    seeds = {(key, name) for key, name, _ in seed_inputs(graph, catalog)}
    found: list[WorkflowInput] = []
    for key, node in graph.items():
        for name, value in node.inputs.items():
            if is_link(value):
                continue
            spec = None if catalog is None else catalog.input(node.class_type, name, node.inputs)
            kind: InputKind = "seed" if (key, name) in seeds else _kind(graph, key, name, spec)
            if every or kind != "other":
                found.append(_listed(key, node, name, kind, spec))
    return sorted(found, key=lambda item: _ORDER.index(item.kind))


def _listed(key: str, node: Node, name: str, kind: InputKind, spec: InputSpec | None) -> WorkflowInput:
    value = node.inputs[name]
    value = value if is_pending(value) else plain(value)
    if isinstance(value, dict) and value.keys() == {"__value__"}:
        value = value["__value__"]
    if spec is None:
        return WorkflowInput(key, node.title, node.class_type, name, kind, value)
    bounds = {"type": spec.type, "choices": spec.choices, "min": spec.min, "max": spec.max}
    return WorkflowInput(key, node.title, node.class_type, name, kind, value, **bounds)  # type: ignore[arg-type]


def _kind(graph: Graph, key: str, name: str, spec: InputSpec | None) -> InputKind:
    """Return the kind of an input: by its value, its specification, its name, or the inputs it feeds."""
    node = graph[key]
    value = node.inputs[name]
    if is_pending(value) or (spec is not None and spec.is_upload):
        return "file"
    if node.class_type.startswith("Primitive") and name == "value":
        return _fed_kind(graph, key, value)
    kind = _kind_by_ending(value) or _kind_by_name(name.rpartition(".")[2], value)
    if kind is not None:
        return kind
    if spec is not None and spec.type == "STRING" and spec.options.get("multiline"):
        return "text"
    return "other"


def _kind_by_ending(value: Any) -> InputKind | None:
    if not isinstance(value, str) or len(value) > 500 or "\n" in value:
        return None
    # An annotated file name ends in its folder: "face.png [input]".
    lowered = value.lower().partition(" [")[0]
    if lowered.endswith(MODEL_ENDINGS):
        return "model"
    return "file" if lowered.endswith(_FILE_ENDINGS) else None


def _kind_by_name(leaf: str, value: Any) -> InputKind | None:
    for kind, names in _NAMES.items():
        if leaf in names:
            is_text = isinstance(value, str)
            if kind in {"text", "file", "output"}:
                return kind if is_text else None
            return None if isinstance(value, bool | dict) else kind
    return None


def _fed_kind(graph: Graph, key: str, value: Any) -> InputKind:
    """Return the kind of a primitive's value by the inputs that it feeds."""
    for kind in _fed_kinds(graph, key, value):
        return kind
    return "text" if isinstance(value, str) else "other"


def _fed_kinds(graph: Graph, key: str, value: Any) -> Iterator[InputKind]:
    for _, name, _ in consumers(graph, key):
        kind = _kind_by_name(name.rpartition(".")[2], value)
        if kind is not None:
            yield kind
