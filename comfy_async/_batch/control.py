"""The control file of a results file: by which other processes control the batch that uses it.

`run.jsonl.control` stands beside `run.jsonl`. A process that wants something writes a new one and
replaces the old one, in one step; the batch polls it. It outlives both: a batch that was killed while it
was paused is still paused when it is started again.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from .._base.filelock import FileLock
from .._base.paths import write_whole

__all__ = ["Control", "Priority", "change_control", "control_of", "read_control"]

_TRIES: Final = 100
_PAUSE_S: Final = 0.02


@dataclasses.dataclass(frozen=True, slots=True)
class Priority:
    """One item that goes before the others.

    Attributes:
        index: Its place in the batch, from 0.
        front: Put it before all others in the server's queue.
        number: Its place in the server's queue by number, lower runs first; None leaves it to the server.
    """

    index: int
    front: bool = False
    number: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Further options of `submit`."""
        if self.number is not None:
            return {"number": self.number}
        return {"front": True} if self.front else {}


@dataclasses.dataclass(frozen=True, slots=True)
class Control:
    """What is wanted of a batch.

    Attributes:
        paused: Nothing further is to be submitted.
        now: And what still waits on the server is to be taken back.
        since: When it was paused, in Unix seconds, None while it is not.
        by: Who paused it.
        first: The items that go first, in this order.
    """

    paused: bool = False
    now: bool = False
    since: float | None = None
    by: str = ""
    first: tuple[Priority, ...] = ()

    def pause(self, *, now: bool = False) -> Control:
        """Return it paused; once more keeps who did it first, and `now` is never taken back by that."""
        if self.paused:
            return dataclasses.replace(self, now=self.now or now)
        by = f"process {os.getpid()} on {socket.gethostname()}"
        return dataclasses.replace(self, paused=True, now=now, since=time.time(), by=by)

    def resume(self) -> Control:
        """Return it resumed."""
        return Control(first=self.first)

    def prefer(self, items: Iterable[Priority]) -> Control:
        """Return it with these before those that were preferred until now."""
        chosen = {item.index: item for item in items}
        rest = (item for item in self.first if item.index not in chosen)
        return dataclasses.replace(self, first=(*chosen.values(), *rest))


def control_of(results: str | os.PathLike[str]) -> Path:
    """Return the control file of a results file."""
    path = Path(results)
    return path.with_name(f"{path.name}.control")


def read_control(path: Path) -> Control:
    """Read a control file; one that is not there wants nothing.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no control file.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Control()
    try:
        return _control(json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no control file: {error}; without it the batch goes on") from None


def change_control(path: Path, change: Callable[[Control], Control]) -> Control:
    """Change what is wanted, in one step, and return it; two processes at once are one after the other.

    Raises:
        BlockingIOError: Another process has been changing it for seconds.
        OSError: It cannot be read or written.
        ValueError: It is no control file.
    """
    lock = _locked(path)
    try:
        made = change(read_control(path))
        if made == Control():
            path.unlink(missing_ok=True)
        else:
            write_whole(path, json.dumps(dataclasses.asdict(made)).encode())
        return made
    finally:
        lock.release()


def _locked(path: Path) -> FileLock:
    """Take the lock of a control file; whoever has it has it for milliseconds."""
    for left in reversed(range(_TRIES)):
        try:
            return FileLock(path)
        except BlockingIOError:
            if not left:
                raise
            time.sleep(_PAUSE_S)
    raise AssertionError("the last try raises")


def _control(data: object) -> Control:
    """Read what a control file holds.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("paused", False), bool):
        raise ValueError("it holds something else")
    since = data.get("since")
    return Control(
        paused=data.get("paused", False),
        now=bool(data.get("now")),
        since=None if since is None else float(since),
        by=str(data.get("by") or ""),
        first=tuple(_priority(item) for item in data.get("first") or ()),
    )


def _priority(data: Mapping[str, Any]) -> Priority:
    """Read one item that goes first."""
    number = data.get("number")
    return Priority(
        int(data["index"]), front=bool(data.get("front")), number=None if number is None else float(number)
    )
