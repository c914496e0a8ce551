"""Dynamic inputs: the inputs of a node that depend on its values.

A dynamic combo adds the inputs of its chosen option, an autogrow input adds numbered or named
copies of one template (comfy_api/latest/_io.py of ComfyUI 0.33), a dynamic group adds rows of
fields (`loras.0.strength`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._specs import (
    AUTOGROW,
    DYNAMIC_COMBO,
    DYNAMIC_GROUP,
    DYNAMIC_SLOT,
    DYNAMIC_TYPES,
    SECTIONS,
    InputSpec,
    dynamic_options,
    read_inputs,
)

__all__ = ["autogrow", "expand", "rows", "selected_inputs"]

_MOST_ROWS = 20
"""The most rows of a dynamic group that declares no maximum (since ComfyUI 0.43)."""


def expand(specs: Iterable[InputSpec], values: Mapping[str, Any]) -> Iterator[InputSpec]:
    """Yield the inputs that a node with these values has on the server.

    A dynamic combo is followed by the inputs of its option; without a value, or with one
    that is not an option, the server ignores it and yields neither. An autogrow input is
    replaced by its copies, a group by its rows.
    """
    for spec in specs:
        if spec.type not in DYNAMIC_TYPES:
            yield spec
        elif spec.type == AUTOGROW:
            yield from autogrow(spec)
        elif spec.type == DYNAMIC_GROUP:
            yield from rows(spec, values)
        elif spec.name in values:
            inner = selected_inputs(spec, values[spec.name])
            if inner is not None:
                yield spec
                yield from expand(inner, values)


def selected_inputs(spec: InputSpec, value: Any) -> list[InputSpec] | None:
    """Return the inputs that a dynamic combo has for a value, None when the value is not an option."""
    if spec.type == DYNAMIC_SLOT:
        return _prefixed(spec.name, spec.options.get("inputs"))
    if spec.type == DYNAMIC_COMBO:
        for option in dynamic_options(spec.options):
            if option["key"] == value:
                return _prefixed(spec.name, option.get("inputs"))
    return None


def autogrow(spec: InputSpec) -> Iterator[InputSpec]:
    """Yield the copies that an autogrow input may have, the required ones first."""
    template = spec.options.get("template")
    if not isinstance(template, Mapping):
        return
    groups = template.get("input")
    inner = next(iter(read_inputs(groups)), None)
    if inner is None:
        return
    least = template.get("min")
    least = least if isinstance(least, int) else 0
    for position, name in enumerate(_autogrow_names(template)):
        required = inner.required and position < least
        yield InputSpec.parse(f"{spec.name}.{name}", inner.raw, SECTIONS[0 if required else 1])


def rows(spec: InputSpec, values: Mapping[str, Any]) -> Iterator[InputSpec]:
    """Yield the fields of all rows that a group may have; those of rows without values are optional."""
    fields = list(read_inputs(spec.options.get("template")))
    least, most = spec.min or 0, spec.max or _MOST_ROWS
    prefix = f"{spec.name}."
    have = [name[len(prefix) :].partition(".")[0] for name in values if name.startswith(prefix)]
    count = max([int(least), *(int(row) + 1 for row in have if row.isascii() and row.isdecimal())])
    for row in range(min(max(int(most), count), 10 * _MOST_ROWS)):
        for field in fields:
            section = field.section if row < count else "optional"
            yield InputSpec.parse(f"{prefix}{row}.{field.name}", field.raw, section)


def _autogrow_names(template: Mapping[str, Any]) -> list[str]:
    names = template.get("names")
    if isinstance(names, list | tuple):
        return [str(name) for name in names]
    most = template.get("max")
    # ComfyUI itself stops at a hundred names.
    count = min(most, 100) if isinstance(most, int) else 10
    return [f"{template.get('prefix', '')}{number}" for number in range(count)]


def _prefixed(prefix: str, groups: Any) -> list[InputSpec]:
    return [
        InputSpec.parse(f"{prefix}.{spec.name}", spec.raw, spec.section)
        for spec in read_inputs(groups)
        if spec.section != "hidden"
    ]
