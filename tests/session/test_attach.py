"""Picking up a job by its id or ref: from another process, a restarted notebook, another client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from session_tools import HeldAnswers, fast, graph

from comfy_async import (
    ComfySession,
    JobFailedError,
    JobLostError,
    NodeFinished,
    Progress,
    SessionClosedError,
    Settings,
    TransportError,
)
from comfy_async.testing import FakeComfy, FastClock

GRAPH = graph()
IMAGE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "old"}},
}


async def test_another_client_picks_a_running_job_up_by_polling(server: FakeComfy) -> None:
    """The events go to the client that submitted; another one finds the end all the same."""
    gate = server.gate("Steps", step=3)
    async with fast(server) as one, fast(server) as two:
        job = await one.submit(GRAPH)
        await gate.reached()
        other = await two.attach(job.prompt_id)
        assert other.ref["client_id"] == one.client_id
        gate.open()
        assert (await other).texts == (await job).texts == ("shown",)


async def test_the_same_client_id_gets_the_events(server: FakeComfy) -> None:
    """A session that takes up the client_id of a ref hears the rest live, with titles."""
    gate = server.gate("Steps", step=3)
    async with fast(server) as one:
        job = await one.submit(GRAPH)
        await gate.reached()
        ref = json.loads(json.dumps(job.ref))
    async with fast(server, client_id=ref["client_id"]) as two:
        again = await two.attach(ref)
        gate.open()
        events = [event async for event in again]
        assert any(isinstance(event, Progress) and event.title == "Many steps" for event in events)
        assert [event.node for event in events if isinstance(event, NodeFinished)] == ["1", "2"]
        assert (await again).texts == ("shown",)


async def test_an_old_server_has_chosen_another_id_than_was_noted() -> None:
    """Before 0.3.45 a job runs under the server's id: the one that was noted before the post finds it too."""
    async with FakeComfy(version="0.3.44") as old, fast(old) as one, fast(old) as two:
        job = await one.submit(IMAGE)
        (record,) = old.books.of(job.prompt_id)
        noted = record.extra_data["comfy_async_id"]
        assert noted != job.prompt_id
        again = await two.attach(noted)
        assert again.prompt_id == job.prompt_id
        assert [file.filename for file in (await again).files] == ["old_00001_.png"]


async def test_attached_by_two_at_once(server: FakeComfy) -> None:
    """Both get the one handle: with two of them under one id, one would never end."""
    gate = server.gate("Steps", step=3)
    async with fast(server) as one, fast(server) as two:
        job = await one.submit(GRAPH)
        await gate.reached()
        first, second = await asyncio.gather(two.attach(job.prompt_id), two.attach(job.ref))
        assert first is second
        gate.open()
        assert (await first).texts == ("shown",)


async def test_a_session_that_closes_while_it_attaches(server: FakeComfy) -> None:
    """No job is left behind that nobody would ever end."""
    gate = server.gate("Steps", step=3)
    transport = HeldAnswers("GET", "/queue")
    async with fast(server) as one:
        job = await one.submit(GRAPH)
        await gate.reached()
        two = ComfySession(server.url, settings=Settings(http_transport=transport))
        attaching = asyncio.create_task(two.attach(job.prompt_id))
        await transport.held.wait()
        closing = asyncio.create_task(two.aclose())
        transport.release.set()
        await closing
        with pytest.raises((SessionClosedError, TransportError)):
            await attaching
        gate.open()
        await job


async def test_finished_jobs_answer_at_once(server: FakeComfy) -> None:
    """The history has the outputs of a completed job and the failure of a failed one."""
    async with fast(server) as one:
        done = await one.submit(GRAPH)
        await done
        failed = await one.submit({**GRAPH, "2": {"class_type": "Break", "inputs": {"value": ["1", 0]}}})
        with pytest.raises(JobFailedError):
            await failed
        await server.idle()
    async with fast(server) as two:
        again = await two.attach(done.ref)
        assert again.done
        assert (await again).texts == ("shown",)
        with pytest.raises(JobFailedError, match="broken"):
            await (await two.attach(failed.prompt_id))


async def test_the_history_knows_how_long_it_took(server: FakeComfy) -> None:
    """A job that is attached to after its end has the duration of its run, by the server's clock."""
    server.pace.step_seconds = 0.02
    async with fast(server) as one:
        job = await one.submit(GRAPH)
        whole = (await job).duration
        await server.idle()
    assert whole > 0.2
    async with ComfySession(server.url, settings=Settings(clock=FastClock(10))) as two:
        late = await (await two.attach(job.ref)).result()
    assert 0.2 <= late.duration < 10 * whole
    assert late.node_seconds == {}


async def test_an_unknown_job_is_lost(server: FakeComfy) -> None:
    """A restart looks just the same as an id that never was."""
    async with fast(server) as comfy:
        job = await comfy.attach("00000000-0000-4000-8000-000000000000")
        with pytest.raises(JobLostError):
            await job


async def test_cancelling_an_unknown_job_invents_no_end(server: FakeComfy) -> None:
    """What the server never had was not cancelled: it is lost."""
    async with fast(server) as comfy:
        job = await comfy.attach("00000000-0000-4000-8000-000000000001")
        assert await job.cancel() == "lost"


async def test_attaching_to_an_own_job_gives_the_same_handle(server: FakeComfy) -> None:
    """Within one session there is one job for one id."""
    gate = server.gate("Steps", step=3)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        assert await comfy.attach(job.ref) is job
        gate.open()
        await job


@pytest.mark.parametrize("reference", ["", {}, {"prompt_id": 5}, 7])
async def test_what_is_no_reference_is_refused(server: FakeComfy, reference: Any) -> None:
    """A clear error before anything is asked."""
    async with fast(server) as comfy:
        with pytest.raises(ValueError, match="prompt_id or a job's ref"):
            await comfy.attach(reference)
