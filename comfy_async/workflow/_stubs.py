"""Typed stubs of a server's nodes, for completion in code editors and for type checkers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ._dynamic import autogrow, rows, selected_inputs
from ._identifiers import identifier, identifiers, output_names
from ._specs import (
    AUTOGROW,
    DYNAMIC_COMBO,
    DYNAMIC_GROUP,
    DYNAMIC_SLOT,
    MATCH_TYPE,
    UNSENT_TYPES,
    InputSpec,
    NodeClass,
)
from .catalog import NodeCatalog

__all__ = ["doc", "literal", "write_stubs"]

_MAX_CHOICES = 400
"""The most choices that are written as a Literal: thousands of models would slow down code editors."""

_WIDGETS = {
    "INT": "int",
    "FLOAT": "float",
    "STRING": "str",
    "BOOLEAN": "bool",
    "COMFY_BRANCH_SELECTOR": "str",
    "COMFY_BRANCH_INPUT_NAMES": "list[str]",
    "LIGHT_INFO_PREVIEW": "list[Any] | dict[str, Any]",
}

_RESERVED = frozenset(
    {"Any", "Literal", "NamedTuple", "NodeCatalog", "Nodes", "Output", "Outputs", "Workflow"}
)

_RUNTIME = '''"""The nodes of a ComfyUI server, typed by the .pyi beside it. Written by comfy-async."""

import functools
from pathlib import Path

from comfy_async.workflow import NodeCatalog
from comfy_async.workflow.build import GraphBuilder

__all__ = ["Nodes"]


@functools.cache
def _catalog():
    """Return what the server could run when this was written."""
    return NodeCatalog.load(Path(__file__).with_name("{data}"))


class Nodes(GraphBuilder):
    """A graph that grows call by call."""

    def __init__(self, catalog=None, *, start=None):
        """Begin with nothing, or with the nodes of a workflow."""
        super().__init__(_catalog() if catalog is None else catalog, start=start)
'''

_HEAD = '''"""The nodes of a ComfyUI server. Written by comfy-async; rewrite it when the server changes."""

from typing import Any, Literal, NamedTuple

from comfy_async.workflow import NodeCatalog, Workflow
from comfy_async.workflow.build import Output, Outputs
'''


_NODES = '''
class Nodes:
    """A graph that grows call by call."""

    catalog: NodeCatalog
    def __init__(self, catalog: NodeCatalog | None = None, *, start: Workflow | None = None) -> None: ...
    def node(
        self, class_type: str, /, *, _id: str | None = None, _title: str | None = None, **inputs: Any
    ) -> Any: ...
    def workflow(self) -> Workflow: ...
'''


def write_stubs(
    catalog: NodeCatalog, folder: str | os.PathLike[str], *, module: str = "comfy_nodes"
) -> list[Path]:
    """Write a module whose `Nodes` is a `GraphBuilder` with a typed method for each class.

    Code begins with `from comfy_nodes import Nodes` and `graph = Nodes()`. What a type checker
    rejects is rejected at run time too, by the catalog that is written beside the module;
    `Nodes(catalog)` uses a newer one, when models or files were added since.

    Args:
        catalog: The classes to write.
        folder: The folder to write into; it is created when it does not exist.
        module: The module's name.

    Returns:
        The paths of the module and its stub; the catalog is beside them, as `comfy_nodes.json.gz`.

    Raises:
        OSError: A file cannot be written.

    Example:
        >>> module, stub = write_stubs(await comfy.nodes.catalog(), ".")
        >>> module.name, stub.name
        ('comfy_nodes.py', 'comfy_nodes.pyi')
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    runtime, stub = target / f"{module}.py", target / f"{module}.pyi"
    data = catalog.save(target / f"{module}.json.gz")
    runtime.write_text(_RUNTIME.replace("{data}", data.name), encoding="utf-8")
    stub.write_text("".join(_lines(catalog)), encoding="utf-8", errors="backslashreplace")
    return [runtime, stub]


def _lines(catalog: NodeCatalog) -> Iterator[str]:
    classes = {word: catalog.node(name) for word, name in identifiers(catalog).items()}
    types = _Types(classes)
    results, methods = list[str](), list[str]()
    for word, node in classes.items():
        result, lines = _result(word, node, types)
        results += lines
        if word not in {"catalog", "node", "workflow"}:
            methods += _method(word, node, types, result)
    yield _HEAD
    for name, kind in sorted(types.classes.items()):
        yield f"\nclass {name}(Output):\n    {doc(f'An output of type {kind}.')}\n"
        # Attributes and methods may have the name of a type and would shadow it.
        yield f"\n_{name} = {name}\n"
    yield from results
    yield _NODES
    yield from methods


