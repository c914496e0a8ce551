"""A session: opened and closed in every way, one socket for all, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from session_tools import (
    HeldAnswers,
    JumpClock,
    collect,
    eventually,
    first,
    library_tasks,
    limited,
    lives,
    picture,
    seeded,
    steps,
    turns,
)

from comfy_async import (
    AuthError,
    ComfyError,
    ComfySession,
    Completed,
    ConnectError,
    FeatureFlags,
    JobFailedError,
    MalformedFrame,
    NodeStarted,
    NotComfyUIError,
    Preview,
    ProgressText,
    SessionClosedError,
    Settings,
    Started,
    StatusChanged,
    TransportError,
    UnknownEvent,
    WrongLoopError,
)
from comfy_async.testing import FakeComfy


@pytest.fixture
def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@asynccontextmanager
async def talker(answer: bytes) -> AsyncIterator[str]:
    """Serve the same bytes to everybody, and give the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, body: bytes, kind: str = "application/json") -> bytes:
    """Return an HTTP answer."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class TestOpening:
    """What entering a session does, and says when it cannot."""

    async def test_both_ways(self, fake: FakeComfy) -> None:
        """`async with`, and connect with aclose, in tasks of their own."""
        async with fake.session() as comfy:
            assert (await comfy.run(picture())).images
        session = fake.session()
        assert await asyncio.create_task(session.connect()) is session
        assert (await asyncio.create_task(session.run(picture(1)))).images
        await asyncio.create_task(session.aclose())
        assert not library_tasks()

    async def test_entered_in_one_task_left_in_another(self, fake: FakeComfy) -> None:
        """As pytest fixtures, notebook cells and web apps do, with jobs in between."""
        session = fake.session()
        comfy = await asyncio.create_task(session.__aenter__())
        job = await asyncio.create_task(comfy.submit(picture()))
        await asyncio.create_task(job.result())
        await asyncio.create_task(session.__aexit__(None, None, None))
        assert not library_tasks()

    async def test_nobody_answers(self, free_port: int) -> None:
        """ConnectError at once, with the address and how to start a server there."""
        url = f"http://127.0.0.1:{free_port}"
        with pytest.raises(ConnectError) as caught:
            async with ComfySession(url):
                pytest.fail("entered")
        assert url in str(caught.value)
        assert f"--port {free_port}" in str(caught.value)
        assert "main.py" in str(caught.value)
        assert (caught.value.server, caught.value.retryable) == (url, True)
        assert not library_tasks()

    async def test_lazy(self, free_port: int) -> None:
        """A lazy session enters all the same, and the first call says that nobody answers."""
        async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
            assert comfy.connection.state == "idle"
            for _ in range(2):
                with pytest.raises(ConnectError):
                    await comfy.submit(picture())

    async def test_a_lazy_session_finds_a_server_later(self, free_port: int) -> None:
        """What failed is asked again."""
        async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
            with pytest.raises(ConnectError):
                await comfy.run(picture())
            async with FakeComfy(port=free_port):
                assert (await comfy.run(picture())).images
                await comfy.aclose()

    @pytest.mark.parametrize(
        "answer",
        [
            http("200 OK", b"<html>hello</html>", "text/html"),
            http("404 Not Found", b"<html>nothing</html>", "text/html"),
            http("404 Not Found", b"{}"),
            http("200 OK", b'{"status": "ok"}'),
            http("200 OK", b"[1, 2]"),
            http("200 OK", b"not json"),
            http("200 OK", b""),
            http("200 OK", b'{"system": 5}'),
        ],
    )
    async def test_somebody_else_answers(self, answer: bytes) -> None:
        """NotComfyUIError, which no repetition helps."""
        async with talker(answer) as url:
            with pytest.raises(NotComfyUIError) as caught:
                async with ComfySession(url):
                    pytest.fail("entered")
            assert url in str(caught.value)
            assert not caught.value.retryable

    async def test_no_http_at_all(self) -> None:
        """A server of another protocol is a transport error, not a stranger's."""
        async with talker(b"SSH-2.0-OpenSSH_9.6\r\n") as url:
            with pytest.raises(TransportError) as caught:
                await ComfySession(url).connect()
            assert url in str(caught.value)

    async def test_wrong_credentials(self) -> None:
        """A gateway's 401 is an AuthError at the door."""
        async with talker(http("401 Unauthorized", b"{}")) as url:
            with pytest.raises(AuthError):
                async with ComfySession(url):
                    pytest.fail("entered")

    async def test_one_question_for_many(self, fake: FakeComfy) -> None:
        """Many that begin at once ask once what the server is."""
        async with fake.session(connect="lazy") as comfy:
            await asyncio.gather(*(comfy.run(picture(n)) for n in range(5)))
        assert fake.books.requests[("GET", "/system_stats")] == 1
        assert fake.books.sockets_opened == 1

    async def test_the_socket_opens_when_it_is_needed(self, fake: FakeComfy) -> None:
        """Not for HTTP alone."""
        async with fake.session() as comfy:
            assert comfy.connection.state == "idle"
            assert fake.books.sockets_opened == 0
            await comfy.run(picture())
            assert comfy.connection.state == "hearing"
            assert fake.books.sockets_opened == 1

    async def test_resources_work_before_entering(self, fake: FakeComfy) -> None:
        """HTTP needs no session to be open."""
        session = fake.session()
        with pytest.raises(ComfyError):
            await session.files.read("nothing.png")
        await session.aclose()


