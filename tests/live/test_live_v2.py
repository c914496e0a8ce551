"""API v2 by the real comfy-api-proxy: before FakeComfy always, before the ComfyUI in COMFY_LIVE_URL too.

COMFY_LIVE_V2_URL (and COMFY_LIVE_V2_KEY) name a server that speaks API v2 by itself: what needs neither
its ComfyUI nor its end runs there as well.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from session_tools import collect, eventually, first
from test_live_faults import OwnServer, lasting_work
from test_live_runs import long_chain, opened, picture
from v2_proxy import ApiProxy

from comfy_async import (
    AuthError,
    Cancelled,
    ComfySession,
    Completed,
    Job,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobLostError,
    NodeCatalog,
    NodeFinished,
    Preview,
    Progress,
    PromptRejectedError,
    Queued,
    QueuePosition,
    Settings,
    Started,
    SubmitUnknownError,
    UnsupportedError,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy, FastClock

COMFYUI = os.environ.get("COMFY_LIVE_URL", "").rstrip("/")
SERVER = os.environ.get("COMFY_LIVE_V2_URL", "").rstrip("/")
KEY = os.environ.get("COMFY_LIVE_V2_KEY")

CANCEL = "/api/jobs/{job_id}/cancel"


class Place:
    """A server that speaks API v2, and what stands behind it.

    Attributes:
        url: Where it is.
        proxy: The test's own, None for a server that is somebody else's.
        comfyui: The ComfyUI behind that, "" for the same.
        fake: The same where it is a FakeComfy.
    """

    def __init__(
        self, url: str, *, proxy: ApiProxy | None = None, comfyui: str = "", fake: FakeComfy | None = None
    ) -> None:
        """Remember it."""
        self.url = url
        self.proxy = proxy
        self.comfyui = comfyui
        self.fake = fake

    def session(self, **options: Any) -> ComfySession:
        """Return a session, whose pauses last a tenth where nothing takes its time."""
        if self.fake is None:
            return ComfySession(self.url, api_key=None if self.proxy else KEY, **options)
        return ComfySession(self.url, settings=Settings(clock=FastClock(10)), **options)

    def beside(self, proxy: ApiProxy) -> Place:
        """Return the same ComfyUI behind another proxy."""
        return Place(proxy.url, proxy=proxy, comfyui=self.comfyui, fake=self.fake)

    async def demands_cancel(self) -> None:
        """Skip what cancels where the ComfyUI has no route for that: comfy-api-proxy knows no other one."""
        if self.comfyui and self.fake is None:
            async with ComfySession(self.comfyui) as plain:
                await plain.connect()
                if not plain.server.can("cancel_jobs"):
                    pytest.skip("comfy-api-proxy stops no job of this ComfyUI: it is too old")

    @asynccontextmanager
    async def busy(self, comfy: ComfySession) -> AsyncIterator[Job]:
        """A job that runs for as long as the block lasts, or at least for a while on a real server."""
        if self.fake is None:
            job = await comfy.submit(long_chain())
            await first(job, Started)
            yield job
            return
        with self.fake.gate("ImageInvert") as gate:
            job = await comfy.submit(inverted())
            await gate.reached()
            yield job


def inverted(value: int | None = None) -> dict[str, Any]:
    """Return a graph that makes a picture and saves its opposite."""
    graph = picture(value=value)
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    graph["2"]["inputs"]["images"] = ["3", 0]
    return graph


def half_valid() -> dict[str, Any]:
    """Return a graph of which ComfyUI runs one output, and refuses the other."""
    graph = picture()
    graph["4"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 0, "height": 8, "batch_size": 1, "color": 1},
    }
    graph["3"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}}
    return graph


@asynccontextmanager
async def before_fake(**options: Any) -> AsyncIterator[Place]:
    """A proxy before a FakeComfy."""
    async with FakeComfy(preview_method="latent2rgb") as fake, ApiProxy(fake.url, **options) as proxy:
        yield Place(proxy.url, proxy=proxy, comfyui=fake.url, fake=fake)


@pytest.fixture(params=["fake", "comfyui"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """The proxy, before everything that is there."""
    if request.param == "fake":
        async with before_fake() as place:
            yield place
        return
    if not COMFYUI:
        pytest.skip("COMFY_LIVE_URL names no ComfyUI")
    async with ApiProxy(COMFYUI) as proxy:
        yield Place(proxy.url, proxy=proxy, comfyui=COMFYUI)


@pytest.fixture(params=["fake", "comfyui", "server"])
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Every server that speaks API v2."""
    if request.param == "server":
        if not SERVER:
            pytest.skip("COMFY_LIVE_V2_URL names no server")
        yield Place(SERVER)
        return
    if request.param == "comfyui" and not COMFYUI:
        pytest.skip("COMFY_LIVE_URL names no ComfyUI")
    async with before_fake() if request.param == "fake" else ApiProxy(COMFYUI) as found:
        yield found if isinstance(found, Place) else Place(found.url, proxy=found, comfyui=COMFYUI)


