"""Many workflows, a few at a time: order, failures, leaving, and going on after a crash."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from session_tools import fast, graph, lines_of

from comfy_async import (
    ComfyError,
    ComfyPool,
    ComfySession,
    ConnectError,
    JobError,
    JobFailedError,
    JobResult,
    PromptRejectedError,
    Settings,
    Workflow,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy, FastClock


@pytest.fixture
def server(server: FakeComfy) -> FakeComfy:
    """A server whose text comes with a picture."""
    output = {"text": ["shown"], "images": [{"filename": "x.png", "subfolder": "", "type": "output"}]}
    server.script("Show", inputs={"value": "VALUE"}, is_output=True, output=output)
    return server


async def test_all_end_and_the_index_tells_which(server: FakeComfy) -> None:
    """Every workflow gives one job, with its place, and its result."""
    async with fast(server) as comfy, comfy.map((graph(n) for n in range(20)), limit=4) as finished:
        found = {job.index: await job async for job in finished}
        assert sorted(i for i in found if i is not None) == list(range(20))
        assert all(isinstance(result, JobResult) for result in found.values())
    assert server.books.started == 20


async def test_at_most_limit_on_the_server_and_read_lazily(server: FakeComfy) -> None:
    """The iterable is read only when there is room, and never more than `limit` jobs are queued."""
    server.hold()
    taken = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal taken
        while True:
            taken += 1
            yield graph(taken)

    async with fast(server) as comfy:
        async with comfy.map(endless(), limit=3) as finished:
            await server.wait_for(lambda books: len(books.accepted) == 3)
            assert taken == 3
            server.release()
            async for job in finished:
                if job.index is not None and job.index >= 10:
                    break
        assert not engine_of(comfy).jobs.by_id
    assert taken < 50
    assert {end for record in server.books.accepted for end in [record.end]} <= {
        "success",
        "deleted",
        "interrupted",
    }


async def test_order(server: FakeComfy) -> None:
    """`ordered` gives them as they were given, else as they end."""
    async with fast(server) as comfy:
        gate = server.gate("Steps", step=1)
        flows = [graph(0), graph(1), graph(2)]
        async with comfy.map(flows, limit=3, ordered=True) as finished:
            await gate.reached()
            gate.open()
            assert [job.index async for job in finished] == [0, 1, 2]
        async with comfy.map([graph(5), graph(6)], limit=2, front=True) as finished:
            assert sorted([job.index or 0 async for job in finished]) == [0, 1]


async def test_async_iterables_and_empty_ones(server: FakeComfy) -> None:
    """An async generator works, and so does nothing at all."""

    async def flows() -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            yield graph(number)

    async with fast(server) as comfy:
        async with comfy.map(flows()) as finished:
            assert len([job async for job in finished]) == 3
        async with comfy.map([]) as finished:
            assert [job async for job in finished] == []
            assert finished.progress.fraction == 1.0


async def test_failures_raise_where_they_are_awaited(server: FakeComfy) -> None:
    """A failed and a refused workflow are jobs of their own; their siblings go on."""
    flows = [graph(0), graph(1, "Break"), graph(2, "NoSuchClass"), graph(3)]
    async with fast(server) as comfy, comfy.map(flows, limit=2) as finished:
        jobs = {job.index: job async for job in finished}
        assert (await jobs[0]).texts == (await jobs[3]).texts == ("shown",)
        with pytest.raises(JobFailedError, match="broken"):
            await jobs[1]
        with pytest.raises(PromptRejectedError):
            await jobs[2]
        assert [jobs[i].status for i in range(4)] == ["completed", "failed", "failed", "completed"]
        assert str(finished.progress).startswith("4/4 (2 failed)")


async def test_stop_at_the_first_error(server: FakeComfy) -> None:
    """`on_error="stop"` raises it from the loop, and cancels the others."""
    gate = server.gate("Steps", node="1", step=2)
    async with fast(server) as comfy:
        flows = [graph(n, "Break") for n in range(9)]
        async with comfy.map(flows, limit=3, on_error="stop") as finished:
            await gate.reached()
            gate.open()
            with pytest.raises(JobError):
                assert [job.status async for job in finished] == []
        assert not engine_of(comfy).jobs.by_id
    assert len(server.books.accepted) < 9


async def test_what_the_iterable_raises_comes_out(server: FakeComfy) -> None:
    """A ValueError of the user's stays a ValueError, and nothing is left on the server."""

    def flows() -> Iterator[dict[str, Any]]:
        yield graph(1)
        raise ValueError("mine")

    async with fast(server) as comfy:
        async with comfy.map(flows(), limit=1) as finished:
            with pytest.raises(ValueError, match="mine"):
                assert [job async for job in finished] == []
        assert not engine_of(comfy).jobs.by_id


