"""A job: awaited, iterated by many, replayed, and always with one true end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest
from session_tools import PICTURE_LIVES, collect, eventually, first, lives, picture, seeded, steps, turns

from comfy_async import (
    ComfySession,
    Completed,
    Failed,
    JobCancelledError,
    JobFailedError,
    JobProgress,
    NodeFinished,
    NodeStarted,
    Preview,
    Progress,
    SessionClosedError,
    Settings,
    Started,
)
from comfy_async._client.session import engine_of
from comfy_async._job.job import core_of
from comfy_async._job.mailbox import Mailbox
from comfy_async.events import BaseEvent
from comfy_async.testing import FakeComfy


async def test_the_life_of_a_job(comfy: ComfySession) -> None:
    """Every lifecycle event once, in order, the end last; then the result."""
    job = await comfy.submit(picture())
    events = await collect(job)
    assert lives(events) == PICTURE_LIVES
    assert type(events[-1]) is Completed
    assert all(event.prompt_id == job.prompt_id for event in events)
    result = await job
    assert (job.status, job.done) == ("completed", True)
    assert [file.filename for file in result.images] == ["pic_00001_.png"]
    assert result.prompt_id == job.prompt_id
    assert result.duration > 0
    assert set(result.node_seconds) == {"1", "2"}
    assert result.cached_nodes == ()


async def test_awaited_many_times(comfy: ComfySession) -> None:
    """The same result, by every way, before and after the end, from many tasks."""
    job = await comfy.submit(picture())
    waiting = [asyncio.create_task(job.result()) for _ in range(5)]
    result = await job
    assert [await task for task in waiting] == [result] * 5
    assert await job is result
    assert await job.result() is result


async def test_a_failure_is_raised_each_time_anew(fake: FakeComfy, comfy: ComfySession) -> None:
    """Each waiter gets an error of its own, with all its fields and no other's traceback."""
    fake.script("Bad", inputs={"x": "INT"}, error=("ValueError", "no good"))
    job = await comfy.submit({"1": {"class_type": "Bad", "inputs": {"x": 1}, "_meta": {"title": "Breaks"}}})
    raised = []
    for _ in range(3):
        with pytest.raises(JobFailedError) as caught:
            await job
        raised.append(caught.value)
    assert len({id(error) for error in raised}) == 3
    depths = []
    for error in raised:
        depth, trace = 0, error.__traceback__
        while trace is not None:
            depth, trace = depth + 1, trace.tb_next
        depths.append(depth)
        assert (error.node, error.title, error.class_type) == ("1", "Breaks", "Bad")
        assert (error.exception_type, error.exception_message) == ("ValueError", "no good")
        assert "Traceback" in error.traceback or "File" in error.traceback
        assert error.prompt_id == job.prompt_id
    assert len(set(depths)) == 1
    assert job.status == "failed"


async def test_errors_carry_no_stale_context(fake: FakeComfy, comfy: ComfySession) -> None:
    """What one waiter was handling does not show up in another's traceback."""
    fake.script("Bad", inputs={"x": "INT"}, error=("ValueError", "no good"))
    job = await comfy.submit({"1": {"class_type": "Bad", "inputs": {"x": 1}}})
    try:
        raise KeyError("mine")
    except KeyError:
        with pytest.raises(JobFailedError) as caught:
            await job
    assert isinstance(caught.value.__context__, KeyError)
    with pytest.raises(JobFailedError) as caught:
        await job
    assert caught.value.__context__ is None


async def test_iterating_never_raises_for_the_jobs_fate(fake: FakeComfy, comfy: ComfySession) -> None:
    """The stream of a failed job ends with `Failed`, and no error."""
    fake.script("Bad", inputs={"x": "INT"}, error=("ValueError", "no good"))
    job = await comfy.submit({"1": {"class_type": "Bad", "inputs": {"x": 1}}})
    events = await collect(job)
    assert isinstance(events[-1], Failed)
    assert events[-1].exception_message == "no good"
    assert job.progress.fraction < 1.0


