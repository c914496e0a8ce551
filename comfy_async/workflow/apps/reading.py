"""Reading an app from a workflow, and building the workflow of one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...errors import UnknownInputError
from ...types import Problem
from .._edits import known_inputs
from .._nodes import Graph
from .._specs import DYNAMIC_COMBO
from ..catalog import NodeCatalog
from ..graph import Workflow
from .blueprints import completed, is_blueprint
from .describe import described, specs_of
from .drafts import from_app_mode, from_graph, from_mapping, from_titles
from .outputs import outputs_of
from .parts import AppInput, AppOutput, Draft, Unresolved
from .values import WrongValueError, problem, unknown_name, value_for

__all__ = ["AppReading", "read_app"]


@dataclasses.dataclass(frozen=True)
class AppReading:
    """An app without a server to run it on.

    Attributes:
        flow: The workflow in API format.
        drafts: The inputs before they were looked up in the catalog.
        inputs: The inputs by name.
        outputs: The outputs by name.
        unresolved: The named inputs and outputs that the workflow does not have.
        catalog: The node classes.
    """

    flow: Workflow
    drafts: tuple[Draft, ...]
    inputs: dict[str, AppInput]
    outputs: dict[str, AppOutput]
    unresolved: tuple[Unresolved, ...]
    catalog: NodeCatalog

    def renewed(self, catalog: NodeCatalog) -> AppReading:
        """Return the same app with its inputs described by a newer catalog."""
        inputs = described(self.drafts, self.flow.graph, catalog)
        return dataclasses.replace(self, inputs=inputs, catalog=catalog)

    def problems(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """Return the accepted values of a call as the workflow needs them, and the problems of the others."""
        found = [unknown_name(str(name), self.inputs) for name in values if name not in self.inputs]
        known = self._chosen(values)
        given: dict[str, Any] = {}
        for name, item in self.inputs.items():
            actual, value = known.get(name), values.get(name)
            # None counts as not given when there is no default.
            is_given = name in values and (value is not None or item.default is not None)
            try:
                if is_given and actual is None:
                    raise _absent(item)
                if is_given and actual is not None:
                    given[name] = value_for(actual, value)
                elif actual is not None and actual.required:
                    raise _missing(actual)
            except WrongValueError as wrong:
                if _is_unread(item, value):
                    wrong.advice = _PARSE
                found.append(problem(name, value, wrong, item))
        return given, found

    def _chosen(self, values: Mapping[str, Any]) -> dict[str, AppInput]:
        """Return the inputs that exist after the given options of dynamic combos are chosen."""
        chosen = [item for item in self.inputs.values() if self._brings(item) and item.name in values]
        if not chosen:
            return self.inputs
        graph = self.flow.graph
        for item in chosen:
            graph = self._switched(graph, item, values[item.name])
        there = [
            draft
            for draft in self.drafts
            if all(
                name in graph[key].inputs or self._declares(graph, key, name) for key, name in draft.targets
            )
        ]
        by_targets = {draft.targets: draft for draft in there}
        kept = {name: item for name, item in self.inputs.items() if item.targets in by_targets}
        fixed = [dataclasses.replace(by_targets[i.targets], names=(n,), fixed=True) for n, i in kept.items()]
        return described(fixed, graph, self.catalog)

    def _declares(self, graph: Graph, key: str, name: str) -> bool:
        node = graph[key]
        return self.catalog.input(node.class_type, name, node.inputs) is not None

    def _brings(self, item: AppInput) -> bool:
        """Return whether an input is a dynamic combo, whose option decides which inputs its node has."""
        specs = specs_of(item.targets, self.flow.graph, self.catalog)
        return any(spec is not None and spec.type == DYNAMIC_COMBO for spec in specs)

    def _switched(self, graph: Graph, item: AppInput, choice: Any) -> Graph:
        """Return the graph with another option of a dynamic combo, and with that option's inputs."""
        if item.choices is None or choice not in item.choices:
            return graph
        graph = dict(graph)
        for key, name in item.targets:
            node = graph[key]
            if node.inputs.get(name) == choice:
                continue
            inputs = {**node.inputs, name: choice}
            declared = {spec.name for spec in self.catalog.inputs(node.class_type, inputs)}
            inputs = {
                field: value
                for field, value in inputs.items()
                if not field.startswith(f"{name}.") or field in declared
            }
            known = {field: value for field, value in inputs.items() if field in declared}
            inputs.update(known_inputs(self.catalog, node.class_type, known))
            graph[key] = node.replace(inputs)
        return graph

    def filled(self, values: Mapping[str, Any]) -> Workflow:
        """Return the workflow with the values of a call.

        Raises:
            UnknownInputError: Names or values are wrong or missing; `problems` lists all of them.
        """
        given, found = self.problems(values)
        if found:
            raise refusal(found)
        given = {**self._missing_defaults(given), **given}
        return self._with(given).with_named_outputs({name: item.node for name, item in self.outputs.items()})

    def _missing_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults of inputs that are neither given nor in the workflow."""
        graph = self.flow.graph
        return {
            name: item.default
            for name, item in self.inputs.items()
            if item.default is not None
            and graph[item.node].inputs.get(item.input) is None
            and not self._brings(item)
        }

    def _with(self, given: Mapping[str, Any]) -> Workflow:
        """Return the workflow with values that were checked."""
        graph = self.flow.graph
        flow = self.flow
        for name, value in given.items():
            if self._brings(self.inputs[name]):
                graph = self._switched(graph, self.inputs[name], value)
        if graph is not self.flow.graph:
            flow = flow.with_graph(graph)
        changes = {target: value for name, value in given.items() for target in self.inputs[name].targets}
        for (key, name), value in list(changes.items()):
            if flow.graph[key].class_type == "CustomCombo" and name == "choice":
                options = [v for n, v in flow.graph[key].inputs.items() if n.startswith("option")]
                changes[key, "index"] = options.index(value) if value in options else -1
        absent = [
            item.node
            for item, draft in zip(self.inputs.values(), self.drafts, strict=True)
            if draft.optional and item.name not in given and item.default is None
        ]
        flow = flow.remove(*absent) if absent else flow
        return flow.with_inputs(changes, catalog=self.catalog) if changes else flow


def refusal(found: Iterable[Problem], *, where: str = "") -> UnknownInputError:
    """Return one error for all problems of the values of a call."""
    listed = list(found)
    unknown = [one for one in listed if one.type == "unknown_input"]
    candidates = tuple(dict.fromkeys(name for one in unknown for name in one.nearest))
    return UnknownInputError(
        f"the app was not called{where}: {len(listed)} value{'' if len(listed) == 1 else 's'} "
        f"{'is' if len(listed) == 1 else 'are'} wrong or missing; nothing was sent",
        problems=listed,
        candidates=candidates,
        hint="`app.inputs` has what it takes.",
    )


_PARSE = "`app.inputs[name].parse(text)` reads a text of a table or a form; what is empty is left out."


def _is_unread(item: AppInput, value: Any) -> bool:
    """Return whether a value is a text that `parse` would convert, or an empty cell."""
    return isinstance(value, str) and item.type != "STRING" and (not value or item.parse(value) != value)


def _missing(item: AppInput) -> WrongValueError:
    what = f"{item.upload} file" if item.upload else f"value ({item.type})"
    return WrongValueError("required_input_missing", f"no {what} is given, and it takes one")


def _absent(item: AppInput) -> WrongValueError:
    return WrongValueError("unknown_input", f"there is no {item.input!r} with these choices; leave it out")


def read_app(
    flow: Workflow,
    catalog: NodeCatalog,
    *,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
) -> AppReading:
    """Read an app from a workflow.

    Raises:
        ConversionError: It is an editor file that cannot be converted.
        WorkflowFormatError: It is damaged.
        UnknownInputError: A mapping has an invalid name, or names a node or input that does not exist.
    """
    if flow.format == "editor" and flow.drawn is not None and is_blueprint(flow.drawn):
        flow = Workflow(editor=completed(flow.drawn))
    made = flow.converted(catalog)
    drafts, unresolved = [], list[Unresolved]()
    found = _drafts(made, catalog, inputs)
    for item in found:
        drafts.append(item) if isinstance(item, Draft) else unresolved.append(item)
    named, lost = outputs_of(made, catalog, outputs)
    return AppReading(
        made,
        tuple(drafts),
        described(drafts, made.graph, catalog),
        named,
        (*unresolved, *lost),
        catalog,
    )


def _drafts(
    flow: Workflow, catalog: NodeCatalog, names: Mapping[str, Any] | None
) -> Iterator[Draft | Unresolved]:
    """Yield the inputs of the mapping, else of App mode and titles, else those usually changed."""
    graph = flow.graph
    if names is not None:
        yield from from_mapping(names, graph, catalog, flow.drawn)
        return
    titled = list(from_titles(graph, catalog))
    chosen = list(from_app_mode(flow.drawn, graph, catalog))
    if not titled and not chosen:
        yield from from_graph(graph, catalog)
        return
    by_target = {item.targets[0]: item for item in titled if isinstance(item, Draft)}
    for item in chosen:
        own = by_target.pop(item.targets[0], None) if isinstance(item, Draft) else None
        if own is not None and isinstance(item, Draft):
            item = dataclasses.replace(item, names=own.names, title=own.title, fixed=True)
        yield item
    yield from (item for item in titled if not isinstance(item, Draft) or item.targets[0] in by_target)
