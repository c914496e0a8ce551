"""What the workflows of a batch differ in, so that a picture shows its seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .._base.secrets import is_secret_name
from ..workflow._values import is_link

if TYPE_CHECKING:
    from .._job.job import Job
    from ..workflow import Workflow

__all__ = ["Differences"]

_MOST_INPUTS: Final = 3
_LONGEST_VALUE: Final = 40


class Differences:
    """Finds the inputs that are not the same in all workflows, which mostly share their nodes."""

    def __init__(self) -> None:
        """Begin with no workflow."""
        self._first: Workflow | None = None
        self._workflows: dict[int, Workflow] = {}
        self._places: dict[tuple[str, str], None] = {}

    def learn(self, jobs: Mapping[int, Job]) -> None:
        """Compare the jobs that are new."""
        for index, job in jobs.items():
            workflow = job.workflow
            if workflow is None or workflow.format != "api" or self._workflows.get(index) is workflow:
                continue
            self._workflows[index] = workflow
            self._first = self._first or workflow
            self._places.update(dict.fromkeys(_differing(self._first, workflow)))

    def of(self, index: int) -> str:
        """Return what one workflow has in these inputs, "" when there is nothing to show."""
        workflow = self._workflows.get(index)
        if workflow is None:
            return ""
        graph = workflow.graph
        found = [
            f"{key}.{name} {_short(graph[key].inputs[name])}"
            for key, name in self._places
            if key in graph and name in graph[key].inputs
        ]
        more = [f"and {len(found) - _MOST_INPUTS} more"] if len(found) > _MOST_INPUTS else []
        return ", ".join([*found[:_MOST_INPUTS], *more])


def _differing(one: Workflow, other: Workflow) -> list[tuple[str, str]]:
    """Return the inputs with other values: of shared nodes none has."""
    before, after = one.graph, other.graph
    places = []
    for key, new in after.items():
        old = before.get(key)
        if old is None or old is new or old.class_type != new.class_type:
            continue
        places += [
            (key, name)
            for name in dict.fromkeys([*old.inputs, *new.inputs])
            if _differs(old.inputs.get(name), new.inputs.get(name)) and not is_secret_name(name)
        ]
    return places


def _differs(one: Any, other: Any) -> bool:
    """Tell whether two values are told apart; links are no values."""
    return not is_link(one) and not is_link(other) and one != other


def _short(value: Any) -> str:
    """Return a value in few letters, its end too: prompts often begin alike."""
    shown = " ".join(str(value).split())
    if len(shown) <= _LONGEST_VALUE:
        return shown
    half = _LONGEST_VALUE // 2
    return f"{shown[:half]}…{shown[-half + 1 :]}"
