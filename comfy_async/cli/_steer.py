"""What `batch pause`, `batch resume`, `batch priority` and `batch status` do."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._batch.control import Control, Priority, change_control, control_of
from .._batch.status import BatchStatus, read_status
from ..types import duration_text
from ._connection import UsageError
from ._tables import prose

if TYPE_CHECKING:
    from ._report import Report

__all__ = ["pause", "prioritize", "resume", "status"]

_MOST_ITEMS: Final = 100_000


async def pause(results: Path, report: Report, *, now: bool) -> int:
    """Pause the batch of a results file.

    Raises:
        UsageError: There is no such file, or it is something else.
        OSError: Its control file cannot be written.
    """
    found = await _changed(results, lambda control: control.pause(now=now))
    more = "what is in hand ends by itself" if not now else "what waits on the server is taken back"
    who = f"{found.used_by} submits nothing further, {more}" if found.used_by else "no batch uses it now"
    report.item(_fields(results, found), prose(f"{results}: {found}; {who}"))
    report.say(f"comfy-async batch resume {results} goes on")
    return 0


async def resume(results: Path, report: Report) -> int:
    """Resume the batch of a results file.

    Raises:
        UsageError: There is no such file, or it is something else.
        OSError: Its control file cannot be written.
    """
    was = await _status(results)
    found = await _changed(results, lambda control: control.resume())
    who = "" if found.used_by else "; no batch uses it now: the command that began it takes it up again"
    word = "goes on" if was.control.paused else "was not paused"
    report.item(_fields(results, found), prose(f"{results}: {found}; {word}{who}"))
    return 0


async def prioritize(
    results: Path,
    items: Sequence[str],
    report: Report,
    *,
    front: bool,
    number: float | None,
    clear: bool,
) -> int:
    """Give items priority.

    Raises:
        UsageError: There is no such file, no item is named, or one is no place.
        OSError: Its control file cannot be written.
    """
    if clear == bool(items):
        raise UsageError("name the items that go first, 7 or 20..29, or --clear")
    before = await _status(results)
    chosen = [Priority(index, front, number) for index in _places(items, before.total)]
    found = await _changed(
        results, lambda control: dataclasses.replace(control, first=()) if clear else control.prefer(chosen)
    )
    first = ", ".join(str(item.index) for item in found.control.first[:20])
    report.item(_fields(results, found), f"first: {first}" if first else "none goes first")
    return 0


async def status(results: Path, report: Report) -> int:
    """Print how far a batch is.

    Raises:
        UsageError: There is no such file, or it is something else.
    """
    found = await _status(results)
    control = found.control
    lines = [f"{results}: {found}"]
    lines += [f"in use by {found.used_by}" if found.used_by else "no batch uses it now"]
    if control.paused:
        ago = "" if control.since is None else f" for {duration_text(max(0.0, time.time() - control.since))}"
        lines += [f"paused{ago} by {control.by or 'somebody'}; comfy-async batch resume {results} goes on"]
    if control.first:
        lines += [f"first: {', '.join(str(item.index) for item in control.first[:20])}"]
    if found.in_hand and not found.used_by:
        lines += ["what is in hand may still run on the server; the next start finds it there"]
    report.item(_fields(results, found), prose("\n".join(lines)))
    return 0


async def _changed(results: Path, change: Callable[[Control], Control]) -> BatchStatus:
    """Change what is wanted of a batch, and return where it stands.

    Raises:
        UsageError: There is no such file, or it is something else.
        OSError: Its control file cannot be written.
    """
    await _status(results)
    try:
        await asyncio.to_thread(change_control, control_of(results), change)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return await _status(results)


async def _status(results: Path) -> BatchStatus:
    """Return where a batch stands.

    Raises:
        UsageError: There is no such file, or it is something else.
    """
    try:
        return await asyncio.to_thread(read_status, results)
    except FileNotFoundError as error:
        raise UsageError(f"there is no results file {results}") from error
    except (ValueError, IsADirectoryError) as error:
        raise UsageError(str(error)) from error


def _places(items: Sequence[str], total: int | None) -> list[int]:
    """Return the places that are named, in their order.

    Raises:
        UsageError: A word is no place, or the batch has no such one.
    """
    found: list[int] = []
    for item in items:
        match = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", item)
        if match is None:
            raise UsageError(f"{item!r} is no place in a batch: 7, or 20..29")
        start, end = int(match[1]), int(match[2] or match[1])
        if end < start or end - start >= _MOST_ITEMS:
            raise UsageError(f"{item!r} runs backwards, or is too long")
        if total is not None and end >= total:
            raise UsageError(f"{item!r}: the batch has {total} items, 0 to {total - 1}")
        found += range(start, end + 1)
    return list(dict.fromkeys(found))


def _fields(results: Path, found: BatchStatus) -> dict[str, Any]:
    """Return the JSON object."""
    told = dataclasses.asdict(found)
    control = told.pop("control")
    return {"event": "batch_status", "results": str(results), **told, **control}
