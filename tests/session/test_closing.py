"""However a session ends, every waiter is woken and nothing is left."""

from __future__ import annotations

import asyncio
import functools
import gc
import operator
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from session_tools import (
    HeldAnswers,
    collect,
    eventually,
    first,
    library_tasks,
    limited,
    picture,
    seeded,
    steps,
    turns,
)

from comfy_async import (
    ComfyPool,
    ComfySession,
    ConnectError,
    SessionClosedError,
    Settings,
    Started,
    WrongLoopError,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy


class TestClosing:
    """However a session ends, every waiter is woken and nothing is left."""

    @pytest.mark.parametrize("after_effect", [True, False])
    async def test_a_prompt_on_its_way(self, fake: FakeComfy, after_effect: bool) -> None:
        """Whoever submits gets the id under which the job is found if it has arrived."""
        async with fake.session() as comfy:
            await comfy.connect()
            rule = fake.faults.delay("POST", "/prompt", 300.0, after_effect=after_effect)
            submitting = asyncio.create_task(comfy.submit(picture()))
            await fake.wait_for(lambda books: books.accepted if after_effect else rule.hits)
        with pytest.raises(SessionClosedError) as caught:
            await submitting
        found = caught.value.prompt_id
        assert found is not None
        assert [record.prompt_id for record in fake.books.accepted] == [found] * after_effect

    async def test_open_jobs(self, fake: FakeComfy) -> None:
        """Waiters and iterators of open jobs get SessionClosedError; the server goes on."""
        graph = steps(fake, 2)
        with fake.gate("Steps"):
            async with fake.session() as comfy:
                jobs = [await comfy.submit(seeded(graph, seed)) for seed in range(3)]
                waiting = [asyncio.create_task(job.result()) for job in jobs]
                iterating = [asyncio.create_task(collect(job)) for job in jobs]
                await first(jobs[0], Started)
                stream = comfy.events()
            for task, job in zip([*waiting, *iterating], [*jobs, *jobs], strict=True):
                with pytest.raises(SessionClosedError) as caught:
                    await task
                assert caught.value.prompt_id == job.prompt_id
            assert await anext(stream, None) is None
            for job in jobs:
                with pytest.raises(SessionClosedError):
                    await job
                with pytest.raises(SessionClosedError):
                    await collect(job)
                with pytest.raises(SessionClosedError):
                    await job.cancel()
            assert not library_tasks()
        for job in jobs:
            await fake.ended(job.prompt_id)
            assert fake.books.ends(job.prompt_id) == ["success"]

    async def test_cancelling_them_when_asked(self, fake: FakeComfy) -> None:
        """`aclose(cancel_jobs=True)` takes them off the server."""
        graph = steps(fake, 5)
        with fake.gate("Steps", step=1) as gate:
            comfy = fake.session()
            jobs = [await comfy.submit(seeded(graph, seed)) for seed in range(3)]
            await gate.reached()
            closing = asyncio.create_task(comfy.aclose(cancel_jobs=True))
            await fake.wait_for(lambda books: len([r for r in books.accepted if r.end == "deleted"]) == 2)
            await fake.wait_for(lambda books: books.accepted[0].interrupts >= 1)
        await closing
        assert [job.status for job in jobs] == ["cancelled"] * 3
        assert [record.end for record in fake.books.accepted] == ["interrupted", "deleted", "deleted"]

    async def test_twice(self, fake: FakeComfy) -> None:
        """And at once, and before anything was done, and after."""
        comfy = fake.session()
        await comfy.aclose()
        await comfy.aclose()
        comfy = fake.session()
        await comfy.run(picture())
        await asyncio.gather(comfy.aclose(), comfy.aclose())
        await comfy.aclose()
        assert comfy.connection.state == "closed"
        assert not library_tasks()

    async def test_nothing_works_afterwards(self, fake: FakeComfy) -> None:
        """Every verb says that the session is closed, and sends nothing."""
        comfy = fake.session()
        await comfy.run(picture())
        await comfy.aclose()
        before = fake.books.requests.total()
        calls: list[Callable[[], Awaitable[Any]]] = [
            comfy.connect,
            lambda: comfy.run(picture()),
            lambda: comfy.submit(picture()),
            lambda: comfy.attach("9e721e8c-948f-48d8-a684-409836d205e3"),
            lambda: comfy.check(picture()),
            lambda: comfy.stream(picture()).__aenter__(),
            lambda: comfy.files.read("x.png"),
        ]
        for call in calls:
            with pytest.raises(SessionClosedError):
                await call()
        with pytest.raises(SessionClosedError):
            comfy.events()
        assert fake.books.requests.total() == before

    async def test_an_error_of_yours_comes_out_as_it_is(self, fake: FakeComfy) -> None:
        """A ValueError in the block is a ValueError outside, with a job open and an iterator too."""
        graph = steps(fake, 2)
        mine = ValueError("mine")
        with fake.gate("Steps"):

            async def work() -> None:
                async with fake.session() as comfy:
                    async for _ in await comfy.submit(graph):
                        raise mine

            with pytest.raises(ValueError, match="mine") as caught:
                await work()
            assert caught.value is mine
            assert not library_tasks()

    async def test_a_cancelled_block(self, fake: FakeComfy) -> None:
        """The task is cancelled while it waits in the block: it ends cancelled, and nothing is left."""
        graph = steps(fake, 2)

        submitted = asyncio.Event()

        async def work() -> None:
            async with fake.session() as comfy:
                job = await comfy.submit(graph)
                submitted.set()
                await job

        with fake.gate("Steps"):
            task = asyncio.create_task(work())
            await submitted.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert not library_tasks()

    @pytest.mark.parametrize("kind", ["asyncio", "anyio"])
    async def test_a_limit_around_the_block(self, fake: FakeComfy, kind: str) -> None:
        """A time limit of either library around the session: all waiters wake, nothing is left."""
        graph = steps(fake, 2)
        others: list[asyncio.Task[Any]] = []

        async def work() -> None:
            async with fake.session() as comfy:
                job = await comfy.submit(graph)
                others.append(asyncio.create_task(job.result()))
                await job

        with fake.gate("Steps"):
            async with limited(kind, eventually(lambda: others)):
                await work()
            assert not library_tasks()
            with pytest.raises(SessionClosedError):
                await others[0]
            await fake.wait_for(lambda books: books.sockets_now == 0)

    async def test_closing_is_cancelled(self, fake: FakeComfy) -> None:
        """Who is cancelled while closing has woken all waiters, and the rest ends by itself."""
        graph = steps(fake, 2)
        with fake.gate("Steps"):
            comfy = fake.session()
            job = await comfy.submit(graph)
            waiting = asyncio.create_task(job.result())
            await turns()
            fake.faults.drop_sockets("half_open")
            closing = asyncio.create_task(comfy.aclose())
            await turns(2)
            closing.cancel()
            await asyncio.wait([closing])
            assert closing.cancelled()
            with pytest.raises(SessionClosedError):
                await waiting
            await comfy.aclose()
            assert not library_tasks()
            fake.faults.end_half_open()

    async def test_a_half_open_socket_does_not_hold_up_closing(self, fake: FakeComfy) -> None:
        """The other side never answers the close: it is bounded."""
        comfy = fake.session()
        await comfy.run(picture())
        fake.faults.drop_sockets("half_open")
        async with asyncio.timeout(120):
            await comfy.aclose()
        assert not library_tasks()
        fake.faults.end_half_open()

    async def test_while_it_dials(self, fake: FakeComfy) -> None:
        """A session that is closed in the middle of the handshake leaves nothing."""
        fake.faults.fail("GET", "/ws", "hang")
        comfy = await fake.session().connect()
        submitting = asyncio.create_task(comfy.submit(picture()))
        await eventually(lambda: comfy.connection.state == "connecting")
        await comfy.aclose()
        with pytest.raises(SessionClosedError):
            await submitting
        assert not library_tasks()

    async def test_while_it_probes(self, fake: FakeComfy) -> None:
        """A session that is closed while it asks what the server is."""
        fake.faults.fail("GET", "/system_stats", "hang")
        comfy = fake.session()
        connecting = asyncio.create_task(comfy.connect())
        await fake.wait_for(lambda books: books.requests[("GET", "/system_stats")] >= 1)
        await comfy.aclose()
        with pytest.raises((SessionClosedError, asyncio.CancelledError)):
            await connecting
        assert not library_tasks()

    def test_loops(self) -> None:
        """A session belongs to the loop of its first use; another loop is told so."""
        comfy = ComfySession("http://127.0.0.1:9", connect="lazy")
        asyncio.run(_connected(comfy))
        for verb in (comfy.connect, lambda: comfy.run(picture()), lambda: comfy.attach("x")):
            with pytest.raises(WrongLoopError, match="another event loop") as caught:
                asyncio.run(_called(verb))
            assert "each loop" in caught.value.hint
        with pytest.raises(WrongLoopError):
            asyncio.run(_called(_later(comfy.events)))
        asyncio.run(comfy.aclose())

    def test_a_job_in_another_loop(self) -> None:
        """Waiting for a job where its session does not live is an error, not a hang."""

        async def work() -> None:
            async with FakeComfy() as fake, fake.session() as comfy:
                graph = steps(fake, 1)
                with fake.gate("Steps"):
                    job = await comfy.submit(graph)
                    with pytest.raises(WrongLoopError):
                        await asyncio.to_thread(asyncio.run, job.result())
                    with pytest.raises(WrongLoopError):
                        await asyncio.to_thread(asyncio.run, job.cancel())
                    with pytest.raises(WrongLoopError):
                        await asyncio.to_thread(asyncio.run, _called(_later(job.events)))
                await job

        asyncio.run(work())

    @pytest.mark.parametrize("verb", ["jobs.cancel", "queue.interrupt", "queue.delete", "queue.clear"])
    def test_stopping_in_another_loop(self, verb: str) -> None:
        """No verb that stops jobs asks the server or touches a job from another loop."""

        async def work() -> None:
            async with FakeComfy() as fake, fake.session() as comfy:
                fake.hold()
                job = await comfy.submit(picture())
                core = engine_of(comfy).jobs.by_id[job.prompt_id]
                sent = len(fake.books.log)
                args = () if verb == "queue.clear" else (job.prompt_id,)
                stop = functools.partial(operator.attrgetter(verb)(comfy), *args)
                with pytest.raises(WrongLoopError):
                    await asyncio.to_thread(asyncio.run, _called(stop))
                assert not core.cancel_wanted
                assert len(fake.books.log) == sent
                fake.release()
                await job

        asyncio.run(work())

    @pytest.mark.parametrize("verb", ["jobs.cancel", "queue.interrupt"])
    async def test_stopping_after_the_end(self, fake: FakeComfy, verb: str) -> None:
        """Stopping jobs by a closed session is an error that says so."""
        async with fake.session() as comfy:
            pass
        with pytest.raises(SessionClosedError):
            await operator.attrgetter(verb)(comfy)("x")


async def _connected(comfy: ComfySession) -> None:
    await comfy.connect()


async def _called(verb: Callable[[], Awaitable[Any]]) -> Any:
    return await verb()


def _later(function: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        return function()

    return call


@contextmanager
def unclosed() -> Iterator[list[str]]:
    """Collect what sessions say when they are dropped; asyncio speaks of its own sockets, too."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
        gc.collect()
    assert all(warning.category is ResourceWarning for warning in caught)
    said += [text for text in (str(warning.message) for warning in caught) if "session" in text]


class TestDropping:
    """A session that nobody closes says so, once it had something to close."""

    async def test_after_http(self, fake: FakeComfy) -> None:
        """A request left a connection open."""
        session = ComfySession(fake.url)
        await session.system.stats()
        with unclosed() as said:
            del session
        assert said == [f"unclosed session with {fake.url}: use `async with` or `await session.aclose()`"]

    def test_with_a_socket(self) -> None:
        """The loop ends and takes the socket along."""

        async def main() -> None:
            async with FakeComfy() as fake:
                session = ComfySession(fake.url)
                await session.submit(picture())
                await fake.idle()

        with unclosed() as said:
            asyncio.run(main())
        assert len(said) == 1

    async def test_a_pool(self, fake: FakeComfy) -> None:
        """Its sessions say so, each with its server."""
        pool = ComfyPool([fake.url])
        await pool.connect()
        with unclosed() as said:
            del pool
        assert [fake.url in text for text in said] == [True]

    async def test_never_connected(self) -> None:
        """Nothing was opened: nothing is to be closed, and nothing is said."""
        with unclosed() as said:
            for session in (ComfySession(), ComfyPool(["http://127.0.0.1:1"])):
                assert repr(session)
            with pytest.raises(ConnectError):
                await ComfySession("http://127.0.0.1:1").connect()
            with pytest.raises(ValueError, match="ftp"):
                ComfySession("ftp://nowhere")
            del session
        assert not said

    async def test_closed(self, fake: FakeComfy) -> None:
        """Closed is closed."""
        with unclosed() as said:
            async with ComfySession(fake.url) as session:
                await session.system.stats()
            del session
        assert not said


@pytest.mark.parametrize("make", [ComfySession, lambda url: ComfyPool([url])])
async def test_whoever_asks_what_the_server_is_while_it_closes(
    fake: FakeComfy, make: Callable[[str], ComfySession | ComfyPool]
) -> None:
    """They are told that it was closed; CancelledError would be taken for their own cancellation."""
    rule = fake.faults.fail("GET", "/system_stats", "hang")
    comfy = make(fake.url)
    calls = [comfy.submit(picture()), comfy.attach("9e721e8c-948f-48d8-a684-409836d205e3")]
    tasks = [asyncio.create_task(call) for call in calls]
    await fake.wait_for(lambda books: rule.hits)
    await comfy.aclose()
    for task in tasks:
        with pytest.raises(SessionClosedError):
            await task


async def test_an_answer_that_comes_while_the_session_closes_starts_nothing() -> None:
    """An old server names the job only then: nobody begins to poll for it."""
    async with FakeComfy(mode="old") as fake:
        held = HeldAnswers("POST", "/prompt")
        comfy = fake.session(settings=Settings(http_transport=held))
        submitting = asyncio.create_task(comfy.submit(picture()))
        await held.held.wait()
        held.release.set()
        await comfy.aclose()
        with pytest.raises(SessionClosedError):
            await (await submitting)
        assert not library_tasks()
