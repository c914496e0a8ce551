"""How a node class of FakeComfy is declared, as a client sees it in /object_info."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

__all__ = ["InputFiles", "InputSpec", "Models", "NodeSpec"]


@dataclasses.dataclass(frozen=True, slots=True)
class Models:
    """A choice among the models of a folder, and a few fixed ones after them."""

    folder: str
    extra: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class InputFiles:
    """A choice among the files of the input folder."""


InputSpec: TypeAlias = tuple[Any, ...]
"""A type and, where the class gives some, a dict of options; a list of choices is a type."""

Choices: TypeAlias = Callable[[Models | InputFiles], list[str]]


@dataclasses.dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node class as /object_info describes it.

    Attributes:
        v3: Declared through ComfyUI's newer schema, which lists some more keys.
    """

    name: str
    display: str | None
    category: str
    required: Mapping[str, InputSpec]
    outputs: tuple[str, ...]
    optional: Mapping[str, InputSpec] = dataclasses.field(default_factory=dict)
    hidden: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    output_names: tuple[str, ...] | None = None
    output_tooltips: tuple[str, ...] | None = None
    description: str = ""
    module: str = "nodes"
    is_output: bool = False
    v3: bool = False
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def inputs(self, choices: Choices) -> dict[str, dict[str, InputSpec]]:
        """Return required and optional inputs by name, with the lists of the day filled in."""
        groups = {"required": self.required, "optional": self.optional}
        return {
            group: {name: _fill(spec, choices) for name, spec in declared.items()}
            for group, declared in groups.items()
            if declared or (group == "required" and not self.hidden)
        }

    def info(self, choices: Choices) -> dict[str, Any]:
        """Return the entry of /object_info."""
        inputs: dict[str, Any] = {
            group: {name: list(spec) for name, spec in declared.items()}
            for group, declared in self.inputs(choices).items()
        }
        if self.hidden:
            inputs["hidden"] = dict(self.hidden)
        info: dict[str, Any] = {
            "input": inputs,
            "input_order": {group: list(names) for group, names in inputs.items()},
            "is_input_list": False,
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.output_names or self.outputs),
            "name": self.name,
            "display_name": self.display,
            "description": self.description,
            "python_module": self.module,
            "category": self.category,
            "output_node": self.is_output,
            "has_intermediate_output": False,
        }
        if self.v3:
            info |= _V3 | {"output_tooltips": [None] * len(self.outputs)}
        else:
            info["search_aliases"] = []
        if self.output_tooltips:
            info["output_tooltips"] = list(self.output_tooltips)
        return info | dict(self.more)


_V3: dict[str, Any] = {
    "output_matchtypes": None,
    "deprecated": False,
    "experimental": False,
    "dev_only": False,
    "api_node": False,
    "price_badge": None,
    "search_aliases": None,
    "essentials_category": None,
}


def _fill(spec: InputSpec, choices: Choices) -> InputSpec:
    """Put the choices of the day in the place of their marker."""
    if isinstance(spec[0], (Models, InputFiles)):
        return (choices(spec[0]), *spec[1:])
    return spec
