"""A ComfyUI behind a bad network: COMFY_LIVE_URL, or FakeComfy where there is none.

COMFY_LIVE_COMMAND, with `{port}` in it, starts a ComfyUI of the test's own, for kill and restart.
"""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tcp_proxy import TcpProxy
from websockets.asyncio.client import connect

from comfy_async import (
    ComfySession,
    Completed,
    ConnectError,
    Disconnected,
    Job,
    JobLostError,
    NodeStarted,
    Queued,
    Reconnected,
    Settings,
    Started,
    TransportError,
    Workflow,
)
from comfy_async.testing import FakeComfy

FAKE = f"{shlex.quote(sys.executable)} -m comfy_async.testing --port {{port}} --step-seconds 0.05"


@pytest.fixture
async def target() -> AsyncIterator[str]:
    """The server's URL."""
    url = os.environ.get("COMFY_LIVE_URL")
    if url:
        yield url
        return
    async with FakeComfy() as fake:
        yield fake.url


@pytest.fixture
async def proxy(target: str) -> AsyncIterator[TcpProxy]:
    """A bad network before it."""
    async with TcpProxy(target) as made:
        yield made


def graph(seed: int | None = None, *, nodes: int = 6) -> dict[str, Any]:
    """Return a chain of nodes that no cache knows and that takes a while on a real server."""
    color = random.randrange(1 << 24) if seed is None else seed
    made: dict[str, Any] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 256, "height": 256, "batch_size": 1, "color": color},
        }
    }
    for number in range(2, nodes + 1):
        made[str(number)] = {"class_type": "ImageInvert", "inputs": {"image": [str(number - 1), 0]}}
    made["9"] = {
        "class_type": "SaveImage",
        "inputs": {"images": [str(nodes), 0], "filename_prefix": "comfy_async/faults"},
    }
    return made


def session(proxy: TcpProxy, **settings: Any) -> ComfySession:
    """A session through the bad network."""
    return ComfySession(proxy.url, settings=Settings(**settings))


async def when(job: Job, kind: type, node: str | None = None) -> None:
    """Wait for an event of a job."""
    async for event in job.events():
        if isinstance(event, kind) and (node is None or getattr(event, "node", None) == node):
            return


async def sound(job: Job) -> None:
    """Hold a finished job's stream against its promises."""
    result = await job
    assert len(result.images) == 1
    assert (await result.images[0].read()).startswith(b"\x89PNG")
    events = [event async for event in job]
    assert sum(isinstance(event, Completed) for event in events) == 1
    assert isinstance(events[-1], Completed)
    started = [event.node for event in events if isinstance(event, NodeStarted)]
    assert len(started) == len(set(started))


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("moment", [(Queued, None), (Started, None), (NodeStarted, "3"), (NodeStarted, "9")])
async def test_a_drop_at_any_moment(proxy: TcpProxy, how: Any, moment: Any) -> None:
    """While pending, at the start, between nodes, while the last node runs."""
    async with session(proxy) as comfy:
        job = await comfy.submit(graph())
        await when(job, *moment)
        proxy.drop(how)
        await sound(job)


async def test_a_drop_between_success_and_history(proxy: TcpProxy) -> None:
    """The success was heard, and the connection goes before the history is there."""
    async with session(proxy) as comfy:
        job = await comfy.submit(graph())
        await when(job, Completed)
        proxy.drop(sockets_only=False)
        await sound(job)
        await sound(await comfy.submit(graph()))


async def test_drops_during_submit(proxy: TcpProxy) -> None:
    """Every connection is reset while prompts are posted: each runs once, or is said not to have."""

    async def rage() -> None:
        for _ in range(30):
            proxy.drop(sockets_only=False)
            await asyncio.sleep(0.02)

    async with session(proxy) as comfy:
        raging = asyncio.create_task(rage())
        jobs = await asyncio.gather(
            *(comfy.submit(graph(nodes=2)) for _ in range(12)), return_exceptions=True
        )
        await raging
        for job in jobs:
            if isinstance(job, BaseException):
                assert isinstance(job, TransportError)
            else:
                await sound(job)


async def test_a_half_open_socket(proxy: TcpProxy) -> None:
    """Nothing passes and nobody is told: the end comes by polling."""
    async with session(proxy) as comfy:
        job = await comfy.submit(graph())
        assert proxy.half_open() == 1
        await sound(job)


