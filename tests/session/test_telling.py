"""What a person hears of: servers that are away, or run nothing; places in the queue; jobs cut short."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from session_tools import JumpClock, collect, eventually, fast, picture, seeded, steps

from comfy_async import (
    ComfySession,
    Completed,
    Job,
    NotComfyUIError,
    Preview,
    Progress,
    ProgressState,
    QueuePosition,
    Settings,
)
from comfy_async._client.session import engine_of
from comfy_async._protocol.snapshot import QueueEntry, QueueSnapshot
from comfy_async._session.concerns import Concerns
from comfy_async._session.open_jobs import OpenJobs
from comfy_async.testing import FakeComfy


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the library."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name == "comfy_async"
    ]


async def test_a_server_that_is_away_is_told(fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with how long it is waited for, and once more when it is back (FAULTS C1)."""
    fake.hold()
    async with fast(fake) as comfy:
        job = await comfy.submit(picture())
        await fake.faults.go_down()
        await eventually(lambda: any("does not answer" in line for line in warnings(caplog)))
        away = [line for line in warnings(caplog) if "does not answer" in line]
        assert len(away) == 1
        assert "1 jobs wait for it, for 600 s" in away[0]
        await fake.faults.come_up()
        await eventually(lambda: any("answers again" in line for line in warnings(caplog)))
        await eventually(lambda: job.done)
    assert len([line for line in warnings(caplog) if "does not answer" in line]) == 1


async def test_a_short_absence_is_not_worth_a_line(fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """One look that fails says nothing."""
    concerns = Concerns(OpenJobs(Settings().clock), server=fake.url, settings=Settings())
    concerns.unanswered("busy")
    concerns.answered()
    assert warnings(caplog) == []


async def test_a_look_that_takes_too_long(fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """A server that takes the connection and does not answer is away too."""
    concerns = Concerns(OpenJobs(Settings().clock), server=fake.url, settings=Settings(away_seconds=None))
    timer = concerns.asking()
    assert timer.when() - asyncio.get_running_loop().time() <= 10
    timer._run()
    assert "no answer yet" in warnings(caplog)[0]
    assert "for ever" in warnings(caplog)[0]
    timer.cancel()


async def test_a_vanished_server_is_not_waited_for_for_ever() -> None:
    """The default is finite."""
    assert Settings().away_seconds == 600


async def test_a_server_that_runs_nothing(
    fake: FakeComfy, comfy: ComfySession, caplog: pytest.LogCaptureFixture
) -> None:
    """Prompts wait and none runs: its worker thread has died (FAULTS D14)."""
    fake.hold()
    job = await comfy.submit(picture())
    clock = JumpClock()
    concerns = Concerns(engine_of(comfy).jobs, server=fake.url, settings=Settings(clock=clock))
    waiting = QueueSnapshot({job.prompt_id: QueueEntry(job.prompt_id, 0.0, running=False)})
    other = QueueSnapshot({**waiting.entries, "other": QueueEntry("other", 0.0, running=True)})
    for seconds, snapshot in ((0, waiting), (15, waiting), (15, other), (0, waiting), (15, waiting)):
        clock.jump(seconds)
        concerns.looked(snapshot)
    assert warnings(caplog) == []
    clock.jump(15)
    concerns.looked(waiting)
    concerns.looked(waiting)
    assert len(warnings(caplog)) == 1
    assert "worker thread has died" in warnings(caplog)[0]


async def test_places_in_the_queue_are_told(fake: FakeComfy, comfy: ComfySession) -> None:
    """While somebody reads the events of a job that waits (FAULTS C9)."""
    graph = steps(fake, 1)
    fake.hold()
    others = [await comfy.submit(seeded(graph, seed)) for seed in (2, 3)]
    job = await comfy.submit(graph)
    told: list[int] = []

    async def read() -> None:
        async for event in job:
            match event:
                case QueuePosition(position):
                    told.append(position)

    reading = asyncio.create_task(read())
    await eventually(lambda: told == [2])
    assert job.queue_position == 2
    await others[0].cancel()
    await eventually(lambda: told == [2, 1])
    fake.release()
    await job
    await reading
    assert told[:2] == [2, 1]


async def test_nobody_reads_and_nothing_is_asked(fake: FakeComfy, comfy: ComfySession) -> None:
    """A place that nobody wants to know costs no request."""
    fake.hold()
    await comfy.submit(picture())
    poller = engine_of(comfy).poller
    await eventually(lambda: poller._timer is None)
    assert fake.books.requests["GET", "/api/jobs"] == 0


async def test_the_first_consumer_of_a_job_that_is_over(fake: FakeComfy, comfy: ComfySession) -> None:
    """It ended before `submit` returned (FAULTS D11)."""
    graph = steps(fake, 5)
    late = fake.faults.delay("POST", "/prompt", 60, after_effect=True)
    submitting = asyncio.create_task(comfy.submit(graph))
    await fake.wait_for(lambda books: books.ended == 1)
    await eventually(lambda: not engine_of(comfy).jobs.by_id)
    late.cancel()
    job = await submitting
    assert job.status == "completed"
    events = await collect(job)
    assert [event.value for event in events if isinstance(event, Progress)] == [1, 2, 3, 4, 5]
    assert any(isinstance(event, ProgressState) for event in events)
    assert isinstance(events[-1], Completed)
    assert job.dropped == 0


async def test_frames_before_the_id_is_known() -> None:
    """A server that chooses ids: previews and pictures that name no prompt are kept for theirs (D5)."""
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 5}},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    }
    async with FakeComfy(version="0.3.10") as old, old.session() as comfy:
        late = old.faults.delay("POST", "/prompt", 60, after_effect=True)
        submitting = asyncio.create_task(comfy.submit(graph))
        await old.wait_for(lambda books: books.ended == 1)
        await eventually(lambda: any(isinstance(e, Preview) for e in engine_of(comfy).router._orphans))
        late.cancel()
        job = await submitting
        result = await job
        assert [file.type for file in result.images] == ["websocket"]
        assert result.missing == ()
        previews = [event for event in await collect(job) if isinstance(event, Preview)]
        assert {event.node for event in previews} == {"2"}


