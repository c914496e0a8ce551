"""What a gap in the stream may have swallowed: found again in the history, or named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from session_tools import PICTURE_LIVES, collect, eventually, first, lives, picture, steps

from comfy_async import (
    ComfySession,
    Completed,
    Disconnected,
    JobError,
    NodeStarted,
    PollingStarted,
    Preview,
    Reconnected,
    Settings,
    StatusChanged,
)
from comfy_async._client.session import engine_of
from comfy_async._session.link import Link
from comfy_async._transport.address import Address
from comfy_async._transport.auth import Auth
from comfy_async._transport.http import HttpClient
from comfy_async.events import BaseEvent
from comfy_async.testing import FakeComfy

QUICK = {"poll_min": 0.02, "poll_max": 0.05, "reconnect_first": 0.01, "reconnect_cap": 0.02}


def quick(fake: FakeComfy, **settings: Any) -> ComfySession:
    """Return a session that polls and redials without long pauses."""
    return fake.session(settings=Settings(**{**QUICK, **settings}))


def delivering() -> dict[str, Any]:
    """Return a graph whose only output goes through the socket."""
    graph = picture()
    graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
    return graph


async def test_a_socket_that_does_not_open_in_time(fake: FakeComfy) -> None:
    """The prompt is posted all the same, and its fate found by polling."""
    fake.faults.fail("GET", "/ws", "hang")
    async with quick(fake, hearing_seconds=0.1) as comfy:
        job = await comfy.submit(picture())
        events = await collect(job)
        assert isinstance(events[-1], Completed)
        assert events[-1].raw is None
        assert any(isinstance(event, PollingStarted) for event in events)
        assert [file.filename for file in (await job).images] == ["pic_00001_.png"]


async def test_images_of_the_socket_that_may_be_lost(fake: FakeComfy, tmp_path: Path) -> None:
    """They are named, and nobody takes the rest for everything."""
    async with quick(fake) as comfy:
        gate = fake.gate("SaveImageWebsocket")
        job = await comfy.submit(delivering())
        await gate.reached()
        fake.faults.refuse_upgrades(503)
        fake.faults.drop_sockets("cut")
        await first(job, Disconnected)
        gate.open()
        result = await job
        assert result.missing == ("2",)
        for use in (lambda: result.images, lambda: asyncio.run(result.save(tmp_path))):
            with pytest.raises(JobError, match="2"):
                await asyncio.to_thread(use)
        assert result.files == ()
        assert await result.save(tmp_path, allow_missing=True) == []


async def test_images_that_came_after_the_gap(fake: FakeComfy) -> None:
    """A drop before the delivering node begins loses nothing, and nothing is said to be lost."""
    async with quick(fake) as comfy:
        gate = fake.gate("EmptyImage")
        job = await comfy.submit(delivering())
        await gate.reached()
        fake.faults.drop_sockets("cut")
        await first(job, Reconnected)
        gate.open()
        result = await job
        assert result.missing == ()
        assert len(result.images) == 1
        assert len([event for event in await collect(job) if isinstance(event, Preview)]) == 1


async def test_the_history_never_comes(fake: FakeComfy) -> None:
    """A success that was heard after a gap is believed after a while."""
    graph = steps(fake, 2)
    async with quick(fake, history_seconds=0.2) as comfy:
        gate, late = fake.gate("Steps", step=1), fake.gate("history")
        job = await comfy.submit(graph)
        await gate.reached()
        fake.faults.drop_sockets("cut")
        await first(job, Reconnected)
        gate.open()
        result = await job
        assert job.status == "completed"
        assert result.texts == ("shown",)
        assert lives(await collect(job))[-1] == "Completed"
        late.open()


async def test_the_history_has_the_last_word(fake: FakeComfy) -> None:
    """After a gap the outputs are read there, also those that nobody heard of."""
    graph = steps(fake, 2)
    async with quick(fake) as comfy:
        gate = fake.gate("Steps", step=1)
        job = await comfy.submit(graph)
        await gate.reached()
        rule = fake.faults.refuse_upgrades(503)
        fake.faults.drop_sockets("cut")
        await first(job, Disconnected)
        gate.open()
        await fake.ended(job.prompt_id)
        rule.cancel()
        assert (await job).texts == ("shown",)
        names = lives(await collect(job))
        assert len(names) == len(set(names))
        assert names[-2:] == ["NodeFinished 2", "Completed"]
        assert job.progress.fraction == 1.0


async def test_an_output_that_the_gap_swallowed(fake: FakeComfy) -> None:
    """The end was heard, but not what a node showed meanwhile: the history has it."""
    graph = steps(fake, 1)
    fake.script(
        "Between", inputs={"value": "VALUE"}, outputs=["VALUE"], is_output=True, output={"text": ["unheard"]}
    )
    graph["3"] = {"class_type": "Between", "inputs": {"value": ["1", 0]}}
    graph["2"]["inputs"]["value"] = ["3", 0]
    async with quick(fake) as comfy:
        before, after = fake.gate("Between"), fake.gate("Show")
        job = await comfy.submit(graph)
        await before.reached()
        rule = fake.faults.refuse_upgrades(503)
        fake.faults.drop_sockets("cut")
        await first(job, Disconnected)
        before.open()
        await after.reached()
        rule.cancel()
        await first(job, Reconnected)
        after.open()
        assert set((await job).texts) == {"unheard", "shown"}
        names = lives(await collect(job))
        assert len(names) == len(set(names))
        assert {"NodeFinished 2", "NodeFinished 3", "Completed"} <= set(names)


async def test_the_poller_ends_with_the_jobs(fake: FakeComfy) -> None:
    """Nobody asks the server anything while nothing is open."""
    async with quick(fake, look_every=0.02) as comfy:
        job = await comfy.submit(steps(fake, 1))
        await job
        await eventually(lambda: not engine_of(comfy).poller.running)
        before = fake.books.requests.total()
        await asyncio.sleep(0.1)
        assert fake.books.requests.total() == before


async def test_a_frame_that_breaks_the_code_behind_ends_nothing(
    fake: FakeComfy, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader logs it and reads on."""
    heard: list[BaseEvent] = []
    up, two = asyncio.Event(), asyncio.Event()

    def take(event: BaseEvent) -> None:
        heard.append(event)
        if sum(isinstance(event, StatusChanged) for event in heard) == 3:
            two.set()
        if isinstance(event, StatusChanged):
            raise RuntimeError("a bug of ours")

    http = HttpClient(Address.parse(fake.url), auth=Auth())
    link = Link(http, "me", Settings())
    link.listener = SimpleNamespace(take=take, up=up.set, down=lambda reason: None, wanted=lambda: True)
    link.start()
    await up.wait()
    fake.core.announce_queue()
    fake.core.announce_queue()
    await two.wait()
    assert link.hearing
    assert "a bug of ours" in caplog.text
    await link.aclose()
    await http.aclose()
    assert link.state == "closed"


async def test_a_previewing_node_after_a_reconnect(fake: FakeComfy) -> None:
    """The stream goes on after a drop: no lifecycle event twice, none missing."""
    graph = steps(fake, 4)
    async with quick(fake) as comfy:
        gate = fake.gate("Steps", step=2)
        job = await comfy.submit(graph)
        await gate.reached()
        await first(job, NodeStarted)
        fake.faults.drop_sockets("reset")
        await first(job, Reconnected)
        gate.open()
        assert (await job).texts == ("shown",)
        names = lives(await collect(job))
        assert names == PICTURE_LIVES
        assert comfy.connection.reconnects == 1
