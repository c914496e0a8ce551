"""Workflows and node catalogs: loading, editing, conversion, checks. No I/O beyond files, no await.

A source is recognized (`_load`, `_wrappers`, and `media/` for pictures and videos) and
becomes the nodes of a graph (`_nodes`), with the editor file that it came with. `Workflow` holds
both: it is read (`_view`), edited (`_editing`, each edit returns a new workflow) and built in code
(`_builder`). With a `NodeCatalog`, which lists what a server can run, editor files are converted
(`convert/`, `packs/`) and graphs are checked (`check/`) before anything is sent.
"""

from __future__ import annotations

from ._lists import ProblemList
from .catalog import NodeCatalog
from .graph import Workflow

__all__ = ["NodeCatalog", "ProblemList", "Workflow"]
