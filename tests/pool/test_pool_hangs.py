"""What could let somebody wait on a pool for ever: lost wake-ups, lost places, closing that fails."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from pool_tools import fakes, fast, pool_of, state
from session_tools import HeldAnswers, eventually, graph, library_tasks, turns

from comfy_async import ComfyPool, ComfySession, ConnectError, SessionClosedError, Workflow
from comfy_async._client.pool import pool_engine_of
from comfy_async._client.session import engine_of
from comfy_async._job.job import core_of
from comfy_async._pool.health import Health
from comfy_async._pool.job import Order, PoolJob
from comfy_async._pool.member import Member
from comfy_async._pool.places import Places


def anybody(pool: ComfyPool) -> PoolJob:
    """Return a job that waits for its server however long it takes."""
    order = Order(workflow=Workflow(), options={}, check=False, group=None, patient=True)
    return PoolJob(pool_engine_of(pool), order)


async def test_a_job_that_was_lost_while_it_was_queued_can_be_stopped() -> None:
    """Its third server is waited for, while the second's answer is still on its way through the code."""
    async with fakes(3) as (c, a, b), pool_of([c], limit=1, retry_out_of_memory=True) as pool:
        for fake in (a, b):
            fake.script("Hungry", inputs={"value": "VALUE"}, is_output=True, error="oom")
        c.hold()
        other = await pool.submit(graph(1))
        held = HeldAnswers("POST", "/prompt")
        pool.add(a.url)
        pool.add(ComfySession(b.url, settings=fast(http_transport=held)))
        job = await pool.submit(graph(2, "Hungry"))
        core = core_of(job)
        assert isinstance(core, PoolJob)
        await eventually(lambda: core._held is not None)
        held.release.set()
        await eventually(lambda: pool_engine_of(pool).places.is_waited_for)
        assert [record.end for fake in (a, b) for record in fake.books.accepted] == ["error", "error"]
        await turns()
        assert await job.cancel() == "cancelled"
        await turns()
        assert not pool_engine_of(pool).places.is_waited_for
        assert not pool_engine_of(pool)._going
        c.release()
        await other
        await pool.run(graph(3))
        assert len(c.books.accepted) + len(a.books.accepted) + len(b.books.accepted) == 4
        assert [server.jobs for server in pool.servers] == [0, 0, 0]


async def test_a_job_that_is_stopped_before_it_goes_on_leaves_nothing() -> None:
    """At the very moment when it was lost."""
    async with fakes(1) as (a,), pool_of([a]) as pool:
        a.hold()
        job = await pool.submit(graph(1))
        core = core_of(job)
        assert isinstance(core, PoolJob)
        assert core._keeper.takes_over(core, core._log[-1])
        assert await job.cancel() == "cancelled"
        await turns()
        assert not pool_engine_of(pool)._going
        assert state(pool, a).jobs == 0


async def test_a_server_that_is_heard_again_before_anybody_looks_is_used() -> None:
    """Whoever began to wait is not forgotten because there is nobody sick left to look after."""
    async with fakes(1) as (a,), pool_of([a]) as pool, a.session() as session:
        places = Places(pool.settings.clock, away_seconds=None, on_wait=lambda: health.watch())
        health = Health(places, pool.settings.clock)
        member = Member(engine_of(session), weight=1.0, limit=1)
        places.members.append(member)
        member.go_down("it does not answer about its jobs")
        waiting = asyncio.create_task(places.take(anybody(pool)))
        await asyncio.sleep(0)
        assert health._nurse is not None
        member.come_up()
        async with asyncio.timeout(120):
            assert await waiting is member
        await health.aclose()


async def test_whoever_waits_for_a_server_whose_session_is_closed_is_told() -> None:
    """Its owner closed it: nobody will ever come back on it, and others take over what they can."""
    async with fakes() as (a, b):
        own = ComfySession(a.url, settings=fast())
        async with ComfyPool([own], settings=fast(), away_seconds=None, limit=1) as pool:
            a.hold()
            job = await pool.submit(graph(1))
            batch = pool.map([graph(2)])
            async with batch as finished:
                await eventually(lambda: pool_engine_of(pool).places.is_waited_for)
                await own.aclose()
                with pytest.raises(SessionClosedError):
                    await job
                (waited,) = [job async for job in finished]
                with pytest.raises(ConnectError, match="no server"):
                    await waited
            assert state(pool, a).state == "draining"
            with pytest.raises(ConnectError, match="no server"):
                await pool.submit(graph(3))
            pool.add(b.url)
            assert (await pool.run(graph(4))).texts == ("shown",)


async def test_a_session_that_cannot_be_closed_keeps_nobody_waiting() -> None:
    """The other sessions are closed to the end, readers of events get theirs, and then it is said."""

    class Stuck(httpx.AsyncHTTPTransport):
        async def aclose(self) -> None:
            await super().aclose()
            raise OSError("stuck")

    async with fakes() as (a, b):
        stuck = ComfySession(a.url, settings=fast(http_transport=Stuck()), transport="poll")
        pool = await ComfyPool([stuck, b.url], settings=fast()).connect()
        reading = asyncio.create_task(anext(pool.events(), None))
        await b.wait_for(lambda books: books.sockets_now == 1)
        with pytest.raises(OSError, match="stuck"):
            await pool.aclose()
        assert not library_tasks()
        async with asyncio.timeout(120):
            await reading
