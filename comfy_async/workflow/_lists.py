"""Lists that a notebook shows as tables; everywhere else they are lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..types import Problem
    from ._specs import NodeClass

    _Problems = list[Problem]
    _Classes = list[NodeClass]
else:
    _Problems = _Classes = list

__all__ = ["ClassList", "ProblemList"]


class ProblemList(_Problems):
    """What `check` finds."""

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        from .._display.cards import problems_card

        return problems_card(self)


class ClassList(_Classes):
    """What `NodeCatalog.search` finds."""

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        from .._display.cards import classes_card

        return classes_card(self)