@pytest.fixture
async def comfy(anywhere: Place) -> AsyncIterator[ComfySession]:
    """A session with it; nobody has told which dialect it speaks."""
    async with anywhere.session() as session:
        assert session.server.dialect == "api-v2"
        yield session


class TestResults:
    """What comes out."""

    async def test_submit_and_wait(self, comfy: ComfySession) -> None:
        """Submit, wait, and read the picture back."""
        job = await comfy.submit(picture(value=0x336699))
        result = await job
        (image,) = result.images
        assert (image.node, image.title) == ("2", "Keep it")
        decoded = opened(await image.read())
        assert decoded.size == (32, 24)
        assert decoded.convert("RGB").getpixel((3, 3)) == (0x33, 0x66, 0x99)
        assert (job.status, job.progress.fraction) == ("completed", 1.0)

    async def test_quick_ones(self, comfy: ComfySession) -> None:
        """Those that the proxy calls expired for a moment end well, and so does one that is cached."""
        same = picture()
        for graph in [*(picture() for _ in range(8)), same, same]:
            result = await comfy.run(graph)
            assert [file.node for file in result.images] == ["2"]

    async def test_saved_to_a_folder(self, comfy: ComfySession, tmp_path: Path) -> None:
        """All pictures of a batch; those that are there already are kept."""
        result = await comfy.run(picture(count=3))
        paths = await result.save(tmp_path)
        assert len(set(paths)) == 3
        assert await result.save(tmp_path) == paths
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)

    async def test_upload_and_use(self, comfy: ComfySession) -> None:
        """A picture of ours goes up, through a node, and comes back; in a folder, and a second time too."""
        data = io.BytesIO()
        Image.new("RGB", (20, 10), (0, 255, 255)).save(data, "PNG", compress_level=0)
        name = f"comfy_async_{uuid.uuid4().hex[:8]}.png"
        for folder in ("", "comfy_async_live", ""):
            graph = inverted()
            uploaded = await comfy.files.upload(data.getvalue(), name=name, subfolder=folder)
            graph["1"] = {"class_type": "LoadImage", "inputs": {"image": uploaded}}
            (image,) = (await comfy.run(graph)).images
            decoded = opened(await image.read()).convert("RGB")
            assert decoded.size == (20, 10)
            assert decoded.getpixel((0, 0)) == (255, 0, 0)

    async def test_fifty_at_once(self, comfy: ComfySession) -> None:
        """Each has its own events and its own picture, with more jobs than the proxy has streams."""
        shades = random.SystemRandom().sample(range(1 << 24), 50)
        jobs = await asyncio.gather(*(comfy.submit(picture(value=shade)) for shade in shades))
        streams = await asyncio.gather(*(collect(job) for job in jobs))
        for job, events, shade in zip(jobs, streams, shades, strict=True):
            assert {event.prompt_id for event in events} == {job.prompt_id}
            assert isinstance(events[-1], Completed)
            assert sum(isinstance(event, Completed | Started | Queued) for event in events) == 3
            (image,) = (await job).images
            pixel = opened(await image.read()).convert("RGB").getpixel((0, 0))
            assert pixel == (shade >> 16, shade >> 8 & 255, shade & 255)

    async def test_map_with_a_results_file(self, anywhere: Place, tmp_path: Path) -> None:
        """A second process takes up where the first was left, and runs nothing twice."""
        graphs = [picture() for _ in range(6)]
        path = tmp_path / "run.jsonl"
        async with anywhere.session() as comfy, comfy.map(graphs, limit=2, results=path) as finished:
            async for job in finished:
                assert job.status == "completed"
                break
        async with anywhere.session() as comfy, comfy.map(graphs, limit=6, results=path) as finished:
            done = {job.index: await job async for job in finished}
            assert sorted(done) == [0, 1, 2, 3, 4, 5]
            assert len({result.prompt_id for result in done.values()}) == 6
            for result in done.values():
                assert (await result.images[0].read()).startswith(b"\x89PNG")

    async def test_attach(self, anywhere: Place, comfy: ComfySession) -> None:
        """Another session picks up a job that runs, and one that has ended."""
        job = await comfy.submit(long_chain(4))
        async with anywhere.session() as other:
            mirror = await other.attach(job.ref)
            result = await mirror
            again = await (await other.attach(job.prompt_id))
            assert opened(await again.images[0].read()).size == (1536, 1536)
        whole = await job
        names = [[file.filename for file in each.images] for each in (result, again, whole)]
        assert names[0] == names[1] == names[2]


