"""What you send: workflows, node catalogs, conversion, checks. Pure: no I/O beyond files, no await."""

from __future__ import annotations

from .catalog import NodeCatalog
from .graph import Workflow

__all__ = ["NodeCatalog", "Workflow"]