class _Types:
    """The Python names of ComfyUI's types, collected as they are used."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {*taken, *_RESERVED}
        self.classes: dict[str, str] = {}

    def links(self, kind: str) -> list[str]:
        """Return the output classes that an input of this type accepts; ["Any"] for any."""
        parts = [part.strip() for part in kind.split(",")]
        if any(part in {"", "*", MATCH_TYPE} for part in parts):
            return ["Any"]
        return list(dict.fromkeys(self._name(part) for part in parts))

    def _name(self, kind: str) -> str:
        name = identifier(kind)
        while name in self._taken or self.classes.get(name, kind) != kind:
            name += "_"
        self.classes[name] = kind
        return f"_{name}"

    def value(self, spec: InputSpec) -> str:
        """Return the annotation of an input: values of its widget and links of its types."""
        if spec.type in {DYNAMIC_COMBO, "COMBO"}:
            several = len(spec.choices or ()) > 0
            links = self.links("COMBO") if spec.type == "COMBO" else []
            return "Any" if spec.is_upload or not several else " | ".join([_choices(spec), *links])
        links = self.links(spec.type)
        widget = _WIDGETS.get(spec.type)
        if links == ["Any"] or spec.type == DYNAMIC_SLOT or spec.is_upload:
            return "Any"
        if widget is None and (spec.default is not None or spec.options.get("socketless")):
            # The editor's widgets for colours, curves and the like have values of any JSON type.
            return "Any"
        return " | ".join([*([widget] if widget and not spec.force_input else []), *links])


def _choices(spec: InputSpec) -> str:
    choices = spec.choices or ()
    if len(choices) > _MAX_CHOICES or not all(isinstance(choice, str | int) for choice in choices):
        return "str"
    listed = f"Literal[{', '.join(dict.fromkeys(map(literal, choices)))}]"
    return f"list[{listed}]" if spec.options.get("multiselect") else listed


def literal(value: Any) -> str:
    """Return a value as Python code, in ASCII."""
    # JSON's escapes are valid in Python, and are ASCII.
    return repr(value) if isinstance(value, bool | int | float) else json.dumps(value)


def _result(word: str, node: NodeClass, types: _Types) -> tuple[str, list[str]]:
    """Return the return type of a call, and the lines that define it."""
    if not node.outputs:
        return "Outputs", []
    kinds = [" | ".join(types.links(output.type)) for output in node.outputs]
    if len(kinds) == 1:
        return kinds[0], []
    names = output_names(output.name for output in node.outputs)
    fields = [f"    {name}: {kind}\n" for name, kind in zip(names, kinds, strict=True)]
    return f"{word}Outputs_", [f"\nclass {word}Outputs_(NamedTuple):\n", *fields]


def _method(word: str, node: NodeClass, types: _Types, result: str) -> Iterator[str]:
    specs: dict[str, list[InputSpec]] = {}
    for spec in _every(node.inputs):
        specs.setdefault(identifier(spec.name), []).append(spec)
    yield f"    def {word}(\n        self,\n        *,\n"
    # Inputs without a default first.
    for name, alike in sorted(specs.items(), key=lambda item: _default(item[1][0]) != ""):
        kinds = dict.fromkeys(map(types.value, alike))
        yield f"        {name}: {'Any' if 'Any' in kinds else ' | '.join(kinds)}{_default(alike[0])},\n"
    yield "        _id: str | None = None,\n        _title: str | None = None,\n"
    yield f"    ) -> {result}:\n        {doc(_description(node, specs))}\n"


def _every(specs: Iterable[InputSpec], *, optional: bool = False) -> Iterator[InputSpec]:
    """Yield all inputs that a class may have; those of a dynamic combo's options are optional."""
    for spec in specs:
        if spec.type == AUTOGROW:
            yield from _every(autogrow(spec), optional=optional)
            continue
        if spec.type == DYNAMIC_GROUP:
            yield from _every(rows(spec, {}), optional=True)
            continue
        if spec.type in UNSENT_TYPES:
            continue
        yield InputSpec.parse(spec.name, spec.raw, "optional") if optional else spec
        if spec.type == DYNAMIC_SLOT:
            yield from _every(selected_inputs(spec, None) or (), optional=True)
        for choice in (spec.choices or ()) if spec.type == DYNAMIC_COMBO else ():
            yield from _every(selected_inputs(spec, choice) or (), optional=True)


def _default(spec: InputSpec) -> str:
    value = spec.default
    if not spec.required:
        return " = ..."
    if value is None or spec.force_input:
        return ""
    short = isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) < 80)
    return f" = {literal(value)}" if short else " = ..."


def _description(node: NodeClass, specs: dict[str, list[InputSpec]]) -> str:
    lines = [f"{node.display_name} ({node.name})", *node.description.splitlines()[:3]]
    for name, (spec, *_) in specs.items():
        if spec.min is not None or spec.max is not None:
            lines.append(f"{name}: {spec.min} to {spec.max}")
    return "\n        ".join(line.strip() for line in lines if line.strip())


def doc(text: str) -> str:
    """Return a text as the source of a docstring."""
    safe = text.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')
    return f'"""{safe}"""'
