"""Whatever dies, a job is picked up where it is, and runs again only when its ComfyUI has lost it."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray_tools import QUICK
from session_tools import eventually, lives, picture, seeded, steps

from comfy_async import (
    Completed,
    ConnectError,
    JobLostError,
    Progress,
    Reconnected,
    Workflow,
)
from comfy_async.ray import ComfyFleet

pytestmark = pytest.mark.usefixtures("cluster")

DRIVER = Path(__file__).with_name("fleet_driver.py")


async def kill_worker(fleet: ComfyFleet, number: int = 0) -> None:
    """Kill a worker's process."""
    about = await fleet.workers[number].about.remote()
    os.kill(about.pid, signal.SIGKILL)


async def hits(rule: Any, count: int) -> None:
    """Wait until a rule has been met so often."""
    await eventually(lambda: rule.hits >= count)


async def test_a_worker_is_killed_while_its_job_samples(fakes: Any) -> None:
    """The job goes on on its server; the next life of the worker hears it live, to its one end."""
    (fake,) = await fakes(1)
    graph = steps(fake, 6)
    gate = fake.gate("Steps", step=2)
    async with ComfyFleet(fake.url) as fleet:
        job = await fleet.submit(graph)
        seen: list[Any] = []
        async for event in job:
            seen.append(event)
            if isinstance(event, Progress) and event.value == 1:
                await kill_worker(fleet)
                # The next life has attached when it looks for the job's state.
                await eventually(lambda: fake.books.count("GET", "/api/jobs"))
                gate.open()
        assert (await job).texts == ("shown",)
    assert any(event.value == 5 for event in seen if isinstance(event, Progress))
    assert lives(seen) == [
        *("Queued", "Started", "NodesCached", "NodeStarted 1", "NodeFinished 1"),
        *("NodeStarted 2", "NodeFinished 2", "Completed"),
    ]
    assert [record.end for record in fake.books.accepted] == ["success"]


async def test_a_worker_is_killed_and_the_job_ends_meanwhile(team: Any) -> None:
    """Its end is read from the history."""
    async with team(files="bytes") as (fleet, fake):
        graph = steps(fake, 6)
        gate = fake.gate("Steps", step=2)
        job = await fleet.submit(graph)
        await gate.reached()
        await kill_worker(fleet)
        gate.open()
        assert (await job).texts == ("shown",)
        assert [type(event) async for event in job][-1] is Completed
    assert [record.end for record in fake.books.accepted] == ["success"]


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_worker_is_killed_while_it_posts(team: Any, arrived: bool) -> None:
    """The driver knows the id: the job is found if it arrived, and posted again if it did not."""
    async with team() as (fleet, fake):
        rule = fake.faults.fail("POST", "/prompt", "hang", count=1, after_effect=arrived)
        waiting = asyncio.create_task(fleet.submit(picture(1)))
        await hits(rule, 1)
        await kill_worker(fleet)
        assert (await (await waiting)).images
    assert [record.end for record in fake.books.accepted] == ["success"]


