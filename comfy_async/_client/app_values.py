"""The values of an app's calls, made into workflows; lists of choices that may be outdated are read again."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from ..workflow import Workflow
from ..workflow.apps import AppReading, refusal
from .app_client import AppClient

__all__ = ["check_rows", "flow_of", "flows_of"]

_STALE = frozenset({"value_not_in_list", "required_input_missing"})
"""The types of problems that an outdated list of choices may cause."""


async def flow_of(reading: AppReading, comfy: AppClient, values: Mapping[str, Any]) -> Workflow:
    """Return the workflow with values; lists of choices that may be outdated are read again first.

    Raises:
        UnknownInputError: The values are wrong.
    """
    _, found = reading.problems(values)
    stale = [one for one in found if one.type in _STALE]
    if not stale or len(stale) < len(found):
        return reading.filled(values)
    inputs = [reading.inputs[one.input] for one in stale if one.input is not None]
    graph = reading.flow.graph
    classes = {graph[key].class_type for item in inputs for key, _ in item.targets}
    return reading.renewed(await comfy.node_catalog(again=classes)).filled(values)


async def flows_of(
    reading: AppReading,
    comfy: AppClient,
    rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
) -> AsyncIterator[Workflow]:
    """Yield the workflow of each row.

    Raises:
        UnknownInputError: The values of one are wrong.
    """
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield await flow_of(reading, comfy, row)
    else:
        for row in rows:
            yield await flow_of(reading, comfy, row)


def check_rows(reading: AppReading, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise for the first row with values that no server would take.

    Raises:
        UnknownInputError: There is one.
    """
    for index, row in enumerate(rows):
        found = [one for one in reading.problems(row)[1] if one.type not in _STALE]
        if found:
            raise refusal(found, where=f" with row {index}")
