"""Without a socket, with a quiet one, and with a server that goes away: what polling finds."""

from __future__ import annotations

import asyncio

import pytest
from session_tools import eventually, fast, graph, picture

from comfy_async import (
    Cancelled,
    ComfySession,
    Completed,
    Disconnected,
    Failed,
    JobCancelledError,
    JobFailedError,
    JobLostError,
    Lost,
    NodeFinished,
    NodesCached,
    PollingStarted,
    Queued,
    Settings,
    Started,
)
from comfy_async._base.clock import Clock
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy

GRAPH = graph()


async def test_everything_works_without_a_socket(server: FakeComfy) -> None:
    """`transport="poll"` gives the same results, and the events that the server tells over HTTP."""
    gate = server.gate("Steps", step=3)
    async with fast(server, transport="poll") as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        async for event in job:
            if isinstance(event, Started):
                break
        assert job.status == "running"
        gate.open()
        assert (await job).texts == ("shown",)
        kinds = [type(event) for event in [e async for e in job]]
        assert kinds == [Queued, PollingStarted, Started, NodesCached, NodeFinished, Completed]
        with pytest.raises(JobFailedError, match="broken"):
            await comfy.run(graph(2, "Break"))
    assert server.books.sockets_opened == 0


async def test_requests_do_not_grow_with_the_number_of_jobs(server: FakeComfy) -> None:
    """One look serves all open jobs; only the histories of those that ended come on top."""
    server.hold()
    async with fast(server, transport="poll") as comfy:
        jobs = [await comfy.submit(graph(n)) for n in range(40)]
        before = server.books.count("GET", "/api/jobs")
        await server.wait_for(lambda books: books.count("GET", "/api/jobs") >= before + 3)
        assert server.books.count("GET", "/history/{prompt_id}") == 0
        assert server.books.count("GET", "/queue") == 0
        server.release()
        await asyncio.gather(*jobs)
    assert server.books.count("GET", "/history/{prompt_id}") <= 40 * 2


async def test_queue_position_ranks_by_number(server: FakeComfy) -> None:
    """The pending list is a raw heap: the position follows the number, and `front` goes first."""
    server.hold()
    async with fast(server, transport="poll") as comfy:
        jobs = [await comfy.submit(graph(n)) for n in range(5)]
        first = await comfy.submit(graph(9), front=True)
        before = server.books.count("GET", "/api/jobs")
        await server.wait_for(lambda books: books.count("GET", "/api/jobs") >= before + 2)
        assert first.queue_position == 0
        assert [job.queue_position for job in jobs] == [1, 2, 3, 4, 5]
        server.release()
        await asyncio.gather(first, *jobs)
        assert jobs[0].queue_position is None


@pytest.mark.parametrize("history", [True, False])
async def test_a_restart_loses_jobs_and_finds_finished_ones(server: FakeComfy, history: bool) -> None:
    """What the server lost is lost and retryable; what it had finished is found."""
    gate = server.gate("Steps", step=3)
    async with fast(server) as comfy:
        running = await comfy.submit(GRAPH)
        await gate.reached()
        waiting = await comfy.submit(graph(2))
        await server.faults.restart(history=history, down_for=0.2)
        for job in (running, waiting):
            with pytest.raises(JobLostError) as caught:
                await job
            assert caught.value.retryable
            assert caught.value.prompt_id == job.prompt_id
            assert isinstance([event async for event in job][-1], Lost)
        gate.open()
        assert (await comfy.run(graph(3))).texts == ("shown",)


async def test_a_finished_job_survives_the_restart_of_a_server_that_keeps_its_history(
    server: FakeComfy,
) -> None:
    """The run ended while the socket was down and the server went away and came back: found."""
    gate = server.gate("Show")
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        refusal = server.faults.refuse_upgrades(503)
        looks = server.faults.fail("GET", "/api/jobs", 503)
        server.faults.drop_sockets("reset")
        gate.open()
        await server.ended(job.prompt_id)
        await server.faults.restart(history=True)
        refusal.cancel()
        looks.cancel()
        assert (await job).texts == ("shown",)


async def test_a_failing_request_is_never_an_absence(server: FakeComfy) -> None:
    """However many looks fail, a job that still runs is not lost."""
    gate = server.gate("Steps", step=3)
    async with fast(server) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        server.faults.refuse_upgrades(503)
        rules = [server.faults.fail("GET", "/api/jobs", failure) for failure in (503, "reset", "html")]
        server.faults.drop_sockets("reset")
        await server.wait_for(lambda books: rules[0].hits >= 3)
        assert not job.done
        gate.open()
        for rule in rules:
            rule.cancel()
        assert (await job).texts == ("shown",)


