"""`comfy-async batch pause`, `resume`, `priority` and `status`: a batch of another process."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from comfy_async._batch.control import control_of, read_control
from comfy_async.testing import FakeComfy


async def test_paused_killed_and_gone_on(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """Two processes and a SIGKILL: it waits when it is started again, says so, and nothing runs twice."""
    path = tmp_path / "r.jsonl"
    command = ("batch", sd15, "--vary", "3.seed=1..4", "--limit", 1, "--results", path, "--json")
    with fake.gate("KSampler") as gate:
        child = await cli.start(*command)
        await fake.books.until(lambda books: books.started)
        paused = await cli("batch", "pause", path, "--json")
        assert (paused.code, paused.objects[0]["paused"], paused.objects[0]["in_hand"]) == (0, True, 1)
        gate.open()
        assert (await child.until("item"))["index"] == 0
    child.process.send_signal(signal.SIGKILL)
    await child.done()
    told = await cli("batch", "status", path)
    assert f"{path}: 1/4 done, 3 left, paused" in told.out
    assert "no batch uses it now" in told.out
    assert f"comfy-async batch resume {path} goes on" in told.out

    again = await cli.start(*command)
    await again.until("batch_started")
    assert (await cli("batch", "resume", path)).code == 0
    await again.until("batch_resumed")
    done = await again.done()
    assert done.code == 0
    assert "is paused" in done.err
    assert len(fake.books.accepted) == 4
    assert not control_of(path).exists()


async def test_gone_on_by_option(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """`--resume` starts a batch that was left paused."""
    path = tmp_path / "r.jsonl"
    command = ("batch", sd15, "--set", "3.steps=1", "--results", path)
    assert (await cli(*command)).code == 0
    assert (await cli("batch", "pause", path)).code == 0
    assert read_control(control_of(path)).paused
    assert (await cli(*command, "--resume")).code == 0
    assert not control_of(path).exists()


async def test_priorities(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """Places and ranges, in their order; those of before come after; --clear takes them away."""
    path = tmp_path / "r.jsonl"
    assert (await cli("batch", sd15, "--set", "3.steps=1", "--results", path)).code == 0
    path.write_text(path.read_text().replace('"total":1}', '"total":9}'))
    assert (await cli("batch", "priority", path, "7", "--front")).out == "first: 7\n"
    assert (await cli("batch", "priority", path, "2..4", "8")).out == "first: 2, 3, 4, 8, 7\n"
    assert read_control(control_of(path)).first[-1].front
    assert "first: 2, 3, 4, 8, 7" in (await cli("batch", "status", path)).out
    assert (await cli("batch", "priority", path, "--clear")).out == "none goes first\n"
    assert not control_of(path).exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pause", "nowhere.jsonl"), "there is no results file nowhere.jsonl"),
        (("status", "other.txt"), "this is no results file"),
        (("pause", "."), "Is a directory"),
        (("priority", "r.jsonl"), "name the items"),
        (("priority", "r.jsonl", "4..2"), "runs backwards"),
        (("priority", "r.jsonl", "-1"), "No such option"),
        (("priority", "r.jsonl", "first"), "is no place"),
        (("priority", "r.jsonl", "3"), "has 3 items, 0 to 2"),
        (("--json", "pause", "r.jsonl"), "right after `batch`"),
    ],
)
async def test_said_wrongly(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    """Exit code 2, one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.jsonl").write_text('{"total": 3}\n')
    (tmp_path / "other.txt").write_text("hello\n")
    done = await cli("batch", *words)
    assert done.code == 2
    assert says in done.err
    assert sorted(os.listdir(tmp_path)) == ["other.txt", "r.jsonl"]


async def test_a_workflow_of_that_name(
    cli: Any, sd15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is `./pause`; every other name is a workflow as before."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(sd15, tmp_path / "pause")
    shutil.copy(sd15, tmp_path / "pause.json")
    assert (await cli("batch", "./pause", "--set", "3.steps=1")).code == 0
    assert (await cli("batch", "pause.json", "./pause", "--set", "3.steps=1")).code == 0
    assert (await cli("batch", "pause")).code == 2


async def test_help_lists_them(cli: Any) -> None:
    """With two words, and each has a help of its own."""
    assert "batch pause" in (await cli("--help")).out
    done = await cli("batch", "pause", "--help")
    assert "comfy-async batch pause [OPTIONS]" in done.out
    assert "--now" in done.out