class TestEvents:
    """What is told meanwhile."""

    async def test_a_life(self, comfy: ComfySession) -> None:
        """Queued first, the output with its node, one end."""
        async with comfy.stream(picture()) as job:
            events = await collect(job)
        assert isinstance(events[0], Queued)
        told = [event for event in events if not isinstance(event, QueuePosition)]
        assert isinstance(told[1], Started)
        assert isinstance(events[-1], Completed)
        assert all(event.prompt_id == job.prompt_id for event in events)
        (shown,) = [event for event in events if isinstance(event, NodeFinished) and event.output]
        (image,) = (await job).images
        assert shown.node == image.node == "2"
        assert shown.output is not None
        assert [row["filename"] for row in shown.output["images"]] == [image.filename]

    async def test_progress(self, anywhere: Place, comfy: ComfySession) -> None:
        """Nodes come while it runs, and the fraction never falls."""
        job = await comfy.submit(long_chain(30 if anywhere.fake is None else 8))
        fractions, told = [], []
        async for event in job:
            fractions.append(job.progress.fraction)
            told += [event.node] if isinstance(event, Progress) else []
        assert told
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0

    async def test_previews(self, anywhere: Place, comfy: ComfySession) -> None:
        """Pictures of work in progress come decoded; a node that shows nothing else is missed."""
        graph = long_chain(20)
        graph["4"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["100", 0]}}
        if anywhere.fake is not None:
            anywhere.fake.hold()
        job = await comfy.submit(graph)
        reading = asyncio.create_task(collect(job))
        if anywhere.fake is not None:
            await eventually(lambda: engine_of(comfy).streams.live)
            anywhere.fake.release()
        previews = [event for event in await reading if isinstance(event, Preview)]
        assert previews
        assert {event.prompt_id for event in previews} == {job.prompt_id}
        assert opened(previews[0].image).size == (1024, 1024)
        result = await job
        assert "2" in {file.node for file in result.files}
        assert result.missing == ("4",)

    async def test_places_in_the_queue(self, anywhere: Place, comfy: ComfySession) -> None:
        """Who waits is told where."""
        async with anywhere.busy(comfy) as running:
            waiting = [await comfy.submit(picture()) for _ in range(2)]
            readers = [asyncio.create_task(collect(job)) for job in waiting]
            await eventually(lambda: all(job.queue_position is not None for job in waiting))
            places = [job.queue_position or 0 for job in waiting]
            assert places[0] < places[1]
            cancelling = asyncio.create_task(running.cancel())
            await asyncio.gather(*(job.cancel() for job in waiting))
        await asyncio.gather(cancelling, *readers)