async def test_leaving_the_block_cancels_what_is_open(server: FakeComfy) -> None:
    """Running and waiting jobs alike, whether left by an error or a cancelled task."""
    gate = server.gate("Steps", step=1)

    async def batch(comfy: ComfySession) -> None:
        async with comfy.map([graph(n) for n in range(6)], limit=4) as finished:
            async for _ in finished:
                raise AssertionError("nothing can have ended")

    async with fast(server) as comfy:
        task = asyncio.create_task(batch(comfy))
        await server.wait_for(lambda books: len(books.accepted) == 4)
        await gate.reached()
        task.cancel()
        await server.wait_for(lambda books: any(record.interrupts for record in books.accepted))
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.idle()
        assert not engine_of(comfy).jobs.by_id
    assert [record.end for record in server.books.accepted].count("success") == 0
    assert len(server.books.accepted) == 4


async def test_a_map_outside_its_block(server: FakeComfy) -> None:
    """Iterating without `async with` says so instead of running nothing."""
    async with fast(server) as comfy:
        with pytest.raises(RuntimeError, match="async with"):
            assert [job async for job in comfy.map([graph(1)])] == []


@pytest.mark.parametrize("options", [{"limit": 0}, {"on_error": "explode"}])
async def test_senseless_options(server: FakeComfy, options: Any) -> None:
    """A clear error before anything is sent."""
    async with fast(server) as comfy:
        with pytest.raises(ValueError, match=next(iter(options))):
            comfy.map([], **options)


async def test_a_server_that_is_away_is_waited_for(server: FakeComfy) -> None:
    """Nothing was sent, so the workflow waits; with `away_seconds` it fails in the end."""
    async with fast(server) as comfy:
        await server.faults.go_down()
        async with comfy.map([graph(1)]) as finished:
            await comfy.settings.clock.sleep(5.0)
            await server.faults.come_up()
            assert [job.status async for job in finished] == ["completed"]
    hurried = Settings(clock=FastClock(10), away_seconds=5.0)
    async with ComfySession(server.url, settings=hurried) as comfy:
        await server.faults.go_down()
        async with comfy.map([graph(1)]) as finished:
            jobs = [job async for job in finished]
        with pytest.raises(ConnectError):
            await jobs[0]
        await server.faults.come_up()


async def test_what_was_finished_is_not_run_again(server: FakeComfy, tmp_path: Path) -> None:
    """The results file has the outputs of completed jobs, and the errors of failed ones."""
    path = tmp_path / "sub" / "results.jsonl"
    flows = [graph(0), graph(1, "Break"), graph(2)]
    async with fast(server) as comfy, comfy.map(flows, results=path) as finished:
        assert len([job async for job in finished]) == 3
    before = server.books.started
    async with fast(server) as comfy, comfy.map([*flows, graph(3)], results=path, ordered=True) as finished:
        jobs = [job async for job in finished]
        assert [job.status for job in jobs] == ["completed", "failed", "completed", "completed"]
        result = await jobs[0]
        assert result.texts == ("shown",)
        assert result.files[0].filename == "x.png"
        with pytest.raises(JobFailedError, match="broken"):
            await jobs[1]
    assert server.books.started == before + 1


async def test_what_was_lost_is_run_again(server: FakeComfy, tmp_path: Path) -> None:
    """A job that was under way when its server forgot it runs again, once."""
    path = tmp_path / "results.jsonl"
    server.hold()
    async with fast(server) as comfy:
        batch = comfy.map([graph(0)], results=path)
        await batch.__aenter__()
        await server.wait_for(lambda books: len(books.accepted) == 1)
        await comfy.aclose()
        await batch.__aexit__(None, None, None)
    await server.faults.restart(history=False)
    server.release()
    async with fast(server) as comfy, comfy.map([graph(0)], results=path) as finished:
        assert [job.status async for job in finished] == ["completed"]
    assert server.books.started == 1


