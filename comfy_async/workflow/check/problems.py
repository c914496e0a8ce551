"""The problems of a workflow as the server would report them, found without asking it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ...errors import ConversionError
from ...types import Problem, Severity, clipped
from .._nodes import Node
from ..catalog import NodeCatalog
from .advice import Advisor
from .replace import applied
from .validation import GraphCheck, Place

__all__ = ["check_graph", "check_node", "conversion_problems", "problems_of"]


def check_graph(
    graph: Mapping[str, Node],
    catalog: NodeCatalog,
    *,
    editor: Mapping[str, Any] | None = None,
    replacements: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """Return what is wrong with a graph on a server, errors first; [] when nothing is.

    Errors are what the server rejects, with its own types (`Problem.type`); warnings are what
    it accepts although it is likely a mistake. A local file that is not uploaded yet is an error
    only when its path does not exist.

    Args:
        graph: The nodes by id.
        catalog: What the server can run.
        editor: The editor file, for advice on packs and models.
        replacements: The response of GET /node_replacements: classes that the server replaces.
    """
    advisor = Advisor(editor, catalog, graph)
    graph, replaced = applied(graph, replacements, catalog)
    problems = [*replaced, *_missing_classes(graph, catalog, advisor)]
    run = GraphCheck(graph, catalog)
    if not run.outputs():
        problems.append(_no_outputs(advisor.no_outputs(), empty=not graph))
    run.run()
    problems += problems_of(graph, run.places, advisor=advisor)
    problems += _warnings(graph, catalog, run)
    return sorted(problems, key=lambda problem: problem.severity)


def _no_outputs(muted: str, *, empty: bool) -> Problem:
    """Return the problem of a graph without output nodes.

    Args:
        muted: Advice on the output nodes that are muted or bypassed in the editor file, or "".
        empty: Whether the graph has no nodes at all.
    """
    if empty and not muted:
        return Problem(
            type="prompt_no_outputs",
            message="the prompt is empty: it has no nodes to run",
            advice="All nodes of the editor file are notes, muted or bypassed: enable some.",
        )
    return Problem(
        type="prompt_no_outputs",
        message="no node that runs makes an output" if muted else "no node makes an output",
        advice=muted or "Add an output node, for example SaveImage or PreviewImage.",
    )


def check_node(graph: Mapping[str, Node], node: str, catalog: NodeCatalog) -> list[Problem]:
    """Return what is wrong with one node of a graph, also if no output depends on it."""
    run = GraphCheck(graph, catalog)
    run.look_at(node)
    return problems_of(graph, run.places)


def conversion_problems(
    error: ConversionError, catalog: NodeCatalog, *, editor: Mapping[str, Any] | None = None
) -> list[Problem]:
    """Return why an editor file could not be converted, with the packs to install."""
    advisor = Advisor(editor, catalog)
    found = [_advised(problem, advisor) for problem in error.problems]
    return found or [Problem(type="conversion_failed", message=str(error))]


def _advised(problem: Problem, advisor: Advisor) -> Problem:
    """Return a problem of the conversion with the nearest classes and the pack to install."""
    if problem.type != "missing_node_type" or problem.advice:
        return problem
    close, advice = advisor.missing_class(problem.class_type)
    return dataclasses.replace(problem, nearest=problem.nearest or close, advice=advice)


def _missing_classes(graph: Mapping[str, Node], catalog: NodeCatalog, advisor: Advisor) -> Iterator[Problem]:
    for key, node in graph.items():
        if node.class_type not in catalog:
            close, advice = advisor.missing_class(node.class_type)
            yield Problem(
                node=key,
                title=node.title,
                class_type=node.class_type,
                type="missing_node_type",
                message=f"the server has no node class {clipped(node.class_type)}",
                received=node.class_type,
                nearest=close,
                advice=advice,
            )


def problems_of(
    graph: Mapping[str, Node], places: Iterable[Place], *, advisor: Advisor | None = None
) -> list[Problem]:
    """Return the findings as problems, with the advisor's advice."""
    return [_problem(graph, place, advisor) for place in places]


def _problem(graph: Mapping[str, Node], place: Place, advisor: Advisor | None) -> Problem:
    key, name, finding = place
    node = graph[key]
    advice = finding.advice
    if advisor is not None and not advice and finding.type == "value_not_in_list" and name is not None:
        advice = advisor.missing_value(name, finding.received)
    if advisor is not None and not advice and finding.type == "required_input_missing" and name is not None:
        advice = advisor.missing_input(key, name)
    severity: Severity = "warning" if finding.warning else "error"
    return Problem(
        node=key,
        title=node.title,
        class_type=node.class_type,
        input=name,
        type=finding.type,
        message=finding.message,
        received=finding.received,
        nearest=finding.nearest,
        advice=advice,
        severity=severity,
    )


def _warnings(graph: Mapping[str, Node], catalog: NodeCatalog, run: GraphCheck) -> Iterator[Problem]:
    """Yield warnings for what the server accepts: deprecated classes, and nodes that no output needs."""
    for key, node in graph.items():
        if node.class_type not in catalog:
            continue
        known = catalog.node(node.class_type)
        place = partial(Problem, node=key, title=node.title, class_type=node.class_type, severity="warning")
        if known.deprecated:
            told = f"{known.display_name} is deprecated"
            advice = known.description if "deprecated" in known.description.lower() else ""
            yield place(type="deprecated_node", message=told, advice=advice)
        if key not in run.running and run.running:
            told = "no output needs this node, so it does not run"
            yield place(type="unused_node", message=told)