async def test_several_consumers(fake: FakeComfy, comfy: ComfySession) -> None:
    """Each gets everything from the beginning, at once or late, fast or slow."""
    graph = steps(fake, 4)
    with fake.gate("Steps", step=2) as gate:
        job = await comfy.submit(graph)
        early = [asyncio.create_task(collect(job)) for _ in range(3)]
        await gate.reached()
        await first(job, Progress)
        late = asyncio.create_task(collect(job))
    events = [await task for task in (*early, late)]
    events.append(await collect(job))
    whole = lives(events[0])
    assert all(lives(each) == whole for each in events)
    assert sum(isinstance(event, Progress) for event in events[0]) == 4
    for each in events[3:]:
        assert sum(isinstance(event, Progress) for event in each) >= 1
    last = [event for event in events[-1] if isinstance(event, Progress)][-1]
    assert last.value == 4


async def test_replay_after_the_end(fake: FakeComfy, comfy: ComfySession) -> None:
    """A consumer that comes after the end gets the lifecycle and the last progress, any number of times."""
    job = await comfy.submit(steps(fake, 9))
    await job
    first_time, second_time = await collect(job), await collect(job)
    assert first_time == second_time
    assert lives(first_time) == PICTURE_LIVES
    assert [event.value for event in first_time if isinstance(event, Progress)] == [9]


async def test_outputs_of_the_socket_are_replayed(comfy: ComfySession) -> None:
    """Images that only the socket carries are lifecycle, not previews."""
    graph = picture()
    graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
    job = await comfy.submit(graph)
    result = await job
    (image,) = result.images
    assert (image.type, image.node, image.url) == ("websocket", "2", None)
    assert (await image.read()).startswith(b"\x89PNG")
    delivered = [event for event in await collect(job) if isinstance(event, Preview)]
    assert [event.image for event in delivered] == [await image.read()]
    assert result.missing == ()


async def test_break_frees_the_mailbox(fake: FakeComfy, comfy: ComfySession) -> None:
    """A loop that is left costs nothing any more; the job goes on."""
    graph = steps(fake, 3)
    with fake.gate("Steps"):
        job = await comfy.submit(graph)
        async for _ in job:
            break
        gc.collect()
        assert core_of(job)._boxes == []
    assert len((await job).texts) == 1


async def test_a_consumer_left_in_the_middle_does_not_stop_others(
    fake: FakeComfy, comfy: ComfySession
) -> None:
    """Cancel one consumer; the other sees everything."""
    graph = steps(fake, 3)
    with fake.gate("Steps"):
        job = await comfy.submit(graph)
        stays, goes = (asyncio.create_task(collect(job)) for _ in range(2))
        await first(job, NodeStarted)
        goes.cancel()
        await asyncio.wait([goes])
    assert lives(await stays) == PICTURE_LIVES


async def test_a_consumer_that_vanishes_in_the_middle_of_an_event(fake: FakeComfy) -> None:
    """The garbage collector may come by at any moment: nobody else misses that event."""

    class Vanishing(Mailbox):
        """A mailbox whose reader is collected while it takes an event in."""

        leave: Callable[[Mailbox], None]

        def put(self, event: BaseEvent) -> None:
            """Go."""
            self.leave(self)

    async with fake.session() as comfy:
        everybody = comfy.events()
        fake.hold()
        job = await comfy.submit(picture())
        for boxes, leave in (
            (core_of(job)._boxes, core_of(job)._drop_box),
            (engine_of(comfy).watchers.boxes, engine_of(comfy).watchers.drop),
        ):
            gone = Vanishing(max_events=1, max_bytes=1)
            gone.leave = leave
            boxes.insert(0, gone)
        fake.release()
        assert lives(await collect(job)) == PICTURE_LIVES
        seen: list[BaseEvent] = []
        async for event in everybody:
            seen.append(event)
            if isinstance(event, Completed):
                break
        assert lives(seen) == PICTURE_LIVES


