"""`comfy-async batch` a second time: what was saved, what was drawn, and what it says meanwhile."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from session_tools import fast, graph, teach

from comfy_async._display.console import Display
from comfy_async.testing import FakeComfy

STEPS = ("--set", "3.steps=1")


def pictures(folder: Path) -> list[Path]:
    """Return the pictures below a folder."""
    return sorted(folder.rglob("*.png"))


def views(fake: FakeComfy) -> int:
    """Count how often a file was fetched."""
    return sum(count for (_, path), count in fake.books.requests.items() if path.endswith("/view"))


def by_index(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort the lines of jobs."""
    return sorted(items, key=lambda item: int(item["index"]))


async def test_new_pictures_go_beside_older_files(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """What a folder holds already is neither taken for the result nor touched."""
    out = tmp_path / "out"
    (out / "000").mkdir(parents=True)
    (out / "000" / "notes.txt").write_text("mine")
    first = await cli("batch", sd15, *STEPS, "--seeds", 2, "--out", out)
    saved = {path: path.read_bytes() for path in pictures(out)}
    again = await cli("batch", sd15, *STEPS, "--seeds", 2, "--out", out, "--json")

    assert first.code == again.code == 0
    assert sorted(line for line in first.out.splitlines() if line.endswith(".png")) == [*map(str, saved)]
    named = {Path(name) for item in again.of("item") for name in item["files"]}
    assert len(saved) == len(named) == 2
    assert named | set(saved) == set(pictures(out))
    assert not named & set(saved)
    assert all(path.read_bytes() == data for path, data in saved.items())


async def test_saved_files_are_not_fetched_again(
    cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path
) -> None:
    """A results file knows where a job's files are; another folder, or a file that is gone, is saved anew."""
    command = ("batch", sd15, *STEPS, "--vary", "3.seed=1..2", "--results", tmp_path / "r.jsonl", "--json")
    first = await cli(*command, "--out", tmp_path / "a")
    fetched = views(fake)
    (tmp_path / "a" / "000" / "notes.txt").write_text("mine")
    again = await cli(*command, "--out", tmp_path / "a")

    def files(done: Any) -> list[list[str]]:
        return [item["files"] for item in by_index(done.of("item"))]

    assert files(first) == files(again) == [[str(path)] for path in pictures(tmp_path / "a")]
    assert views(fake) == fetched == 2
    pictures(tmp_path / "a")[0].unlink()
    await cli(*command, "--out", tmp_path / "a")
    other = await cli(*command, "--out", tmp_path / "b")
    assert len(pictures(tmp_path / "a")) == len(pictures(tmp_path / "b")) == 2
    assert files(other) == [[str(path)] for path in pictures(tmp_path / "b")]
    assert views(fake) == fetched + 3


async def test_drawn_seeds_are_drawn_once(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """A killed batch with --seeds goes on with the same seeds: nothing runs twice, nothing is left over."""
    command = ("batch", sd15, "--seeds", 4, "--limit", 2, "--results", tmp_path / "r.jsonl", "--json")
    with fake.gate("KSampler", step=2) as first:
        child = await cli.start(*command)
        await first.reached()
        second = fake.gate("KSampler", step=1)
    with second:
        before = await child.until("item")
        await second.reached()
        child.process.kill()
        await child.done()
    again = await cli(*command)

    assert again.code == 0
    assert again.err.count("warning") == 0
    items = by_index(again.of("item"))
    assert items[before["index"]]["values"] == before["values"]
    assert len({item["values"]["3.seed"] for item in items}) == 4
    await fake.idle()
    assert fake.books.started == 4
    more = await cli("batch", sd15, "--seeds", 4, "--results", tmp_path / "r.jsonl", "--seed", 1, "--json")
    assert more.code == 0
    assert "r.jsonl has results of other workflows" in more.err


async def test_values_tell_the_drawn_seeds(cli: Any, sd15: Path) -> None:
    """Each line has what was drawn, and the draw that gives it again."""
    done = await cli("batch", sd15, *STEPS, "--seeds", 2, "--json")
    first, second = (item["values"] for item in by_index(done.of("item")))
    again = await cli("batch", sd15, *STEPS, "--seeds", 1, "--seed", first["draw"], "--json")

    assert int(first["draw"]) + 1 == int(second["draw"])
    assert first["3.seed"] != second["3.seed"]
    assert again.of("item")[0]["values"] == first


async def test_something_else_as_results(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """It is not written to, and nothing runs."""
    path = tmp_path / "notes.txt"
    path.write_text("hello\nworld\n")
    done = await cli("batch", sd15, "--seeds", 2, "--results", path)

    assert done.code == 2
    assert "line 1: this is no results file" in done.err
    assert path.read_text() == "hello\nworld\n"
    assert not fake.books.accepted


async def test_a_pipe_gets_a_line_for_each_job(cli: Any, sd15: Path) -> None:
    """Whoever reads a log sees how far it is; of failures nothing is said where there is none."""
    done = await cli("batch", sd15, *STEPS, "--seeds", 3, "--limit", 1)

    lines = done.err.splitlines()
    assert lines[0] == "0/3"
    assert [line.partition(",")[0] for line in lines[1:]] == ["#0 completed", "#1 completed", "#2 completed"]
    assert re.fullmatch(r"#2 completed, 3/3: 3\.seed=\d+", lines[-1])
    assert "failed" not in done.err


async def test_a_batch_that_waits_for_others_says_so(fake: FakeComfy) -> None:
    """The bar tells how many come before it, as soon as that is known."""
    teach(fake)
    fake.hold()
    shown = io.StringIO()
    display = Display(Console(file=shown, force_terminal=True, width=120))
    async with fast(fake) as other, fast(fake) as comfy:
        for number in range(3):
            await other.submit(graph(number))
        async with comfy.map([graph(7), graph(8)]) as batch:
            await fake.wait_for(lambda books: len(books.accepted) == 5)
            while not any(job.queue_position for job in batch.jobs):
                await comfy.settings.clock.sleep(0.1)
            with display:
                display.update_batch(batch)
                display.draw(force=True)
            fake.release()
            assert [job.status async for job in batch] == ["completed"] * 2
    assert "0 of 2 done, waiting, 3 before it" in shown.getvalue()


@pytest.mark.parametrize("known", ["server", "catalog"])
async def test_check_takes_what_run_takes(cli: Any, sd15: Path, tmp_path: Path, known: str) -> None:
    """A value and a seed are looked at before anything is queued."""
    where: tuple[object, ...] = ()
    if known == "catalog":
        await cli("nodes", "--save", tmp_path / "info.json")
        where = ("--catalog", tmp_path / "info.json")
    good = await cli("check", sd15, "--set", "3.steps=3", "--seed", 7, *where)
    bad = await cli("check", sd15, "--set", "3.sampler_name=eulr", *where, "--json")
    wrong = await cli("check", sd15, "--set", "3.nothing=1", *where)
    high = await cli("check", sd15, "--seed", -1, *where)

    assert (good.code, bad.code, wrong.code, high.code) == (0, 1, 2, 1)
    assert "eulr" in json.dumps(bad.of("problem"))
    assert "seed" in high.out


async def test_results_of_another_server(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """What a server that is gone had done is not done here; who knows better says so."""
    results = tmp_path / "c.jsonl"
    command = ("batch", sd15, *STEPS, "--vary", "3.seed=1..2", "--results", results)
    first = await cli(*command, "--fake", "--step-seconds", 0)
    before = results.read_text()
    refused = await cli(*command)
    lines = await cli(*command, "--json")

    assert first.code == 0
    assert refused.code == lines.code == 2
    (line,) = refused.err.splitlines()
    assert line.startswith(f"error: --results {results} holds jobs of another server (2 of http://127.0.0.1:")
    assert "--results-elsewhere rerun runs them here, --results-elsewhere keep says" in line
    assert lines.objects[0]["error"]["code"] == "usage"
    assert not fake.books.accepted
    assert results.read_text() == before
    again = await cli(*command, "--results-elsewhere", "rerun")
    assert again.code == 0
    assert "2 done, 0 failed" in again.out
    assert len(fake.books.accepted) == 2
    assert (await cli(*command)).code == 0
    assert len(fake.books.accepted) == 2


async def test_a_server_under_another_name(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """Its jobs are taken as they are; another word is refused."""
    command = ("batch", sd15, *STEPS, "--vary", "3.seed=1..2", "--results", tmp_path / "c.jsonl")
    assert (await cli(*command, "--fake", "--step-seconds", 0)).code == 0
    kept = await cli(*command, "--results-elsewhere", "keep")
    wrong = await cli(*command, "--results-elsewhere", "maybe")

    assert (kept.code, wrong.code) == (0, 2)
    assert "takes raise, rerun, keep, not 'maybe'" in wrong.err
    assert not fake.books.accepted


async def test_something_else_as_results_without_seeds(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """It is one line of error too."""
    path = tmp_path / "notes.txt"
    path.write_text("hello\nworld\n")
    done = await cli("batch", sd15, "--vary", "3.seed=1..2", "--results", path)

    assert done.code == 2
    assert done.err == f"error: --results {path}, line 1: this is no results file\n"
