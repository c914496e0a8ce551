"""The messages between the driver and its workers: plain data, and keys that are not shown on the way."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import ray.cloudpickle

from .._base.secrets import Secret
from ..events import BaseEvent
from ..types import Problem

__all__ = ["About", "Accepted", "Ended", "Happened", "Message", "Parcel", "Refused"]

_T = TypeVar("_T")


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
class Happened:
    """Events, in order, without the last one."""

    events: list[BaseEvent]


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """The last event with all that belongs to it; None when the session ended before the job.

    What happened just before comes along: each message between processes costs a millisecond.
    """

    terminal: BaseEvent | None
    outputs: Mapping[str, Mapping[str, Any]]
    cached: tuple[str, ...] | None
    missing: tuple[str, ...]
    events: Sequence[BaseEvent] = ()


Message: TypeAlias = Accepted | Refused | Happened | Ended


class Parcel(Generic[_T]):
    """A value that may hold keys on its way to another process of the cluster, where it arrives as itself.

    A `Secret` is no part of a pickle, for pickles end in files. This one goes from process to
    process: the secrets in it arrive as secrets again, and here nothing of it can be read.
    """

    __slots__ = ("_held",)

    def __init__(self, value: _T) -> None:
        """Pack a value."""
        self._held = Secret(value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as its content."""
        buffer = io.BytesIO()
        packer: pickle.Pickler = _Packer(buffer)  # type: ignore[no-untyped-call]
        packer.dump(self._held.reveal())
        return pickle.loads, (buffer.getvalue(),)

    def __repr__(self) -> str:
        """Return nothing of what is in it."""
        return "<Parcel>"


class _Packer(ray.cloudpickle.CloudPickler):  # pyright: ignore[reportPrivateImportUsage]
    """Pickles as Ray does, secrets too."""

    def reducer_override(self, obj: Any) -> Any:
        """Take a secret apart."""
        if isinstance(obj, Secret):
            return Secret, (obj.reveal(),)
        return super().reducer_override(obj)  # type: ignore[no-untyped-call]
