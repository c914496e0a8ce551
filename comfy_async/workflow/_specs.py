"""The inputs and outputs of one node class, read from its object_info entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from ..types import counted

__all__ = ["InputSpec", "NodeClass", "OutputSpec", "Section"]

Section = Literal["required", "optional", "hidden"]

SECTIONS: tuple[Section, ...] = ("required", "optional", "hidden")
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW = "COMFY_AUTOGROW_V3"
DYNAMIC_SLOT = "COMFY_DYNAMICSLOT_V3"
MATCH_TYPE = "COMFY_MATCHTYPE_V3"
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload", "animated_image_upload")

DYNAMIC_GROUP = "COMFY_DYNAMICGROUP_V3"
DYNAMIC_TYPES = frozenset({DYNAMIC_COMBO, AUTOGROW, DYNAMIC_SLOT, DYNAMIC_GROUP})
UNSENT_TYPES = frozenset({"CAMERA_ANGLE_VIEW", "CAMERA_INFO_STATE", "RESOLUTION_PREVIEW"})
"""Types of inputs that the editor only displays and never sends a value for."""

FILE_INPUTS: Mapping[str, str] = {
    "LoadImage": "image",
    "LoadImageMask": "image",
    "LoadImageOutput": "image",
    "LoadLatent": "latent",
    "LoadAudio": "audio",
    "LoadVideo": "file",
    "Load3D": "model_file",
    "Load3DAdvanced": "model_file",
    # The upload button of VideoHelperSuite is made by its JavaScript: object_info has a plain list.
    "VHS_LoadVideo": "video",
    "VHS_LoadVideoFFmpeg": "video",
    "VHS_LoadAudioUpload": "audio",
}
"""By class, the input that names a file in the server's folders, which the node looks up itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a node class: its type, its options and its section.

    Attributes:
        name: The input's name, with dots for the parts of dynamic inputs (`model.width`).
        type: The type that a link must have, or the widget's type; "COMBO" for both
            notations of a combo.
        section: "required", "optional" or "hidden" (filled in by the server).
        options: The options as the server returns them: default, min, max, tooltip and so on.
        choices: The values to choose from, None when it is not a combo or the list is
            fetched elsewhere (`remote`).
        raw: The specification as it is in object_info.

    Example:
        >>> InputSpec.parse("steps", ["INT", {"default": 20, "min": 1, "max": 10000}]).max
        10000
    """

    name: str
    type: str
    section: Section = "required"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    choices: tuple[Any, ...] | None = dataclasses.field(default=None, repr=False)
    raw: Any = dataclasses.field(default=None, repr=False)

    @classmethod
    def parse(cls, name: str, spec: Any, section: Section = "required") -> InputSpec:
        """Read `[type, options]`, in either notation of a combo; an empty entry gets type "*"."""
        parts = spec if isinstance(spec, list | tuple) and spec else ["*" if spec is None else spec]
        kind = parts[0]
        options = parts[1] if len(parts) > 1 and isinstance(parts[1], Mapping) else {}
        choices: tuple[Any, ...] | None = None
        if isinstance(kind, list | tuple):
            kind, choices = "COMBO", tuple(kind)
        elif kind == "COMBO" and isinstance(options.get("options"), list | tuple):
            choices = tuple(options["options"])
        elif kind == DYNAMIC_COMBO:
            choices = tuple(option["key"] for option in dynamic_options(options))
        return cls(name, str(kind), section, options, choices, spec)

    @property
    def required(self) -> bool:
        """Whether the node does not run without it."""
        return self.section == "required" and self.type not in UNSENT_TYPES

    @property
    def default(self) -> Any:
        """The declared default, else the first choice; None when there is neither."""
        if "default" in self.options:
            return self.options["default"]
        return self.choices[0] if self.choices else None

    @property
    def min(self) -> int | float | None:
        """The smallest value, or None."""
        return _number(self.options.get("min"))

    @property
    def max(self) -> int | float | None:
        """The largest value, or None."""
        return _number(self.options.get("max"))

    @property
    def force_input(self) -> bool:
        """Whether it is an input for links only although its type has a widget."""
        return bool(self.options.get("forceInput") or self.options.get("defaultInput"))

    @property
    def is_upload(self) -> bool:
        """Whether it names a file that was uploaded; the editor has a button for it."""
        return any(self.options.get(flag) for flag in _UPLOADS)

    @property
    def is_seed(self) -> bool:
        """Whether it is an integer that the editor randomizes for each run."""
        if self.type != "INT":
            return False
        flag = self.options.get("control_after_generate")
        # The frontend falls back to the name only when the flag is absent (PROTOCOL 3.3).
        return self.leaf in {"seed", "noise_seed"} if flag is None else bool(flag)

    @property
    def leaf(self) -> str:
        """The last part of the name: `width` of `model.width`."""
        return self.name.rpartition(".")[2]


@dataclasses.dataclass(frozen=True, slots=True)
class OutputSpec:
    """One output of a node class.

    Attributes:
        slot: Its number from 0, the second part of a link.
        type: Its type; "COMBO" where old nodes declare a list of choices.
        name: Its name, its type when it has none.
        is_list: Whether it returns a list, for whose items later nodes run one by one.
    """

    slot: int
    type: str
    name: str
    is_list: bool = False


class NodeClass:
    """One entry of object_info with its inputs and outputs in order.

    Example:
        >>> sampler = NodeClass("KSampler", {"input": {"required": {"seed": ["INT", {}]}}})
        >>> [spec.name for spec in sampler.inputs]
        ['seed']
    """

    def __init__(self, name: str, raw: Mapping[str, Any]) -> None:
        """Keep an entry; it is parsed when it is needed."""
        self.name = name
        self.raw = raw

    @property
    def display_name(self) -> str:
        """The name in the editor's menus, the class name when it has none."""
        return str(self.raw.get("display_name") or self.name)

    @property
    def description(self) -> str:
        """What the node does, "" when the server has no description."""
        return str(self.raw.get("description") or "")

    @property
    def category(self) -> str:
        """Its place in the editor's menus."""
        return str(self.raw.get("category") or "")

    @property
    def python_module(self) -> str:
        """The Python module that defines it: `nodes`, `comfy_extras.…` or `custom_nodes.…`."""
        return str(self.raw.get("python_module") or "")

    @property
    def from_pack(self) -> bool:
        """Whether it comes from a node pack and not from ComfyUI itself."""
        return self.python_module.startswith("custom_nodes")

    @property
    def output_node(self) -> bool:
        """Whether it is an output node: a prompt must have at least one."""
        return self.raw.get("output_node") is True

    @property
    def deprecated(self) -> bool:
        """Whether the server marks it as deprecated."""
        return bool(self.raw.get("deprecated"))

    @property
    def api_node(self) -> bool:
        """Whether it calls a paid partner service."""
        return bool(self.raw.get("api_node"))

    @cached_property
    def all_inputs(self) -> tuple[InputSpec, ...]:
        """The inputs in the editor's order, hidden ones last; dynamic ones as one entry each."""
        return tuple(read_inputs(self.raw.get("input"), self.raw.get("input_order")))

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs that a prompt may carry, in the editor's order: required, then optional."""
        return tuple(spec for spec in self.all_inputs if spec.section != "hidden")

    @cached_property
    def outputs(self) -> tuple[OutputSpec, ...]:
        """The outputs by slot."""
        return tuple(_read_outputs(self.raw))

    def input(self, name: str) -> InputSpec | None:
        """Return the input of that name, None when there is none; parts of dynamic inputs are not found."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, InputSpec]:
        return {spec.name: spec for spec in reversed(self.all_inputs)}

    def __repr__(self) -> str:
        """Return the class name and the counts."""
        inputs, outputs = counted(len(self.inputs), "input"), counted(len(self.outputs), "output")
        return f"<NodeClass {self.name}: {inputs}, {outputs}>"


def read_inputs(groups: Any, order: Any = None) -> Iterator[InputSpec]:
    """Yield the inputs of `{"required": {...}, "optional": {...}}` in their declared order."""
    if not isinstance(groups, Mapping):
        return
    for section in SECTIONS:
        group = groups.get(section)
        if not isinstance(group, Mapping):
            continue
        for name in _ordered(group, order.get(section) if isinstance(order, Mapping) else None):
            yield InputSpec.parse(name, group[name], section)


def dynamic_options(options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the well-formed options of a dynamic combo: those with a key."""
    found = options.get("options")
    if not isinstance(found, list | tuple):
        return []
    return [option for option in found if isinstance(option, Mapping) and "key" in option]


def _ordered(group: Mapping[str, Any], order: Any) -> Iterable[str]:
    if not isinstance(order, list | tuple):
        return group
    first = [name for name in order if isinstance(name, str) and name in group]
    return dict.fromkeys([*first, *group])


def output_types(classes: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Return the types of all outputs of the classes, in lower case."""
    given: set[str] = set()
    for raw in classes.values():
        outputs = raw.get("output")
        if isinstance(outputs, list | tuple):
            given.update(kind for kind in outputs if isinstance(kind, str))
    return frozenset(kind for word in given for kind in word.lower().split(","))


def _read_outputs(raw: Mapping[str, Any]) -> Iterator[OutputSpec]:
    types = raw.get("output")
    if not isinstance(types, list | tuple):
        return
    names, lists = raw.get("output_name"), raw.get("output_is_list")
    for slot, kind in enumerate(types):
        word = kind if isinstance(kind, str) else "COMBO"
        name = names[slot] if isinstance(names, list | tuple) and slot < len(names) else word
        is_list = isinstance(lists, list | tuple) and slot < len(lists) and bool(lists[slot])
        yield OutputSpec(slot, word, name if isinstance(name, str) and name else word, is_list)


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
