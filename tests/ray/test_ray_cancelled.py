"""Whoever stops waiting, and however often: a job of a fleet that nobody waits for is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from session_tools import eventually, picture, steps, turns

from comfy_async import SessionClosedError
from comfy_async.ray import ComfyFleet
from comfy_async.testing import FakeComfy

pytestmark = pytest.mark.usefixtures("cluster")


async def by_run(fleet: ComfyFleet, graph: Any) -> None:
    """Wait for a result."""
    await fleet.run(graph)


async def by_stream(fleet: ComfyFleet, graph: Any) -> None:
    """Wait within a block."""
    async with fleet.stream(graph) as job:
        await job


async def by_map(fleet: ComfyFleet, graph: Any) -> None:
    """Wait for a batch."""
    async with fleet.map([graph]) as finished:
        async for _ in finished:
            pass


async def let_it_end(fake: FakeComfy, gate: Any) -> None:
    """Go on with the node when the server was told to interrupt it."""
    await fake.wait_for(lambda books: any(record.interrupts for record in books.accepted))
    gate.open()


@pytest.mark.parametrize("wait", [by_run, by_stream, by_map])
async def test_cancelled_twice_and_closed_at_once(
    fakes: Any, wait: Callable[[ComfyFleet, Any], Awaitable[None]]
) -> None:
    """The second cancellation comes while the first one cleans up; the fleet's own worker goes last."""
    (fake,) = await fakes(1)
    graph = steps(fake, 5)
    gate = fake.gate("Steps", step=2)
    ending = asyncio.create_task(let_it_end(fake, gate))
    async with ComfyFleet(fake.url) as fleet:
        waiting = asyncio.ensure_future(wait(fleet, graph))
        await gate.reached()
        waiting.cancel()
        await turns(2)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert [record.end for record in fake.books.accepted] == ["interrupted"]
    await ending


async def test_a_cancel_that_is_not_waited_for(team: Any) -> None:
    """Who ceases to wait for `cancel()` does not stop it."""
    async with team() as (fleet, fake):
        graph = steps(fake, 5)
        gate = fake.gate("Steps", step=2)
        job = await fleet.submit(graph)
        await gate.reached()
        cancelling = asyncio.create_task(job.cancel())
        await turns(2)
        cancelling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelling
        await let_it_end(fake, gate)
        await eventually(lambda: job.status == "cancelled")


@pytest.mark.parametrize("wait", [by_run, by_map])
async def test_the_program_ends(team: Any, wait: Callable[[ComfyFleet, Any], Awaitable[None]]) -> None:
    """`asyncio.run` cancels every task, those that follow jobs too: the job is stopped all the same."""
    async with team() as (fleet, fake):
        graph = steps(fake, 5)
        gate = fake.gate("Steps", step=2)

        async def main() -> None:
            mine = await ComfyFleet(workers=fleet.workers).connect()
            waiting = asyncio.ensure_future(wait(mine, graph))
            await eventually(lambda: fake.books.accepted and fake.books.started)
            del waiting

        ending = asyncio.create_task(let_it_end(fake, gate))
        await asyncio.to_thread(asyncio.run, main())
        await ending
        assert [record.end for record in fake.books.accepted] == ["interrupted"]


async def test_closing_wakes_who_submits(team: Any) -> None:
    """A submission that waits for a place ends with the fleet."""
    async with team(limit=1) as (fleet, fake):
        fake.hold()
        await fleet.submit(picture(1))
        waiting = asyncio.create_task(fleet.submit(picture(2)))
        await turns()
        await fleet.aclose()
        with pytest.raises(SessionClosedError):
            await waiting
