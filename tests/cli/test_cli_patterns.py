"""`--out` with a pattern for names: tried before anything runs, and for the jobs of a batch too."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from comfy_async.cli._out import OutPlace
from comfy_async.testing import FakeComfy

STEPS = ("--set", "3.steps=1")
SEEDS = ("--seeds", 2, "--seed", 5)


def tree(folder: Path) -> list[str]:
    """List the files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def two_pictures(sd15: Path, folder: Path) -> Path:
    """Write a workflow that saves one picture with a seed, and one without."""
    flow = json.loads(sd15.read_text())
    inputs = {"width": 8, "height": 8, "batch_size": 1, "color": 1}
    flow["20"] = {"class_type": "EmptyImage", "inputs": inputs}
    flow["21"] = {"class_type": "SaveImage", "inputs": {"images": ["20", 0], "filename_prefix": "plain"}}
    path = folder / "two.json"
    path.write_text(json.dumps(flow))
    return path


@pytest.mark.parametrize("command", ["run", "batch"])
@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("{sed}.png", "a name has no field {sed}: there are index, job, seed"),
        ("{sed}", "a name has no field {sed}"),
        ("{}.png", "a name has no field {}"),
        ("{seed.png", "is no pattern"),
        ("a}.png", "is no pattern"),
        ("{index:zz}.png", "{index:zz}"),
        ("{filename:03d}.png", "{filename:03d}"),
        ("{seed}/{sed}.png", "a name has no field {sed}"),
        ("{99.steps}.png", "{99.steps}: the workflow has no such input"),
        ("{KSampler.nothing}.png", "the workflow has no such input"),
    ],
)
async def test_a_wrong_pattern_is_told_before_anything_runs(
    cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path, command: str, pattern: str, told: str
) -> None:
    """In one line, with 2; nothing is queued, and no folder is made."""
    done = await cli(command, sd15, "--out", tmp_path / "a" / pattern)

    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"--out {tmp_path / 'a' / pattern}: " in line
    assert told in line
    assert not fake.books.accepted
    assert not (tmp_path / "a").exists()


async def test_a_seed_must_be_there(cli: Any, small: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """A workflow without one has no {seed}; of an app the same is said."""
    for command in (["run", small], ["batch", small], ["app", small, "run"]):
        done = await cli(*command, "--out", tmp_path / "{seed}.png")
        assert (done.code, "no input named seed" in done.err) == (2, True)
    assert not fake.books.accepted


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        ("clo/{seed}.png", ["clo/7.png"]),
        ("clo/{seed}", ["clo/7.png"]),
        ("clo/{seed}/", ["clo/7/ComfyUI_00001_.png"]),
        ("clo/{seed}/{KSampler.steps}_{index:02d}.png", ["clo/7/1_00.png"]),
        ("clo/cat.png", ["clo/cat.png"]),
    ],
)
async def test_names_by_a_pattern(
    cli: Any, sd15: Path, tmp_path: Path, pattern: str, made: list[str]
) -> None:
    """What comes before the first brace is the folder; a slash at the end keeps the server's names."""
    done = await cli("run", sd15, *STEPS, "--seed", 7, "--out", f"{tmp_path}/{pattern}")

    assert done.code == 0
    assert tree(tmp_path) == made
    assert done.out.split() == [str(tmp_path / made[0])]


async def test_a_folder_with_braces_that_is_there(cli: Any, small: Path, tmp_path: Path) -> None:
    """It is a folder."""
    (tmp_path / "a{b}").mkdir()
    done = await cli("run", small, "--out", tmp_path / "a{b}")

    assert done.code == 0
    assert tree(tmp_path) == ["a{b}/small_00001_.png", "small.json"]


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        ("b/{seed}.png", ["b/5.png", "b/6.png"]),
        ("b/{job:03d}_{seed}", ["b/000_5.png", "b/001_6.png"]),
        ("b/{job}/", ["b/0/ComfyUI_00001_.png", "b/1/ComfyUI_00002_.png"]),
    ],
)
async def test_names_of_a_batch(cli: Any, sd15: Path, tmp_path: Path, pattern: str, made: list[str]) -> None:
    """{job} is that of the job in the batch."""
    done = await cli("batch", sd15, *STEPS, *SEEDS, "--limit", 1, "--out", f"{tmp_path}/{pattern}")

    assert done.code == 0
    assert tree(tmp_path) == made


