"""The values of an app's calls, made into workflows; lists of choices that may be outdated are read again."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from ..errors import UnknownInputError
from ..workflow import Workflow
from ..workflow.apps import AppReading, refusal
from .app_client import AppClient

__all__ = ["check_rows", "flow_of", "flows_of"]

_STALE = frozenset({"value_not_in_list", "required_input_missing"})
"""The types of problems that an outdated list of choices may cause."""

_SHOWN = 10


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
        UnknownInputError: The values of one are wrong; it is named by its number, counted from 1.
    """
    count = 0
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            count += 1
            yield await _flow_of_row(reading, comfy, row, count)
    else:
        for row in rows:
            count += 1
            yield await _flow_of_row(reading, comfy, row, count)


async def _flow_of_row(reading: AppReading, comfy: AppClient, row: Mapping[str, Any], count: int) -> Workflow:
    """Return the workflow of a row, or raise with its number, counted from 1."""
    try:
        return await flow_of(reading, comfy, row)
    except UnknownInputError as error:
        raise refusal(error.problems, where=f" with row {count}") from None


def check_rows(reading: AppReading, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise for the rows with values that no server would take; they are counted from 1.

    Raises:
        UnknownInputError: There is one; the first ten of them are named, with all that is wrong there.
    """
    wrong = {
        count: found
        for count, row in enumerate(rows, 1)
        if (found := [one for one in reading.problems(row)[1] if one.type not in _STALE])
    }
    if len(wrong) == 1:
        ((count, found),) = wrong.items()
        raise refusal(found, where=f" with row {count}")
    if wrong:
        shown = dict(itertools.islice(wrong.items(), _SHOWN))
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise refusal(
            [
                dataclasses.replace(one, message=f"row {count}: {one.message}")
                for count, found in shown.items()
                for one in found
            ],
            where=f" with rows {', '.join(map(str, shown))}{more}",
        )