async def test_workers_are_killed_all_through_a_map(team: Any) -> None:
    """Each workflow has one end, and no server ran one twice."""
    async with team(2, limit=3) as (fleet, *servers):
        ends: list[int | None] = []
        async with fleet.map([picture(color) for color in range(30)]) as finished:
            async for job in finished:
                assert job.status == "completed"
                ends.append(job.index)
                if len(ends) in (5, 15):
                    await kill_worker(fleet, len(ends) // 10)
    assert sorted(ends) == list(range(30))  # type: ignore[type-var]
    ran = [record.end for fake in servers for record in fake.books.accepted]
    assert ran == ["success"] * 30


async def test_cancel_reaches_a_job_whose_worker_died(team: Any) -> None:
    """The next life of the worker cancels it."""
    async with team() as (fleet, fake):
        graph = steps(fake, 6)
        gate = fake.gate("Steps", step=2)
        job = await fleet.submit(graph)
        await gate.reached()
        await kill_worker(fleet)
        cancelling = asyncio.create_task(job.cancel())
        await fake.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()
        assert await cancelling == "cancelled"
    assert [record.end for record in fake.books.accepted] == ["interrupted"]


async def test_a_server_that_restarts_has_lost_its_jobs(team: Any) -> None:
    """They run again, here or elsewhere; what had ended does not."""
    async with team(limit=None) as (fleet, fake):
        graph = steps(fake, 3)
        await fleet.run(seeded(graph, 1))
        gate = fake.gate("Steps", step=2)
        job = await fleet.submit(seeded(graph, 2))
        lost = await gate.reached()
        gate.open()
        await fake.faults.restart()
        assert (await job).texts == ("shown",)
        assert job.prompt_id != lost
    assert [record.end for record in fake.books.accepted] == ["success", "lost", "success"]


async def test_a_server_restarts_during_a_map(team: Any) -> None:
    """What it had lost runs again, on either server; every workflow has one end."""
    async with team(2, limit=3) as (fleet, one, other):
        for fake in (one, other):
            graph = steps(fake, 3)
        gate = one.gate("Steps", step=2)
        ends: list[int] = []
        async with fleet.map([seeded(graph, seed) for seed in range(20)]) as finished:
            await gate.reached()
            await one.wait_for(lambda books: len(books.accepted) == 3)
            await one.faults.restart()
            gate.open()
            async for job in finished:
                assert (await job).texts == ("shown",)
                ends.append(job.index)
    assert sorted(ends) == list(range(20))
    count = collections.Counter(record.end for fake in (one, other) for record in fake.books.accepted)
    assert count == {"success": 20, "lost": 3}


async def test_a_server_that_never_comes_back(fakes: Any) -> None:
    """Its jobs run elsewhere after a time; a batch for which nobody is left does not wait for ever."""
    one, other = await fakes(2)
    for fake in (one, other):
        graph = steps(fake, 3)
    gate = one.gate("Steps", step=2)
    urls = [one.url, other.url]
    async with ComfyFleet(urls, away_seconds=5, session={"settings": QUICK}) as fleet:
        async with fleet.map([seeded(graph, seed) for seed in range(8)]) as finished:
            await gate.reached()
            await one.faults.go_down()
            assert [(await job).texts async for job in finished] == [("shown",)] * 8
        await other.faults.go_down()
        async with fleet.map([picture(1), picture(2)]) as finished:
            errors = [job.error async for job in finished]
    assert [type(error) for error in errors] == [ConnectError] * 2
    assert [record.end for record in other.books.accepted] == ["success"] * len(other.books.accepted)


async def test_a_post_without_an_answer_on_a_server_that_never_comes_back(fakes: Any) -> None:
    """Whether it has the job nobody can say any more: after a time it counts as lost, and runs elsewhere."""
    one, other = await fakes(2)
    one.faults.fail("POST", "/prompt", "hang")
    async with ComfyFleet([one.url, other.url], away_seconds=5, session={"settings": QUICK}) as fleet:
        async with fleet.map([picture(1), picture(2)]) as finished:
            await one.books.until(lambda books: books.requests[("POST", "/prompt")])
            await one.faults.go_down()
            assert [len((await job).images) async for job in finished] == [1, 1]
    assert len(other.books.accepted) == 2


async def test_the_events_of_a_worker_that_dies(team: Any) -> None:
    """The consumers are told that nobody follows the job, and when somebody does again."""
    async with team() as (fleet, fake):
        graph = steps(fake, 4)
        gate = fake.gate("Steps", step=2)
        job = await fleet.submit(graph)
        await gate.reached()
        await kill_worker(fleet)
        told: list[str] = []
        async for event in job:
            told.append(type(event).__name__)
            if isinstance(event, Reconnected):
                gate.open()
    assert told.index("Disconnected") < told.index("Reconnected") < told.index("Completed")


async def test_many_jobs_wait_for_one_next_life(team: Any) -> None:
    """However many a dead worker had: one question after it, and no worker is hired twice."""
    async with team(limit=30) as (fleet, fake):
        fake.hold()
        jobs = await asyncio.gather(*(fleet.submit(picture(color)) for color in range(30)))
        before = fleet.workers
        await kill_worker(fleet)
        await eventually(lambda: not fleet.servers)
        assert sum("_revive" in repr(task.get_coro()) for task in asyncio.all_tasks()) == 1
        fake.release()
        for job in jobs:
            assert (await job).images
        assert fleet.workers == before
    assert [record.end for record in fake.books.accepted] == ["success"] * 30


async def test_a_workflow_that_takes_its_server_down_is_given_up(team: Any) -> None:
    """After the fourth loss the job is lost."""
    async with team() as (fleet, fake):
        graph = steps(fake, 3)
        fake.gate("Steps", step=2)

        async def crash() -> None:
            for count in range(1, 5):
                await fake.wait_for(lambda books, count=count: books.started == count)
                await fake.faults.restart()

        job = await fleet.submit(graph)
        crashing = asyncio.create_task(crash())
        with pytest.raises(JobLostError):
            await job
        await crashing
    assert [record.end for record in fake.books.accepted] == ["lost"] * 4


async def test_a_driver_dies_and_is_started_again(cluster: str, team: Any, tmp_path: Path) -> None:
    """With the same results file: what ended is not asked for, what runs is attached to, the rest runs."""
    async with team(2) as (fleet, *servers):
        graphs: list[Any] = []
        for fake in servers:
            graph = steps(fake, 3)
            graphs = [seeded(graph, seed).to_api() for seed in range(12)]
        held = [fake.gate("Steps", step=2) for fake in servers]
        results = tmp_path / "run.jsonl"
        order = {"urls": [fake.url for fake in servers], "graphs": graphs, "results": str(results)}
        driver = await asyncio.create_subprocess_exec(
            *(sys.executable, str(DRIVER), cluster, json.dumps(order)),
            stdout=subprocess.PIPE,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
        assert driver.stdout is not None
        for gate in held:
            await gate.reached()
        driver.kill()
        await driver.wait()
        for fake in servers:
            await fake.wait_for(lambda books: books.sockets_now == 0)
        for gate in held:
            gate.open()
        async with fleet.map(list(map(Workflow.load, graphs)), results=results) as finished:
            ends = {job.index: (await job).texts async for job in finished}
        assert ends == dict.fromkeys(range(12), ("shown",))
        async with fleet.map(list(map(Workflow.load, graphs)), results=results) as finished:
            assert [job.status async for job in finished] == ["completed"] * 12
    ran = [record for fake in servers for record in fake.books.accepted]
    assert collections.Counter(record.end for record in ran) == {"success": 12}


async def test_a_job_on_a_server_that_left_the_fleet(fakes: Any, tmp_path: Path) -> None:
    """It is attached to there, and the server gets no new ones."""
    old, new = await fakes(2)
    results = tmp_path / "run.jsonl"
    graph = steps(old, 2)
    steps(new, 2)
    gate = old.gate("Steps", step=2)
    async with ComfyFleet(old.url) as fleet:
        async with fleet.map([graph], results=results) as finished:
            await gate.reached()
            await fleet.aclose()
            del finished
    gate.open()
    async with ComfyFleet(new.url) as fleet:
        async with fleet.map([graph, seeded(graph, 5)], results=results) as finished:
            assert [(await job).texts async for job in finished] == [("shown",)] * 2
        assert fleet.servers == [new.url]
    assert [len(fake.books.accepted) for fake in (old, new)] == [1, 1]


async def test_a_worker_that_ray_gave_up_is_replaced(fakes: Any) -> None:
    """Even one that was killed for good."""
    import ray

    (fake,) = await fakes(1)
    graph = steps(fake, 4)
    gate = fake.gate("Steps", step=2)
    async with ComfyFleet(fake.url) as fleet:
        job = await fleet.submit(graph)
        await gate.reached()
        ray.kill(fleet.workers[0], no_restart=True)
        gate.open()
        assert (await job).texts == ("shown",)
    assert [record.end for record in fake.books.accepted] == ["success"]


async def test_an_old_server_that_chooses_the_ids(team: Any) -> None:
    """A job whose answer nobody has heard is found by its mark."""
    async with team(server={"mode": "old"}) as (fleet, fake):
        rule = fake.faults.fail("POST", "/prompt", "hang", count=1, after_effect=True)
        waiting = asyncio.create_task(fleet.submit(picture(1)))
        await hits(rule, 1)
        await kill_worker(fleet)
        job = await waiting
        assert (await job).images
        assert job.prompt_id == fake.books.accepted[0].prompt_id
    assert [record.end for record in fake.books.accepted] == ["success"]
