"""The gate of a batch: for how long it was held, which counts as no time of work."""

from __future__ import annotations

import dataclasses

from comfy_async._base.clock import Clock
from comfy_async._batch.control import Control
from comfy_async._batch.gate import Gate


class HandClock(Clock):
    """Goes on when a test says so."""

    now = 100.0

    def monotonic(self) -> float:
        """Return what the test has set."""
        return self.now


async def test_what_it_was_held() -> None:
    """All pauses together, and the one that still lasts."""
    clock = HandClock()
    gate = Gate(clock)
    assert gate.held_s == 0.0
    for seconds in (5.0, 2.0):
        await gate.change(Control.pause)
        clock.now += seconds
        await gate.change(Control.resume)
        clock.now += 50.0
    assert gate.held_s == 7.0
    await gate.change(Control.pause)
    clock.now += 3.0
    assert gate.held_s == 10.0


async def test_those_who_listen_hear_of_pauses_alone() -> None:
    """Another wish that leaves the pause as it is changes nothing for them."""
    gate = Gate(HandClock())
    heard = []
    gate.changed.append(lambda: heard.append(gate.paused))
    await gate.change(Control.pause)
    await gate.change(lambda control: dataclasses.replace(control, by="somebody"))
    await gate.change(Control.resume)
    assert heard == [True, False]