async def test_a_slow_consumer(fake: FakeComfy) -> None:
    """Who does not read for a while misses steps, counted, and no lifecycle event; the job is not delayed."""
    graph = steps(fake, 200)
    settings = Settings(mailbox_events=10)
    async with fake.session(settings=settings) as comfy:
        job = await comfy.submit(graph)
        stream = job.events()
        seen = [await anext(stream)]
        await job
        seen += [event async for event in stream]
    assert lives(seen) == PICTURE_LIVES
    values = [event.value for event in seen if isinstance(event, Progress)]
    assert values == sorted(values)
    assert values[-1] == 200
    assert job.dropped > 0
    assert len(values) < 30


async def test_dropped_counts_what_a_lost_consumer_missed(fake: FakeComfy) -> None:
    """Steps that nobody came to read are counted, and not counted twice."""
    graph = steps(fake, 100)
    async with fake.session(settings=Settings(mailbox_events=10)) as comfy:
        job = await comfy.submit(graph)
        await job
        missed = job.dropped
        assert missed > 50
        await collect(job)
        assert job.dropped == missed
        quiet = await comfy.submit(seeded(graph, 2), keep_frames=False)
        await quiet
        assert quiet.dropped >= missed


@pytest.mark.parametrize("keep_frames", [True, False])
@pytest.mark.parametrize("room", [5, 1000])
async def test_what_came_before_the_first_consumer_is_seen_or_counted(
    fake: FakeComfy, keep_frames: bool, room: int
) -> None:
    """A job that ends unseen: its replay and `dropped` add up to everything that was sent."""
    graph = steps(fake, 20, text=[f"line {number}" for number in range(30)])
    async with fake.session() as comfy:
        sent = len(await collect(await comfy.submit(graph)))
    async with fake.session(settings=Settings(mailbox_events=room)) as comfy:
        job = await comfy.submit(seeded(graph, 2), keep_frames=keep_frames)
        await job
        for _ in range(2):
            assert len(await collect(job)) + job.dropped == sent
        assert job.dropped > 50


async def test_a_late_first_consumer_sees_or_counts_everything(fake: FakeComfy, comfy: ComfySession) -> None:
    """It comes in the middle of a run that keeps no frames; a second one changes no count."""
    graph = steps(fake, 20, text=[f"line {number}" for number in range(30)])
    sent = len(await collect(await comfy.submit(graph)))
    with fake.gate("Steps", step=10) as gate:
        job = await comfy.submit(seeded(graph, 2), keep_frames=False)
        await gate.reached()
        await eventually(lambda: job.progress.step == 9)
        stream = job.events()
        missed = job.dropped
    assert len([event async for event in stream]) + missed == sent
    assert await collect(job)
    assert job.dropped == missed > 30


async def test_progress(fake: FakeComfy, comfy: ComfySession) -> None:
    """A frozen snapshot over the whole graph, 1.0 only when completed."""
    graph = steps(fake, 4)
    with fake.gate("Steps", step=3) as gate:
        job = await comfy.submit(graph)
        assert job.progress.fraction == 0.0
        await gate.reached()
        async for event in job:
            if isinstance(event, Progress) and event.value == 2:
                break
        half = job.progress
        assert isinstance(half, JobProgress)
        assert (half.node, half.title, half.step, half.steps) == ("1", "Many steps", 2, 4)
        assert half.fraction == pytest.approx(2 / 5, abs=0.01)
        assert (half.done, half.total) == (0, 2)
        assert str(half).startswith("39 %, Many steps 2/4")
        assert str(half) in repr(job)
    await job
    assert (job.progress.fraction, job.progress.eta, job.progress.done) == (1.0, 0.0, 2)
    assert half.fraction < 0.5


async def test_the_fraction_at_every_event(fake: FakeComfy, comfy: ComfySession) -> None:
    """It never goes back while events come, and is 1.0 with the last."""
    job = await comfy.submit(steps(fake, 30))
    fractions = [job.progress.fraction async for _ in job]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


