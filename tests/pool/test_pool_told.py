"""Hooks on a pool: one job, whichever servers it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hook_tools import Book
from pool_tools import fakes, pool_of
from session_tools import eventually, graph, lives

from comfy_async import ComfyPool, PromptRejectedError, Workflow


class Counts:
    """Counts what is submitted."""

    def __init__(self) -> None:
        """Start at zero."""
        self.seen: list[dict[str, Any]] = []

    def before_submit(self, workflow: Workflow, options: dict[str, Any]) -> None:
        """Note the options, and add something."""
        self.seen.append(dict(options))
        options["extra_data"] = {"number": len(self.seen)}


async def test_a_job_that_goes_on_elsewhere_is_one_job() -> None:
    """One beginning, one end, and between them all that its stream tells, on both servers."""
    book, counts = Book(), Counts()
    async with fakes() as servers, pool_of(servers, hooks=[book, counts]) as pool:
        gates = [fake.gate("Steps", step=1) for fake in servers]
        job = await pool.submit(graph(1))
        here = next(fake for fake in servers if fake.url == job.ref["server"])
        await gates[servers.index(here)].reached()
        for gate in gates:
            if gate is not gates[servers.index(here)]:
                gate.open()
        await here.faults.go_down()
        await job
        told = [event async for event in job]
        await here.faults.come_up()
        gates[servers.index(here)].open()
    assert book.lives == ["begin", "end"]
    assert book.of("on_begin") == [(job, {"number": 1})]
    assert book.of("on_end") == [(job, "completed", None)]
    assert lives(book.events) == lives(told)
    assert lives(told).count("Queued") == 2
    assert len(counts.seen) == 1
    assert {record.extra_data["number"] for fake in servers for record in fake.books.accepted} == {1}
    assert {where for where, _ in book.of("on_connection")} <= {fake.url for fake in servers}
    assert ("POST", "/prompt", 200) in [call[:3] for call in book.of("on_request")]


async def test_a_map_over_a_pool(tmp_path: Path) -> None:
    """A job each, refused ones too; what comes from the results file is not told again."""
    book, counts = Book(), Counts()
    bad = graph(3)
    bad["2"]["class_type"] = "NoSuchNode"
    for count in (1, 2):
        async with fakes() as servers, pool_of(servers, hooks=[book, counts]) as pool:
            flows = [graph(1), graph(2), bad]
            async with pool.map(flows, results=tmp_path / "results.jsonl", ordered=True) as batch:
                jobs = [job async for job in batch]
        assert [job.status for job in jobs] == ["completed", "completed", "failed"]
        assert len(counts.seen) == 3 * count
    ends = {job.index: (status, type(error)) for job, status, error in book.of("on_end")}
    assert ends == {
        0: ("completed", type(None)),
        1: ("completed", type(None)),
        2: ("failed", PromptRejectedError),
    }
    assert sorted(book.lives) == ["begin"] * 3 + ["end"] * 3


async def test_what_no_server_takes_is_no_job() -> None:
    """A submission that every server refuses has failed; the pool's closing tells of what it leaves."""
    book = Book()
    bad = graph(3)
    bad["2"]["class_type"] = "NoSuchNode"
    async with fakes() as servers, pool_of(servers, hooks=[book]) as pool:
        with pytest.raises(PromptRejectedError):
            await pool.submit(bad)
        assert book.lives == ["submit_failed"]
        for fake in servers:
            fake.hold()
        await pool.submit(graph(1))
    assert book.lives == ["submit_failed", "begin", "left"]


async def test_sessions_of_their_own_keep_their_hooks() -> None:
    """A session that a pool takes in tells its own hooks of its requests, the pool its own of the jobs."""
    pools, own = Book(), Book()
    async with fakes(1) as (fake,), ComfyPool([fake.session(hooks=[own])], hooks=[pools]) as pool:
        job = await pool.submit(graph(1))
        await job
        again = await pool.attach(job.ref)
        await again
    assert (own.lives, pools.lives) == ([], ["begin", "end", "begin", "end"])
    assert own.of("on_request")
    assert not pools.of("on_request")


class Closes:
    """Counts how often it is closed."""

    def __init__(self) -> None:
        """Never yet."""
        self.closed = 0

    def on_end(self, job: object) -> None:
        """Be a hook."""

    async def before_close(self) -> None:
        """Count."""
        self.closed += 1


async def test_a_pool_closes_its_hooks_once() -> None:
    """Not with each of its sessions."""
    closes = Closes()
    async with fakes(3) as servers, pool_of(servers, hooks=[closes]) as pool:
        await pool.run(graph(1))
        await eventually(lambda: pool.servers)
    assert closes.closed == 1
