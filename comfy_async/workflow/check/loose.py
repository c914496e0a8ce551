"""Links to nodes that are not in the graph: what the server says to them, and when it dies of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ...types import Problem, clipped
from .._nodes import Graph
from ..catalog import NodeCatalog
from .problems import problems_of
from .validation import DEADLY, OUTER, GraphCheck
from .values import EXCEPTION, Finding

__all__ = ["Loose", "deadly_links", "loose_links", "named", "problems_of_loose", "undeclared_links"]

Loose = list[tuple[str, str, str]]
"""Node, input, and the missing id that it is linked to."""


def loose_links(graph: Graph) -> Loose:
    """Return the links of an API graph that lead nowhere; the usual answer, none, costs next to nothing."""
    return [
        (key, name, source)
        for key, node in graph.items()
        if not node.sources <= graph.keys()
        for name, source, _ in node.links()
        if source not in graph
    ]


def undeclared_links(graph: Graph, loose: Loose, catalog: NodeCatalog) -> Loose:
    """Return those in inputs that their classes do not declare, which no validation checks."""
    return [
        (key, name, source)
        for key, name, source in loose
        if (node := graph[key]).class_type in catalog
        and all(spec.name != name for spec in catalog.inputs(node.class_type, node.inputs))
    ]


def deadly_links(graph: Graph, catalog: NodeCatalog) -> list[Problem]:
    """Return those that a server takes and then dies of: undeclared, in a node that some output needs.

    The others the server itself reports when an output needs them, and when none does they
    do no harm.
    """
    run = GraphCheck(graph, catalog)
    run.run()
    return problems_of(graph, [place for place in run.places if place[2].type == DEADLY])


def problems_of_loose(graph: Graph, loose: Loose) -> list[Problem]:
    """Return what is wrong with each of them."""
    return problems_of(
        graph, [(key, name, Finding(EXCEPTION, _absent(source))) for key, name, source in loose]
    )


def named(found: Iterable[Problem], loose: Loose) -> list[Problem]:
    """Say what the server's bare KeyError means: which input of the node leads nowhere."""
    if not loose:
        return list(found)
    done = []
    for problem in found:
        mine = [(name, source) for node, name, source in loose if node == problem.node]
        if mine and problem.type in {EXCEPTION, OUTER}:
            meant = [link for link in mine if repr(link[1]) in problem.message] or mine
            problem = dataclasses.replace(problem, input=meant[0][0], message=_absent(meant[0][1]))
        done.append(problem)
    return done


def _absent(source: str) -> str:
    """Return what is wrong with a link to a node that is not in the graph."""
    return f"it is linked to node {clipped(source)}, which is not there"
