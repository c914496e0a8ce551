"""Lists that a notebook shows as tables; everywhere else they are lists."""

from __future__ import annotations

from ..types import Problem, Shown
from ._specs import NodeClass

__all__ = ["ClassList", "ProblemList"]


class ProblemList(Shown, list[Problem]):
    """What `check` finds: errors first, then what to know.

    Example:
        >>> found = await comfy.check(flow)
        >>> found.ok
        True
    """

    @property
    def ok(self) -> bool:
        """True when the server would take the workflow: there are warnings at the most."""
        return all(problem.severity != "error" for problem in self)


class ClassList(Shown, list[NodeClass]):
    """What `NodeCatalog.search` finds."""
