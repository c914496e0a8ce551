"""Jobs of API v2 end to end: their streams, and everything that can go wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from session_tools import eventually, fast, first, graph, picture, teach

from comfy_async import (
    Cancelled,
    ComfySession,
    Completed,
    JobCancelledError,
    JobFailedError,
    JobLostError,
    NodeFinished,
    Preview,
    Progress,
    Queued,
    QueuePosition,
    Started,
    UnknownEvent,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import ApiV2, FakeComfy

KEY = "comfyui-k3y-of-v2"


def manners(fake: FakeComfy) -> ApiV2:
    """How a server speaks API v2."""
    assert fake.v2 is not None
    return fake.v2


@pytest.fixture
async def fake() -> AsyncIterator[FakeComfy]:
    """A deployment."""
    async with FakeComfy(dialect="api-v2", api_key=KEY) as server:
        yield teach(server, steps=4)


@pytest.fixture
async def comfy(fake: FakeComfy) -> AsyncIterator[ComfySession]:
    """A session whose pauses last a tenth."""
    async with fast(fake, api_key=KEY, dialect="api-v2") as session:
        yield session


async def kinds(job: Any) -> list[type]:
    """The events of a job, by class."""
    return [type(event) async for event in job]


async def collected(job: Any) -> list[Any]:
    """The events of a job."""
    return [event async for event in job]


async def streaming(comfy: ComfySession, count: int = 1) -> None:
    """Wait until so many streams tell."""
    await eventually(lambda: engine_of(comfy).streams.live >= count)


def asked(fake: FakeComfy, method: str, ending: str = "") -> int:
    """Count the requests of a method to routes that end so."""
    return sum(m == method and path.partition("?")[0].endswith(ending) for m, path, _ in fake.books.log)


async def looked_at(fake: FakeComfy, job: Any, times: int) -> None:
    """Wait until a job was asked for so often."""
    await eventually(lambda: asked(fake, "GET", job.prompt_id) >= times)


class TestEvents:
    """The stream becomes the same events as everywhere."""

    async def test_a_life(self, comfy: ComfySession) -> None:
        """Queued, started, progress, a node with its output, one end."""
        job = await comfy.submit(picture())
        seen = await kinds(job)
        assert seen[0] is Queued
        assert seen[1] is Started
        assert seen[-1] is Completed
        assert [kind for kind in seen if kind in (Completed, Cancelled)] == [Completed]
        assert NodeFinished in seen
        result = await job
        assert len(result.images) == 1
        assert job.progress.fraction == 1.0

    async def test_progress_of_the_whole_graph(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Node and step come with the server's own fraction, which never falls."""
        gate = fake.gate("Steps", step=3)
        fractions: list[float] = []
        opened = False
        job = await comfy.submit(graph())
        async for event in job:
            fractions.append(job.progress.fraction)
            if isinstance(event, Progress) and event.value == 2 and not opened:
                assert (job.progress.node, job.progress.step, job.progress.steps) == ("1", 2, 4)
                opened = True
                gate.open()
        assert opened
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0

    async def test_a_place_in_the_queue(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A job that waits is told where."""
        fake.hold()
        first, second = await comfy.submit(graph(1)), await comfy.submit(graph(2))
        async for event in second:
            if isinstance(event, QueuePosition):
                assert event.position >= 1
                break
        fake.release()
        await asyncio.gather(first, second)

    async def test_a_preview(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Pictures of work in progress come decoded."""
        gate = fake.gate("Steps", step=2)
        job = await comfy.submit(graph())
        reading = asyncio.create_task(collected(job))
        await gate.reached()
        await streaming(comfy)
        picture_data = {"node_id": "1", "content_type": "image/jpeg", "data_base64": "/9j/"}
        assert fake.faults.send_event("preview", picture_data) == 1
        gate.open()
        (preview,) = [event for event in await reading if isinstance(event, Preview)]
        assert (preview.image, preview.node) == (b"\xff\xd8\xff", "1")

    async def test_an_unknown_event(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """What a later version says comes as it is; what cannot be read ends nothing."""
        gate = fake.gate("Steps", step=2)
        job = await comfy.submit(graph())
        reading = asyncio.create_task(collected(job))
        await gate.reached()
        await streaming(comfy)
        fake.faults.send_to_streams("event: progress\ndata: no json\n\n")
        assert fake.faults.send_event("weather", {"sky": "blue"}) == 1
        gate.open()
        (event,) = [event for event in await reading if isinstance(event, UnknownEvent)]
        assert (event.type, event.data) == ("weather", {"sky": "blue"})

    async def test_a_failure(self, comfy: ComfySession) -> None:
        """Node, class, message and traceback of a failure."""
        with pytest.raises(JobFailedError, match="broken") as caught:
            await comfy.run(graph(last="Break"))
        assert (caught.value.node, caught.value.class_type) == ("2", "Break")
        assert "raise NodeError" in caught.value.traceback


class TestEnds:
    """Every job has one end, whatever becomes of its stream."""

    @pytest.mark.parametrize("how", ["end", "cut", "reset"])
    async def test_a_stream_that_drops(self, fake: FakeComfy, comfy: ComfySession, how: Any) -> None:
        """It is taken up again, and nothing is told twice."""
        gate = fake.gate("Steps", step=2)
        job = await comfy.submit(graph())
        reading = asyncio.create_task(kinds(job))
        await gate.reached()
        await streaming(comfy)
        assert fake.faults.cut_streams(how) == 1
        gate.open()
        seen = await reading
        assert seen[-1] is Completed
        assert seen.count(Started) == 1
        assert seen.count(Completed) == 1

    async def test_a_stream_that_says_where_it_stands(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It vouches for nothing: whoever joins after the end would hear no more than that."""
        streams = engine_of(comfy).streams
        fake.hold()
        job = await comfy.submit(graph())
        reading = asyncio.create_task(kinds(job))
        await streaming(comfy)
        assert not streams.covers(engine_of(comfy).jobs.by_id[job.prompt_id])
        with fake.gate("Steps", step=2):
            fake.release()
            await first(job, Progress)
            assert streams.covers(engine_of(comfy).jobs.by_id[job.prompt_id])
        assert (await reading)[-1] is Completed

    @pytest.mark.parametrize("keepalives", [True, False])
    async def test_a_stream_that_says_nothing_more(self, fake: FakeComfy, keepalives: bool) -> None:
        """Whether comments come or not: what it does not say is looked up."""
        async with fast(fake, api_key=KEY, dialect="api-v2", stream_seconds=0.5) as comfy:
            gate = fake.gate("Steps", step=2)
            job = await comfy.submit(graph())
            reading = asyncio.create_task(kinds(job))
            await gate.reached()
            await streaming(comfy)
            assert fake.faults.stall_streams(keepalives=keepalives) == 1
            gate.open()
            assert (await reading)[-1] is Completed

    async def test_a_stream_that_ends_without_an_end(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """An end that nobody told is found."""
        fake.faults.silence_ends()
        assert (await kinds(await comfy.submit(picture())))[-1] is Completed

    async def test_an_end_that_comes_early(self) -> None:
        """The stream's word that a job has ended is looked up before it is believed."""
        async with (
            FakeComfy(dialect="api-v2", api_v2=ApiV2(early_ends=True), api_key=KEY) as fake,
            fast(fake, api_key=KEY, dialect="api-v2") as comfy,
        ):
            result = await comfy.run(picture())
            assert len(result.images) == 1

    async def test_no_streams_at_all(self, comfy: ComfySession, fake: FakeComfy) -> None:
        """A server without streams is asked for one once, and polled."""
        manners(fake).streams = False
        for number in range(3):
            fake.hold()
            job = await comfy.submit(picture(number))
            reading = asyncio.create_task(kinds(job))
            await eventually(lambda: asked(fake, "GET", "/events"))
            # A look that finds it waiting is when its stream would be opened.
            await looked_at(fake, job, 3)
            fake.release()
            assert (await reading)[-1] is Completed
        assert asked(fake, "GET", "/events") == 1

    async def test_too_many_streams(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Those beyond the server's bound are polled, and end like the others."""
        manners(fake).max_streams = 2
        jobs = await asyncio.gather(*(comfy.submit(picture(number)) for number in range(12)))
        assert all(seen[-1] is Completed for seen in await asyncio.gather(*map(kinds, jobs)))

    async def test_a_bound_of_ours(self, fake: FakeComfy) -> None:
        """No more streams are opened at once than the session may."""
        manners(fake).max_streams = 100
        async with fast(fake, api_key=KEY, dialect="api-v2", streams=3) as comfy:
            fake.hold()
            jobs = [await comfy.submit(picture(number)) for number in range(8)]
            readers = [asyncio.create_task(kinds(job)) for job in jobs]
            await streaming(comfy, 3)
            await asyncio.sleep(0.1)
            assert engine_of(comfy).streams.opened == 3
            fake.release()
            assert all(seen[-1] is Completed for seen in await asyncio.gather(*readers))

    async def test_without_a_consumer(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A job that nobody waits for needs no stream, and ends."""
        job = await comfy.submit(picture())
        await eventually(lambda: job.done)
        assert job.status == "completed"
        assert engine_of(comfy).streams.opened == 0

    async def test_many_more_than_one_look_asks_for(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A hundred jobs are looked at in turns, and all end."""
        manners(fake).streams = False
        jobs = await asyncio.gather(*(comfy.submit(picture(number)) for number in range(100)))
        results = await asyncio.gather(*jobs)
        assert len({result.prompt_id for result in results}) == 100

    async def test_a_quick_job_that_is_called_expired(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A proxy calls a job expired that it finds neither waiting nor finished: it is looked at again."""
        fake.faults.expire_falsely(1)
        assert (await comfy.run(picture())).images

    async def test_expired(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A job that is gone is lost, and the error says what the server said."""
        fake.hold()
        job = await comfy.submit(picture())
        fake.faults.expire_job(job.prompt_id)
        with pytest.raises(JobLostError, match="expired"):
            await job

    async def test_unknown(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """So is one that the server knows no more."""
        fake.hold()
        job = await comfy.submit(picture())
        fake.faults.forget_job(job.prompt_id)
        fake.faults.lose_queue()
        with pytest.raises(JobLostError):
            await job

    async def test_a_gateway_that_says_404(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """The 404 of somebody else proves no absence."""
        manners(fake).streams = False
        fake.hold()
        job = await comfy.submit(picture())
        rule = fake.faults.fail("GET", f"/api/v2/jobs/{job.prompt_id}", 404, json={"detail": "no such page"})
        waiting = asyncio.ensure_future(job.result())
        await eventually(lambda: rule.hits >= 5)
        assert not waiting.done()
        fake.faults.clear()
        fake.release()
        assert (await waiting).images


class TestCancel:
    """One job is stopped, and the truth is told."""

    async def test_a_waiting_job(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It ends as cancelled."""
        fake.hold()
        job = await comfy.submit(graph())
        assert await job.cancel() == "cancelled"
        with pytest.raises(JobCancelledError):
            await job

    async def test_a_running_job(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It goes through canceling to canceled."""
        gate = fake.gate("Steps", step=2)
        job = await comfy.submit(graph())
        await gate.reached()
        cancelling = asyncio.create_task(job.cancel())
        await eventually(lambda: asked(fake, "POST", "/cancel") > 0)
        gate.open()
        assert await cancelling == "cancelled"
        assert (await kinds(job))[-1] is Cancelled

    async def test_by_somebody_else(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A job that was stopped from elsewhere is told as that."""
        fake.hold()
        job = await comfy.submit(graph())
        async with fast(fake, api_key=KEY, dialect="api-v2") as other:
            assert await other.jobs.cancel(job.prompt_id)
        with pytest.raises(JobCancelledError, match="somebody else"):
            await job

    async def test_one_that_has_ended(self, comfy: ComfySession) -> None:
        """It stays what it is."""
        job = await comfy.submit(picture())
        await job
        assert await job.cancel() == "completed"
        assert not await comfy.jobs.cancel(job.prompt_id)

    async def test_a_block_that_is_left(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Leaving `stream` stops the job."""
        fake.hold()
        async with comfy.stream(graph()) as job:
            pass
        assert job.status == "cancelled"
        assert fake.books.accepted[0].end in {"deleted", "interrupted"}


class TestAttach:
    """Jobs are picked up from elsewhere."""

    async def test_a_finished_one(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It has its result, and its titles by the graph that the server kept."""
        job = await comfy.submit(picture())
        await job
        async with fast(fake, api_key=KEY, dialect="api-v2") as other:
            again = await other.attach(job.ref)
            assert [file.title for file in (await again).files] == ["Keep it"]

    async def test_a_running_one(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Its events come live."""
        gate = fake.gate("Steps", step=2)
        job = await comfy.submit(graph())
        await gate.reached()
        async with fast(fake, api_key=KEY, dialect="api-v2") as other:
            again = await other.attach(job.prompt_id)
            reading = asyncio.create_task(kinds(again))
            await streaming(other)
            gate.open()
            assert Progress in await reading
            assert again.status == "completed"
        await job

    async def test_closing_leaves_the_job(self, fake: FakeComfy) -> None:
        """A session that is closed leaves its jobs, and no task."""
        async with fast(fake, api_key=KEY, dialect="api-v2") as comfy:
            fake.hold()
            job = await comfy.submit(graph())
            reading = asyncio.create_task(kinds(job))
            await streaming(comfy)
        with pytest.raises(Exception, match="was closed"):
            await reading
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("comfy_async")]
        fake.release()
