"""What a results file says about its batch, whether one uses it or not."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path

from .._base.filelock import holder_of
from .control import Control, control_of, read_control
from .journal import Record, is_final, read_record

__all__ = ["BatchStatus", "read_status"]


@dataclasses.dataclass(frozen=True, slots=True)
class BatchStatus:
    """Where a batch stands by its results file.

    Attributes:
        done: Items that completed.
        failed: Items that failed or were refused; they do not run again.
        in_hand: Items that were submitted and have not ended as far as the file knows.
        left: Items that are still to be submitted, None when it is unknown how many there are.
        total: Items in all, None when unknown.
        used_by: The process that uses the file, None when none does.
        control: What is wanted: paused or not, and what goes first.
    """

    done: int
    failed: int
    in_hand: int
    left: int | None
    total: int | None
    used_by: str | None
    control: Control

    def __str__(self) -> str:
        """Return a line to print."""
        of = "" if self.total is None else f"/{self.total}"
        counts = [(self.failed, "failed"), (self.in_hand, "in hand"), (self.left or 0, "left")]
        words = [f"{count} {word}" for count, word in counts if count]
        return ", ".join([f"{self.done}{of} done", *words, *(["paused"] if self.control.paused else [])])


def read_status(results: str | os.PathLike[str]) -> BatchStatus:
    """Read a results file without taking it from the batch that uses it.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is something else, or damaged.
    """
    path = Path(results)
    last, total = _last_records(path)
    # A list that has become shorter leaves lines about places that it has no more.
    counts = Counter(_state(record) for index, record in last.items() if total is None or index < total)
    known = counts["done"] + counts["failed"] + counts["in hand"]
    return BatchStatus(
        done=counts["done"],
        failed=counts["failed"],
        in_hand=counts["in hand"],
        left=None if total is None else max(0, total - known),
        total=total,
        used_by=holder_of(path),
        control=read_control(control_of(path)),
    )


def _last_records(path: Path) -> tuple[dict[int, Record], int | None]:
    """Return the last line about each place, and how many places there are."""
    last: dict[int, Record] = {}
    total: int | None = None
    *lines, half = path.read_bytes().split(b"\n")
    if half.strip():
        try:
            read_record(half)
        except ValueError:
            # It is being written at this moment.
            half = b""
    for number, line in enumerate([*lines, half], 1):
        if not line.strip():
            continue
        try:
            record = read_record(line)
        except ValueError as error:
            unreadable = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
            why = "this is no results file" if unreadable else error
            raise ValueError(f"{path}, line {number}: {why}") from None
        if "total" in record:
            total = int(record["total"])
        elif "status" in record:
            last[int(record["index"])] = record
    return last, total


def _state(record: Record) -> str:
    """Return what became of an item: "done", "failed", "in hand" or "left"."""
    if is_final(record):
        return "done" if record["status"] == "completed" else "failed"
    return "in hand" if record["status"] == "submitted" else "left"
