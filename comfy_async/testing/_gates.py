"""Places where a test can stop a run and look around."""

from __future__ import annotations

import asyncio
import dataclasses
from types import TracebackType

__all__ = ["HISTORY", "Gate", "Gates"]

HISTORY = "history"
"""The name of the place after a run's last event and before its history is written."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    class_type: str | None
    step: int | None
    prompt_id: str | None
    node: str | None

    def matches(self, other: _Place) -> bool:
        """Whether a run that is at `other` is held here; None stands for any, but not as a step."""
        if other.class_type == HISTORY and self.class_type != HISTORY:
            return False
        return self.step == other.step and all(
            mine is None or mine == theirs
            for mine, theirs in (
                (self.class_type, other.class_type),
                (self.prompt_id, other.prompt_id),
                (self.node, other.node),
            )
        )


class Gate:
    """A place in a run that is closed until `open()` is called, and open for ever after.

    An interrupt does not get through: the run stays here until `open()`, and notices it then,
    as a real node notices it between two steps only.

    Example:
        >>> with fake.gate("KSampler", step=3) as gate:
        ...     job = await comfy.submit(flow)
        ...     prompt_id = await gate.reached()
        ...     closed = fake.faults.drop_sockets("reset")  # in the middle of the sampler
        >>> result = await job
    """

    def __init__(self, gates: Gates, place: _Place) -> None:
        """Close a place; use `FakeComfy.gate()`."""
        self._gates = gates
        self._place = place
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()
        self.prompt_ids: list[str] = []

    async def reached(self) -> str:
        """Wait until a run stands here, and return its prompt_id."""
        await self._reached.wait()
        return self.prompt_ids[0]

    def open(self) -> None:
        """Let the run that stands here go on, and every later one pass."""
        self._opened.set()
        self._gates.remove(self)

    async def hold(self, prompt_id: str) -> None:
        """Stand here until it is opened."""
        self.prompt_ids.append(prompt_id)
        self._reached.set()
        await self._opened.wait()

    def matches(self, place: _Place) -> bool:
        """Whether a run that is there is held here."""
        return self._place.matches(place)

    def __enter__(self) -> Gate:
        """Return the gate, to be opened when the block is left."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Open it."""
        self.open()


class Gates:
    """All gates that are closed now."""

    def __init__(self) -> None:
        """Start with every way free."""
        self._gates: list[Gate] = []

    def close(
        self, class_type: str | None, *, step: int | None, prompt_id: str | None, node: str | None
    ) -> Gate:
        """Close a place."""
        gate = Gate(self, _Place(class_type, step, prompt_id, node))
        self._gates.append(gate)
        return gate

    def remove(self, gate: Gate) -> None:
        """Forget a gate that was opened."""
        if gate in self._gates:
            self._gates.remove(gate)

    def open_all(self) -> None:
        """Open every gate."""
        for gate in list(self._gates):
            gate.open()

    async def pass_by(self, class_type: str, *, step: int | None, prompt_id: str, node: str) -> None:
        """Come by a place, and wait there when it is closed."""
        if not self._gates:
            return
        place = _Place(class_type, step, prompt_id, node)
        for gate in [gate for gate in self._gates if gate.matches(place)]:
            await gate.hold(prompt_id)