class TestAddresses:
    """Wherever the server is."""

    @pytest.mark.parametrize("prefix", ["/comfy", "/a/b/"])
    @pytest.mark.parametrize("slash", ["", "/"])
    async def test_a_prefix(self, prefix: str, slash: str) -> None:
        """A path prefix is kept for HTTP and the socket; a trailing slash changes nothing."""
        async with FakeComfy(prefix=prefix) as fake, ComfySession(fake.url + slash) as comfy:
            assert comfy.base_url == fake.url
            result = await comfy.run(picture())
            assert (await result.images[0].read()).startswith(b"\x89PNG")
            assert comfy.connection.state == "hearing"

    async def test_ipv6(self) -> None:
        """A host in brackets."""
        async with FakeComfy(host="::1") as fake, fake.session() as comfy:
            assert "[::1]" in comfy.base_url
            assert (await comfy.run(picture())).images
            assert comfy.connection.state == "hearing"

    async def test_https(self) -> None:
        """wss follows https, with the same trust."""
        authority = trustme.CA()
        serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(serving)
        authority.configure_trust(trusting)
        async with FakeComfy(ssl_context=serving) as fake:
            async with fake.session(verify=trusting) as comfy:
                assert comfy.base_url.startswith("https://")
                assert (await comfy.run(picture())).images
                assert comfy.connection.state == "hearing"
            async with fake.session(verify=False) as comfy:
                assert (await comfy.run(picture(2))).images
                assert comfy.connection.state == "hearing"
            with pytest.raises(ConnectError, match="verify"):
                await fake.session().connect()

    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """COMFY_LOCAL_URL, COMFY_BASE_URL, then ComfyUI's own port."""
        assert ComfySession().base_url == "http://127.0.0.1:8188"
        monkeypatch.setenv("COMFY_BASE_URL", "https://example.org/c/")
        assert ComfySession().base_url == "https://example.org/c"
        monkeypatch.setenv("COMFY_LOCAL_URL", "localhost:9999")
        assert ComfySession().base_url == "http://localhost:9999"
        assert ComfySession("http://h:1").base_url == "http://h:1"

    @pytest.mark.parametrize("url", ["ftp://x", "http://", "http://[::1", "http://h:99999999"])
    def test_no_url(self, url: str) -> None:
        """What is no URL is said before anything is sent."""
        with pytest.raises(ValueError, match="URL"):
            ComfySession(url)

    def test_the_cloud_wants_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From the argument, or one of two variables."""
        with pytest.raises(ValueError, match="API key"):
            ComfySession.cloud()
        monkeypatch.setenv("COMFY_API_KEY", "k")
        assert ComfySession.cloud().base_url == "https://cloud.comfy.org"


class TestClosing:
    """However a session ends, every waiter is woken and nothing is left."""

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
            await eventually(lambda: not library_tasks())

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
            with pytest.raises(SessionClosedError):
                await others[0]
            await eventually(lambda: not library_tasks())
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
        async with asyncio.timeout(10):
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


async def _connected(comfy: ComfySession) -> None:
    await comfy.connect()


async def _called(verb: Callable[[], Awaitable[Any]]) -> Any:
    return await verb()


def _later(function: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        return function()

    return call


class TestWire:
    """One socket, spoken to as ComfyUI wants it."""

    async def test_flags_first(self) -> None:
        """`feature_flags` is the first message, so that previews come with job and node."""
        async with FakeComfy(preview_method="latent2rgb") as fake, fake.session() as comfy:
            job = await comfy.submit(_sampler(), previews="latent2rgb")
            previews = [event for event in await collect(job) if isinstance(event, Preview)]
            assert previews
            assert all((event.raw or b"")[:4] == struct.pack(">I", 4) for event in previews)
            assert {(event.node, event.prompt_id) for event in previews} == {("3", job.prompt_id)}

    async def test_the_client_id(self, fake: FakeComfy) -> None:
        """Yours, or one of its own."""
        async with fake.session(client_id="me") as comfy:
            assert comfy.client_id == "me"
            await comfy.run(picture())
            assert fake.books.accepted[0].client_id == "me"
        assert fake.session().client_id != fake.session().client_id

    async def test_fifty_jobs_one_socket(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Many jobs cost one socket and hardly a request besides their own."""
        jobs = await asyncio.gather(*(comfy.submit(picture(n)) for n in range(50)))
        await asyncio.gather(*(job.result() for job in jobs))
        assert fake.books.sockets_opened == 1
        assert len({job.prompt_id for job in jobs}) == 50
        assert fake.books.requests[("POST", "/prompt")] == 50
        assert fake.books.requests[("GET", "/history/{prompt_id}")] == 0
        assert fake.books.requests.total() < 60

    async def test_no_event_of_one_job_reaches_another(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Twenty jobs at once, consumed at once, from two sessions: each sees its own life, whole."""
        graph = steps(fake, 5)
        async with fake.session() as second:
            sessions = [comfy, second] * 10
            made = [session.submit(seeded(graph, seed)) for seed, session in enumerate(sessions)]
            jobs = await asyncio.gather(*made)
            streams = await asyncio.gather(*(collect(job) for job in jobs))
        for job, events in zip(jobs, streams, strict=True):
            assert {event.prompt_id for event in events} == {job.prompt_id}
            names = lives(events)
            assert names[:2] == ["Queued", "Started"]
            assert names[-1] == "Completed"
            assert len(names) == len(set(names))
            assert "NodeFinished 1" in names

    async def test_the_prompt_is_registered_before_it_is_posted(
        self, fake: FakeComfy, comfy: ComfySession
    ) -> None:
        """No event is missed although all came before the answer of the POST."""
        transport = HeldAnswers("POST", "/prompt")
        async with fake.session(settings=Settings(http_transport=transport)) as slow:
            submitting = asyncio.create_task(slow.submit(picture()))
            await fake.wait_for(lambda books: books.ended == 1)
            await turns()
            transport.release.set()
            job = await submitting
            assert job.done
            names = lives(await collect(job))
        assert names[0] == "Queued"
        assert names[-1] == "Completed"
        assert len(names) == 8

    async def test_events_of_the_session(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """`events()` has what all jobs tell, and what is about no job, from now on."""
        stream = comfy.events()
        await eventually(lambda: comfy.connection.state == "hearing")
        jobs = [await comfy.submit(picture(n)) for n in range(2)]
        for job in jobs:
            await job
        await fake.idle()
        seen = []
        async for event in stream:
            seen.append(event)
            if sum(isinstance(event, Completed) for event in seen) == 2 and isinstance(event, StatusChanged):
                break
        ids = {event.prompt_id for event in seen}
        assert ids == {jobs[0].prompt_id, jobs[1].prompt_id, None}
        assert any(isinstance(event, FeatureFlags) for event in seen)
        assert "ExecutingNone" not in {type(event).__name__ for event in seen}
        for job in jobs:
            mine = [event for event in seen if event.prompt_id == job.prompt_id]
            assert lives(mine) == lives(await collect(job))

    async def test_features(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """What the server is and can do."""
        await comfy.run(picture())
        assert comfy.server.version == "0.33.0"
        assert comfy.server.can("cancel_jobs")
        assert comfy.server.max_upload_size == 104857600

    async def test_malformed_frames(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Each is counted and reported, and ends nothing."""
        graph = steps(fake, 3)
        stream = comfy.events()
        with fake.gate("Steps", step=2) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            sent = fake.faults.send_truncated()
            sent += fake.faults.send_invalid_text()
            fake.faults.send_wrong_shapes()
            fake.faults.send_raw(None, "[" * 5000)
            fake.faults.send_raw(None, json.dumps({"type": "odd.type", "data": {"hello": 1}}))
            unknown = None
            malformed = []
            async for event in stream:
                if isinstance(event, MalformedFrame):
                    malformed.append(event)
                if isinstance(event, UnknownEvent) and event.type == "odd.type":
                    unknown = event
                    break
        assert unknown is not None
        assert unknown.data == {"hello": 1}
        assert len(malformed) >= sent + 1
        assert comfy.connection.malformed == len(malformed)
        assert all(event.reason for event in malformed)
        result = await job
        assert result.texts == ("shown",)
        assert fake.books.sockets_opened == 1
        assert lives(await collect(job))[-1] == "Completed"

    async def test_frames_beyond_a_megabyte(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Large frames neither close the socket nor end a job."""
        graph = steps(fake, 2)
        with fake.gate("Steps", step=1) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            fake.faults.send_huge(5_000_000)
            fake.faults.send_huge(3_000_000, as_text=True)
        assert (await job).texts == ("shown",)
        assert fake.books.sockets_opened == 1

    async def test_the_text_variant_with_a_prompt_id(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A server that announces it names the job in frames of type 3."""
        stream = comfy.events()
        await eventually(lambda: comfy.connection.state == "hearing")
        flags = {"type": "feature_flags", "data": {"supports_progress_text_metadata": True}}
        fake.faults.send_raw(comfy.client_id, json.dumps(flags))
        words = b"".join(struct.pack(">I", len(word)) + word for word in (b"some-job", b"7"))
        fake.faults.send_raw(comfy.client_id, struct.pack(">I", 3) + words + b"half way")
        async for event in stream:
            if isinstance(event, ProgressText):
                assert (event.prompt_id, event.node, event.text) == ("some-job", "7", "half way")
                break

    async def test_a_prompt_of_somebody_else(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Events of jobs that are not ours are shown to those who watch, and end nothing."""
        graph = steps(fake, 2)
        stream = comfy.events()
        with fake.gate("Steps", step=1) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            for kind in ("execution_success", "execution_error", "executing"):
                data = {"type": kind, "data": {"prompt_id": "somebody-else", "node": None}}
                fake.faults.send_raw(comfy.client_id, json.dumps(data))
            async for event in stream:
                if event.prompt_id == "somebody-else" and event.type == "execution_error":
                    break
            assert job.status == "running"
        assert (await job).texts == ("shown",)


class TestOldPreviews:
    """Frames that name neither job nor node belong to what runs."""

    async def test_bare_previews(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A type 1 frame goes to the running job and its running node."""
        graph = steps(fake, 3)
        with fake.gate("Steps", step=2) as gate:
            job = await comfy.submit(graph)
            await gate.reached()
            fake.faults.send_raw(comfy.client_id, struct.pack(">II", 1, 1) + b"\xff\xd8jpeg")
            fake.faults.send_raw(comfy.client_id, struct.pack(">II", 3, 1) + b"1" + b"words")
        events = await collect(job)
        (preview,) = [event for event in events if isinstance(event, Preview)]
        assert (preview.node, preview.title, preview.prompt_id) == ("1", "Many steps", job.prompt_id)
        assert preview.image == b"\xff\xd8jpeg"
        (words,) = [event for event in events if isinstance(event, ProgressText)]
        assert (words.prompt_id, words.text) == (job.prompt_id, "words")

    async def test_nobody_runs(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A frame of nobody is shown to those who watch, and given to no job."""
        stream = comfy.events()
        job = await comfy.submit(picture())
        await job
        fake.faults.send_raw(comfy.client_id, struct.pack(">II", 1, 1) + b"late")
        async for event in stream:
            if isinstance(event, Preview):
                assert (event.prompt_id, event.image) == (None, b"late")
                break
        assert not [event for event in await collect(job) if isinstance(event, Preview)]

    async def test_an_old_server(self) -> None:
        """No feature flags, no states, ids of its own: events, images and the end all the same."""
        async with FakeComfy(mode="old") as fake, fake.session() as comfy:
            graph = picture()
            graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
            job = await comfy.submit(graph)
            events = await collect(job)
            names = lives(events)
            assert names[-1] == "Completed"
            assert names.index("NodeFinished 1") < names.index("NodeStarted 2")
            (image,) = (await job).images
            assert (await image.read()).startswith(b"\x89PNG")
            assert fake.books.accepted[0].prompt_id == job.prompt_id


class TestQuiet:
    """Ten minutes without news are worth one warning, and nothing else."""

    async def test_one_warning(self, fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """The job goes on; the warning names it and is not repeated."""
        graph = steps(fake, 1)
        clock = JumpClock()
        caplog.set_level(logging.WARNING, "comfy_async")
        settings = Settings(clock=clock, look_every=0.02, poll_min=0.02, poll_max=0.02)

        def warnings() -> list[str]:
            return [r.getMessage() for r in caplog.records if "nothing was heard" in r.getMessage()]

        async def looks(count: int) -> None:
            seen = fake.books.requests.total()
            await fake.wait_for(lambda books: books.requests.total() >= seen + count)

        async with fake.session(settings=settings) as comfy:
            with fake.gate("Steps") as gate:
                job = await comfy.submit(graph)
                await gate.reached()
                await looks(3)
                clock.jump(590)
                await looks(3)
                assert warnings() == []
                clock.jump(20)
                await eventually(warnings)
                clock.jump(2000)
                await looks(5)
                (text,) = warnings()
                assert job.prompt_id in text
                assert "10 minutes" in text
                assert job.status == "running"
            assert (await job).texts == ("shown",)


class TestSecrets:
    """Keys and passwords stay out of what people print, log and report."""

    async def test_reprs_errors_and_logs(self, fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """In no repr, no error, no log line, no event."""
        caplog.set_level(logging.DEBUG)
        address = fake.url.replace("http://", "http://user:hunter2@") + "?token=sesame"
        fake.script("Bad", inputs={"x": "INT"}, error=("ValueError", "no good"))
        async with ComfySession(
            address,
            api_key="api-secret",
            partner_api_key="partner-secret",
            headers={"X-Mine": "header-secret"},
        ) as comfy:
            job = await comfy.submit({"1": {"class_type": "Bad", "inputs": {"x": 1}}})
            texts = [
                repr(comfy),
                repr(comfy.connection),
                repr(comfy.settings),
                repr(job),
                json.dumps(job.ref),
            ]
            with pytest.raises(JobFailedError) as caught:
                await job
            texts += [str(caught.value), repr(caught.value), repr(vars(caught.value)), comfy.base_url]
            texts += [repr(event) for event in await collect(job)]
            with pytest.raises(ComfyError) as other:
                await comfy.files.read("nothing.png")
            texts += [str(other.value), repr(vars(other.value))]
        texts += [repr(comfy), *(record.getMessage() for record in caplog.records)]
        for secret in ("hunter2", "sesame", "api-secret", "partner-secret", "header-secret"):
            assert not [text for text in texts if secret in text], secret

    async def test_where_nobody_answers(self, free_port: int) -> None:
        """The error of a failed connection has the address without its password."""
        with pytest.raises(ConnectError) as caught:
            await ComfySession(f"http://user:hunter2@127.0.0.1:{free_port}/?token=sesame").connect()
        text = str(caught.value) + repr(vars(caught.value))
        assert "hunter2" not in text
        assert "sesame" not in text


def _sampler() -> dict[str, Any]:
    """Return a graph with a sampler."""
    return {
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 1,
                "steps": 4,
                "cfg": 8,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["6", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }


async def test_connection(fake: FakeComfy) -> None:
    """How the session hears, at any moment."""
    comfy = fake.session()
    now = comfy.connection
    assert (now.state, now.polling, now.reconnects, now.last_heard, now.reason) == (
        "idle",
        False,
        0,
        None,
        "",
    )
    await comfy.run(picture())
    now = comfy.connection
    assert (now.state, now.reconnects) == ("hearing", 0)
    assert now.last_heard is not None
    assert 0 <= now.last_heard < 10
    await comfy.aclose()
    assert comfy.connection.state == "closed"


async def test_reprs(fake: FakeComfy) -> None:
    """Address, connection, open jobs."""
    graph = steps(fake, 1)
    comfy = fake.session()
    assert repr(comfy) == f"<ComfySession {fake.url} new>"
    with fake.gate("Steps"):
        job = await comfy.submit(graph)
        await first(job, NodeStarted)
        assert repr(comfy) == f"<ComfySession {fake.url} hearing 1 jobs>"
    await job
    await comfy.aclose()
    assert repr(comfy) == f"<ComfySession {fake.url} closed>"