async def test_two_prompts_of_one_id(fake: FakeComfy, comfy: ComfySession) -> None:
    """A gateway that answers twice alike: the second submit says so, the first job lives on (E8)."""
    graph = steps(fake, 2)
    with fake.gate("Steps") as gate:
        job = await comfy.submit(graph)
        await gate.reached()
        answer = {"prompt_id": job.prompt_id, "number": 1, "node_errors": {}}
        fake.faults.fail("POST", "/prompt", 200, count=1, json=answer)
        with pytest.raises(NotComfyUIError, match="the id of another job"):
            await comfy.submit(seeded(graph, 2))
        assert job.status == "running"
    assert (await job).texts == ("shown",)
    # Nor does the result of one that has ended become that of another, and no id is none.
    for given, says in ((job.prompt_id, "the id of another job"), ("", "no prompt_id")):
        fake.faults.fail("POST", "/prompt", 200, count=1, json={**answer, "prompt_id": given})
        with pytest.raises(NotComfyUIError, match=says):
            await comfy.submit(seeded(graph, 3))


async def test_events_that_nobody_reads_are_bounded(fake: FakeComfy) -> None:
    """However many jobs there are; every end is kept, and what gave way is counted (E6)."""
    graph = steps(fake, 30)
    async with fast(fake, mailbox_events=50, mailbox_bytes=1 << 20) as comfy:
        events = comfy.events()
        for seed in range(20):
            await comfy.run(seeded(graph, seed))
        unread = len(events._box)
        assert events.dropped > 0
        seen = []
        while len(events._box):
            seen.append(await anext(events))
        lossy = [event for event in seen if event.lossy]
        assert len(lossy) <= 50 < unread
        assert sum(isinstance(event, Completed) for event in seen) == 20
        await events.aclose()


