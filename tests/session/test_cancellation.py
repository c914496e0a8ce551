"""`job.cancel()`: exactly one job, and its true end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from session_tools import (
    collect,
    first,
    picture,
    seeded,
    served,
    steps,
)

from comfy_async import (
    Cancelled,
    ComfySession,
    JobCancelledError,
    JobLostError,
    NodeStarted,
    ResponseError,
    Settings,
    TransportError,
)
from comfy_async._base.clock import Clock
from comfy_async._session.cancel import Canceller
from comfy_async.testing import FakeComfy


class TestCancel:
    """`job.cancel()` returns how the job truly ended."""

    async def test_running(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Interrupted where it stands; who waits gets JobCancelledError."""
        graph = steps(fake, 5)
        gate = fake.gate("Steps", step=3)
        job = await comfy.submit(graph)
        waiting = asyncio.create_task(job.result())
        await gate.reached()
        cancelling = asyncio.create_task(job.cancel())
        await fake.wait_for(lambda books: books.accepted[0].interrupts == 1)
        gate.open()
        assert await cancelling == "cancelled"
        with pytest.raises(JobCancelledError) as caught:
            await waiting
        assert "somebody else" not in str(caught.value)
        assert caught.value.prompt_id == job.prompt_id
        events = await collect(job)
        assert isinstance(events[-1], Cancelled)
        assert events[-1].node == "1"
        assert fake.books.ends(job.prompt_id) == ["interrupted"]

    async def test_pending(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Removed from the queue, of which no event tells; the one that runs is left alone."""
        graph = steps(fake, 2)
        with fake.gate("Steps"):
            running = await comfy.submit(graph)
            waiting = await comfy.submit(seeded(graph, 2))
            await first(running, NodeStarted)
            assert await waiting.cancel() == "cancelled"
            with pytest.raises(JobCancelledError):
                await waiting
            end = (await collect(waiting))[-1]
            assert isinstance(end, Cancelled)
            assert end.node is None
            assert running.status == "running"
        assert (await running).texts == ("shown",)
        assert fake.books.ends(waiting.prompt_id) == ["deleted"]
        assert fake.books.ends(running.prompt_id) == ["success"]

    async def test_pending_without_a_socket(self, fake: FakeComfy) -> None:
        """Nothing tells of it: the job is looked for at once, not at the next look."""
        fake.hold()
        slow = Settings(poll_min=300, poll_max=300, look_every=300, cancel_seconds=300)
        async with fake.session(transport="poll", settings=slow) as comfy:
            job = await comfy.submit(picture())
            assert await job.cancel() == "cancelled"

    async def test_finished(self, comfy: ComfySession, fake: FakeComfy) -> None:
        """A job that had completed stays completed, and nothing is asked."""
        job = await comfy.submit(picture())
        result = await job
        before = fake.books.requests.total()
        assert await job.cancel() == "completed"
        assert await job is result
        assert fake.books.requests.total() == before

    async def test_failed(self, comfy: ComfySession, fake: FakeComfy) -> None:
        """A job that had failed stays failed."""
        fake.script("Bad", inputs={"x": "INT"}, error=("ValueError", "no good"))
        job = await comfy.submit({"1": {"class_type": "Bad", "inputs": {"x": 1}}})
        await collect(job)
        assert await job.cancel() == "failed"

    async def test_too_late(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """The run ends first: the true end is told."""
        graph = steps(fake, 2)
        gate = fake.gate("Show")
        job = await comfy.submit(graph)
        await gate.reached()
        fake.faults.miss_cancels(1)
        cancelling = asyncio.create_task(job.cancel())
        await fake.wait_for(lambda books: books.accepted[0].interrupts == 1)
        gate.open()
        assert await cancelling == "completed"
        assert (await job).texts == ("shown",)

    async def test_repeated_while_it_runs(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """An accepted cancel that missed is said again."""
        graph = steps(fake, 500)
        fake.pace.step_seconds = 0.02
        fake.faults.miss_cancels(1)
        job = await comfy.submit(graph)
        await first(job, NodeStarted)
        assert await job.cancel() == "cancelled"
        assert fake.books.accepted[0].interrupts == 2
        assert fake.books.ends(job.prompt_id) == ["interrupted"]

    async def test_a_server_that_will_not_stop(self, fake: FakeComfy) -> None:
        """After the limit the status is returned as it is."""
        graph = steps(fake, 2)
        async with fake.session(settings=Settings(cancel_seconds=0.2)) as comfy:
            with fake.gate("Steps", step=1) as gate:
                job = await comfy.submit(graph)
                await gate.reached()
                fake.faults.miss_cancels(100)
                assert await job.cancel() == "running"
            assert (await job).texts == ("shown",)

    async def test_by_many_at_once(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Everybody gets the same answer."""
        fake.hold()
        job = await comfy.submit(picture())
        assert await asyncio.gather(*(job.cancel() for _ in range(3))) == ["cancelled"] * 3
        fake.release()

    async def test_a_cancelled_cancel(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Who cancels and is cancelled gets the cancellation; the server was told."""
        graph = steps(fake, 3)
        gate = fake.gate("Steps", step=1)
        job = await comfy.submit(graph)
        await gate.reached()
        cancelling = asyncio.create_task(job.cancel())
        await fake.wait_for(lambda books: books.accepted[0].interrupts == 1)
        cancelling.cancel()
        await asyncio.wait([cancelling])
        assert cancelling.cancelled()
        gate.open()
        with pytest.raises(JobCancelledError):
            await job

    async def test_the_server_is_gone(self, fake: FakeComfy) -> None:
        """It cannot be told: the error says so, after the limit."""
        graph = steps(fake, 2)
        async with fake.session(settings=Settings(cancel_seconds=0.3)) as comfy:
            with fake.gate("Steps"):
                job = await comfy.submit(graph)
                await first(job, NodeStarted)
                await fake.faults.go_down()
                with pytest.raises(TransportError):
                    await job.cancel()
                assert not job.done

    @pytest.mark.parametrize("version", ["0.3.40", "0.3.60", "0.20.0", "0.33.0"])
    async def test_servers_of_all_ages(self, version: str) -> None:
        """Only ever this job, whatever the server offers for it."""
        async with served(version=version) as (fake, comfy):
            graph = steps(fake, 4)
            gate = fake.gate("Steps", step=2)
            running = await comfy.submit(graph)
            waiting = [await comfy.submit(seeded(graph, seed)) for seed in (2, 3)]
            await gate.reached()
            assert await waiting[0].cancel() == "cancelled"
            assert fake.books.of(running.prompt_id)[0].interrupts == 0
            stopping = asyncio.create_task(running.cancel())
            await fake.wait_for(lambda books: books.of(running.prompt_id)[0].interrupts >= 1)
            gate.open()
            assert await stopping == "cancelled"
            assert (await waiting[1]).texts == ("shown",)
            ends = [fake.books.ends(job.prompt_id) for job in (running, *waiting)]
            assert ends == [["interrupted"], ["deleted"], ["success"]]

    async def test_never_somebody_elses(self) -> None:
        """A server without a targeted interrupt is told to interrupt only when our job runs."""
        async with served(version="0.3.40") as (fake, comfy), fake.session() as other:
            graph = steps(fake, 3)
            with fake.gate("Steps", step=1) as gate:
                theirs = await other.submit(graph)
                await gate.reached()
                ours = await comfy.submit(seeded(graph, 2))
                assert await ours.cancel() == "cancelled"
                assert fake.books.requests[("POST", "/interrupt")] == 0
            assert (await theirs).texts == ("shown",)


VERBS: dict[str, Callable[[ComfySession, str], Awaitable[object]]] = {
    "jobs.cancel": lambda comfy, prompt_id: comfy.jobs.cancel(prompt_id),
    "queue.delete": lambda comfy, prompt_id: comfy.queue.delete(prompt_id),
    "queue.clear": lambda comfy, _: comfy.queue.clear(),
}


class TestOtherVerbs:
    """What is stopped through this session, by whichever verb, was cancelled and not lost."""

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("version", ["0.3.40", "0.24.0", "0.33.0"])
    async def test_a_pending_job(self, verb: str, version: str) -> None:
        """It ends as cancelled, at once; the one that runs is left alone."""
        async with served(version=version) as (fake, comfy):
            graph = steps(fake, 2)
            with fake.gate("Steps"):
                running = await comfy.submit(graph)
                waiting = await comfy.submit(seeded(graph, 2))
                await first(running, NodeStarted)
                await VERBS[verb](comfy, waiting.prompt_id)
                with pytest.raises(JobCancelledError) as caught:
                    await waiting
                assert "somebody else" not in str(caught.value)
            assert (await running).texts == ("shown",)

    async def test_a_running_job(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """An interrupt of our own is not somebody else's."""
        for verb in (comfy.jobs.cancel, comfy.queue.interrupt):
            gate = fake.gate("Steps", step=1)
            job = await comfy.submit(seeded(steps(fake, 3), 1 + len(fake.books.accepted)))
            await gate.reached()
            stopping = asyncio.ensure_future(verb(job.prompt_id))
            await fake.wait_for(lambda books: books.accepted[-1].interrupts == 1)
            gate.open()
            await stopping
            with pytest.raises(JobCancelledError) as caught:
                await job
            assert "somebody else" not in str(caught.value)

    async def test_a_refused_clear(self, fake: FakeComfy) -> None:
        """The server would not: when the job vanishes later, it is lost."""
        fake.hold()
        async with fake.session(settings=Settings(poll_min=0.05, look_every=0.1)) as comfy:
            job = await comfy.submit(picture())
            fake.faults.fail("POST", "/queue", 403, count=1)
            with pytest.raises(ResponseError):
                await comfy.queue.clear()
            fake.faults.lose_queue()
            with pytest.raises(JobLostError):
                await job
        fake.release()


@pytest.mark.parametrize(
    ("tried", "seconds"),
    [(None, 10.0), ((0.0, 4.0), 6.0), ((0.0, 9.9), 0.5), ((0.0, 89.0), 10.0)],
)
async def test_what_is_left_gets_what_an_attempt_has_left_over(
    tried: tuple[float, float] | None, seconds: float
) -> None:
    """A moment at least, and all of it when that attempt was long ago."""

    class Now(Clock):
        def monotonic(self) -> float:
            return 100.0

    begin = 0.0 if tried is None or tried[1] == 89.0 else 95.0
    job: Any = SimpleNamespace(cancel_tried=tried and (begin + tried[0], begin + tried[1]))
    settings = Settings(cancel_seconds=10.0, clock=Now())
    nobody: Any = None
    patience = Canceller(speaker=nobody, poller=nobody, settings=settings)._patience(job)
    assert patience == pytest.approx(seconds)