async def test_a_slow_network(proxy: TcpProxy) -> None:
    """Delays change nothing but the time."""
    proxy.delay = 0.05
    async with session(proxy) as comfy:
        await sound(await comfy.submit(graph(nodes=3)))


async def test_a_stalled_network(proxy: TcpProxy) -> None:
    """Everything stands still for longer than a request may take, then goes on."""
    async with session(proxy, request_seconds=0.5) as comfy:
        job = await comfy.submit(graph())
        proxy.stall()
        await asyncio.sleep(1.5)
        proxy.unstall()
        await sound(job)


async def test_the_deaf_socket(proxy: TcpProxy, target: str) -> None:
    """ComfyUI's own race: another socket under our client_id comes and goes, and ours hears no more."""
    async with session(proxy) as comfy:
        await sound(await comfy.submit(graph()))
        url = f"{target.replace('http', 'ws', 1)}/ws?clientId={comfy.client_id}"
        async with connect(url) as rival:
            await rival.recv()
        job = await comfy.submit(graph())
        await sound(job)
        # And it heals: the next job is heard live again.
        again = await comfy.submit(graph())
        await sound(again)


async def test_many_jobs_through_many_drops(proxy: TcpProxy) -> None:
    """Forty jobs while the socket drops again and again."""

    async def rage() -> None:
        while True:
            await asyncio.sleep(random.uniform(0.05, 0.4))
            proxy.drop(random.choice(["close", "reset"]))

    async with session(proxy) as comfy:
        raging = asyncio.create_task(rage())
        jobs = await asyncio.gather(*(comfy.submit(graph(nodes=3)) for _ in range(40)))
        await asyncio.sleep(1.0)
        raging.cancel()
        for job in jobs:
            await sound(job)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lasting_work() -> list[Any]:
    """Return workflows of which some cannot have ended by the time that the server is killed."""
    short: list[Any] = [graph(nodes=8) for _ in range(20)]
    if "COMFY_LIVE_COMMAND" in os.environ:
        return short
    # The stand-in is too fast but for its sampler: 200 steps of 50 ms.
    path = Path(__file__).resolve().parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"
    return [*short[:5], Workflow.load(path).with_inputs({"3.steps": 200}), *short[5:]]


class OwnServer:
    """A server process of the test's own."""

    def __init__(self) -> None:
        """Choose the command and a port."""
        self.port = free_port()
        self._command = os.environ.get("COMFY_LIVE_COMMAND", FAKE).format(port=self.port)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        devnull = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *shlex.split(self._command), stdout=devnull, stderr=devnull, start_new_session=True
        )
        while True:
            try:
                async with ComfySession(f"http://127.0.0.1:{self.port}"):
                    return
            except (ConnectError, TransportError):
                assert self._process.returncode is None, "the server did not start"
                await asyncio.sleep(0.2)

    async def kill(self) -> None:
        """Kill it and all that it started."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


async def test_kill_and_restart_of_the_server() -> None:
    """What it had finished is held, what it lost is lost and retryable, and the session lives on."""
    server = OwnServer()
    await server.start()
    try:
        async with ComfySession(f"http://127.0.0.1:{server.port}") as comfy:
            done = await comfy.submit(graph())
            await done
            jobs = [await comfy.submit(work) for work in lasting_work()]
            await server.kill()
            await asyncio.sleep(0.5)
            await server.start()
            ends = await asyncio.gather(*jobs, return_exceptions=True)
            for job, end in zip(jobs, ends, strict=True):
                assert job.done
                # How many had ended before the kill is the machine's affair.
                if isinstance(end, BaseException):
                    assert isinstance(end, JobLostError)
                    assert end.retryable
                    told = [event async for event in job]
                    assert any(isinstance(event, Disconnected) for event in told)
            assert any(isinstance(end, JobLostError) for end in ends)
            again = await comfy.submit(graph())
            await again
            assert again.status == "completed"
    finally:
        await server.kill()


async def test_a_reconnect_is_told(proxy: TcpProxy) -> None:
    """Disconnected and then Reconnected stand in the stream of a job that goes on."""
    async with session(proxy) as comfy:
        jobs = [await comfy.submit(graph()) for _ in range(15)]
        proxy.drop()
        for job in jobs:
            await job
        # Whoever was told of the end of the connection and lived on was told of its return.
        for job in jobs:
            kinds = [type(event) async for event in job]
            if Reconnected in kinds:
                assert Disconnected in kinds[: kinds.index(Reconnected)]
