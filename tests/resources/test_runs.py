"""Queue, history and jobs: the same answers from servers of every age."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from session_tools import picture, steps

from comfy_async import ComfySession, Job, JobFailedError, NotFoundError, ResponseError
from comfy_async._resources.jobs import JobRecord
from comfy_async.testing import FakeComfy

AGES: dict[str, dict[str, Any]] = {
    "0.33.0": {},
    "no cancel": {"version": "0.25.0"},
    "no jobs": {"version": "0.3.64"},
    "no offset": {"version": "0.3.50"},
    "old": {"mode": "old"},
    "cloud": {"mode": "cloud"},
}


@pytest.fixture(params=AGES)
async def fake(request: pytest.FixtureRequest) -> AsyncIterator[FakeComfy]:
    """A server of each age."""
    async with FakeComfy(**AGES[request.param]) as server:
        yield server


async def all_jobs(comfy: ComfySession, **options: Any) -> list[JobRecord]:
    """Every page of the list of jobs as one list."""
    return [job async for page in comfy.jobs.page(**options) for job in page]


async def end_of(job: Job) -> None:
    """Wait until a job has ended, in whatever way."""
    async for _ in job:
        pass


async def test_queue(fake: FakeComfy, comfy: ComfySession) -> None:
    """The queue shows what runs and what waits, in the order in which it will run."""
    graph = steps(fake)
    fake.hold()
    jobs = [await comfy.submit(graph, number=number) for number in (5, 1, 3)]
    queue = await comfy.queue.snapshot()
    order = [jobs[1], jobs[2], jobs[0]] if not comfy.server.cloud else jobs
    assert [job.prompt_id for job in queue.pending] == [job.prompt_id for job in order]
    assert not queue.running
    assert len(queue) == await comfy.queue.remaining() == 3
    assert queue.pending[0].prompt == graph
    await comfy.queue.delete(jobs[0].prompt_id)
    assert await comfy.queue.remaining() == 2
    await comfy.queue.clear()
    assert await comfy.queue.remaining() == 0
    fake.release()


async def test_interrupt_of_one(fake: FakeComfy, comfy: ComfySession) -> None:
    """Only the job that is meant is stopped; one that waits, or is unknown, is not."""
    with fake.gate("Steps"):
        job = await comfy.submit(steps(fake))
        await fake.running()
        other = await comfy.submit(picture())
        if not comfy.server.cloud:
            await comfy.queue.interrupt(other.prompt_id)
        await comfy.queue.interrupt(str(uuid.uuid4()))
        assert not job.done
        await comfy.queue.interrupt(job.prompt_id)
    await end_of(job)
    assert job.status == "cancelled"
    assert len((await other).images) == 1


async def test_interrupt_of_whatever_runs(fake: FakeComfy, comfy: ComfySession) -> None:
    """Without an id whatever runs is stopped."""
    with fake.gate("Steps"):
        job = await comfy.submit(steps(fake))
        await fake.running()
        await comfy.queue.interrupt()
    await end_of(job)
    assert job.status == "cancelled"


async def test_history(fake: FakeComfy, comfy: ComfySession) -> None:
    """Finished jobs come with outputs and graph; open and unknown ones are an error that says so."""
    result = await comfy.run(picture(1))
    await fake.ended(result.prompt_id)
    record = await comfy.history.get(result.prompt_id)
    assert record.status == "completed"
    assert record.prompt == picture(1)
    assert record.outputs["2"]["images"][0]["type"] == "output"
    assert "execution_success" in dict(record.messages)
    with pytest.raises(NotFoundError):
        await comfy.history.get(str(uuid.uuid4()))


async def test_history_in_pages(fake: FakeComfy, comfy: ComfySession) -> None:
    """Every finished job is on exactly one page, whether the server knows pages or not."""
    ids = [(await comfy.run(picture(n))).prompt_id for n in range(5)]
    await fake.idle()
    pages = [page async for page in comfy.history.page(size=2)]
    found = [job.prompt_id for page in pages for job in page]
    assert sorted(found) == sorted(ids)
    if not comfy.server.cloud:
        assert found == ids
        assert [len(page) for page in pages] == [2, 2, 1]
        rest = [job.prompt_id async for page in comfy.history.page(size=2, start=3) for job in page]
        assert rest == ids[3:]
    with pytest.raises(ValueError, match="at least one"):
        await anext(comfy.history.page(size=0))


async def test_history_forgets(fake: FakeComfy, comfy: ComfySession) -> None:
    """Single jobs, or all, can be forgotten."""
    if comfy.server.cloud:
        pytest.skip("the stand-in for the cloud keeps its history")
    ids = [(await comfy.run(picture(n))).prompt_id for n in range(3)]
    await fake.idle()
    await comfy.history.delete(ids[0])
    with pytest.raises(NotFoundError):
        await comfy.history.get(ids[0])
    await comfy.history.clear()
    assert [page async for page in comfy.history.page()] == []


async def test_jobs_of_every_state(fake: FakeComfy, comfy: ComfySession) -> None:
    """One list has them all, in the same words whatever the server's age."""
    done = (await comfy.run(picture(1))).prompt_id
    fake.script("Bad", inputs={"value": "VALUE"}, is_output=True, error=("RuntimeError", "no"))
    bad = steps(fake)
    bad = {**bad, "9": {"class_type": "Bad", "inputs": {"value": [next(iter(bad)), 0]}}}
    failed = await comfy.submit(bad)
    with pytest.raises(JobFailedError):
        await failed
    await fake.idle()
    with fake.gate("Steps"):
        running = await comfy.submit(steps(fake))
        await fake.running()
        waiting = await comfy.submit(picture(2))
        states = {job.id: job.status for job in await all_jobs(comfy)}
        assert states == {
            done: "completed",
            failed.prompt_id: "failed",
            running.prompt_id: "in_progress",
            waiting.prompt_id: "pending",
        }
        for prompt_id, state in states.items():
            job = await comfy.jobs.get(prompt_id)
            assert (job.status, job.done) == (state, state in {"completed", "failed"})
        assert (await comfy.jobs.get(done)).outputs
        assert (await comfy.jobs.get(failed.prompt_id)).execution_error is not None
        assert [job.id for job in await all_jobs(comfy, status="pending")] == [waiting.prompt_id]
        assert len(await all_jobs(comfy, status=["pending", "failed"], size=1)) == 2
    await waiting


