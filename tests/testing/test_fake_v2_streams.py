"""API v2's event streams: what they tell, how they are written, and how they go wrong."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from bare_client import sampler_graph
from v2_fake import client
from v2_scenarios import image_graph

from comfy_async.testing import ApiV2, FakeComfy

JOBS = "/api/v2/jobs"
Told = tuple[str, Any]


def parsed(text: str) -> Iterator[Told]:
    """Yield the events of a stream, read as the standard has it; comments are no events."""
    name, data = "", list[str]()
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield name or "message", json.loads("\n".join(data)) if "{" in data[0] else data
            name, data = "", []


async def submit(http: httpx.AsyncClient, graph: Any = None) -> dict[str, Any]:
    """Submit a job that is taken."""
    found: dict[str, Any] = (await http.post(JOBS, json={"workflow": graph or image_graph()})).json()
    return found


class Heard:
    """A stream that is read in a task.

    Attributes:
        pieces: What came, as it came.
        error: How it broke, None for an end in good order.
    """

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self.pieces: list[bytes] = []
        self.error: Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self.news = asyncio.Event()

    async def read(self, answer: httpx.Response) -> None:
        """Read to the end."""
        try:
            async for piece in answer.aiter_raw():
                self.pieces.append(piece)
                self.news.set()
        except httpx.TransportError as error:
            self.error = error

    async def end(self) -> list[Told]:
        """Wait for the end, and return all events."""
        assert self.task is not None
        await self.task
        return self.events

    @property
    def text(self) -> str:
        """What came so far."""
        return b"".join(self.pieces).decode()

    @property
    def events(self) -> list[Told]:
        """The events so far."""
        return list(parsed(self.text))

    async def until(self, part: str) -> None:
        """Wait until something has come."""
        while part not in self.text:
            self.news.clear()
            await self.news.wait()


@asynccontextmanager
async def follow(http: httpx.AsyncClient, job: dict[str, Any]) -> AsyncIterator[Heard]:
    """Follow a job inside a block."""
    heard = Heard()
    async with http.stream("GET", job["urls"]["events"]) as answer:
        assert answer.status_code == 200, await answer.aread()
        heard.task = asyncio.create_task(heard.read(answer))
        yield heard
        heard.task.cancel()
        await asyncio.gather(heard.task, return_exceptions=True)


def names(events: list[Told]) -> list[str]:
    """Return the names of events, those in a row once."""
    return [name for name, _ in itertools.groupby(name for name, _ in events)]


async def test_a_job_told_from_its_place_in_the_queue_to_its_output() -> None:
    """Places, progress over the whole graph, the output as it comes, one end."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.hold()
        first, job = await submit(http, image_graph(1)), await submit(http)
        async with follow(http, job) as heard:
            await heard.until("queue_position")
            await http.post(first["urls"]["cancel"])
            await heard.until('"queue_position":1')
            fake.release()
            events = await heard.end()
        statuses = [data for name, data in events if name == "status"]
        assert statuses == [
            {"status": "queued", "queue_position": 2},
            {"status": "queued", "queue_position": 1},
            {"status": "running"},
            {"status": "succeeded"},
        ]
        assert names(events) == ["status", "progress", "output", "progress", "status"]
        values = [data["value"] for name, data in events if name == "progress"]
        assert values == sorted(values)
        assert values[-1] == 1.0
        told = next(data for name, data in events if name == "output")
        done = (await http.get(job["urls"]["self"])).json()
        assert told["id"] == done["outputs"][0]["id"]


async def test_late_clients_get_where_it_stands() -> None:
    """Status, progress and the latest preview; after the end the last status alone."""
    async with FakeComfy(dialect="api-v2", preview_method="auto") as fake, client(fake) as http:
        with fake.gate("KSampler", step=3) as gate:
            job = await submit(http, sampler_graph())
            await gate.reached()
            async with follow(http, job) as heard:
                await heard.until("event: preview")
                assert names(heard.events) == ["status", "progress", "preview"]
                preview = heard.events[2][1]
                assert base64.b64decode(preview["data_base64"]).startswith(b"\xff\xd8")
                assert (preview["node_id"], preview["content_type"]) == ("3", "image/jpeg")
        await fake.ended(job["id"])
        async with follow(http, job) as heard:
            assert await heard.end() == [("status", {"status": "succeeded"})]


