"""Describing the inputs of an app: types, ranges, choices and defaults from the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .._edits import seed_inputs
from .._nodes import Graph
from .._specs import DYNAMIC_COMBO, InputSpec
from .._values import is_handle, is_link, is_pending, plain, same_path
from ..catalog import NodeCatalog
from .names import unique
from .parts import AppInput, Draft, Target, UploadKind
from .roles import file_kind

__all__ = ["choices_of", "described", "limits", "specs_of"]


def described(drafts: Sequence[Draft], graph: Graph, catalog: NodeCatalog) -> dict[str, AppInput]:
    """Return the inputs by name."""
    names = unique([(draft.names[0],) if draft.fixed else draft.names for draft in drafts])
    seeds = {(key, name) for key, name, _ in seed_inputs(graph, catalog)}
    return {
        name: _input(name, draft, graph, catalog, is_seed=draft.targets[0] in seeds)
        for name, draft in zip(names, drafts, strict=True)
    }


def _input(name: str, draft: Draft, graph: Graph, catalog: NodeCatalog, *, is_seed: bool) -> AppInput:
    """Return one input."""
    specs = specs_of(draft.targets, graph, catalog)
    first = specs[0]
    node, field = draft.targets[0]
    value = _shown(graph[node].inputs.get(field))
    kind = _type(first, value)
    upload = file_kind(graph[node].class_type, field, first)
    choices = _options(draft.targets[0], graph) or choices_of(specs)
    low, high = limits(specs)
    default = None if draft.loaded else _default(value, first, choices, upload)
    return AppInput(
        name,
        node,
        field,
        kind,
        default=default,
        choices=choices,
        minimum=low,
        maximum=high,
        step=None if first is None else _number(first.options.get("step")),
        multiline=first is not None and bool(first.options.get("multiline")) and kind == "STRING",
        required=default is None and not _does_without(draft, graph, first),
        description=draft.description or _tooltip(first),
        upload=upload,
        title=draft.title or name.replace("_", " "),
        targets=draft.targets,
        is_seed=is_seed,
    )


def specs_of(targets: Iterable[Target], graph: Graph, catalog: NodeCatalog) -> list[InputSpec | None]:
    """Return the catalog's specification of each target, None for an unknown one."""
    return [catalog.input(graph[key].class_type, name, graph[key].inputs) for key, name in targets]


def limits(specs: Iterable[InputSpec | None]) -> tuple[int | float | None, int | float | None]:
    """Return the (minimum, maximum) that all targets accept, None for no limit."""
    known = [spec for spec in specs if spec is not None]
    lows = [spec.min for spec in known if spec.min is not None]
    highs = [spec.max for spec in known if spec.max is not None]
    return max(lows, default=None), min(highs, default=None)


def choices_of(specs: Iterable[InputSpec | None]) -> tuple[Any, ...] | None:
    """Return the choices that all targets have, None when there are none or they are unknown."""
    lists = [spec.choices for spec in specs if spec is not None and spec.choices]
    if not lists:
        return None
    return tuple(choice for choice in lists[0] if all(choice in other for other in lists[1:])) or None


def _options(target: Target, graph: Graph) -> tuple[Any, ...] | None:
    """Return the choices of a CustomCombo, which are values of its own inputs; None for other inputs."""
    node = graph[target[0]]
    if node.class_type != "CustomCombo" or target[1] != "choice":
        return None
    listed = (value for name, value in node.inputs.items() if name.startswith("option"))
    return tuple(dict.fromkeys(value for value in listed if isinstance(value, str) and value)) or None


def _type(spec: InputSpec | None, value: Any) -> str:
    """Return the type in the catalog, else the one of the present value."""
    if spec is not None:
        return "COMBO" if spec.type == DYNAMIC_COMBO else spec.type
    words = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}
    return words.get(type(value), "*")


def _shown(value: Any) -> Any:
    """Return a value without its wrapper; None for a link, and for a file that is not uploaded yet."""
    if value is None or is_link(value) or is_pending(value):
        return None
    value = value.name_for_input if is_handle(value) else plain(value)
    if isinstance(value, dict) and value.keys() == {"__value__"}:
        return value["__value__"]
    return value


def _default(
    value: Any, spec: InputSpec | None, choices: tuple[Any, ...] | None, upload: UploadKind | None
) -> Any:
    """Return the value in the workflow, None when the server would reject it."""
    if value is None and spec is not None and not upload:
        value = spec.default
    if upload is not None:
        # Lists of choices lack files in subfolders and other folders, which the nodes do find.
        there = isinstance(value, str) and ("/" in value or " [" in value or value in (choices or ()))
        return value if there else None
    if choices is None or isinstance(value, list) or value in choices:
        return value
    return same_path(value, choices)


def _does_without(draft: Draft, graph: Graph, spec: InputSpec | None) -> bool:
    """Return whether the workflow runs without a value for it, or a link feeds it."""
    node, field = draft.targets[0]
    linked = is_link(graph[node].inputs.get(field))
    return draft.optional or linked or (spec is not None and not spec.required)


def _tooltip(spec: InputSpec | None) -> str:
    """Return the tooltip of an input, "" when it has none."""
    text = spec.options.get("tooltip") if spec is not None else None
    return text if isinstance(text, str) else ""


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
