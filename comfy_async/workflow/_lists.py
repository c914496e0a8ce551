"""Lists that a notebook shows as tables; everywhere else they are lists."""

from __future__ import annotations

from ..types import Problem, Shown
from ._specs import NodeClass

__all__ = ["ClassList", "ProblemList"]


class ProblemList(Shown, list[Problem]):
    """What `check` finds."""


class ClassList(Shown, list[NodeClass]):
    """What `NodeCatalog.search` finds."""
