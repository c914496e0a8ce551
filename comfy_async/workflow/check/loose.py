"""Links to nodes that are not in the graph: what the server reports, and which ones stop its worker."""

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
"""Links to missing nodes, as (node id, input, missing id)."""


def loose_links(graph: Graph) -> Loose:
    """Return the links of an API graph to nodes that do not exist; fast when there are none."""
    return [
        (key, name, source)
        for key, node in graph.items()
        if not node.sources <= graph.keys()
        for name, source, _ in node.links()
        if source not in graph
    ]


def undeclared_links(graph: Graph, loose: Loose, catalog: NodeCatalog) -> Loose:
    """Return the links in inputs that their classes do not declare, and that nothing validates."""
    return [
        (key, name, source)
        for key, name, source in loose
        if (node := graph[key]).class_type in catalog
        and all(spec.name != name for spec in catalog.inputs(node.class_type, node.inputs))
    ]


def deadly_links(graph: Graph, catalog: NodeCatalog) -> list[Problem]:
    """Return the links to missing nodes that a server accepts although they end its worker thread.

    These are in undeclared inputs of nodes that some output depends on. Of the others, the server
    reports those that an output depends on, and ignores the rest.
    """
    run = GraphCheck(graph, catalog)
    run.run()
    return problems_of(graph, [place for place in run.places if place[2].type == DEADLY])


def problems_of_loose(graph: Graph, loose: Loose) -> list[Problem]:
    """Return a problem for each link to a missing node."""
    return problems_of(
        graph, [(key, name, Finding(EXCEPTION, _absent(source))) for key, name, source in loose]
    )


def named(found: Iterable[Problem], loose: Loose) -> list[Problem]:
    """Return the problems with the server's bare KeyErrors explained: which input's link is broken."""
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
    """Return the message for a link to a node that is not in the graph."""
    return f"it is linked to node {clipped(source)}, which is not there"