async def test_cached_runs(comfy: ComfySession, fake: FakeComfy) -> None:
    """A run that is wholly cached ends as any other, with outputs and without a node that ran."""
    await comfy.run(picture())
    job = await comfy.submit(picture())
    events = await collect(job)
    assert lives(events) == ["Queued", "Started", "NodesCached", "NodeFinished 2", "Completed"]
    result = await job
    assert set(result.cached_nodes) == {"1", "2"}
    assert [file.filename for file in result.images] == ["pic_00001_.png"]
    assert job.progress == JobProgress(fraction=1.0, eta=0.0, done=2, total=2)
    assert fake.books.ends(job.prompt_id) == ["success"]


async def test_blocked_branches(fake: FakeComfy, comfy: ComfySession) -> None:
    """ExecutionBlocked is told and the job completes."""
    fake.script("Gate", inputs={"x": "INT"}, outputs=["VALUE"], error="blocked")
    fake.script("Show", inputs={"value": "VALUE"}, output={"text": ["shown"]})
    graph = {
        "1": {"class_type": "Gate", "inputs": {"x": 1}},
        "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}},
    }
    job = await comfy.submit(graph)
    names = lives(await collect(job))
    assert "NodeBlocked 2" in names
    assert names[-1] == "Completed"
    assert (await job).texts == ()


async def test_queue_position(fake: FakeComfy, comfy: ComfySession) -> None:
    """How many come first, as far as it is known; None when it is over."""
    graph = steps(fake, 1)
    with fake.gate("Steps"):
        running = await comfy.submit(graph)
        waiting = [await comfy.submit(seeded(graph, seed)) for seed in (2, 3)]
        await first(running, Started)
        assert running.queue_position == 0
        await eventually(lambda: waiting[-1].queue_position is not None)
        assert [job.queue_position for job in waiting] == [1, 2]
    for job in (running, *waiting):
        await job
        assert job.queue_position is None


async def test_a_place_that_another_thread_reads(fake: FakeComfy, comfy: ComfySession) -> None:
    """It gets what is known; the queue is read when the session's own thread asks."""
    fake.hold()
    job = await comfy.submit(picture())
    assert await asyncio.to_thread(lambda: job.queue_position) is None
    assert not core_of(job).place_is_watched
    assert job.queue_position is None
    assert core_of(job).place_is_watched
    await eventually(lambda: job.queue_position == 0)


async def test_a_place_is_watched_for_readers_alone(fake: FakeComfy, comfy: ComfySession) -> None:
    """Whoever only awaits a job needs no place; nobody does once it runs."""
    fake.hold()
    job = await comfy.submit(picture())
    assert not core_of(job).place_is_watched
    reader = job.events()
    reading = asyncio.create_task(anext(reader))
    await eventually(lambda: core_of(job).place_is_watched)
    fake.release()
    await job
    assert not core_of(job).place_is_watched
    await reading
    await reader.aclose()


async def test_a_place_that_is_read_costs_one_look(fake: FakeComfy) -> None:
    """One request for all who read theirs, however often; none when nobody does."""
    fake.hold()
    async with fake.session(settings=Settings(look_every=300)) as comfy:
        jobs = [await comfy.submit(picture(color)) for color in range(3)]
        await eventually(lambda: engine_of(comfy).poller._timer is None)
        looks = fake.books.requests[("GET", "/api/jobs")]
        await turns()
        assert fake.books.requests[("GET", "/api/jobs")] == looks
        assert [job.queue_position for job in jobs] == [None] * 3
        await eventually(lambda: [job.queue_position for job in jobs] == [0, 1, 2])
        assert fake.books.requests[("GET", "/api/jobs")] == looks + 1
        assert await asyncio.to_thread(lambda: jobs[2].queue_position) == 2
    fake.release()


