"""What a worker tells the driver about a job: plain data that Ray can carry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .._protocol.reducer import JobState
from ..events import BaseEvent
from ..types import Problem

__all__ = ["About", "Accepted", "Ended", "Message", "Refused", "RemoteState", "Told"]


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What a worker is: where its server listens, and whether the server is the worker's own."""

    url: str
    client_id: str
    owned: bool
    pid: int
    node: str
    error: Exception | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """The job is in the queue; an old server has chosen an id of its own."""

    prompt_id: str
    client_id: str
    problems: tuple[Problem, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """The submission failed: the server has no such job, unless the error says otherwise."""

    error: Exception


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """Events, in order, without the last one."""

    events: list[BaseEvent]


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """The last event with all that it stands for; None when the session ended before the job.

    What was told just before comes along: each message between processes costs a millisecond.
    """

    terminal: BaseEvent | None
    outputs: Mapping[str, Mapping[str, Any]]
    cached: tuple[str, ...] | None
    missing: tuple[str, ...]
    events: Sequence[BaseEvent] = ()


Message: TypeAlias = Accepted | Refused | Told | Ended


class RemoteState(JobState):
    """The state of a job that a worker watches; only the worker knows about gaps in its stream."""

    __slots__ = ("told_missing",)

    told_missing: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Nodes whose images only the socket carries and that may have been lost."""
        return getattr(self, "told_missing", ())

    def take_end(self, end: Ended) -> None:
        """Take over what the worker knows in the end, before the last event is told."""
        self.outputs.update(end.outputs)
        self.told_missing = end.missing
        if end.cached is not None:
            self.cached = end.cached
