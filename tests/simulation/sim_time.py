"""What is simulated outside of the loop: clocks, chance, and the collector of garbage."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import os
import random
import time
import types
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from sim_loop import FIRST_SECOND, SimLoop
from sim_net import Net

import comfy_async.testing._core as fake_core

_T = TypeVar("_T")

FIRST_DAY: Final = 1_800_000_000.0
"""The Unix time at which a simulation begins."""


class Simulation:
    """One simulated world: a loop, its network, its clocks, its chance.

    Attributes:
        wall_offset: Seconds by which the clock on the wall is wrong; it may jump at any moment.
    """

    def __init__(self, seed: int, *, shuffle: bool = False) -> None:
        """Prepare a world; the same seed gives the same one."""
        self.seed = seed
        self.wall_offset = 0.0
        self.loop = SimLoop(random.Random(f"loop {seed}"), shuffle=shuffle)
        self.net = Net(self.loop)
        self.errors: list[str] = []
        self.loop.set_exception_handler(self._note_error)
        self._entropy = random.Random(f"entropy {seed}")

    def monotonic(self) -> float:
        """Return what `time.monotonic` returns."""
        return self.loop.now

    def wall(self) -> float:
        """Return what `time.time` returns."""
        return FIRST_DAY + self.wall_offset + self.loop.now - FIRST_SECOND

    def run(self, main: Callable[[Simulation], Coroutine[Any, Any, _T]]) -> _T:
        """Run something to its end in this world, then cancel what is left."""
        with self._installed():
            try:
                return self.loop.run_until_complete(main(self))
            finally:
                self._end()

    def _end(self) -> None:
        loop = self.loop
        try:
            for _ in range(3):
                left = sorted(asyncio.all_tasks(loop), key=hash)
                if not left:
                    break
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left, timeout=60.0))
            loop.run_until_complete(loop.shutdown_asyncgens())
            for transport in list(self.net.connections):
                transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            loop.close()

    def _note_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what asyncio would have logged: an exception that nobody has seen, say."""
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    @contextlib.contextmanager
    def _installed(self) -> Iterator[None]:
        """Give everybody this world's clocks and chance while the block lasts."""
        state = random.getstate()
        collecting = gc.isenabled()
        saved = [(place, name, getattr(place, name)) for place, name, _ in self._replacements()]
        for place, name, value in self._replacements():
            setattr(place, name, value)
        random.seed(self.seed)
        gc.disable()
        try:
            yield
        finally:
            for place, name, value in saved:
                setattr(place, name, value)
            random.setstate(state)
            if collecting:
                gc.enable()

    def _replacements(self) -> list[tuple[Any, str, Any]]:
        clock = types.SimpleNamespace(datetime=types.SimpleNamespace(now=self._now))
        return [
            (time, "monotonic", self.monotonic),
            (time, "perf_counter", self.monotonic),
            (time, "time", self.wall),
            (os, "urandom", self._entropy.randbytes),
            (random, "_urandom", self._entropy.randbytes),
            (fake_core, "datetime", clock),
        ]

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.wall(), datetime.UTC).replace(tzinfo=None)


def simulate(
    main: Callable[[Simulation], Coroutine[Any, Any, _T]], *, seed: int = 0, shuffle: bool = False
) -> _T:
    """Run a coroutine in a simulated world of its own."""
    return Simulation(seed, shuffle=shuffle).run(main)