async def test_cancelling_is_told_in_two_steps() -> None:
    """Canceling while it runs on, then canceled; a waiting job is canceled at once."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        with fake.gate("ImageInvert") as gate:
            job = await submit(http)
            await gate.reached()
            waiting = await submit(http, image_graph(2))
            async with follow(http, job) as heard, follow(http, waiting) as other:
                await heard.until("running")
                await other.until("queued")
                await http.post(waiting["urls"]["cancel"])
                assert (await other.end())[-1] == ("status", {"status": "canceled"})
                await http.post(job["urls"]["cancel"])
                await heard.until("canceling")
                gate.open()
                assert (await heard.end())[-1] == ("status", {"status": "canceled"})


async def test_a_proxy_says_nothing_of_what_was_dequeued() -> None:
    """A waiting job's stream hears of its end at its next keepalive only, and calls it expired."""
    manners = ApiV2.proxy(keepalive_seconds=0.2)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        async with follow(http, job) as heard:
            await heard.until("queued")
            await http.post(job["urls"]["cancel"])
            assert await heard.end() == [
                ("status", {"status": "queued", "queue_position": 1}),
                ("status", {"status": "expired"}),
            ]
            assert ": keepalive" in heard.text


async def test_a_proxy_deafens_the_streams_of_one_job() -> None:
    """The second stream of a job takes the first one's ear, and its end takes both."""
    manners = ApiV2.proxy(keepalive_seconds=0.2)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        with fake.gate("ImageInvert") as gate:
            job = await submit(http)
            await gate.reached()
            async with follow(http, job) as first, follow(http, job) as second:
                await first.until("progress")
                await second.until("progress")
                gate.open()
                await fake.ended(job["id"])
                assert names(await second.end()) == ["status", "progress", "status", "output"]
                assert len([1 for name, _ in await first.end() if name == "progress"]) == 1
                assert ": keepalive" in first.text


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("multiline", [False, True])
async def test_however_it_is_written(newline: Any, multiline: bool) -> None:
    """Line ends of three kinds, data in several lines, bytes one by one, strangers between: one meaning."""
    manners = ApiV2(newline=newline, multiline=multiline, piece_bytes=1, strange_events=True)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        with fake.gate("ImageInvert") as gate:
            job = await submit(http)
            await gate.reached()
            async with follow(http, job) as heard:
                await heard.until("progress")
                gate.open()
                events = await heard.end()
    known = [(name, data) for name, data in events if name in ("status", "progress", "output")]
    assert names(known) == ["status", "progress", "output", "progress", "status"]
    assert {"of_tomorrow", "log", "message"} <= {name for name, _ in events}
    assert newline * 2 in heard.text
    assert {len(piece) for piece in heard.pieces} == {1} or len(heard.pieces) > 100
    assert (f"{newline}data: {{{newline}" in heard.text) == multiline


async def test_progress_is_throttled() -> None:
    """So often and no more."""
    manners = ApiV2(throttle_seconds=60)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        job = await submit(http, sampler_graph(20))
        async with follow(http, job) as heard:
            fake.release()
            events = await heard.end()
    assert len([1 for name, _ in events if name == "progress"]) == 1


async def test_no_more_streams_than_are_allowed() -> None:
    """One more is refused with a time to wait; a client that has left makes room."""
    manners = ApiV2(max_streams=1)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        async with follow(http, job):
            refused = await http.get(job["urls"]["events"])
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "too_many_streams"
            assert refused.headers["Retry-After"] == "5"
            assert (await http.get(job["urls"]["self"])).status_code == 200
        assert fake.core.v2 is not None
        await fake.wait_for(lambda _books: not fake.core.v2 or not fake.core.v2.streams)
        async with follow(http, job) as heard:
            await heard.until("queued")
        manners.streams = False
        refused = await http.get(job["urls"]["events"])
        assert (refused.status_code, refused.json()["error"]["code"]) == (501, "not_implemented")


