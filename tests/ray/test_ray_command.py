"""A ComfyUI that a worker starts itself: as many as there is room for, and none outlives its owner."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_tools import painted
from session_tools import eventually, picture

from comfy_async import ConnectError, SessionClosedError
from comfy_async.ray import ComfyCommand, ComfyFleet, ComfyWorker
from comfy_async.ray._command import OwnServer
from comfy_async.ray._engine import room_on, wanted_of
from comfy_async.testing import FakeComfy

NO_GPU = {"num_gpus": 0}

# Notes each start; only the first one is slow, so that a job can be met in the middle of a step.
SERVE = """
import json, os, sys
with open("starts", "a") as starts:
    note = {"pid": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "port": sys.argv[1]}
    starts.write(json.dumps(note) + "\\n")
pace = "3600" if SLOW and len(open("starts").readlines()) == 1 else "0"
line = [sys.executable, "-m", "comfy_async.testing", "--port", sys.argv[1], "--step-seconds", pace]
os.execv(sys.executable, line)
"""


class Place:
    """A folder with a server's script, and what it notes."""

    def __init__(self, folder: Path) -> None:
        """Write the script."""
        self.folder = folder
        self.slow()

    def slow(self, first: bool = False) -> None:
        """Say whether the first server is slow."""
        (self.folder / "serve.py").write_text(SERVE.replace("SLOW", str(first)))

    def command(self, **options: Any) -> ComfyCommand:
        """Return how to start it."""
        return ComfyCommand(argv=[sys.executable, "serve.py", "{port}"], cwd=self.folder, **options)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """What each start has noted."""
        try:
            return [json.loads(line) for line in (self.folder / "starts").read_text().splitlines()]
        except FileNotFoundError:
            return []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder to serve from; whatever was started there has ended afterwards."""
    made = Place(tmp_path)
    yield made
    assert not [start for start in made.starts if lives(start["pid"])]


def lives(pid: int) -> bool:
    """Say whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sampled(seed: int) -> dict[str, Any]:
    """Return a graph with a sampler, whose steps take time."""
    return painted("v1-5-pruned-emaonly-fp16.safetensors", seed)


async def started(fleet: ComfyFleet, graph: dict[str, Any]) -> Any:
    """Submit a workflow and return its job when it runs."""
    job = await fleet.submit(graph)
    async for _ in job.events():
        if job.status == "running":
            return job
    raise AssertionError("it never ran")


def test_room() -> None:
    """What a worker takes of a machine, and how many have room there."""
    assert wanted_of({"num_gpus": 0.5, "num_cpus": None, "resources": {"big": 1}}) == {"GPU": 0.5, "big": 1.0}
    assert wanted_of({"num_gpus": 0, "num_cpus": 2, "memory": 10}) == {"CPU": 2.0, "memory": 10.0}
    there = {"CPU": 16.0, "GPU": 2.0, "big": 3.0}
    assert room_on(there, {"GPU": 1.0}) == 2
    assert room_on(there, {"GPU": 0.5, "big": 1.0}) == 3
    assert room_on(there, {"GPU": 4.0}) == 0
    assert room_on({"CPU": 64.0}, {"GPU": 1.0}) == 0
    assert room_on(there, {}) == 1


async def test_one_for_each_gpu(cluster: str, place: Place) -> None:
    """Ray gives each worker a GPU, which its ComfyUI sees; they end with the fleet."""
    async with ComfyFleet(place.command()) as fleet:
        await eventually(lambda: len(fleet.servers) == 2)
        assert {start["gpu"] for start in place.starts} == {"0", "1"}
        async with fleet.map([picture(color) for color in range(8)]) as finished:
            assert [job.status async for job in finished] == ["completed"] * 8
        pids = [start["pid"] for start in place.starts]
        assert len(pids) == 2
    await eventually(lambda: not any(map(lives, pids)))


async def test_a_fleet_grows(cluster: str, place: Place) -> None:
    """A worker that is added joins when its ComfyUI answers, and gets jobs."""
    async with ComfyFleet(place.command(), size=1, actor=NO_GPU) as fleet:
        assert len(fleet.servers) == 1
        await fleet.grow()
        await eventually(lambda: len(fleet.servers) == 2)
        async with fleet.map([picture(color) for color in range(8)], limit=4) as finished:
            ran = {job.ref["server"] async for job in finished}
        assert len(ran) == 2


