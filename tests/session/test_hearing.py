"""Does the socket still hear? Asked of servers of every age, with as little as possible."""

from __future__ import annotations

import json
from typing import Any

import pytest
from session_tools import collect, eventually, first, picture, seeded, served, steps

from comfy_async import (
    ComfyError,
    ComfySession,
    Disconnected,
    NodeStarted,
    NotComfyUIError,
    Reconnected,
    Settings,
    Started,
    Workflow,
)
from comfy_async._client.session import engine_of
from comfy_async._dialects.comfyui import RunApi
from comfy_async._job.job import core_of
from comfy_async._transport.address import Address
from comfy_async._transport.auth import Auth
from comfy_async._transport.http import HttpClient
from comfy_async.testing import FakeComfy, FastClock


def watching(fake: FakeComfy, **options: Any) -> ComfySession:
    """Return a session whose seconds are short."""
    return fake.session(settings=Settings(clock=FastClock(20)), **options)


async def test_the_smallest_look(fake: FakeComfy) -> None:
    """An old server has no list of jobs in a few bytes: every second look is a number."""
    async with FakeComfy(version="0.3.60") as old, watching(old) as comfy:
        graph = steps(old, 1)
        with old.gate("Steps"):
            job = await comfy.submit(graph)
            await first(job, NodeStarted)
            await old.wait_for(lambda books: books.requests[("GET", "/prompt")] >= 3)
            assert old.books.requests[("GET", "/queue")] <= old.books.requests[("GET", "/prompt")] + 1
            assert old.books.requests[("GET", "/api/jobs")] == 0
            assert comfy.connection.state == "hearing"
        assert (await job).texts == ("shown",)
        assert old.books.sockets_opened == 1


@pytest.mark.parametrize("version", ["0.3.60", "0.33.0"])
async def test_a_deaf_socket(version: str) -> None:
    """The queue changes and no status comes: the socket is dialled again, and the job goes on."""
    async with FakeComfy(version=version) as fake, watching(fake) as comfy, fake.session() as other:
        graph = steps(fake, 3)
        with fake.gate("Steps", step=1):
            job = await comfy.submit(graph)
            await first(job, NodeStarted)
            fake.faults.deafen(comfy.client_id)
            theirs = await other.submit(seeded(graph, 2))
            await first(job, Reconnected)
        assert (await job).texts == ("shown",)
        assert (await theirs).texts == ("shown",)
        assert comfy.connection.reconnects == 1


async def test_a_job_that_starts_unheard(fake: FakeComfy) -> None:
    """Our job runs and no event came: that is deafness, even if nobody else is there."""
    async with watching(fake) as comfy:
        graph = steps(fake, 3)
        fake.hold()
        with fake.gate("Steps", step=1):
            job = await comfy.submit(graph)
            fake.faults.deafen(comfy.client_id)
            fake.release()
            await first(job, Started)
            await eventually(lambda: comfy.connection.reconnects == 1)
        assert (await job).texts == ("shown",)


async def test_a_look_that_overtakes_the_socket(fake: FakeComfy, comfy: ComfySession) -> None:
    """HTTP knows of the end a moment before the socket tells it: that is no deafness."""
    graph = steps(fake, 3)
    with fake.gate("Steps", step=1):
        job = await comfy.submit(graph)
        await first(job, NodeStarted)
        fake.faults.stall()
    await fake.ended(job.prompt_id)
    engine_of(comfy).poller.poke([core_of(job)])
    await fake.wait_for(lambda books: books.requests[("GET", "/history/{prompt_id}")] >= 1)
    fake.faults.unstall()
    assert (await job).texts == ("shown",)
    assert not [event for event in await collect(job) if isinstance(event, Disconnected)]
    assert comfy.connection.reconnects == 0


async def test_a_server_that_ends_by_the_mere_end_marker() -> None:
    """Before 2024-07 there was no execution_success: the history says how it ended, and nobody is blamed."""
    async with served(mode="old", without=["execution_success"]) as (fake, comfy):
        graph = {
            **picture(),
            "3": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
        }
        for color in range(4):
            job = await comfy.submit(Workflow.load(graph).with_inputs({"1.color": color}))
            result = await job
            assert len(result.images) == 2
            assert result.missing == ()
            assert result.duration > 0
            names = [type(event).__name__ for event in await collect(job)]
            assert "Disconnected" not in names
        assert comfy.connection.state == "hearing"
        assert fake.books.sockets_opened == 1


async def test_jobs_of_others_raise_no_alarm(fake: FakeComfy) -> None:
    """A queue that moves while the socket tells of it is no reason to dial again."""
    async with watching(fake) as comfy, fake.session() as other:
        graph = steps(fake, 1)
        with fake.gate("Steps", prompt_id=None) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            for number in range(10):
                await other.submit(picture(number))
            await fake.wait_for(lambda books: books.requests[("GET", "/api/jobs")] >= 3)
        await job
        assert fake.books.sockets_opened == 2
        await other.aclose(cancel_jobs=True)


BROKEN: list[Any] = [
    {},
    {"exec_info": None},
    {"exec_info": {"queue_remaining": "many"}},
    {"exec_info": {"queue_remaining": float("inf")}},
    [],
]


@pytest.mark.parametrize("body", BROKEN, ids=json.dumps)
async def test_an_odd_number(fake: FakeComfy, body: Any) -> None:
    """Such an answer is an error and proves nothing."""
    fake.faults.fail("GET", "/prompt", 200, json=body)
    http = HttpClient(Address.parse(fake.url), auth=Auth())
    with pytest.raises(NotComfyUIError, match="prompt"):
        await RunApi(http).queue_remaining()
    await http.aclose()


async def more_requests(fake: FakeComfy, count: int) -> None:
    """Wait until the server was asked that often again."""
    before = fake.books.requests.total()
    await fake.wait_for(lambda books: books.requests.total() >= before + count)


@pytest.mark.parametrize("path", ["/queue", "/history/*", "/api/jobs"])
async def test_odd_answers_end_no_job(path: str) -> None:
    """Whatever stands in an answer, a job that runs is not lost by it."""
    version = "0.3.60" if path == "/queue" else "0.33.0"
    async with served(version=version, mode="local") as (fake, _):
        async with fake.session(transport="poll", settings=Settings(clock=FastClock(20))) as comfy:
            graph = steps(fake, 1)
            with fake.gate("Steps"):
                job = await comfy.submit(graph)
                route = path.removeprefix("/api")
                bodies: list[Any] = [[], {"queue_running": 3}, {"jobs": [{}]}, {"else": {}}]
                for body in bodies:
                    rule = fake.faults.fail("GET", route, 200, json=body)
                    await more_requests(fake, 3)
                    rule.cancel()
                assert not job.done
            assert (await job).texts == ("shown",)


async def test_ids_of_others_making(fake: FakeComfy, comfy: ComfySession) -> None:
    """An id that is no id reaches no other route."""
    for odd in ("../queue", "a/b", "x?y=1", "%2e%2e", "ü"):
        try:
            job = await comfy.attach(odd)
        except (ComfyError, ValueError):
            continue
        assert job.prompt_id == odd
    asked = {path for _, path in fake.books.requests}
    assert "/interrupt" not in asked
