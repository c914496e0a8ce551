"""Building a graph in code: nodes are calls, inputs are keyword arguments, outputs are return values."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import UnknownInputError, WorkflowError
from ..types import counted
from ._edits import free_id, known_inputs
from ._identifiers import identifiers, output_names
from ._keys import changed, nearest
from ._nodes import Graph, Node
from .catalog import NodeCatalog

__all__ = ["BuiltNode", "Growing", "Output", "Outputs"]


class Output(tuple[str, int]):
    """One output of a node: the link `(id, slot)`, which any input and `with_inputs` accept.

    Attributes:
        type: Its type, "*" without a catalog.
    """

    type: str

    def __new__(cls, node: str, slot: int = 0, *, type: str = "*") -> Output:
        """Make the link."""
        made = super().__new__(cls, (node, slot))
        made.type = type
        return made

    @property
    def node(self) -> str:
        """The id of its node."""
        return self[0]

    @property
    def slot(self) -> int:
        """The number of the output, from 0."""
        return self[1]

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copy and pickle by parts."""
        return tuple(self), {"type": self.type}

    def __repr__(self) -> str:
        """Return id, slot and type."""
        return f"<Output {self.node}:{self.slot} {self.type}>"


class Outputs(tuple[Output, ...]):
    """All outputs of a node, to unpack or to take by number or by name (`loader.CLIP`).

    Attributes:
        node: The node's id.
    """

    node: str
    _names: dict[str, int]

    def __new__(cls, node: str, outputs: tuple[Output, ...], names: dict[str, int]) -> Outputs:
        """Keep the outputs under their names."""
        made = super().__new__(cls, outputs)
        made.node, made._names = node, names
        return made

    def __getattr__(self, name: str) -> Output:
        """Return the output of that name.

        Raises:
            AttributeError: The node has no such output.
        """
        names: dict[str, int] = self.__dict__.get("_names", {})
        if name in names:
            return self[names[name]]
        raise AttributeError(f"this node has the outputs {', '.join(names) or 'none'}, not {name!r}")

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Copy and pickle by parts."""
        return self.node, tuple(self), self._names


class BuiltNode:
    """A node that was built without a catalog, so its outputs are unknown; `node[1]` is the second.

    Passed to an input it stands for its first output.

    Attributes:
        node: The node's id.
    """

    def __init__(self, node: str) -> None:
        """Keep the id."""
        self.node = node

    def __getitem__(self, slot: int) -> Output:
        """Return the output with that number, which is not checked."""
        return Output(self.node, slot)

    def __iter__(self) -> Iterator[Output]:
        """Raise a WorkflowError, because the number of outputs is unknown."""
        raise WorkflowError(
            f"node {self.node!r} cannot be unpacked: its number of outputs is unknown",
            hint="Take an output by its number (node[1]), or build with a catalog.",
        )

    def __repr__(self) -> str:
        """Return the id."""
        return f"<BuiltNode {self.node}>"


class Growing:
    """The nodes of a graph that is being built; `GraphBuilder` returns them as a workflow.

    Attributes:
        catalog: What the server can run, or None.
        grown: The nodes so far, by id.
    """

    def __init__(self, catalog: NodeCatalog | None, start: Mapping[str, Node]) -> None:
        """Begin with some nodes, or none."""
        self.catalog = catalog
        self.grown: Graph = dict(start)
        self._classes = identifiers(catalog) if catalog is not None else {}

    def node(
        self, class_type: str, /, *, _id: str | None = None, _title: str | None = None, **inputs: Any
    ) -> Any:
        """Add a node by its class name on the server, which need not be a Python identifier.

        Returns:
            With a catalog an `Output` when the class has exactly one, else `Outputs`; without a
            catalog a `BuiltNode`.

        Raises:
            UnknownInputError: The class or an input is unknown, the id is taken, or a value
                cannot be sent.
            WorkflowError: The server would reject the node; `problems` says why.
        """
        key = free_id(self.grown) if _id is None else _id
        if key in self.grown:
            raise UnknownInputError(f"the id {key!r} is taken")
        values = self._named(class_type, {name: _linked(name, value) for name, value in inputs.items()})
        if self.catalog is not None:
            if class_type not in self.catalog:
                close = nearest(class_type, self.catalog)
                raise UnknownInputError(
                    f"the catalog has no class {class_type!r}; nearest: {', '.join(close) or 'none'}",
                    candidates=close,
                )
            values = {**known_inputs(self.catalog, class_type, values), **values}
        draft = {**self.grown, key: Node(class_type, {}, None if _title is None else {"title": _title})}
        draft[key] = changed(draft, key, values, self.catalog)
        if self.catalog is not None:
            _refuse(draft, key, self.catalog)
        self.grown = draft
        return self._outputs(key, class_type)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the function that adds a node of this class."""
        if name.startswith("_"):
            raise AttributeError(name)
        class_type = self._classes.get(name, name)

        def add(*, _id: str | None = None, _title: str | None = None, **inputs: Any) -> Any:
            return self.node(class_type, _id=_id, _title=_title, **inputs)

        add.__name__ = add.__qualname__ = name
        return add

    def __dir__(self) -> list[str]:
        """List the classes too, for completion in notebooks."""
        return [*super().__dir__(), *self._classes]

    def _named(self, class_type: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by the names of inputs in ComfyUI instead of the Python names."""
        known: dict[str, str] = {}
        if self.catalog is not None and class_type in self.catalog:
            # The parts of a dynamic input depend on values, so names are resolved in two passes.
            plain = {spec.name for spec in self.catalog.inputs(class_type)}
            first = {identifiers(plain).get(name, name): value for name, value in values.items()}
            known = identifiers(spec.name for spec in self.catalog.inputs(class_type, _deep(first)))
            known = {**known, **{name: name for name in plain}}
        return {known.get(name) or _dotted(name): value for name, value in values.items()}

    def _outputs(self, key: str, class_type: str) -> Output | Outputs | BuiltNode:
        if self.catalog is None:
            return BuiltNode(key)
        specs = self.catalog.outputs(class_type)
        outputs = tuple(Output(key, spec.slot, type=spec.type) for spec in specs)
        if len(outputs) == 1:
            return outputs[0]
        names = output_names(spec.name for spec in specs)
        return Outputs(key, outputs, {name: slot for slot, name in enumerate(names)})

    def __repr__(self) -> str:
        """Return the number of nodes."""
        return f"<{type(self).__name__} {counted(len(self.grown), 'node')}>"


def _deep(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values under both the Python and the dotted name, so that nested dynamic inputs expand."""
    return {**values, **{_dotted(name): value for name, value in values.items()}}


def _dotted(name: str) -> str:
    if name.endswith("_") and keyword.iskeyword(name[:-1]):
        return name[:-1]
    return name.replace("__", ".") if "__" in name.strip("_") else name


def _linked(name: str, value: Any) -> Any:
    """Return the link to the first output when the value is a node, else the value itself.

    Raises:
        WorkflowError: It is the outputs of a node that has several, or none.
    """
    if isinstance(value, BuiltNode):
        return value[0]
    if isinstance(value, Outputs):
        names = ", ".join(value._names) or "none"
        raise WorkflowError(
            f"input {name!r} takes one output, but node {value.node!r} has {names}",
            hint="Name the output, for example loader.MODEL.",
        )
    return value


def _refuse(graph: Mapping[str, Node], key: str, catalog: NodeCatalog) -> None:
    """Raise when the server would reject the new node.

    Raises:
        WorkflowError: It would be rejected; `problems` says why.
    """
    from .check import check_node

    # The server does not check the option of a dynamic combo, but the node fails on a wrong one.
    found = check_node(graph, key, catalog)
    problems = [one for one in found if one.severity == "error" or one.type == "value_not_in_list"]
    if problems:
        raise WorkflowError(f"the server would reject node {graph[key].info(key)}", problems=problems)
