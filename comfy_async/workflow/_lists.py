"""Lists that notebooks show as tables."""

from __future__ import annotations

from ..types import Problem, Shown
from ._specs import NodeClass

__all__ = ["ClassList", "ProblemList"]


class ProblemList(Shown, list[Problem]):
    """The problems that `check` returns: errors first, then warnings.

    Example:
        >>> found = await comfy.check(flow)
        >>> found.ok
        True
    """

    @property
    def ok(self) -> bool:
        """Whether the server would accept the workflow: there are no errors, at most warnings."""
        return all(problem.severity != "error" for problem in self)


class ClassList(Shown, list[NodeClass]):
    """The classes that `NodeCatalog.search` returns, the best match first."""
