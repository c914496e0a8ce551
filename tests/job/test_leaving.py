"""A job that nobody waits for any more is stopped, and no cancellation is swallowed."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from session_tools import (
    HeldAnswers,
    JumpClock,
    collect,
    eventually,
    first,
    library_tasks,
    limited,
    picture,
    steps,
    turns,
)

from comfy_async import (
    ComfySession,
    ConnectError,
    NodeStarted,
    PromptRejectedError,
    Settings,
    TransportError,
)
from comfy_async._client.session import engine_of
from comfy_async._job.job import core_of
from comfy_async.testing import FakeComfy


class TestStream:
    """A job of `stream()` does not outlive its block, however that is left."""

    async def test_to_the_end(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A block that reads to the end cancels nothing."""
        async with comfy.stream(steps(fake, 3)) as job:
            events = await collect(job)
        assert events[-1].terminal
        assert (await job).texts == ("shown",)
        assert fake.books.requests[("POST", "/api/jobs/{job_id}/cancel")] == 0
        assert fake.books.ends(job.prompt_id) == ["success"]

    async def test_break(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Leaving the loop leaves the block, which cancels."""
        graph = steps(fake, 1000)
        fake.pace.step_seconds = 0.01
        async with comfy.stream(graph) as job:
            async for event in job:
                if isinstance(event, NodeStarted):
                    break
        assert job.status == "cancelled"
        assert fake.books.ends(job.prompt_id) == ["interrupted"]

    async def test_while_pending(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A block that is left before the job runs takes it out of the queue."""
        fake.hold()
        async with comfy.stream(picture()) as job:
            pass
        assert job.status == "cancelled"
        assert fake.books.ends(job.prompt_id) == ["deleted"]

    async def test_an_error_of_yours(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It comes out as it is, and the job is cancelled."""
        fake.hold()
        mine = ValueError("mine")

        async def work() -> None:
            async with comfy.stream(picture()):
                raise mine

        with pytest.raises(ValueError, match="mine") as caught:
            await work()
        assert caught.value is mine
        assert fake.books.accepted[0].end == "deleted"

    @pytest.mark.parametrize("verb", ["stream", "run"])
    async def test_a_cancelled_task(self, fake: FakeComfy, comfy: ComfySession, verb: str) -> None:
        """The task ends cancelled, and the job is off the server by then."""
        graph = steps(fake, 1000)
        fake.pace.step_seconds = 0.01

        async def work() -> None:
            if verb == "run":
                await comfy.run(graph)
                return
            async with comfy.stream(graph) as job:
                await job

        task = asyncio.create_task(work())
        await fake.running()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await fake.wait_for(lambda books: books.accepted[0].end == "interrupted")

    @pytest.mark.parametrize("kind", ["asyncio", "anyio"])
    @pytest.mark.parametrize("verb", ["stream", "run"])
    async def test_a_limit(self, fake: FakeComfy, comfy: ComfySession, verb: str, kind: str) -> None:
        """A limit of either library takes effect, after the job was cancelled."""
        fake.hold()
        open_jobs = engine_of(comfy).jobs
        async with limited(kind, eventually(lambda: open_jobs.by_id and not open_jobs.posting)):
            await _use(comfy, verb, picture())
        assert [record.end for record in fake.books.accepted] == ["deleted"]

    async def test_the_builtin_timeout(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """`asyncio.timeout` raises its own TimeoutError."""
        fake.hold()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await comfy.run(picture())

    async def test_a_task_group(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """One error in a group of streams cancels the others on the server."""
        fake.hold()

        async def fails() -> None:
            await fake.wait_for(lambda books: len(books.accepted) == 3)
            raise ValueError("mine")

        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(3):
                    group.create_task(_use(comfy, "stream", picture(number)))
                group.create_task(fails())

        with pytest.raises(ExceptionGroup) as caught:
            await work()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        assert [record.end for record in fake.books.accepted] == ["deleted"] * 3

    async def test_the_server_is_gone(self, fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """A job that cannot be cancelled is mentioned in the log; your error still comes out."""
        graph = steps(fake, 1)

        async def work() -> None:
            async with fake.session(settings=Settings(cancel_seconds=0.3)) as comfy:
                async with comfy.stream(graph) as job:
                    await first(job, NodeStarted)
                    await fake.faults.go_down()
                    raise ValueError("mine")

        with fake.gate("Steps"), pytest.raises(ValueError, match="mine"):
            await work()
        assert [record for record in caplog.records if "may still run" in record.getMessage()]

    async def test_a_cancel_that_was_given_up(self, fake: FakeComfy) -> None:
        """The server is gone, `cancel()` waited for it in vain: leaving the block waits no second time."""
        graph = steps(fake, 1)
        clock = JumpClock()
        async with fake.session(settings=Settings(cancel_seconds=60, clock=clock)) as comfy:
            with fake.gate("Steps"):
                async with comfy.stream(graph) as job:
                    await first(job, NodeStarted)
                    await fake.faults.go_down()
                    cancelling = asyncio.create_task(job.cancel())
                    await eventually(lambda: core_of(job).cancel_wanted)
                    clock.jump(60)
                    with pytest.raises(TransportError):
                        await cancelling
                assert not job.done

    async def test_a_refused_prompt(self, comfy: ComfySession) -> None:
        """Entering raises, and there is nothing to leave."""
        with pytest.raises(PromptRejectedError):
            async with comfy.stream({"1": {"class_type": "EmptyImage", "inputs": {}}}):
                pytest.fail("entered")
        assert engine_of(comfy).jobs.by_id == {}

    async def test_a_closed_session(self, fake: FakeComfy) -> None:
        """A block that is left after its session has nothing to cancel."""
        fake.hold()
        comfy = fake.session()
        async with comfy.stream(picture()) as job:
            await comfy.aclose()
        assert job.status == "pending"
        assert fake.books.accepted[0].end is None
        fake.release()
        await fake.ended(job.prompt_id)


async def _use(comfy: ComfySession, verb: str, graph: dict[str, Any]) -> None:
    """Run a graph by `run` or `stream` and wait for it."""
    if verb == "run":
        await comfy.run(graph)
        return
    async with comfy.stream(graph) as job:
        async for _ in job:
            pass


class TestSubmitting:
    """Cancelled while it submits: the job cannot slip through."""

    async def test_while_the_socket_is_dialled(self, fake: FakeComfy) -> None:
        """Nothing was sent yet."""
        fake.faults.fail("GET", "/ws", "hang")
        comfy = await fake.session().connect()
        task = asyncio.create_task(comfy.submit(picture()))
        await eventually(lambda: comfy.connection.state == "connecting")
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert engine_of(comfy).jobs.by_id == {}
        assert fake.books.accepted == []
        await comfy.aclose()
        assert not library_tasks()

    async def test_before_the_server_has_queued_it(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """The POST is on its way: its job is cancelled as soon as there is one."""
        fake.hold()
        fake.faults.delay("POST", "/prompt", 0.3, count=1)
        task = asyncio.create_task(comfy.submit(picture()))
        await fake.wait_for(lambda books: books.requests[("POST", "/prompt")] == 1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await fake.wait_for(lambda books: bool(books.accepted) and books.accepted[0].end is not None)
        assert fake.books.accepted[0].end == "deleted"
        assert engine_of(comfy).jobs.by_id == {}

    @pytest.mark.parametrize("mode", ["local", "old"])
    async def test_before_the_answer_has_come(self, mode: Any) -> None:
        """It is queued already, on an old server under an id that only the answer knows."""
        async with FakeComfy(mode=mode) as fake:
            fake.hold()
            held = HeldAnswers("POST", "/prompt")
            async with fake.session(settings=Settings(http_transport=held)) as comfy:
                task = asyncio.create_task(comfy.submit(picture()))
                await held.held.wait()
                task.cancel()
                await turns()
                held.release.set()
                await asyncio.wait([task])
                assert task.cancelled()
                assert fake.books.accepted[0].end == "deleted"
                assert engine_of(comfy).jobs.by_id == {}

    async def test_by_an_anyio_scope(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A scope repeats its cancellation; the clean-up is shielded from it."""
        fake.hold()
        fake.faults.delay("POST", "/prompt", 0.4, count=1)
        asked = fake.wait_for(lambda books: books.requests[("POST", "/prompt")] == 1)
        async with limited("anyio", asked):
            await comfy.submit(picture())
        assert fake.books.accepted[0].end == "deleted"

    async def test_a_server_that_never_answers(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """The wait for the answer is bounded."""
        fake.faults.fail("POST", "/prompt", "hang")
        task = asyncio.create_task(comfy.submit(picture()))
        await fake.wait_for(lambda books: books.requests[("POST", "/prompt")] == 1)
        task.cancel()
        async with asyncio.timeout(120):
            await asyncio.wait([task])
        assert task.cancelled()
        assert engine_of(comfy).jobs.by_id == {}

    async def test_nobody_answers_any_more(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A server that went away between two jobs: ConnectError, nothing was sent."""
        await comfy.run(picture())
        await fake.faults.go_down()
        with pytest.raises(ConnectError):
            await comfy.submit(picture(1))
        assert len(fake.books.accepted) == 1
        await fake.faults.come_up()
        assert (await comfy.run(picture(2))).images


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyboardInterrupt ends the program, and the job on the server with it."""
    ends: list[Any] = []

    async def main() -> None:
        async with FakeComfy() as fake:
            graph = steps(fake, 10_000)
            fake.pace.step_seconds = 0.01
            try:
                async with fake.session() as comfy, comfy.stream(graph) as job:
                    await first(job, NodeStarted)
                    signal.raise_signal(signal.SIGINT)
                    await job
            finally:
                ends.extend(record.end for record in fake.books.accepted)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert ends == ["interrupted"]