@pytest.mark.parametrize("how", ["end", "cut", "reset"])
async def test_streams_are_cut(how: Any) -> None:
    """Now, or after so many events; the job goes on, and the next stream has it all."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        with fake.gate("ImageInvert") as gate:
            job = await submit(http)
            await gate.reached()
            async with follow(http, job) as heard:
                await heard.until("progress")
                assert fake.faults.cut_streams(how, job_id="another") == 0
                assert fake.faults.cut_streams(how) == 1
                assert names(await heard.end()) == ["status", "progress"]
                assert (heard.error is None) == (how == "end")
            fake.faults.cut_streams(how, after=1)
            async with follow(http, job) as heard:
                assert names(await heard.end()) == ["status"]
            async with follow(http, job) as heard:
                gate.open()
                assert (await heard.end())[-1] == ("status", {"status": "succeeded"})


async def test_streams_stall() -> None:
    """Open and silent, with comments or without; then everything comes at once."""
    manners = ApiV2(keepalive_seconds=0.05)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        fake.faults.stall_streams(keepalives=True)
        async with follow(http, job) as heard:
            await heard.until(": keepalive")
            fake.faults.stall_streams(keepalives=False)
            fake.release()
            await fake.ended(job["id"])
            assert heard.events == []
            fake.faults.unstall_streams()
            assert (await heard.end())[-1] == ("status", {"status": "succeeded"})


async def test_an_end_without_a_word() -> None:
    """A stream may end in good order and say nothing of the job's end."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.hold()
        fake.faults.silence_ends()
        job = await submit(http)
        async with follow(http, job) as heard:
            await heard.until("queued")
            fake.release()
            events = await heard.end()
        assert [data["status"] for name, data in events if name == "status"] == ["queued", "running"]
        assert heard.error is None


async def test_an_early_end() -> None:
    """A stream that ends with the run's last event may call the job running still."""
    manners = ApiV2.proxy(early_ends=True)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        async with follow(http, job) as heard:
            await heard.until("queued")
            with fake.gate("history"):
                fake.release()
                assert (await heard.end())[-1] == ("status", {"status": "running"})
        await fake.ended(job["id"])


async def test_anything_can_be_sent() -> None:
    """Bytes as they are, and events of any name."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        async with follow(http, job) as heard:
            await heard.until("queued")
            assert fake.faults.send_to_streams("event: progress\ndata: {not json\n\n") == 1
            assert fake.faults.send_event("billing", {"seconds": 3}) == 1
            await heard.until("{not json")
            await heard.until('event: billing\ndata: {"seconds":3}')


async def test_a_server_that_goes_down_cuts_its_streams() -> None:
    """The connection breaks; when it is back the job is told as expired."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        fake.hold()
        job = await submit(http)
        async with follow(http, job) as heard:
            await heard.until("queued")
            await fake.faults.restart()
            await heard.end()
            assert heard.error is not None
        async with follow(http, job) as heard:
            assert await heard.end() == [("status", {"status": "expired"})]


async def test_the_proxys_progress_is_of_one_node() -> None:
    """It knows no total: a node's own steps come as a fraction of one, then the nodes seen so far."""
    manners = ApiV2.proxy()
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        fake.hold()
        job = await submit(http, sampler_graph(4))
        async with follow(http, job) as heard:
            await heard.until("queued")
            fake.release()
            told = [data for name, data in await heard.end() if name == "progress"]
    values = [data["value"] for data in told]
    assert values != sorted(values)
    assert {0, 7} <= {data["nodes_total"] for data in told}
    assert all("current_node_class" not in data for data in told)
