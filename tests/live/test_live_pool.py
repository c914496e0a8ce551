"""A pool over two ComfyUI servers: COMFY_LIVE_URLS, with commas; skipped without."""

from __future__ import annotations

import asyncio
import collections
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tcp_proxy import TcpProxy

from comfy_async import (
    ComfyPool,
    ComfySession,
    Completed,
    Disconnected,
    PromptRejectedError,
    Reconnected,
    Settings,
    Workflow,
)

URLS = [url.strip().rstrip("/") for url in os.environ.get("COMFY_LIVE_URLS", "").split(",") if url.strip()]

pytestmark = pytest.mark.skipif(len(URLS) < 2, reason="COMFY_LIVE_URLS names no two servers")


@pytest.fixture
async def proxies() -> AsyncIterator[list[TcpProxy]]:
    """A network that can be broken before each of two servers."""
    async with TcpProxy(URLS[0]) as one, TcpProxy(URLS[1]) as two:
        yield [one, two]


@pytest.fixture
def colors() -> list[int]:
    """Numbers that no cache knows, and by which the runs are found in the histories."""
    return random.sample(range(1 << 24), 24)


def graph(color: int, *, nodes: int = 4, size: int = 256) -> dict[str, Any]:
    """Return a chain of nodes that takes a while."""
    image = {"width": size, "height": size, "batch_size": 1, "color": color}
    made: dict[str, Any] = {"1": {"class_type": "EmptyImage", "inputs": image}}
    for number in range(2, nodes + 1):
        made[str(number)] = {"class_type": "ImageInvert", "inputs": {"image": [str(number - 1), 0]}}
    save = {"images": [str(nodes), 0], "filename_prefix": "comfy_async/pool"}
    made["save"] = {"class_type": "SaveImage", "inputs": save}
    return made


async def ran(colors: list[int]) -> list[collections.Counter[int]]:
    """Return how often each color came to a good end, by server, as their histories say."""
    found = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for url in URLS[:2]:
            history = (await client.get(f"{url}/history")).json()
            found.append(
                collections.Counter(
                    color
                    for entry in history.values()
                    if entry["status"]["status_str"] == "success"
                    and (color := entry["prompt"][2].get("1", {}).get("inputs", {}).get("color")) in colors
                )
            )
    return found


async def test_a_batch_on_both(colors: list[int], tmp_path: Path) -> None:
    """Each workflow runs once, both servers work, the pictures can be saved."""
    async with ComfyPool(URLS[:2]) as pool:
        async with pool.map([graph(color) for color in colors], results=tmp_path / "results.jsonl") as done:
            async for job in done:
                (path,) = await (await job).save(tmp_path / f"{job.index:03d}")
                assert path.read_bytes().startswith(b"\x89PNG")
        async with pool.map([graph(color) for color in colors], results=tmp_path / "results.jsonl") as again:
            assert [job.status async for job in again] == ["completed"] * len(colors)
    one, two = await ran(colors)
    assert one
    assert two
    assert set((one + two).values()) == {1}
    assert len(one + two) == len(colors)


async def test_a_server_that_vanishes_and_returns(colors: list[int], proxies: list[TcpProxy]) -> None:
    """Its jobs run elsewhere; the handle and the stream stay; later it works again."""
    urls = [proxy.url for proxy in proxies]
    async with ComfyPool(urls, away_seconds=3.0, settings=Settings(look_every=1.0)) as pool:
        async with pool.map([graph(color, nodes=40, size=512) for color in colors]) as done:
            jobs = []
            async for job in done:
                jobs.append(job)
                if len(jobs) == 3:
                    proxies[0].refusing = True
                    proxies[0].drop(sockets_only=False)
                if len(jobs) == 12:
                    proxies[0].refusing = False
        assert [job.status for job in jobs] == ["completed"] * len(colors)
        moved = 0
        for job in jobs:
            events = [event async for event in job]
            assert sum(event.terminal for event in events) == 1
            assert isinstance(events[-1], Completed)
            kinds = {type(event) for event in events}
            moved += {Disconnected, Reconnected} <= kinds
    one, two = await ran(colors)
    assert len(one + two) == len(colors)
    # What ran twice is what was given up for lost on a server that could not be asked.
    assert sum((one + two).values()) <= len(colors) + 2


async def test_a_job_that_runs_where_nobody_answers(colors: list[int], proxies: list[TcpProxy]) -> None:
    """A short absence is waited for: nothing runs twice."""
    async with ComfyPool([proxy.url for proxy in proxies], away_seconds=60.0) as pool:
        jobs = [await pool.submit(graph(color, nodes=20, size=512)) for color in colors[:4]]
        for proxy in proxies:
            proxy.refusing = True
            proxy.drop(sockets_only=False)
        await asyncio.sleep(2.0)
        for proxy in proxies:
            proxy.refusing = False
        for job in jobs:
            assert (await job).images
    one, two = await ran(colors[:4])
    assert sum((one + two).values()) == 4


async def test_files_and_refusals(colors: list[int], tmp_path: Path) -> None:
    """A picture is sent to whichever server runs it; what neither has is refused by its own words."""
    async with ComfyPool(URLS[:2]) as pool:
        result = await pool.run(graph(colors[0]))
        (picture,) = await result.save(tmp_path)
        flow = graph(colors[1])
        flow["1"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
        loaded = Workflow.load(flow)
        jobs = []
        for n in range(4):
            prefix = f"comfy_async/pool{colors[n]}"
            with_file = loaded.with_inputs({("1", "image"): picture, ("save", "filename_prefix"): prefix})
            jobs.append(await pool.submit(with_file))
        for job in jobs:
            assert (await job).images
        assert {job.ref["server"] for job in jobs} == set(URLS[:2])
        with pytest.raises(PromptRejectedError) as caught:
            await pool.run({"1": {"class_type": "NoSuchNodeAnywhere", "inputs": {}}})
        assert caught.value.problems[0].class_type == "NoSuchNodeAnywhere"
        assert {server.state for server in pool.servers} == {"up"}


async def test_add_drain_attach(colors: list[int]) -> None:
    """Servers come and go under way; a session picks up what the pool submitted."""
    async with ComfyPool(URLS[:1], limit=1) as pool:
        first = await pool.submit(graph(colors[0], nodes=20, size=512))
        waiting = asyncio.create_task(pool.submit(graph(colors[1])))
        pool.add(URLS[1])
        second = await waiting
        draining = asyncio.create_task(pool.drain(URLS[0]))
        assert (await first).images
        await draining
        assert [server.url for server in pool.servers] == [URLS[1]]
        assert await (await first).images[0].read()
        assert (await second).images
        async with ComfySession(second.ref["server"]) as comfy:
            assert (await (await comfy.attach(second.ref))).images
