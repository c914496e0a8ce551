"""`comfy-async batch`: variants, folders, failures, and going on after an interruption."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async.testing import FakeComfy


def tree(folder: Path) -> list[str]:
    """List the files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_combines_what_varies(cli: Any, sd15: Path) -> None:
    """Every combination runs once, with its values in the line."""
    done = await cli(
        *("batch", sd15, "--set", "3.steps=2", "--vary", "3.seed=2..1"),
        *("--vary", '6.text=["a fox", "12"]', "--json"),
    )

    assert done.code == 0
    assert done.objects[0] == {"event": "batch_started", "total": 4, "done": 0}
    items = sorted(done.of("item"), key=lambda item: int(item["index"]))
    assert [item["values"] for item in items] == [
        {"3.seed": "2", "6.text": "a fox"},
        {"3.seed": "2", "6.text": "12"},
        {"3.seed": "1", "6.text": "a fox"},
        {"3.seed": "1", "6.text": "12"},
    ]
    fields = {"event", "index", "prompt_id", "status", "values", "files", "error"}
    assert all(item.keys() == fields for item in items)
    assert done.objects[-1] == {"event": "batch", "ok": True, "interrupted": False, "done": 4, "failed": 0}


async def test_each_has_a_folder(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """--out is a folder for each, numbered; --seeds draws, the same ones with --seed."""
    first = await cli("batch", sd15, "--seeds", 2, "--seed", 5, "--out", tmp_path / "a", "--json")
    again = await cli("batch", sd15, "--seeds", 2, "--seed", 5, "--out", tmp_path / "b")

    assert first.code == again.code == 0
    assert [item["values"]["draw"] for item in first.of("item")] == ["5", "6"]
    assert tree(tmp_path / "a") == ["000/ComfyUI_00001_.png", "001/ComfyUI_00002_.png"]
    pictures = [sorted(path.read_bytes() for path in (tmp_path / side).rglob("*.png")) for side in "ab"]
    assert len(set(map(tuple, pictures))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", '6.text,3.steps\n"a fox, red",2\na cat,3\n'),
        ("rows.jsonl", '{"6.text": "a fox, red", "3.steps": 2}\n{"6.text": "a cat", "3.steps": 3}\n'),
    ],
)
async def test_rows(cli: Any, sd15: Path, tmp_path: Path, name: str, text: str) -> None:
    """A table has a column for each input."""
    path = tmp_path / name
    path.write_text(text)
    done = await cli("batch", sd15, "--rows", path, "--json")

    values = [item["values"] for item in sorted(done.of("item"), key=lambda item: int(item["index"]))]
    assert values == [{"6.text": "a fox, red", "3.steps": "2"}, {"6.text": "a cat", "3.steps": "3"}]


