"""Checking a graph as a server would, without asking the server.

The input is the nodes of an API graph and what a server can run (a `NodeCatalog`), with the editor
file where there is one. The output is a list of `Problem`s: errors with the server's own types for
what it rejects, warnings for what it accepts although it is likely a mistake.
"""

from __future__ import annotations

from .advice import file_advice, model_advice
from .doubts import FilePlace, settled, stale_classes, unseen_files
from .loose import Loose, deadly_links, loose_links, named, problems_of_loose, undeclared_links
from .muted import muted_outputs, muted_source
from .needs import MissingClass, MissingModel, Needs, graph_needs, unconverted_needs
from .problems import check_graph, check_node, conversion_problems

__all__ = [
    "FilePlace",
    "Loose",
    "MissingClass",
    "MissingModel",
    "Needs",
    "check_graph",
    "check_node",
    "conversion_problems",
    "deadly_links",
    "file_advice",
    "graph_needs",
    "loose_links",
    "problems_of_loose",
    "model_advice",
    "muted_outputs",
    "muted_source",
    "named",
    "settled",
    "stale_classes",
    "unconverted_needs",
    "undeclared_links",
    "unseen_files",
]
