"""Keys of a pool: a key's job is looked for on every server before it runs on one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from session_tools import fast, picture

from comfy_async import ComfyPool, ConnectError, ResponseError, Settings, WorkflowError
from comfy_async.testing import FakeComfy, FastClock

KEY = "order-12"


def pool(*servers: FakeComfy, **options: Any) -> ComfyPool:
    """Return a pool of these servers whose pauses last a tenth."""
    return ComfyPool([server.url for server in servers], settings=Settings(clock=FastClock(10)), **options)


def accepted(*servers: FakeComfy) -> int:
    """Return how many prompts the servers have taken."""
    return sum(len(server.books.accepted) for server in servers)


@pytest.mark.parametrize("ended", [False, True])
async def test_on_whichever_server(ended: bool) -> None:
    """A job that a session submitted, and later the pool itself, is found where it is."""
    async with FakeComfy() as one, FakeComfy() as two:
        if not ended:
            two.hold()
        async with fast(two) as comfy:
            first = await comfy.submit(picture(), key=KEY)
            if ended:
                await first
        async with pool(one, two) as both:
            second = await both.submit(picture(), key=KEY)
            assert second.prompt_id == first.prompt_id
            third = await both.submit(picture(), key=KEY)
            two.release()
            assert (await second).files[0].filename == (await third).files[0].filename
            with pytest.raises(WorkflowError, match="runs another workflow"):
                await both.submit(picture(2), key=KEY)
        assert accepted(one, two) == 1


async def test_at_once(server: FakeComfy) -> None:
    """Many submissions of one pool at one moment are one job."""
    async with FakeComfy() as other, pool(server, other) as both:
        jobs = await asyncio.gather(*(both.submit(picture(), key=KEY) for _ in range(10)))
        await asyncio.gather(*jobs)
        assert accepted(server, other) == 1
        assert len({job.prompt_id for job in jobs}) == 1


async def test_pools_that_race() -> None:
    """Two pools, one of which is busier, that submit the same keys at one moment: one job for each key."""
    async with FakeComfy() as one, FakeComfy() as two, FakeComfy() as three:
        servers = (one, two, three)
        async with pool(*servers) as idle, pool(*reversed(servers)) as busy:
            others = [asyncio.ensure_future(busy.run(picture(number))) for number in range(5)]
            keys = [f"order-{number}" for number in range(24)]
            jobs = await asyncio.gather(
                *(each.submit(picture(99), key=key) for key in keys for each in (idle, busy))
            )
            await asyncio.gather(*jobs, *others)
            taken = [len(server.books.accepted) for server in servers]
            assert sum(taken) == len(keys) + len(others)
            assert len({job.prompt_id for job in jobs}) == len(keys)
            assert min(taken) > 2, f"the keys were not spread: {taken}"


async def test_a_silent_server(server: FakeComfy) -> None:
    """It may have the job: that is an error, and nothing is posted."""
    async with FakeComfy() as other, pool(server, other) as both:
        await other.faults.go_down()
        with pytest.raises(ConnectError, match=rf"key '{KEY}' cannot be decided.*{other.url}") as caught:
            await both.submit(picture(), key=KEY)
        assert "Start ComfyUI" not in str(caught.value)
        assert f"`await pool.drain('{other.url}')`" in caught.value.hint
        assert caught.value.retryable
        assert accepted(server) == 0
        await other.faults.come_up()
        await both.run(picture(), key=KEY)
        assert accepted(server, other) == 1


async def test_a_server_with_an_error(server: FakeComfy) -> None:
    """What it answers stays what it is; the key, and the way out, are named all the same."""
    async with FakeComfy() as other, pool(server, other) as both:
        other.faults.fail("GET", "*", 500)
        with pytest.raises(ResponseError, match=f"key '{KEY}' cannot be decided") as caught:
            await both.submit(picture(), key=KEY)
        assert caught.value.status == 500
        assert f"`await pool.drain('{other.url}')`" in caught.value.hint


async def test_a_dead_server_is_left_out(server: FakeComfy) -> None:
    """A drained server is not asked any more: the keyed job runs on another one."""
    async with FakeComfy() as other, pool(server, other) as both:
        await other.faults.go_down()
        await both.drain(other.url)
        await both.run(picture(), key=KEY)
        assert accepted(server) == 1


async def test_a_server_that_is_only_asked(server: FakeComfy) -> None:
    """A server outside of the pool, known by a ref, can be left out too."""
    async with FakeComfy() as other, pool(server) as lone:
        async with fast(other) as comfy:
            ref = (await comfy.submit(picture(7))).ref
        await (await lone.attach(ref))
        await other.faults.go_down()
        with pytest.raises(ConnectError, match=other.url):
            await lone.submit(picture(), key=KEY)
        await lone.drain(other.url)
        await lone.run(picture(), key=KEY)
        assert accepted(server) == 1


async def test_where_a_job_is(server: FakeComfy) -> None:
    """An id that is on no server that answers: the error names the job and the silent one."""
    async with FakeComfy() as other, pool(server, other) as both:
        await other.faults.go_down()
        says = rf"where job some-id is cannot be decided.*{other.url}"
        with pytest.raises(ConnectError, match=says) as caught:
            await both.attach("some-id")
        assert caught.value.prompt_id == "some-id"


async def test_goes_on_elsewhere() -> None:
    """A job that its server lost runs on the next one, under the key there."""
    async with FakeComfy() as one, FakeComfy() as two, pool(one, two) as both:
        one.hold()
        two.hold()
        job = await both.submit(picture(), key=KEY)
        first, second = (one, two) if one.books.accepted else (two, one)
        first.faults.lose_queue()
        one.release()
        two.release()
        await job
        assert len(second.books.accepted) == 1
        async with fast(second) as comfy:
            assert (await comfy.submit(picture(), key=KEY)).prompt_id == job.prompt_id