async def test_prompts_from_a_file(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """`@FILE` has one value a line."""
    path = tmp_path / "prompts.txt"
    path.write_text("a fox\n\na cat\n")
    done = await cli("batch", sd15, "--vary", f"6.text=@{path}", "--set", "3.steps=1")

    assert done.code == 0
    assert "2 done, 0 failed" in done.out


async def test_partner_key_for_any_of_the_workflows(cli: Any, sd15: Path, small: Path) -> None:
    """COMFY_API_KEY goes along when the second workflow alone has a partner node."""
    specs = cli.fake.core.classes.specs
    specs["EmptyImage"] = dataclasses.replace(specs["EmptyImage"], more={"api_node": True})
    cli.env["COMFY_API_KEY"] = "comfyui-secret"

    assert (await cli("batch", sd15, "--set", "3.steps=1")).code == 0
    assert (await cli("batch", sd15, small, "--results", "results.jsonl")).code == 0
    alone, first, second = cli.fake.books.accepted
    assert not alone.secrets
    assert first.secrets == second.secrets == {"api_key_comfy_org": "comfyui-secret"}


async def test_one_failure_among_many(cli: Any, sd15: Path) -> None:
    """The others go on, the failure is told with its place, and the exit code is 1."""
    vary = '3.sampler_name=["euler", "eulr", "heun"]'
    plain = await cli("batch", sd15, "--vary", vary)
    lines = await cli("batch", sd15, "--vary", vary, "--json")

    assert plain.code == lines.code == 1
    assert "input 'sampler_name'" in plain.out
    (bad,) = [item for item in lines.of("item") if item["error"]]
    assert bad["error"]["code"] == "prompt_rejected"
    assert (lines.objects[-1]["done"], lines.objects[-1]["failed"]) == (2, 1)


async def test_first_failure_may_end_it(cli: Any, sd15: Path) -> None:
    """--stop: nothing more is started."""
    vary = '3.sampler_name=["eulr", "euler", "heun"]'
    done = await cli("batch", sd15, "--vary", vary, "--stop", "--limit", 1, "--json")

    assert done.code == 1
    assert done.objects[-1]["error"]["code"] == "prompt_rejected"


async def test_goes_on_after_an_interruption(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """Ctrl-C cancels what is open; the same command with its results file runs only the rest."""
    command = ("batch", sd15, "--vary", "3.seed=1..3", "--limit", 1, "--results", tmp_path / "r.jsonl")
    out = ("--out", tmp_path / "out", "--json")
    with fake.gate("KSampler", step=2) as first:
        child = await cli.start(*command, *out)
        await first.reached()
        # The first job has passed this place, so it is the second that will stand there.
        second = fake.gate("KSampler", step=1)
    with second:
        await child.until("item")
        await second.reached()
        child.interrupt()
        await fake.wait_for(lambda books: any(path.endswith("/cancel") for _, path in books.requests))
    done = await child.done()
    before = fake.books.started
    again = await cli(*command, *out)

    assert done.code == 130
    assert done.objects[-1]["interrupted"] is True
    assert again.code == 0
    assert fake.books.started - before == 2
    assert len(tree(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    "args",
    [
        ["--vary", "3.seed=a"],
        ["--vary", "seed=1..3"],
        ["--rows", "{rows}"],
        ["--vary", "3.nothing=1..2"],
    ],
)
async def test_wrong_variants(cli: Any, sd15: Path, tmp_path: Path, args: list[str]) -> None:
    """What cannot be varied is said before anything runs."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("not json\n")
    done = await cli("batch", sd15, *(arg.format(rows=rows) for arg in args), "--json")

    assert done.code == 2
    assert json.loads(done.out)["event"] == "error"


async def test_embedded_server(cli: Any, sd15: Path) -> None:
    """--fake needs no server."""
    done = await cli("batch", sd15, "--fake", "--step-seconds", 0, "--seeds", 2, "--json")

    assert done.code == 0
    assert len(done.of("item")) == 2


async def test_rows_are_found_again(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """Lines, objects and the results file say which values, and which row, a job belongs to."""
    rows, results = tmp_path / "rows.csv", tmp_path / "r.jsonl"
    rows.write_text("3.steps,3.sampler_name\n2,euler\n\n1,eulr\n")
    command = ("batch", sd15, "--rows", rows, "--seeds", 1, "--seed", 7, "--limit", 1, "--results", results)
    plain = await cli(*command)
    lines = await cli(*command, "--json")

    first = "3.steps=2 3.sampler_name=euler 3.seed=7 (line 2)"
    assert plain.err.splitlines()[1].startswith("#0 completed, 1/2")
    assert plain.err.splitlines()[1].endswith(f": {first}")
    assert "  with 3.steps=1 3.sampler_name=eulr 3.seed=7 (line 4)\n" in plain.out
    assert {item["index"]: item["line"] for item in lines.of("item")} == {0: 2, 1: 4}
    noted = [json.loads(line) for line in results.read_text().splitlines()]
    told = [(item["index"], item["values"]) for item in noted if "values" in item]
    assert dict(told) == {item["index"]: item["values"] for item in lines.of("item")}
    # What came out of the file had them already.
    assert [index for index, _ in told].count(0) == 1