async def test_ref_and_repr(comfy: ComfySession) -> None:
    """A small JSON value without secrets; a repr that says where the job stands."""
    job = await comfy.submit(picture())
    assert job.ref == {"prompt_id": job.prompt_id, "client_id": comfy.client_id, "server": comfy.base_url}
    await job
    assert repr(job) == f"<Job {job.prompt_id} completed>"
    assert job.index is None
    assert job.node_errors == ()


async def test_waiting_with_a_limit_never_stops_the_job(fake: FakeComfy, comfy: ComfySession) -> None:
    """`asyncio.timeout` around `await job` stops the waiting only."""
    graph = steps(fake, 1)
    with fake.gate("Steps") as gate:
        job = await comfy.submit(graph)
        await gate.reached()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await job
        waiter = asyncio.create_task(job.result())
        await turns()
        waiter.cancel()
        await asyncio.wait([waiter])
        assert job.status == "running"
    assert (await job).texts == ("shown",)
    assert fake.books.ends(job.prompt_id) == ["success"]


async def test_a_job_outlives_its_session(fake: FakeComfy) -> None:
    """What had ended is there after the session: result, events, status, and how it ended."""
    async with fake.session() as comfy:
        job = await comfy.submit(picture())
        result = await job
    assert await job is result
    assert lives(await collect(job)) == PICTURE_LIVES
    assert await job.cancel() == "completed"
    assert job.progress.fraction == 1.0
    with pytest.raises(SessionClosedError):
        await result.images[0].read()


async def test_a_job_that_ended_answers_in_any_loop(fake: FakeComfy) -> None:
    """Nothing has to be waited for any more."""
    async with fake.session() as comfy:
        job = await comfy.submit(picture())
        result = await job
    assert await asyncio.to_thread(asyncio.run, job.result()) is result


async def test_the_result_is_ready_at_the_success(fake: FakeComfy, comfy: ComfySession) -> None:
    """`await job` returns with `execution_success`, while the history is not yet written."""
    with fake.gate("history") as gate:
        job = await comfy.submit(picture())
        result = await job
        await gate.reached()
        assert fake.books.ends(job.prompt_id) == []
        assert job.status == "completed"
        assert [file.filename for file in result.images] == ["pic_00001_.png"]
    await fake.ended(job.prompt_id)
    assert fake.books.requests[("GET", "/history/{prompt_id}")] == 0


async def test_interrupted_by_somebody_else(fake: FakeComfy, comfy: ComfySession) -> None:
    """An interruption that we did not ask for says so."""
    graph = steps(fake, 3)
    with fake.gate("Steps", step=1) as gate:
        job = await comfy.submit(graph)
        await gate.reached()
        fake.core.interrupt()
    with pytest.raises(JobCancelledError, match="somebody else") as caught:
        await job
    assert caught.value.prompt_id == job.prompt_id
    assert job.status == "cancelled"


async def test_events_of_other_kinds_reach_the_job(fake: FakeComfy, comfy: ComfySession) -> None:
    """Text of nodes and messages of custom nodes come with the rest."""
    fake.script("Talk", inputs={"x": "INT"}, text=["hello", "world"])
    job = await comfy.submit({"7": {"class_type": "Talk", "inputs": {"x": 1}, "_meta": {"title": "Talker"}}})
    from comfy_async import ProgressText

    texts = [event for event in await collect(job) if isinstance(event, ProgressText)]
    assert [(event.node, event.title, event.text) for event in texts] == [
        ("7", "Talker", "hello"),
        ("7", "Talker", "world"),
    ]


async def test_finished_nodes_carry_their_output(comfy: ComfySession) -> None:
    """What a node shows comes with its end."""
    job = await comfy.submit(picture())
    outputs = {e.node: e.output for e in await collect(job) if isinstance(e, NodeFinished)}
    assert outputs["1"] is None
    assert outputs["2"] is not None
    assert outputs["2"]["images"][0]["filename"] == "pic_00001_.png"
    assert (await job).outputs == {"2": outputs["2"]}
