"""A batch that is held: by its own process or another, and over its own death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from session_tools import eventually, picture

from comfy_async import ComfySession, Settings
from comfy_async._base.clock import Clock
from comfy_async._batch.control import Control, Priority, change_control, control_of, read_control
from comfy_async._batch.progress import BatchProgress
from comfy_async._batch.source import Source
from comfy_async._batch.status import read_status
from comfy_async.testing import FakeComfy


class Watch(Clock):
    """A clock whose looks at the control file come when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self._due = asyncio.Event()
        self.looks = 0

    async def sleep(self, seconds: float) -> None:
        """Sleep a second of the watch until `look()`; all other pauses are real ones."""
        if seconds != 1.0:
            return await super().sleep(seconds)
        self.looks += 1
        self._due.clear()
        await self._due.wait()
        return None

    async def look(self) -> None:
        """Let the batch look once, and wait until it has."""
        looks = self.looks
        self._due.set()
        await eventually(lambda: self.looks > looks)


@contextlib.asynccontextmanager
async def watched(fake: FakeComfy) -> AsyncIterator[tuple[ComfySession, Watch]]:
    """Open a session whose batches look at their control files when told."""
    clock = Watch()
    async with ComfySession(fake.url, settings=Settings(clock=clock)) as comfy:
        yield comfy, clock


async def test_nothing_further_is_submitted(fake: FakeComfy, tmp_path: Path) -> None:
    """From the moment that another process was told so; what is in hand ends, and is handed out."""
    path = tmp_path / "run.jsonl"
    async with watched(fake) as (comfy, clock):
        with fake.gate("EmptyImage") as gate:
            async with comfy.map([picture(n) for n in range(6)], limit=2, results=path) as finished:
                await fake.books.until(lambda books: len(books.accepted) == 2)
                change_control(control_of(path), lambda control: control.pause())
                gate.open()
                first = [await anext(finished), await anext(finished)]
                assert {job.index for job in first} == {0, 1}
                assert finished.paused
                assert finished.progress.paused
                assert len(fake.books.accepted) == 2
                await clock.look()
                assert len(fake.books.accepted) == 2
                change_control(control_of(path), lambda control: control.resume())
                assert len(fake.books.accepted) == 2
                await clock.look()
                rest = [job async for job in finished]
                assert sorted(job.index for job in rest) == [2, 3, 4, 5]
    assert os.listdir(tmp_path) == ["run.jsonl"]


async def test_by_its_own_process(fake: FakeComfy, comfy: ComfySession) -> None:
    """Without any file; the progress tells it, and there is no time to go."""
    with fake.gate("EmptyImage") as gate:
        async with comfy.map([picture(n) for n in range(4)], limit=1) as finished:
            await fake.books.until(lambda books: books.started)
            await finished.pause()
            gate.open()
            assert (await anext(finished)).index == 0
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(fake.books.accepted) == 1
            assert str(finished.progress).endswith("1/4, paused")
            assert finished.progress.eta is None
            await finished.resume()
            assert not finished.paused
            assert [job.status async for job in finished] == ["completed"] * 3