async def test_a_file_that_is_something_else(server: FakeComfy, tmp_path: Path) -> None:
    """It is not touched, and the line is named; half a line at the end is what a crash leaves."""
    other = tmp_path / "notes.txt"
    other.write_text("hello\nworld\n")
    async with fast(server) as comfy:
        with pytest.raises(ValueError, match="line 1: this is no results file"):
            async with comfy.map([], results=other):
                pass
        assert other.read_text() == "hello\nworld\n"
        cut = tmp_path / "cut.jsonl"
        cut.write_text('{"index": 0, "key": "k", "sta')
        async with comfy.map([graph(0)], results=cut) as finished:
            assert [job.status async for job in finished] == ["completed"]
    assert all(json.loads(line) for line in cut.read_text().splitlines())


BATCH = """
import asyncio, sys
from comfy_async import ComfySession

def graph(n):
    return {"1": {"class_type": "Steps", "inputs": {"seed": n}},
            "2": {"class_type": "Show", "inputs": {"value": ["1", 0]}}}

async def main():
    async with ComfySession(sys.argv[1]) as comfy:
        async with comfy.map(map(graph, range(30)), limit=4, results=sys.argv[2]) as finished:
            async for job in finished:
                print(job.index, job.status, (await job).texts[0], flush=True)

asyncio.run(main())
"""


async def test_a_killed_batch_goes_on(server: FakeComfy, tmp_path: Path) -> None:
    """SIGKILL in the middle, twice: in the end every workflow has run exactly once."""
    path = str(tmp_path / "results.jsonl")
    command = ["-c", BATCH, server.url, path]
    await lines_of(*command, killed_after=5)
    await lines_of(*command, killed_after=14)
    seen = await lines_of(*command)
    assert sorted(int(line.split()[0]) for line in seen) == list(range(30))
    assert {line.partition(" ")[2] for line in seen} == {"completed shown"}
    await server.idle()
    assert server.books.started == 30


@pytest.mark.parametrize("kind", ["session", "pool"])
@pytest.mark.parametrize("results", [False, True])
async def test_a_file_that_is_not_there(fake: FakeComfy, tmp_path: Path, kind: str, results: bool) -> None:
    """It is the failure of the workflow that names it, and no verdict: the others run, and it may come."""
    face = tmp_path / "face.png"
    flow = Workflow.load(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
    )
    there = picture_file(tmp_path / "there.png")
    flows = [flow.with_inputs({"1.image": face}), flow.with_inputs({"1.image": there})]
    options: dict[str, Any] = {"results": tmp_path / "r.jsonl"} if results else {}

    async def run() -> list[str]:
        async with fake.session() if kind == "session" else ComfyPool([fake.url]) as comfy:
            async with comfy.map(flows, ordered=True, **options) as finished:
                jobs = [job async for job in finished]
            if jobs[0].status == "failed":
                with pytest.raises(ComfyError, match=r"cannot be read.*face\.png"):
                    await jobs[0]
            return [job.status for job in jobs]

    assert await run() == ["failed", "completed"]
    picture_file(face)
    assert await run() == ["completed"] * 2


async def test_a_value_that_is_no_picture(comfy: ComfySession) -> None:
    """It is the failure of its own workflow too."""
    flow = Workflow.load(
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
    )
    values = [np.zeros((3, 8, 8), np.float32), np.zeros((8, 8, 3), np.uint8)]
    async with comfy.map([flow.with_inputs({"1.image": one}) for one in values], ordered=True) as finished:
        jobs = [job async for job in finished]
    assert [job.status for job in jobs] == ["failed", "completed"]
    with pytest.raises(ComfyError, match=r"node 1 .*pass `array\.transpose\(1, 2, 0\)`"):
        await jobs[0]


def picture_file(path: Path) -> Path:
    """Write a small picture."""
    Image.new("RGB", (8, 8)).save(path)
    return path