class TestRefusals:
    """What is not taken."""

    async def test_a_failure(self, comfy: ComfySession) -> None:
        """Its node, class and message."""
        name = f"comfy_async_broken_{uuid.uuid4().hex[:8]}.png"
        broken = await comfy.files.upload(b"this is no picture", name=name)
        graph = picture()
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": broken}, "_meta": {"title": "Broken"}}
        job = await comfy.submit(graph)
        with pytest.raises(JobFailedError) as caught:
            await job
        error = caught.value
        assert (error.node, error.title, error.class_type) == ("1", "Broken", "LoadImage")
        assert error.exception_message
        assert job.status == "failed"

    async def test_rejected(self, comfy: ComfySession) -> None:
        """Each problem with node, input and value; nothing is left behind."""
        graph = picture()
        graph["1"]["inputs"] |= {"width": 0, "height": 99999}
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
        found = {(problem.node, problem.input): problem.type for problem in caught.value.problems}
        assert found["1", "width"] == "value_smaller_than_min"
        assert found["1", "height"] == "value_bigger_than_max"
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit({"1": {"class_type": "NoSuchNode", "inputs": {}}})
        assert caught.value.problems or "NoSuchNode" in str(caught.value)

    async def test_partly_invalid(self, place: Place) -> None:
        """The proxy says nothing of it; where a catalog is at hand, it is found before anything is sent."""
        async with place.session() as comfy:
            result = await comfy.run(half_valid())
            assert [file.node for file in result.files] == ["2"]
            assert result.missing == ("3",)
            with pytest.raises(JobError, match="it may have left these nodes out"):
                _ = result.images
            async with ComfySession(place.comfyui) as direct:
                catalog: NodeCatalog = await direct.nodes.catalog()
            comfy.nodes.use(catalog)
            with pytest.raises(PromptRejectedError, match="nothing was sent") as caught:
                await comfy.run(half_valid())
            assert {(problem.node, problem.input) for problem in caught.value.problems} == {("4", "width")}
            job = await comfy.submit(half_valid(), on_partial="keep")
            assert [file.node for file in (await job).images] == ["2"]

    async def test_what_it_does_not_have(self, comfy: ComfySession) -> None:
        """The queue of others, say: an error that says so."""
        with pytest.raises(UnsupportedError, match="queue"):
            await comfy.queue.snapshot()


class TestCancel:
    """Jobs are stopped."""

    async def test_while_pending_and_while_running(self, anywhere: Place, comfy: ComfySession) -> None:
        """`cancel()` answers with the true end, of one that waits and of one that runs."""
        await anywhere.demands_cancel()
        async with anywhere.busy(comfy) as running:
            waiting = await comfy.submit(picture())
            assert await waiting.cancel() == "cancelled"
            assert not [event for event in await collect(waiting) if isinstance(event, Started)]
            with pytest.raises(JobCancelledError):
                await waiting
            cancelling = asyncio.create_task(running.cancel())
            if anywhere.fake is not None:
                route = CANCEL.format(job_id=running.prompt_id)
                await anywhere.fake.wait_for(lambda books: any(path == route for _, path, _ in books.log))
        assert await cancelling == "cancelled"
        assert isinstance((await collect(running))[-1], Cancelled)

    async def test_a_block_that_is_left(self, anywhere: Place, comfy: ComfySession) -> None:
        """Leaving `stream` stops the job, and the next one runs at once."""
        await anywhere.demands_cancel()
        async with comfy.stream(long_chain()) as job:
            await first(job, Started)
        assert job.status == "cancelled"
        assert (await comfy.run(picture())).images


