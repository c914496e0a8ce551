"""Files of a run that cannot be saved: noticed before it, and never lost after it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from comfy_async.testing import FakeComfy


@pytest.fixture
def no_folder(tmp_path: Path) -> Path:
    """A place where not even the superuser makes a folder: below a file."""
    path = tmp_path / "file"
    path.write_text("in the way")
    return path / "out"


@pytest.mark.parametrize("command", ["run", "batch"])
async def test_unwritable_folder_is_noticed_before_anything_runs(
    cli: Any, small: Path, fake: FakeComfy, no_folder: Path, command: str
) -> None:
    """Nothing is queued, and the call is said to be wrong."""
    done = await cli(command, small, "--out", no_folder)

    assert done.code == 2
    assert f"--out {no_folder}" in done.err
    assert "cannot be written" in done.err
    assert not fake.books.accepted


@pytest.mark.parametrize("command", ["wait", "watch", "download"])
async def test_unwritable_folder_is_noticed_before_waiting(cli: Any, no_folder: Path, command: str) -> None:
    """The other commands that save look first too."""
    done = await cli(command, "11111111-aaaa-4aaa-8aaa-111111111111", "--out", no_folder)

    assert done.code == 2
    assert "cannot be written" in done.err


async def test_looking_leaves_nothing_behind(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """A refused workflow makes no folder."""
    done = await cli("run", sd15, "--set", "3.sampler_name=eulr", "--out", tmp_path / "a" / "b")

    assert done.code == 1
    assert not (tmp_path / "a").exists()


async def test_run_that_cannot_save_names_files_and_the_way_back(
    cli: Any, small: Path, fake: FakeComfy, tmp_path: Path
) -> None:
    """The disk fails after the run: the files are named, and the printed command fetches them."""
    fake.faults.fail("GET", "/view", 404)
    done = await cli("run", small, "--out", tmp_path / "out", "--server", fake.url)
    (command,) = [line for line in done.err.splitlines() if "comfy-async wait" in line]
    words = shlex.split(command[command.index("comfy-async") :])
    fake.faults.clear()
    again = await cli(*words[1:])

    assert done.code == 1
    assert "filename=small_00001_.png" in done.out
    assert "could not be saved" in done.err
    assert again.code == 0
    assert again.out.strip() == str(tmp_path / "out" / "small_00001_.png")


async def test_scripts_are_told_after_the_end(cli: Any, small: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """`output` for each file, `completed`, and last the error with id and command."""
    fake.faults.fail("GET", "/view", 404)
    done = await cli("run", small, "--out", tmp_path / "out", "--json")

    assert done.code == 1
    assert [item["event"] for item in done.objects][-3:] == ["output", "completed", "error"]
    error = done.objects[-1]["error"]
    assert error["prompt_id"] == done.objects[0]["prompt_id"]
    assert error["command"] == f"comfy-async wait {error['prompt_id']} --out {tmp_path / 'out'}"


async def test_embedded_server_promises_nothing(
    cli: Any, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What --fake made goes with it: no command could fetch it later."""
    from comfy_async import JobResult

    async def full(self: JobResult, folder: object, *, allow_missing: bool = False) -> list[Path]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JobResult, "save", full)
    done = await cli("run", small, "--fake", "--out", tmp_path / "out")

    assert done.code == 1
    assert "No space left on device" in done.err
    assert "comfy-async wait" not in done.err


async def test_batch_goes_on_and_names_what_is_not_saved(
    cli: Any, small: Path, fake: FakeComfy, tmp_path: Path
) -> None:
    """One folder that cannot be made is one failed item, with its way back."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "001").write_text("in the way")
    done = await cli(
        *("batch", small, "--vary", "1.color=1..3", "--out", tmp_path / "out", "--json"),
        *("--server", fake.url),
    )

    assert done.code == 1
    items = {item["index"]: item for item in done.of("item")}
    assert [bool(items[place]["files"]) for place in range(3)] == [True, False, True]
    assert items[1]["error"]["command"].startswith(f"comfy-async wait {items[1]['prompt_id']} --out")
    assert (done.objects[-1]["done"], done.objects[-1]["failed"]) == (2, 1)
    assert "comfy-async wait" in done.err


async def test_pictures_that_cannot_be_shown_take_nothing_away(
    cli: Any, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are saved already: they are named, whatever becomes of --show."""
    import comfy_async.cli._run

    async def fail(outcome: object) -> None:
        raise OSError("cannot identify image file")

    monkeypatch.setattr(comfy_async.cli._run, "demand_pictures", lambda: None)
    monkeypatch.setattr(comfy_async.cli._run, "fetched", fail)
    done = await cli("run", small, "--show", "--out", tmp_path)

    assert done.code == 0
    assert done.out.strip() == str(tmp_path / "small_00001_.png")
    assert "cannot be shown" in done.err