async def test_unknown_job(comfy: ComfySession) -> None:
    """A job that the server does not know is a NotFoundError."""
    with pytest.raises(NotFoundError):
        await comfy.jobs.get(str(uuid.uuid4()))


async def test_jobs_in_pages(fake: FakeComfy, comfy: ComfySession) -> None:
    """Pages neither repeat nor leave out a job."""
    ids = [(await comfy.run(picture(n))).prompt_id for n in range(5)]
    await fake.idle()
    pages = [page async for page in comfy.jobs.page(size=2, newest_first=False)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(job.id for page in pages for job in page) == sorted(ids)
    with pytest.raises(ValueError, match="orders are created, duration"):
        await anext(comfy.jobs.page(order="size"))


async def test_cancel(fake: FakeComfy, comfy: ComfySession) -> None:
    """Running and waiting jobs are cancelled together, and an unknown id spoils nothing."""
    with fake.gate("Steps"):
        running = await comfy.submit(steps(fake))
        await fake.running()
        waiting = await comfy.submit(picture(2))
        assert await comfy.jobs.cancel(waiting.prompt_id, str(uuid.uuid4()), running.prompt_id)
    await end_of(running)
    assert running.status == "cancelled"
    await fake.idle()
    assert fake.books.starts(waiting.prompt_id) == 0
    assert not await comfy.jobs.cancel()


async def test_bad_status_is_the_servers_word(comfy: ComfySession) -> None:
    """A status that a server does not know is its own error, not an empty list in silence."""
    if comfy.server.cloud or not comfy.server.can("jobs"):
        pytest.skip("this server, or this library in its place, does not look at the word")
    with pytest.raises(ResponseError):
        await all_jobs(comfy, status="sleeping")