async def test_room_is_waited_for(cluster: str, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that no machine has room for is said, and waits as Ray has it."""
    fleet = ComfyFleet(place.command(), actor={"num_gpus": 64})
    opening = asyncio.create_task(fleet.connect())
    await eventually(lambda: "no machine of the cluster has {'GPU': 64.0}" in caplog.text)
    assert not opening.done()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not place.starts


async def test_its_worker_is_killed(cluster: str, place: Place) -> None:
    """ComfyUI ends with it, the port is free again, and the job runs once more in the next life."""
    place.slow(first=True)
    async with ComfyFleet(place.command(), size=1, actor=NO_GPU) as fleet:
        job = await started(fleet, sampled(1))
        (first,) = place.starts
        about = await fleet.workers[0].about.remote()
        before = job.prompt_id
        os.kill(about.pid, signal.SIGKILL)
        assert (await job).images
        assert job.prompt_id != before
        assert not lives(first["pid"])
        assert len(place.starts) == 2
        told = [type(event).__name__ async for event in job]
        assert told.count("Disconnected") == told.count("Completed") == 1
        assert await (await job).images[0].read()
        second = place.starts[1]["pid"]
    await eventually(lambda: not lives(second))


async def test_its_comfyui_is_killed(cluster: str, place: Place) -> None:
    """The worker starts it again on its port; what it had lost runs again."""
    place.slow(first=True)
    async with ComfyFleet(place.command(), size=1, actor=NO_GPU) as fleet:
        job = await started(fleet, sampled(1))
        os.kill(place.starts[0]["pid"], signal.SIGKILL)
        assert (await job).images
        first, second = place.starts
        assert first["port"] == second["port"]
    await eventually(lambda: not lives(second["pid"]))


async def test_a_driver_takes_its_servers_along(cluster: str, place: Place) -> None:
    """A driver that is killed leaves no ComfyUI behind, and its results file knows what was lost."""
    results = place.folder / "run.jsonl"
    place.slow(first=True)
    order = {"folder": str(place.folder), "graphs": [sampled(1)], "results": str(results)}
    driver = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("fleet_driver.py")), cluster, json.dumps(order)),
        stdout=subprocess.DEVNULL,
    )
    await eventually(lambda: results.exists() and '"submitted"' in results.read_text())
    driver.kill()
    await driver.wait()
    await eventually(lambda: not lives(place.starts[0]["pid"]))
    async with ComfyFleet(place.command(), size=1, actor=NO_GPU) as fleet:
        async with fleet.map([sampled(1)], results=results) as finished:
            assert [(await job).images[0].filename async for job in finished]
        pid = place.starts[-1]["pid"]
    await eventually(lambda: not lives(pid))
    async with ComfyFleet(place.command(), size=1, actor=NO_GPU) as fleet:
        async with fleet.map([sampled(1)], results=results) as finished:
            (job,) = [job async for job in finished]
        result = await job
        with pytest.raises(SessionClosedError, match="ComfyUI with it"):
            await result.images[0].read()
        pid = place.starts[-1]["pid"]
    await eventually(lambda: not lives(pid))


async def test_a_fixed_port(place: Place) -> None:
    """It is waited for: the server of an earlier life may be ending, and is not taken for one's own."""
    async with FakeComfy() as other:
        worker = ComfyWorker(place.command(port=other.port, startup_seconds=0.2))
        with pytest.raises(ConnectError, match="in use"):
            await worker.about()
        assert not place.starts
        await worker.stop()
        server = OwnServer(place.command(port=other.port))
        starting = asyncio.create_task(server.start())
        await asyncio.sleep(0)
        assert not starting.done()
    await starting
    assert server.starts == 1
    await eventually(lambda: place.starts)
    await server.stop()


async def test_the_guard_is_killed(place: Place) -> None:
    """What it guards ends with it, and is started again."""
    server = OwnServer(place.command())
    await server.start()
    await eventually(lambda: place.starts)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await eventually(lambda: len(place.starts) == 2)
    assert not lives(place.starts[0]["pid"])
    await server.stop()


async def test_a_script_around_it(place: Place) -> None:
    """A shell that started ComfyUI in the background is ended with it."""
    line = f"trap '' TERM; {sys.executable} serve.py {{port}} & sleep 1000"
    server = OwnServer(ComfyCommand(argv=["sh", "-c", line], cwd=place.folder, stop_seconds=0.2))
    await server.start()
    await eventually(lambda: place.starts)
    await server.stop()


def test_where_it_listens() -> None:
    """What listens for everybody is dialled on its own machine."""
    assert OwnServer(ComfyCommand(argv=["x"], port=7, host="0.0.0.0")).url == "http://127.0.0.1:7"
    assert OwnServer(ComfyCommand(argv=["x"], port=7, host="::")).url == "http://[::1]:7"
    assert OwnServer(ComfyCommand(argv=["x"], port=7, host="::1")).url == "http://[::1]:7"
