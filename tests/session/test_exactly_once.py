"""A prompt whose POST had no answer is looked up before anything is sent again."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from session_tools import fast, graph, teach

from comfy_async import ComfyError, ConnectError, NodeFinished, ResponseError, SubmitUnknownError
from comfy_async.testing import FakeComfy

GRAPH = graph()

impatient = functools.partial(fast, request_seconds=1.0)


@pytest.mark.parametrize("failure", [500, 503, "reset", "hang", "html"])
async def test_the_answer_is_lost_but_the_prompt_arrived(server: FakeComfy, failure: Any) -> None:
    """It is found by its id, and not sent a second time."""
    server.faults.fail("POST", "/prompt", failure, count=1, after_effect=True)
    async with impatient(server) as comfy:
        job = await comfy.submit(GRAPH)
        assert (await job).texts == ("shown",)
    assert server.books.count("POST", "/prompt") == 1
    assert server.books.starts(job.prompt_id) == 1


@pytest.mark.parametrize("failure", [500, 503, "reset", "hang"])
async def test_the_prompt_is_lost_and_sent_again(server: FakeComfy, failure: Any) -> None:
    """Two answered looks do not find it: it is sent again under the same id, and runs once."""
    server.faults.fail("POST", "/prompt", failure, count=1)
    async with impatient(server) as comfy:
        job = await comfy.submit(GRAPH)
        assert (await job).texts == ("shown",)
    assert server.books.count("POST", "/prompt") == 2
    assert server.books.starts(job.prompt_id) == 1


async def test_a_prompt_that_never_arrives_is_given_up(server: FakeComfy) -> None:
    """After three posts that certainly did not arrive the error is the server's own."""
    server.faults.fail("POST", "/prompt", 503)
    async with impatient(server) as comfy:
        with pytest.raises(ResponseError, match="503"):
            await comfy.submit(GRAPH)
    assert server.books.count("POST", "/prompt") == 3
    assert server.books.started == 0


async def test_what_cannot_be_found_out_is_said(server: FakeComfy) -> None:
    """No look is answered: SubmitUnknownError with the id, and no second post."""
    server.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
    looks = server.faults.fail("GET", "/api/jobs", 503)
    server.faults.stall()
    async with impatient(server) as comfy:
        with pytest.raises(SubmitUnknownError) as caught:
            await comfy.submit(GRAPH)
        looks.cancel()
        server.faults.unstall()
        assert caught.value.prompt_id
        job = await comfy.attach(caught.value.prompt_id)
        assert (await job).texts == ("shown",)
    assert server.books.count("POST", "/prompt") == 1
    assert server.books.starts(job.prompt_id) == 1


async def test_an_event_proves_the_arrival(server: FakeComfy) -> None:
    """HTTP says nothing at all, but the socket shows that the prompt runs."""
    server.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
    server.faults.fail("GET", "/api/jobs", 503, count=3)
    async with impatient(server) as comfy:
        job = await comfy.submit(GRAPH)
        assert (await job).texts == ("shown",)
    assert server.books.count("POST", "/prompt") == 1


async def test_nothing_is_sent_when_nobody_listens(server: FakeComfy) -> None:
    """A refused connection is no mystery: ConnectError at once, and no look."""
    async with impatient(server) as comfy:
        await server.faults.go_down()
        with pytest.raises(ConnectError):
            await comfy.submit(GRAPH)
        await server.faults.come_up()
    assert server.books.started == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_submit_that_is_cancelled_leaves_nothing_running(server: FakeComfy, when: str) -> None:
    """The caller will never hold the job: it is taken back from the server."""
    server.hold()
    rule = server.faults.fail("POST", "/prompt", "hang", after_effect=when == "after")
    async with impatient(server, request_seconds=30.0) as comfy:
        task = asyncio.create_task(comfy.submit(GRAPH))
        await server.wait_for(lambda books: rule.hits == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rule.cancel()
        server.release()
        await server.idle()
    assert server.books.started == 0


async def test_an_old_server_that_chooses_the_id() -> None:
    """The job is rebound to the server's id, the events that came early are replayed to it."""
    async with FakeComfy(mode="old") as fake:
        teach(fake)
        async with impatient(fake) as comfy:
            job = await comfy.submit(GRAPH)
            assert (await job).texts == ("shown",)
            assert fake.books.starts(job.prompt_id) == 1
            finished = [event.node async for event in job if isinstance(event, NodeFinished)]
            assert finished == ["1", "2"]


async def test_an_old_server_whose_answer_is_lost() -> None:
    """It chose an id that nobody told us: the job is found by its mark, and not sent again."""
    async with FakeComfy(mode="old") as fake:
        teach(fake)
        fake.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
        async with impatient(fake) as comfy:
            job = await comfy.submit(GRAPH)
            assert (await job).texts == ("shown",)
        assert fake.books.count("POST", "/prompt") == 1
        assert fake.books.starts(job.prompt_id) == 1


@pytest.mark.parametrize("version", ["0.3.20", "0.3.50", "0.3.64", "0.4.0", "0.20.0"])
async def test_every_age_of_server_runs_and_cancels(version: str) -> None:
    """Whatever the server can do, a run completes and only our own job is cancelled."""
    async with FakeComfy(version=version) as fake:
        teach(fake)
        async with impatient(fake) as comfy:
            assert (await comfy.run(GRAPH)).texts == ("shown",)
            gate = fake.gate("Steps", step=2)
            running = await comfy.submit(graph(2))
            await gate.reached()
            pending = await comfy.submit(graph(3))
            assert await pending.cancel() == "cancelled"
            assert not running.done
            cancelling = asyncio.create_task(running.cancel())
            await fake.wait_for(lambda books: books.of(running.prompt_id)[0].interrupts >= 1)
            gate.open()
            assert await cancelling == "cancelled"
            with pytest.raises(ComfyError):
                await running