async def test_what_waits_is_taken_back(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """`now`: what runs goes on, what waits leaves the queue, is no failure, and runs when it goes on."""
    path = tmp_path / "run.jsonl"
    with fake.gate("EmptyImage") as gate:
        async with comfy.map([picture(n) for n in range(3)], limit=3, results=path) as finished:
            await eventually(
                lambda: sorted(job.status for job in finished.jobs) == ["pending", "pending", "running"]
            )
            await finished.pause(now=True)
            snapshot = await comfy.queue.snapshot()
            assert len(snapshot.pending) == 0
            assert len(snapshot.running) == 1
            gate.open()
            first = await anext(finished)
            assert first.status == "completed"
            assert (finished.progress.done, finished.progress.failed) == (1, 0)
            await finished.resume()
            rest = [job async for job in finished]
    assert [job.status for job in rest] == ["completed", "completed"]
    assert sorted([first.index, *(job.index for job in rest)]) == [0, 1, 2]
    assert len(fake.books.accepted) == 5


async def test_left_while_paused(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """The block is left at once, the pause stays, and the next start says so and waits."""
    path = tmp_path / "run.jsonl"
    async with comfy.map([picture(1), picture(2)], limit=1, results=path) as finished:
        await anext(finished)
        await finished.pause()
    assert read_control(control_of(path)).paused


async def test_the_next_start_says_so(
    fake: FakeComfy, comfy: ComfySession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the way out."""
    path = tmp_path / "run.jsonl"
    change_control(control_of(path), lambda control: control.pause())
    async with comfy.map([picture(1)], results=path) as finished:
        assert finished.paused
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [line for line in told if f"comfy-async batch resume {path}" in line]
        for _ in range(50):
            await asyncio.sleep(0)
        assert not fake.books.accepted
        await finished.resume()
        assert [job.status async for job in finished] == ["completed"]


CHILD = """
import asyncio, json, sys
from comfy_async import ComfySession

def flow(n):
    inputs = {"width": 64, "height": 64, "batch_size": 1, "color": n}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }

async def main():
    async with ComfySession(sys.argv[1]) as comfy:
        async with comfy.map([flow(n) for n in range(5)], limit=1, results=sys.argv[2]) as finished:
            print("began", finished.paused, flush=True)
            async for job in finished:
                print("ended", job.index, flush=True)

asyncio.run(main())
"""


async def test_killed_while_paused(fake: FakeComfy, tmp_path: Path) -> None:
    """A real process, paused from here, killed, started again: it waits, and nothing runs twice."""
    path = tmp_path / "run.jsonl"

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CHILD, fake.url, str(path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def line(process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        return (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()

    with fake.gate("EmptyImage") as gate:
        child = await start()
        assert await line(child) == "began False"
        await fake.books.until(lambda books: books.started)
        change_control(control_of(path), lambda control: control.pause())
        gate.open()
        assert await line(child) == "ended 0"
    assert read_status(path).used_by == f"process {child.pid} on {os.uname().nodename}"
    child.send_signal(signal.SIGKILL)
    await child.communicate()
    status = read_status(path)
    assert (status.done, status.left, status.total, status.used_by) == (1, 4, 5, None)
    assert str(status) == "1/5 done, 4 left, paused"

    child = await start()
    assert await line(child) == "began True"
    change_control(control_of(path), lambda control: control.resume())
    assert sorted([await line(child) for _ in range(5)]) == [f"ended {n}" for n in range(5)]
    out, err = await child.communicate()
    assert (child.returncode, out) == (0, b"")
    assert b"is paused" in err
    assert len(fake.books.accepted) == 5


async def test_what_goes_first(fake: FakeComfy, tmp_path: Path) -> None:
    """A list is read out of its order; what another process wants holds from the next submission on."""
    path = tmp_path / "run.jsonl"
    async with watched(fake) as (comfy, _):
        with fake.gate("EmptyImage") as gate:
            async with comfy.map([picture(n) for n in range(5)], limit=1, results=path) as finished:
                await fake.books.until(lambda books: books.started)
                change_control(
                    control_of(path), lambda control: control.prefer([Priority(4, number=-7), Priority(3)])
                )
                gate.open()
                assert [job.index async for job in finished] == [0, 4, 3, 1, 2]
    assert fake.books.accepted[1].number == -7


async def test_in_the_order_of_the_workflows_nobody_overtakes(comfy: ComfySession) -> None:
    """Else what ended early would fill the room of what is unread, and nothing went on."""
    async with comfy.map([picture(n) for n in range(40)], limit=2, ordered=True) as finished:
        await finished.prioritize(range(39, 5, -1))
        assert [job.index async for job in finished] == list(range(40))


async def test_sources_out_of_order() -> None:
    """Sequences only, each item once, and what is no place is passed over."""
    source = Source(["a", "b", "c", "d"])
    first = [3, 1, 3, 99, -1]
    assert [await source.next(first) for _ in range(5)] == [(3, "d"), (1, "b"), (0, "a"), (2, "c"), None]
    lazy = Source(iter("ab"))
    assert [await lazy.next([1]) for _ in range(3)] == [(0, "a"), (1, "b"), None]


def test_what_is_wanted_is_kept(tmp_path: Path) -> None:
    """As it was written; a pause remembers who paused, and nothing wanted is no file."""
    path = tmp_path / "run.jsonl.control"
    change_control(path, lambda control: control.prefer([Priority(1), Priority(2, front=True)]))
    change_control(path, lambda control: control.prefer([Priority(2, number=0.0)]))
    made = change_control(path, lambda control: control.pause().pause(now=True))
    assert read_control(path) == made
    assert made.first == (Priority(2, number=0.0), Priority(1))
    assert [item.options for item in made.first] == [{"number": 0.0}, {}]
    assert made.by.startswith(f"process {os.getpid()} on ")
    change_control(path, lambda control: Control())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["[]", "{", '{"paused": "yes"}', '{"first": [1]}', '{"since": []}'])
def test_another_file(text: str, tmp_path: Path) -> None:
    """Is refused, and never written over."""
    path = tmp_path / "run.jsonl.control"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"run\.jsonl\.control is no control file"):
        change_control(path, lambda control: control.pause())
    assert path.read_text() == text


async def test_a_damaged_one_is_told_and_changes_nothing(
    fake: FakeComfy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, however often it is looked at; a paused batch stays paused."""
    path = tmp_path / "run.jsonl"
    change_control(control_of(path), lambda control: control.pause())
    async with watched(fake) as (comfy, clock), comfy.map([picture(1)], results=path) as finished:
        control_of(path).write_text("{")
        await clock.look()
        await clock.look()
        assert finished.paused
    told = [record.getMessage() for record in caplog.records if "cannot be used" in record.getMessage()]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "0 done"),
        ([{"total": 3}], "0/3 done, 3 left"),
        ([{"seed": 1}, {"total": 3}, {"status": "submitted"}], "0/3 done, 1 in hand, 2 left"),
        ([{"status": "submitted"}, {"status": "failed"}], "0 done, 1 failed"),
        ([{"total": 1}, {"status": "cancelled"}], "0/1 done, 1 left"),
        ([{"total": 1}, {"status": "completed"}, {"saved": ["a"]}], "1/1 done"),
    ],
)
def test_status(lines: list[dict[str, Any]], told: str, tmp_path: Path) -> None:
    """By the last line about each place; half a line is one that is being written."""
    path = tmp_path / "run.jsonl"
    whole = {"index": 0, "key": "k", "ref": {"prompt_id": "p"}}
    rows = [line if {"seed", "total"} & line.keys() else {**whole, **line} for line in lines]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"index": 0, "ke')
    assert str(read_status(path)) == told


def test_progress_says_it() -> None:
    """Last of all."""
    made = BatchProgress(done=3, failed=0, running=0, total=9, fraction=0.3, eta=None, paused=True)
    assert str(made) == "3/9, paused"


def test_status_of_a_list_that_became_shorter(tmp_path: Path) -> None:
    """What the list has no more is not counted; it is when the list is long again."""
    path = tmp_path / "run.jsonl"
    done = [
        {"index": index, "key": "k", "ref": {"prompt_id": "p"}, "status": "completed"} for index in range(5)
    ]
    rows = [{"total": 5}, *done, {"total": 2}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert str(read_status(path)) == "2/2 done"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"total": 6}]))
    assert str(read_status(path)) == "5/6 done, 1 left"