async def test_a_server_that_stays_away_is_waited_for_or_not(server: FakeComfy) -> None:
    """By default jobs keep waiting, and say so; `away_seconds` bounds it."""
    gate = server.gate("Steps", step=3)
    async with fast(server) as patient, fast(server, away_seconds=20.0) as hurried:
        job = await patient.submit(GRAPH)
        other = await hurried.submit(graph(2))
        await gate.reached()
        await server.faults.go_down()
        with pytest.raises(JobLostError, match="unknown what became of.*has not answered.*attach") as caught:
            await other
        assert not caught.value.retryable
        assert "submit it again:" not in str(caught.value)
        assert not job.done
        told = [event async for event in other if isinstance(event, Disconnected)]
        assert any("does not answer" in event.reason for event in told)
        await server.faults.come_up()
        with pytest.raises(JobLostError):
            await job


async def test_a_pending_job_that_somebody_deletes(server: FakeComfy) -> None:
    """No event comes for it and no history: two looks, and it is lost; ours would be cancelled."""
    server.hold()
    async with fast(server) as comfy:
        theirs, ours = await comfy.submit(GRAPH), await comfy.submit(graph(2))
        await engine_of(comfy).http.request("POST", "/queue", json={"delete": [theirs.prompt_id]})
        with pytest.raises(JobLostError):
            await theirs
        assert await ours.cancel() == "cancelled"
        with pytest.raises(JobCancelledError):
            await ours
        assert isinstance([event async for event in ours][-1], Cancelled)
        server.release()


async def test_a_deletion_right_after_a_submission(fake: FakeComfy) -> None:
    """The look that a shrunken queue calls for is not taken back by the news of the prompt just queued."""
    fake.hold()
    async with fake.session(settings=Settings(look_every=300)) as comfy, fake.session() as other:
        job = await comfy.submit(picture())
        await eventually(lambda: engine_of(comfy).poller._timer is None)
        await other.submit(picture(1))
        engine_of(comfy).poller.expect_status()
        engine_of(comfy).link.frames += 1
        await other.queue.delete(job.prompt_id)
        with pytest.raises(JobLostError):
            await job
    fake.release()


async def test_a_hostile_history_is_named_and_harms_one_job_only(server: FakeComfy) -> None:
    """A history entry of another shape: that job is lost with the reason, the others end well."""
    server.hold()
    async with fast(server, transport="poll") as comfy:
        job, other = await comfy.submit(GRAPH), await comfy.submit(graph(2))
        server.release()
        server.faults.fail("GET", f"/history/{job.prompt_id}", 200, json={job.prompt_id: [1, 2]})
        assert (await other).texts == ("shown",)
        with pytest.raises(JobLostError, match="has ended.*cannot be read") as caught:
            await job
        assert not caught.value.retryable


async def test_failed_jobs_are_found_by_polling(server: FakeComfy) -> None:
    """The history knows the node, the message and the traceback."""
    async with fast(server, transport="poll") as comfy:
        job = await comfy.submit(graph(1, "Break"))
        with pytest.raises(JobFailedError) as caught:
            await job
        assert (caught.value.node, caught.value.class_type) == ("2", "Break")
        assert caught.value.traceback
        assert isinstance([event async for event in job][-1], Failed)


class LeapingClock(Clock):
    """A clock whose waits take next to nothing and leap over the time that they stand for."""

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the time that was leapt over."""
        return self.now

    def unix(self) -> float:
        """Return the same as Unix seconds."""
        return self.now

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Give what really happens a moment, then leap."""
        woken = await super().wait(event, 0.02)
        if not woken:
            self.now += seconds
        return woken


async def test_a_quiet_run_costs_few_requests_and_raises_no_alarm(
    server: FakeComfy, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten minutes without an event: at most twelve requests a minute, no redial, one warning."""
    gate = server.gate("Steps", step=2)
    clock = LeapingClock()
    async with ComfySession(server.url, settings=Settings(clock=clock)) as comfy:
        job = await comfy.submit(GRAPH)
        await gate.reached()
        begin, before = clock.now, sum(server.books.requests.values())
        await server.wait_for(lambda books: clock.now - begin >= 600.0)
        minutes = (clock.now - begin) / 60
        assert (sum(server.books.requests.values()) - before) / minutes <= 12.0
        assert comfy.connection.state == "hearing"
        assert comfy.connection.reconnects == 0
        await server.wait_for(lambda books: clock.now - begin >= 1300.0)
        gate.open()
        assert (await job).texts == ("shown",)
        assert not [event async for event in job if isinstance(event, Disconnected)]
    warnings = [record for record in caplog.records if "no news of it came" in record.getMessage()]
    assert len(warnings) == 1
