"""The simulated loop is an event loop, and its time a number."""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
import uuid

import pytest
from sim_loop import PROCESS, Process, RunawayError, StuckError
from sim_time import FIRST_DAY, Simulation, simulate


def test_time_jumps() -> None:
    """A year of sleep takes no time, and everybody's clock says that it was a year."""

    async def main(sim: Simulation) -> tuple[float, float, float]:
        begin = time.monotonic(), time.time()
        await asyncio.sleep(365 * 86_400.0)
        return time.monotonic() - begin[0], time.time() - begin[1], sim.loop.time()

    before = time.perf_counter()
    monotonic, wall, loop = simulate(main)
    assert monotonic == wall == loop - 1_000.0 == 365 * 86_400.0
    assert time.perf_counter() - before < 60.0
    assert time.time() != FIRST_DAY


def test_timeouts_and_timers_come_in_order() -> None:
    """`asyncio.timeout` and `call_later` work as ever."""
    seen: list[str] = []

    async def main(sim: Simulation) -> None:
        sim.loop.call_later(2.0, seen.append, "two")
        sim.loop.call_later(1.0, seen.append, "one")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await asyncio.Event().wait()
        seen.append("limit")
        await asyncio.sleep(1.0)

    simulate(main)
    assert seen == ["one", "limit", "two"]


def test_who_waits_for_nothing_is_found() -> None:
    """What can never come is an error, which names who waits, instead of a test that hangs."""

    async def main(_sim: Simulation) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError, match="main"):
        simulate(main)


def test_who_turns_in_circles_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is busy for ever at one moment is an error too."""
    monkeypatch.setattr("sim_loop._MOST_TURNS_AT_ONCE", 1_000)

    async def main(_sim: Simulation) -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(RunawayError):
        simulate(main)


def test_chance_comes_from_the_seed_alone() -> None:
    """Ids, jitter and the order of ready tasks are the same for the same seed, and other ones for another."""

    async def main(_sim: Simulation) -> list[object]:
        order: list[int] = []

        async def one(number: int) -> None:
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(10)))
        return [uuid.uuid4(), random.random(), order]

    first = simulate(main, seed=1, shuffle=True)
    assert first == simulate(main, seed=1, shuffle=True)
    other = simulate(main, seed=2, shuffle=True)
    assert all(one != two for one, two in zip(first, other, strict=True))
    assert simulate(main, seed=1)[2] == list(range(10))


def test_the_world_outside_is_left_as_it_was() -> None:
    """Clocks and chance are everybody's own again afterwards."""
    state, clock = random.getstate(), time.monotonic

    async def main(_sim: Simulation) -> None:
        assert time.monotonic is not clock

    simulate(main)
    assert random.getstate() == state
    assert time.monotonic is clock


def test_threads_are_steps_of_the_loop() -> None:
    """Work for a thread is done in the loop, its error raised where it is awaited."""

    async def main(_sim: Simulation) -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(sum, [1, 2, 3])

    assert simulate(main) == 6


def test_sets_of_tasks_have_an_order() -> None:
    """A set of tasks is walked through in one order, whatever their addresses are."""

    async def main(_sim: Simulation) -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(0), name=f"{number}") for number in range(40)}
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done]

    assert simulate(main) == simulate(main)


def test_a_process_stops_in_the_middle() -> None:
    """Nothing of a dead process runs any more, no `finally` either, until it is buried."""
    seen: list[str] = []

    async def life() -> None:
        try:
            seen.append("lives")
            await asyncio.sleep(10.0)
            seen.append("lives on")
        finally:
            seen.append("finally")

    async def main(sim: Simulation) -> None:
        process = Process("one")
        context = contextvars.copy_context()
        context.run(PROCESS.set, process)
        task = sim.loop.create_task(life(), context=context)
        await asyncio.sleep(1.0)
        sim.loop.crash(process)
        await asyncio.sleep(60.0)
        assert seen == ["lives"]
        assert not task.done()
        sim.loop.thaw(process)

    simulate(main)
    assert seen == ["lives", "finally"]
