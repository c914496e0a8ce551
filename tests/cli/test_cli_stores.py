"""`--out URL`: files of commands go to a store, or it is said beforehand what is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from store_tools import Faults, FaultyFileSystem, files_in, store  # noqa: F401 - the last is a fixture

from comfy_async.testing import FakeComfy

pytestmark = pytest.mark.usefixtures("store")
STEPS = ("--set", "3.steps=1")


async def test_run_wait_and_download(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """The URL of each file is printed, as a path would be."""
    done = await cli("run", sd15, *STEPS, "--out", "memory://pictures/out", "--quiet")
    assert (done.code, done.out) == (0, "memory://pictures/out/ComfyUI_00001_.png\n")
    again = await cli("run", sd15, *STEPS, "--out", "memory://pictures/{seed}.png", "--json", "--seed", 7)
    (saved,) = [line for line in again.objects if "memory://" in str(line)]
    assert "memory://pictures/7.png" in str(saved)
    prompt_id = fake.books.accepted[0].prompt_id
    assert (await cli("wait", prompt_id, "--out", "memory://waited")).code == 0
    assert (await cli("download", "ComfyUI_00001_.png", "--out", "memory://fetched/")).code == 0
    assert sorted(files_in()) == [
        "/fetched/ComfyUI_00001_.png",
        "/pictures/7.png",
        "/pictures/out/ComfyUI_00001_.png",
        "/waited/ComfyUI_00001_.png",
    ]


async def test_a_batch(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """A folder for each; what an earlier one saved is not fetched again, what is gone is."""
    command = ("batch", sd15, *STEPS, "--vary", "3.seed=1..2", "--results", tmp_path / "r.jsonl", "--json")

    def views() -> int:
        return sum(count for (_, path), count in fake.books.requests.items() if path.endswith("/view"))

    first = await cli(*command, "--out", "memory://out")
    again = await cli(*command, "--out", "memory://out")
    files = [sorted(name for item in done.of("item") for name in item["files"]) for done in (first, again)]
    assert files[0] == files[1] == [f"memory:/{path}" for path in files_in()]
    assert [path.rpartition("/")[0] for path in files_in()] == ["/out/000", "/out/001"]
    assert views() == 2
    FaultyFileSystem.__mro__[1].store.pop("/out/000/ComfyUI_00001_.png")
    await cli(*command, "--out", "memory://out")
    assert (len(files_in()), views()) == (2, 3)


async def test_a_file_url(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """Is a folder of this machine."""
    out = tmp_path / "my out"
    done = await cli("run", sd15, *STEPS, "--out", out.as_uri(), "--quiet")
    assert (done.code, done.out) == (0, f"{out / 'ComfyUI_00001_.png'}\n")


@pytest.mark.parametrize(
    ("out", "code", "says"),
    [
        ("nosuch://b/out", 2, "--out nosuch://b/out cannot be written: unknown scheme nosuch://"),
        ("adl://b/out", 1, "pip install 'comfy-async[fsspec]' adlfs"),
        ("file://server/out", 2, "another machine"),
        ("faulty://b/out", 2, "--out faulty://b/out cannot be written: nothing can be written there"),
        ("faulty://anna:s3cret@b/out", 2, "--out faulty://anna@b/out cannot be written"),
    ],
)
async def test_said_before_anything_runs(
    cli: Any,
    sd15: Path,
    fake: FakeComfy,
    store: Faults,  # noqa: F811
    out: str,
    code: int,
    says: str,
) -> None:
    """In a line, without a password, and nothing is queued."""
    store.lacks = {"open"}
    for command in (("run", sd15), ("batch", sd15), ("download", "x.png")):
        done = await cli(*command, "--out", out)
        assert done.code == code
        assert says in " ".join(done.err.replace("│", " ").split())
        assert "s3cret" not in done.out + done.err
    assert not fake.books.accepted


async def test_nothing_is_left_of_the_trial(cli: Any, sd15: Path) -> None:
    """Which is made before the run."""
    assert (await cli("run", sd15, *STEPS, "--out", "faulty://b/out")).code == 0
    assert list(files_in(FaultyFileSystem)) == ["/b/out/ComfyUI_00001_.png"]


async def test_no_results_file_in_a_store(
    cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--results s3://...` is refused before anything is sent, and no folder `s3:` is made."""
    monkeypatch.chdir(tmp_path)
    done = await cli("batch", sd15, *STEPS, "--results", "s3://anna:s3cret@bucket/run.jsonl")
    assert done.code == 2
    assert "is a place in a store" in " ".join(done.err.replace("│", " ").split())
    assert "s3cret" not in done.out + done.err
    assert "s3:" not in os.listdir(tmp_path)
    assert not fake.books.accepted