async def test_names_of_a_batch_in_a_store(cli: Any, sd15: Path) -> None:
    """A URL has a pattern behind its folder, as a path has."""
    pytest.importorskip("fsspec")
    done = await cli("batch", sd15, *STEPS, *SEEDS, "--limit", 1, "--out", "memory://patterns/{seed}.png")

    assert done.code == 0
    assert [line for line in done.out.split() if "://" in line] == [
        "memory://patterns/5.png",
        "memory://patterns/6.png",
    ]


@pytest.mark.parametrize("pattern", ["{job:zz}.png", "{job", "{sed}_{job}.png"])
async def test_a_wrong_place_is_told_before(
    cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path, pattern: str
) -> None:
    """As any other field."""
    done = await cli("batch", sd15, "--out", tmp_path / pattern)

    assert done.code == 2
    assert not fake.books.accepted


async def test_saved_files_are_found_by_the_pattern(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """A results file's files are not saved again, unless their names are others now."""
    command = ("batch", sd15, *STEPS, *SEEDS, "--results", tmp_path / "r.jsonl")
    for _ in range(2):
        assert (await cli(*command, "--out", tmp_path / "b" / "{seed}.png")).code == 0
        assert tree(tmp_path / "b") == ["5.png", "6.png"]
    assert (await cli(*command, "--out", tmp_path / "b" / "n{seed}.png")).code == 0
    assert tree(tmp_path / "b") == ["5.png", "6.png", "n5.png", "n6.png"]


@pytest.mark.parametrize("command", ["wait", "watch", "download"])
async def test_of_other_jobs_no_seed_is_known(cli: Any, tmp_path: Path, command: str) -> None:
    """It is said before a long wait; what is known of every job is taken."""
    job = "11111111-aaaa-4aaa-8aaa-111111111111"
    bad = await cli(command, job, "--out", tmp_path / "{seed}.png")
    good = await cli(command, job, "--out", tmp_path / "{prompt_id}.png", "--json")

    assert bad.code == 2
    assert "seeds and inputs are known to the command that submits" in bad.err
    assert good.objects[-1]["error"]["code"] == "job_lost"


async def test_a_downloaded_file_has_its_own_name(cli: Any, tmp_path: Path) -> None:
    """A pattern is for the files of jobs."""
    done = await cli("download", "a.png", "--out", tmp_path / "{filename}.png")

    assert done.code == 2
    assert "patterns are for the files of jobs" in done.err


async def test_a_pattern_that_fails_after_the_run(
    cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path
) -> None:
    """What only the files show is one line too, and the command that saves them all the same works."""
    path = two_pictures(sd15, tmp_path)
    out = tmp_path / "out"
    done = await cli("run", path, *STEPS, "--out", out / "{seed}.png", "--server", fake.url)
    (command,) = [line for line in done.err.splitlines() if "comfy-async wait" in line]
    again = await cli(*shlex.split(command)[1:])
    batch = await cli("batch", path, *STEPS, "--out", out / "{seed}_{job}.png", "--json")

    assert done.code == batch.code == 1
    assert "error: the files could not be saved: {seed}: no input named seed" in done.err
    assert again.code == 0
    assert len(tree(out)) == 2
    assert batch.of("item")[0]["error"]["command"].endswith(f"--out {out}/")


def test_what_a_place_says() -> None:
    """A password is not shown; what stands for the place is."""
    place = OutPlace("sftp://anna:s3cret@host/out/{job}.png")

    assert str(place) == "sftp://anna@host/out/{job}.png"
    assert str(place.of_item(7, digits=3)) == "sftp://anna@host/out/7.png"
    assert (place.folder, place.name) == ("sftp://anna@host/out/", "{job}.png")
