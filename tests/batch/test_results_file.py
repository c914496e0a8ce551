"""One results file, one batch: locked while it is used, read as strictly as it is written."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from session_tools import graph, picture, teach

from comfy_async import ComfySession
from comfy_async._base.filelock import FileLock
from comfy_async._batch.journal import Journal
from comfy_async.testing import FakeComfy

HOLDER = """
import sys
from pathlib import Path
from comfy_async._base.filelock import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def statuses(comfy: ComfySession, path: Path, **options: object) -> list[str]:
    """Run two workflows with a results file, and return how they ended."""
    async with comfy.map([picture(1), picture(2)], results=path, **options) as finished:  # type: ignore[arg-type]
        return [job.status async for job in finished]


async def test_a_second_batch_is_refused(comfy: ComfySession, fake: FakeComfy, tmp_path: Path) -> None:
    """By whichever process; nothing runs twice (FAULTS E4)."""
    path = tmp_path / "run.jsonl"
    async with comfy.map([picture(1)], results=path) as finished:
        with pytest.raises(BlockingIOError, match=r"in use by process \d+ on "):
            await statuses(comfy, path)
        assert [job.status async for job in finished] == ["completed"]
    assert await statuses(comfy, path) == ["completed", "completed"]
    assert len(fake.books.accepted) == 2
    assert os.listdir(tmp_path) == ["run.jsonl"]


async def test_a_second_batch_waits_by_choice(comfy: ComfySession, fake: FakeComfy, tmp_path: Path) -> None:
    """And finds what the first one has done."""
    path = tmp_path / "run.jsonl"
    with fake.gate("EmptyImage"):
        async with comfy.map([picture(1), picture(2)], results=path) as finished:
            waiting = asyncio.create_task(statuses(comfy, path, results_busy="wait"))
            await asyncio.sleep(0)
            for gate in list(fake.core.gates._gates):
                gate.open()
            assert [job.status async for job in finished] == ["completed", "completed"]
        assert await waiting == ["completed", "completed"]
    assert len(fake.books.accepted) == 2


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """Killed or not, and it says who holds it."""
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"process {process.pid} on"):
            FileLock(path)
        process.kill()
    lock = FileLock(path)
    lock.release()
    lock.release()


async def test_a_last_line_without_its_end(comfy: ComfySession, fake: FakeComfy, tmp_path: Path) -> None:
    """An editor took the newline away: the next line is not written onto it (E5)."""
    path = tmp_path / "run.jsonl"
    await statuses(comfy, path)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    async with comfy.map([picture(1), picture(2), picture(3)], results=path) as finished:
        assert [job.status async for job in finished] == ["completed"] * 3
    assert await statuses(comfy, path) == ["completed", "completed"]
    assert len(fake.books.accepted) == 3


LINE = {"index": 0, "key": "k", "status": "submitted", "ref": {"prompt_id": "p", "client_id": "c"}}


@pytest.mark.parametrize(
    "odd",
    [
        {**LINE, "ref": {"client_id": "c"}},
        {**LINE, "ref": "p"},
        {key: value for key, value in LINE.items() if key != "ref"},
        {**LINE, "status": ["completed"]},
        {**LINE, "status": "failed", "error": "it broke"},
        {**LINE, "status": "completed", "outputs": []},
        {**LINE, "index": "0"},
        {**LINE, "index": True},
        {**LINE, "key": None},
        {"seed": "many"},
        [1, 2],
        "text",
    ],
)
def test_lines_of_odd_shape(odd: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An error that names file and line, or the job runs again by choice."""
    path = tmp_path / "run.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{json.dumps(odd)}\n")
    with pytest.raises(ValueError, match=r"run\.jsonl, line 2: this is no results file"):
        Journal(path)
    journal = Journal(path, damaged="rerun")
    assert journal.find(0, "k") is not None
    journal.close()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("line 2" in line for line in told)


def test_a_line_with_a_status_begins_anew(tmp_path: Path) -> None:
    """What an earlier attempt failed of is gone; a line without a status adds to what is known."""
    path = tmp_path / "run.jsonl"
    error = {"type": "ValueError", "message": "it broke"}
    failed = {**LINE, "status": "failed", "error": error}
    again = {**LINE, "status": "completed", "outputs": {}}
    more = {"index": 0, "key": "k", "saved": ["/a.png"]}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in (failed, again, more)))
    journal = Journal(path)
    assert journal.find(0, "k") == {**again, "saved": ["/a.png"]}
    journal.close()


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """Are no line either."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"\xff\xfe\n" + json.dumps(LINE).encode() + b"\n")
    with pytest.raises(ValueError, match="line 1"):
        Journal(path)


async def test_damaged_lines_by_choice(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """What a damaged line is about runs again."""
    teach(fake)
    path = tmp_path / "run.jsonl"
    path.write_text('{"index": 0, "key": 1}\n')
    async with comfy.map([graph(1)], results=path, results_damaged="rerun") as finished:
        jobs = [job async for job in finished]
    assert [(job.index, job.status) for job in jobs] == [(0, "completed")]


async def test_a_generator_with_a_total(comfy: ComfySession) -> None:
    """Progress knows how many there are when it is told (C10)."""
    async with comfy.map((picture(n) for n in range(3)), total=3) as finished:
        async for job in finished:
            place: int = job.index
            assert 0 <= place < 3
        assert finished.progress.total == 3
        assert finished.progress.fraction == 1.0


async def test_no_results_file_in_a_store(
    fake: FakeComfy, comfy: ComfySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is locked and appended to, which stores cannot do: said at once, and no folder `s3:` is made."""
    monkeypatch.chdir(tmp_path)
    for place in ("s3://bucket/run.jsonl", Path("s3://bucket/run.jsonl")):
        with pytest.raises(ValueError, match="s3:/"):
            comfy.map([picture(1)], results=place)
    async with comfy.map([picture(1)], results=(tmp_path / "run.jsonl").as_uri()) as finished:
        assert [job.status async for job in finished] == ["completed"]
    assert os.listdir(tmp_path) == ["run.jsonl"]
    assert len(fake.books.accepted) == 1