class TestBreakdowns:
    """What stands between us and the pictures goes away."""

    @pytest.mark.parametrize("remembers", [True, False])
    async def test_the_proxy_is_killed(self, place: Place, tmp_path: Path, remembers: bool) -> None:
        """And comes back, with what it knew and without: every job ends as it would have, and runs once."""
        state = tmp_path if remembers else None
        async with ApiProxy(place.comfyui, state=state) as proxy, place.beside(proxy).session() as comfy:
            before = await comfy.run(picture())
            async with place.busy(comfy) as running:
                jobs = [running, *[await comfy.submit(picture()) for _ in range(6)]]
                readers = [asyncio.create_task(collect(job)) for job in jobs]
                await eventually(lambda: engine_of(comfy).streams.live)
                await proxy.kill()
                await eventually(lambda: not engine_of(comfy).streams.live)
                await proxy.start()
            for job, events in zip(jobs, await asyncio.gather(*readers), strict=True):
                assert isinstance(events[-1], Completed)
                assert sum(isinstance(event, Started | Completed) for event in events) == 2
                assert (await (await job).images[0].read()).startswith(b"\x89PNG")
            if place.fake is not None:
                assert len(place.fake.books.runs) == 8
            if remembers:
                assert (await before.images[0].read()).startswith(b"\x89PNG")
            assert (await comfy.run(picture())).images

    async def test_the_proxy_is_killed_with_a_prompt(self, tmp_path: Path) -> None:
        """ComfyUI has taken it, and nobody knows under which id: that is said, and it is not sent again."""
        async with FakeComfy() as fake, ApiProxy(fake.url, state=tmp_path) as proxy:
            async with ComfySession(proxy.url, settings=Settings(clock=FastClock(10))) as comfy:
                answer = fake.faults.delay("POST", "/prompt", 30.0, after_effect=True)
                submitting = asyncio.create_task(comfy.submit(picture()))
                await fake.wait_for(lambda books: books.accepted)
                await proxy.kill()
                answer.cancel()
                await proxy.start()
                with pytest.raises(SubmitUnknownError):
                    await submitting
            assert len(fake.books.accepted) == 1

    async def test_comfyui_is_killed(self) -> None:
        """What had ended is held, what it lost is lost and retryable, and the session lives on."""
        server = OwnServer()
        await server.start()
        async with ApiProxy(f"http://127.0.0.1:{server.port}") as proxy:
            try:
                async with ComfySession(proxy.url, settings=Settings(clock=FastClock(4))) as comfy:
                    done = await comfy.run(picture())
                    jobs = [await comfy.submit(work) for work in lasting_work()]
                    await server.kill()
                    await server.start()
                    ends = await asyncio.gather(*jobs, return_exceptions=True)
                    lost = [end for end in ends if isinstance(end, BaseException)]
                    assert lost
                    assert all(isinstance(end, JobLostError) and end.retryable for end in lost)
                    assert all(job.done for job in jobs)
                    assert done.images
                    assert (await comfy.run(picture())).images
            finally:
                await server.kill()


async def test_a_token() -> None:
    """The proxy's token is the session's key; without it nothing is sent, and a wrong one is told."""
    async with before_fake(token="t0ken") as place:
        async with ComfySession(place.url, api_key="t0ken") as comfy:
            assert (await (await comfy.run(picture())).images[0].read()).startswith(b"\x89PNG")
        with pytest.raises(AuthError):
            async with ComfySession(place.url, api_key="an0ther", dialect="api-v2"):
                pass


async def test_quick_ones_of_a_late_history() -> None:
    """A stream that came too late says nothing more; the looks of a quiet socket are not waited for."""
    async with FakeComfy(history_delay=0.2) as fake, ApiProxy(fake.url) as proxy:
        async with ComfySession(proxy.url, settings=Settings(look_every=1000.0)) as comfy:
            for number in range(4):
                assert (await comfy.run(picture(value=number))).images


async def test_more_than_it_streams() -> None:
    """Twelve jobs at a gate: eight are told live, no stream more is asked for again and again."""
    async with before_fake() as place, place.session() as comfy:
        async with place.busy(comfy) as running:
            jobs = [running, *[await comfy.submit(picture()) for _ in range(11)]]
            readers = [asyncio.create_task(collect(job)) for job in jobs]
            await eventually(lambda: engine_of(comfy).streams.live == 8)
        assert all(isinstance(events[-1], Completed) for events in await asyncio.gather(*readers))