async def test_a_job_says_its_error(fake: FakeComfy, comfy: ComfySession) -> None:
    """None while it is open and when it completed (C10)."""
    job = await comfy.submit(picture())
    await job
    assert job.error is None
    fake.hold()
    other = await comfy.submit(picture(2))
    assert other.error is None
    await other.cancel()
    assert type(other.error).__name__ == "JobCancelledError"


@pytest.mark.parametrize(("name", "value"), [("previews", "foo"), ("on_partial", "keeep")])
async def test_words_are_checked(comfy: ComfySession, fake: FakeComfy, name: str, value: str) -> None:
    """Before anything is sent, in each of the ways to run (C5)."""
    before = fake.books.requests["POST", "/prompt"]
    with pytest.raises(ValueError, match=f"{name} is .* or .*, not '{value}'"):
        await comfy.run(picture(), **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=name):
        await comfy.submit(picture(), **{name: value})  # type: ignore[arg-type]
    async with comfy.map([picture()], **{name: value}) as finished:  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=name):
            await anext(finished)
    assert fake.books.requests["POST", "/prompt"] == before


@pytest.mark.parametrize(("name", "value"), [("targets", "12"), ("number", "first")])
async def test_values_are_checked(comfy: ComfySession, fake: FakeComfy, name: str, value: str) -> None:
    """A text is no list of nodes, whose letters would be its ids, and no number."""
    before = fake.books.requests["POST", "/prompt"]
    with pytest.raises(ValueError, match=f"{name} is a .*, not '{value}'"):
        await comfy.run(picture(), **{name: value})  # type: ignore[arg-type]
    assert fake.books.requests["POST", "/prompt"] == before


async def test_the_cause_of_a_cancel_that_fails(fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """A node that heeds nothing, or a worker that has died, is named (D14)."""
    graph = steps(fake, 3)
    async with fast(fake, cancel_seconds=1.0) as comfy:
        with fake.gate("Steps") as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            assert await job.cancel() == "running"
        await eventually(lambda: job.done)
    assert any("does not check for interrupts yet" in line for line in warnings(caplog))


@pytest.mark.parametrize("what", ["prompts", "jobs"])
async def test_many_that_may_still_run(what: str, fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """The first few have a line each, the others one line together, which has all of their ids."""
    fake.hold()
    session = fast(fake, cancel_seconds=1.0)
    comfy = await session.connect()
    tasks: list[asyncio.Future[Any]]
    if what == "prompts":
        rule = fake.faults.delay("POST", "/prompt", 3600)
        tasks = [asyncio.ensure_future(comfy.submit(picture(n))) for n in range(20)]
        await eventually(lambda: rule.hits >= 8)
    else:
        jobs = [await comfy.submit(picture(n)) for n in range(20)]
        tasks = [asyncio.create_task(_left(job)) for job in jobs]
        await asyncio.sleep(0)
    fake.faults.fail("*", "*", "reset")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await comfy.aclose()
    lines = [line for line in warnings(caplog) if "may still run" in line]
    assert len(lines) == 4
    told = [word.strip(",;") for line in lines for word in line.split() if len(word.strip(",;")) == 36]
    assert len(set(told)) == 20
    assert lines[3].startswith("17 more may still run: ")
    fake.faults.clear()
    fake.release()


async def _left(job: Job) -> None:
    """Leave a job's block as soon as that is asked."""
    async with job:
        await job


async def test_many_without_news(fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
    """So it is with jobs of which no news comes."""
    fake.hold()
    clock = JumpClock()
    async with fake.session(settings=Settings(clock=clock, quiet_seconds=600)) as comfy:
        jobs = [await comfy.submit(picture(n)) for n in range(9)]
        clock.jump(700)
        engine_of(comfy).poller._concerns.quiet()
        lines = [line for line in warnings(caplog) if "still waiting" in line]
        assert len(lines) == 4
        assert all(any(job.prompt_id in line for line in lines) for job in jobs)
        fake.release()
