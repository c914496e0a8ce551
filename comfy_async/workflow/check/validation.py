"""Validating a graph against a catalog, in the order and with the error types of the server.

This follows validate_prompt and validate_inputs of ComfyUI 0.33 (execution.py): only the nodes
that an output depends on are validated, inputs that a class does not declare are ignored, and an
exception during validation is reported under the node that raised it. Unlike the server it
continues after an exception, so that all problems are reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...types import clipped, counted
from .._keys import is_slip, nearest, nearest_ids
from .._nodes import Node
from .._specs import DYNAMIC_COMBO, InputSpec
from .._types import raw_types_link
from .._values import is_pending
from ..catalog import NodeCatalog
from .own import absent_file, checks_itself, checks_link_types, makes_outputs, own_findings
from .values import EXCEPTION, Finding, check_value, not_among, value_for_link

__all__ = ["DEADLY", "GraphCheck", "Place"]

Place = tuple[str, str | None, Finding]
"""Node id, input (None for the node itself) and what is wrong there."""

DEADLY = "missing_link_source"
"""The library's own type for a link that the server accepts although it ends its worker thread."""

OUTER = "exception_during_validation"
"""The server's type for an exception in the output node itself."""


class GraphCheck:
    """The validation of one graph.

    Attributes:
        places: What was found, in the order of the nodes in the graph.
        reached: The nodes that are validated because some output depends on them.
        running: The nodes that are run: those, and the ones that their undeclared inputs link to.
    """

    def __init__(self, graph: Mapping[str, Node], catalog: NodeCatalog) -> None:
        """Keep the graph and the catalog; `run` does the checks."""
        self._graph = graph
        self._catalog = catalog
        # The nodes that lead to the one that is validated, in order.
        self._path: dict[str, None] = {}
        self._links: dict[str, list[str]] = {}
        self._circular = False
        self.places: list[Place] = []
        self.reached: set[str] = set()
        self.running: set[str] = set()

    def outputs(self) -> list[str]:
        """Return the ids of the output nodes."""
        known = ((key, node) for key, node in self._graph.items() if node.class_type in self._catalog)
        return [key for key, node in known if self._catalog.node(node.class_type).output_node]

    def run(self) -> None:
        """Validate all nodes that an output depends on."""
        outputs = set(self.outputs())
        for output in outputs:
            self._walk(output)
        for node in self._circles() if self._circular else ():
            self.places.append((node, None, Finding("dependency_cycle", "it depends on itself")))
        self.running = self._followed(outputs)
        self.places += self._deadly()
        order = {key: place for place, key in enumerate(self._graph)}
        self.places = [_outer(place, outputs) for place in sorted(self.places, key=lambda at: order[at[0]])]

    def _followed(self, outputs: Iterable[str]) -> set[str]:
        """Return the nodes that the server runs: it follows every link, declared or not."""
        seen, waiting = set[str](), list(outputs)
        while waiting:
            key = waiting.pop()
            if key not in seen and key in self._graph:
                seen.add(key)
                waiting += self._graph[key].sources
        return seen

    def _deadly(self) -> Iterator[Place]:
        """Yield links to missing nodes in inputs that nothing validates.

        These are inputs that the class does not declare, and all inputs of nodes that are reached
        only through such inputs. The server follows them when it runs the prompt, and the exception
        there ends its worker thread: it then accepts prompts but runs none until it is restarted
        (seen on 0.33.0; execution.py, the first add_node).
        """
        for key in self.running:
            node = self._graph[key]
            declared = set[str]()
            if key in self.reached:
                declared = {spec.name for spec in self._catalog.inputs(node.class_type, node.inputs)}
            for name, source, _ in node.links():
                if source not in self._graph and name not in declared and node.class_type in self._catalog:
                    told = f"it is linked to node {clipped(source)}, which is not there"
                    advice = (
                        "The server accepts this, but then runs nothing until a restart: remove the input."
                    )
                    yield key, name, Finding(DEADLY, told, node.inputs[name], (), advice)

    def look_at(self, node: str) -> None:
        """Validate one node alone, also if no output depends on it."""
        self._node(node)

    def _walk(self, start: str) -> None:
        """Validate a node and all that it depends on, without recursion: graphs may be long chains."""
        waiting: list[tuple[str, Iterator[str]]] = []

        def enter(key: str) -> None:
            if key in self._path:
                self._circular = True
            elif key not in self.reached:
                self.reached.add(key)
                self._path[key] = None
                self._links[key] = self._node(key)
                waiting.append((key, iter(self._links[key])))

        enter(start)
        while waiting:
            following = next(waiting[-1][1], None)
            if following is None:
                waiting.pop()
                self._path.popitem()
            else:
                enter(following)

    def _circles(self) -> Iterator[str]:
        """Yield the nodes that are part of a cycle."""
        for key in self._links:
            seen, waiting = set[str](), list(self._links[key])
            while waiting:
                node = waiting.pop()
                if node not in seen:
                    seen.add(node)
                    waiting += self._links.get(node, ())
            if key in seen:
                yield key

    def _node(self, key: str) -> list[str]:
        """Record what is wrong with a node, and return the nodes that it is linked to."""
        node = self._graph[key]
        if node.class_type not in self._catalog:
            return [source for _, source, _ in node.links() if source in self._graph]
        specs = {spec.name: spec for spec in self._catalog.inputs(node.class_type, node.inputs)}
        following: list[str] = []
        for spec in specs.values():
            if spec.name in node.inputs:
                following += self._input(key, node, spec)
            elif spec.required:
                finding = Finding("required_input_missing", "this input is required")
                self.places.append((key, spec.name, finding))
        self.places += [(key, name, finding) for name, finding in own_findings(node, specs)]
        self.places += [(key, name, finding) for name, finding in self._dynamic(node, specs)]
        self.places += [(key, name, finding) for name, finding in self._misspelt(node, specs)]
        return following

    def _misspelt(self, node: Node, specs: Mapping[str, InputSpec]) -> Iterator[tuple[str, Finding]]:
        """Yield inputs that the server ignores, but whose names look like misspelt declared ones.

        The nodes of packs may accept more inputs than they declare, so for them only the names of
        declared inputs that are not given are compared.
        """
        from_pack = self._catalog.node(node.class_type).from_pack
        names = [name for name in specs if not (from_pack and name in node.inputs)]
        for name in node.inputs:
            if name in specs or self._catalog.input(node.class_type, name, node.inputs) is not None:
                continue
            close = [other for other in nearest(name, names, count=1) if is_slip(name, other)]
            if close and name.partition(".")[0] not in specs:
                told = f"{node.class_type} has no input {clipped(name)}: the server ignores it"
                yield name, Finding("unknown_input", told, nearest=tuple(close), warning=True)

    def _input(self, key: str, node: Node, spec: InputSpec) -> list[str]:
        """Record what is wrong with an input, and return the node that it is linked to, if any."""
        value = node.inputs[spec.name]
        if isinstance(value, list):
            finding, source = self._link(node, spec, value)
            if finding is not None:
                self.places.append((key, spec.name, finding))
            return [] if source is None else [source]
        pack = self._catalog.node(node.class_type).from_pack
        finding = value_for_link(spec, value)
        if finding is None and is_pending(value):
            finding = absent_file(value)
        elif finding is None:
            value = getattr(value, "name_for_input", value)
            finding = check_value(spec, value, limits=not checks_itself(node, spec, value, pack=pack))
        if finding is not None:
            self.places.append((key, spec.name, finding))
        return []

    def _link(self, node: Node, spec: InputSpec, value: list[Any]) -> tuple[Finding | None, str | None]:
        """Return what is wrong with a link, and its source when the server would validate that next."""
        if len(value) != 2:
            advice = 'Pass a list of values as {"__value__": [...]}.'
            return Finding("bad_linked_input", "a bare list must be [node, slot]", value, (), advice), None
        source, slot = value
        origin = self._graph.get(source) if isinstance(source, str) else None
        if origin is None:
            close = nearest_ids(clipped(source, most=40).strip("'"), self._graph)
            return Finding(
                EXCEPTION, f"it is linked to node {clipped(source)}, which is not there", value, close
            ), None
        if origin.class_type not in self._catalog:
            return None, source
        types = self._catalog[origin.class_type].get("output")
        types = types if isinstance(types, list) else []
        if not isinstance(slot, int) or not -len(types) <= slot < len(types):
            return self._no_slot(origin, source, len(types), value)
        given = types[slot]
        wanted = spec.raw[0] if isinstance(spec.raw, list) and spec.raw else spec.type
        if checks_link_types(node.class_type) or raw_types_link(given, wanted):
            return None, source
        gives, takes = _type_name(given), _type_name(wanted)
        told = f"output {slot} of node {origin.info(source)} is of type {gives}, this input takes {takes}"
        return Finding("return_type_mismatch", told, value), None

    def _no_slot(
        self, origin: Node, source: str, count: int, value: list[Any]
    ) -> tuple[Finding | None, str | None]:
        """Return what is wrong with a link to an output that its class does not declare."""
        told = f"node {origin.info(source)} has {counted(count, 'output')}, and no slot {clipped(value[1])}"
        if not isinstance(value[1], int) or not self._catalog.node(origin.class_type).from_pack:
            return Finding(EXCEPTION, told, value), None
        if makes_outputs(origin.class_type):
            return None, source
        advice = "Nodes of packs may have more outputs than they declare; only the server can check it."
        return Finding("undeclared_output", told, value, (), advice, warning=True), source

    def _dynamic(self, node: Node, specs: Mapping[str, InputSpec]) -> Iterator[tuple[str, Finding]]:
        """Yield warnings for dynamic combos that the server does not check, but on which the node fails."""
        for spec in self._catalog.inputs(node.class_type):
            if spec.type != DYNAMIC_COMBO or spec.name in specs:
                continue
            choices = [str(choice) for choice in spec.choices or ()]
            if spec.name in node.inputs:
                value = node.inputs[spec.name]
                word = value if isinstance(value, str) else clipped(value)
                close = nearest(word, choices) or tuple(choices[:5])
                told = f"{clipped(value)} {not_among(choices)}"
                yield spec.name, Finding("value_not_in_list", told, value, close, warning=True)
            elif spec.required:
                told = "this choice is required, although the server does not check it"
                yield (
                    spec.name,
                    Finding("required_input_missing", told, nearest=tuple(choices[:5]), warning=True),
                )


def _outer(place: Place, outputs: set[str]) -> Place:
    """Return the finding with the type that the server uses for an exception in an output node."""
    node, name, finding = place
    if finding.type != EXCEPTION or node not in outputs:
        return place
    return node, name, Finding(OUTER, finding.message, finding.received, finding.nearest, finding.advice)


def _type_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else "a choice"
