"""Going on with a results file: what is known again, what is not, and how long the rest takes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from session_tools import fast, graph, picture

from comfy_async import BatchProgress, ComfyPool, ComfySession, Settings, Workflow
from comfy_async.testing import FakeComfy, FastClock

Maker = Callable[[FakeComfy], "ComfySession | ComfyPool"]


def pool(server: FakeComfy) -> ComfyPool:
    """A pool of one."""
    return ComfyPool([server.url], settings=Settings(clock=FastClock(10)))


both = pytest.mark.parametrize("client", [fast, pool], ids=["session", "pool"])


async def left_running(client: Maker, server: FakeComfy, flows: list[Any], path: Path) -> list[str]:
    """Begin a batch, end as a killed process does while its jobs wait, and return all ids."""
    server.hold()
    async with client(server) as comfy:
        batch = comfy.map(flows, results=path, limit=len(flows))
        await batch.__aenter__()
        await server.wait_for(lambda books: len(books.accepted) == len(flows))
        await comfy.aclose()
        await batch.__aexit__(None, None, None)
    return [record.prompt_id for record in server.books.accepted]


async def run_all(client: Maker, server: FakeComfy, flows: Iterable[Any], path: Path) -> list[str]:
    """Take a batch to its end."""
    async with client(server) as comfy, comfy.map(flows, results=path) as finished:
        return [job.status async for job in finished]


@both
async def test_seeds_drawn_anew_are_told(
    server: FakeComfy, tmp_path: Path, caplog: pytest.LogCaptureFixture, client: Maker
) -> None:
    """A results file that knows none of the workflows at their places is told, with what was left."""
    path = tmp_path / "r.jsonl"
    flow = Workflow.load(graph())
    orphans = await left_running(client, server, [flow.randomized(), flow.randomized()], path)
    server.release()
    assert not caplog.records
    assert await run_all(client, server, [flow.randomized(), flow.randomized()], path) == ["completed"] * 2
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("comfy_async", logging.WARNING)
    told = record.getMessage()
    assert str(path) in told
    assert "randomized(n)" in told
    assert all(prompt_id in told for prompt_id in orphans)


@both
async def test_what_is_known_again_is_no_warning(
    server: FakeComfy, tmp_path: Path, caplog: pytest.LogCaptureFixture, client: Maker
) -> None:
    """The same draws, more of them, one that was changed: that is how batches go on."""
    path = tmp_path / "r.jsonl"
    flow = Workflow.load(graph())
    await run_all(client, server, [flow.randomized(n) for n in range(3)], path)
    await run_all(client, server, [flow.randomized(n) for n in range(5)], path)
    await run_all(client, server, [flow.randomized(9), *(flow.randomized(n) for n in range(1, 5))], path)
    await run_all(client, server, [], path)
    assert not caplog.records
    assert server.books.started == 6


async def test_a_short_stream_is_told_at_its_end(
    server: FakeComfy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody knows how many will come, fewer than fill the places are judged when all have come."""
    path = tmp_path / "r.jsonl"
    await run_all(fast, server, [graph(1)], path)
    await run_all(fast, server, iter([graph(2)]), path)
    assert len(caplog.records) == 1


@both
async def test_the_time_to_go_leaves_out_what_others_did(
    server: FakeComfy, tmp_path: Path, client: Maker
) -> None:
    """Neither what comes from the file nor what had ended meanwhile says how long a job takes."""
    path = tmp_path / "r.jsonl"
    flows = [graph(n) for n in range(4)]
    await run_all(client, server, flows[:2], path)
    await left_running(client, server, flows, path)
    server.release()
    await server.idle()
    server.hold()
    async with client(server) as comfy, comfy.map([*flows, graph(4)], results=path) as finished:
        for _ in flows:
            await anext(finished)
        progress = finished.progress
        assert (progress.done, progress.eta) == (4, None)
        server.release()
        assert (await anext(finished)).status == "completed"
        assert finished.progress.eta == 0.0


@both
async def test_a_resumed_loop_saves_no_copies(server: FakeComfy, tmp_path: Path, client: Maker) -> None:
    """The loop of the README, run twice with its results file, leaves one file for each job."""
    out = tmp_path / "out"
    for _ in range(2):
        flows = [picture(n) for n in range(3)]
        async with client(server) as comfy, comfy.map(flows, results=tmp_path / "r.jsonl") as finished:
            async for job in finished:
                await (await job).save(out / f"{job.index:03d}")
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert [name.partition("/")[0] for name in names] == ["000", "001", "002"]


@both
async def test_a_result_says_the_same_again(server: FakeComfy, tmp_path: Path, client: Maker) -> None:
    """Of a job that is known by the results file: its files, texts, cached nodes, and what is missing."""
    async with fast(server) as before:
        await before.run(picture(1))
    said = []
    for _ in range(2):
        flows = [picture(1), graph(2)]
        async with client(server) as comfy, comfy.map(flows, results=tmp_path / "r.jsonl") as finished:
            results = {job.index: await job async for job in finished}
        said.append(
            [
                (one.prompt_id, one.outputs, one.values, one.cached_nodes, one.missing)
                for _, one in sorted(results.items())
            ]
        )
    assert said[0] == said[1]
    assert said[0][0][3], "the first job found nodes cached"
    assert len(server.books.accepted) == 3


async def test_lines_about_seed_and_saved_files_are_read_again(server: FakeComfy, tmp_path: Path) -> None:
    """What the command adds to a results file is no workflow, and hides none."""
    path = tmp_path / "r.jsonl"
    await run_all(fast, server, [graph(0)], path)
    done = json.loads(path.read_text().splitlines()[-1])
    with path.open("a") as file:
        file.write('{"seed":7}\n')
        file.write(json.dumps({"index": 0, "key": done["key"], "saved": ["/a.png"]}) + "\n")
    assert await run_all(fast, server, [graph(0)], path) == ["completed"]
    assert server.books.started == 1


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (BatchProgress(0, 0, 0, 6, 0.0, None), "0/6"),
        (BatchProgress(1, 0, 4, 6, 0.3, 30.0), "1/6 (4 running), 30 s to go"),
        (BatchProgress(4, 2, 0, 6, 1.0, 0.0), "6/6 (2 failed)"),
        (BatchProgress(3, 1, 2, None, None, None), "4 (1 failed, 2 running)"),
    ],
)
def test_progress_says_what_there_is(progress: BatchProgress, line: str) -> None:
    """Nothing is said of failures where there is none."""
    assert str(progress) == line
