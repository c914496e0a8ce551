"""`--label`: jobs are called so by run, submit and batch, and found again by queue and history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async.testing import FakeComfy

LABELLED = ("--label", "user=7", "--label", "order=a=b")
LABELS = {"user": "7", "order": "a=b"}


@pytest.mark.parametrize("verb", ["run", "submit", "batch"])
async def test_jobs_are_called_so(cli: Any, small: Path, fake: FakeComfy, verb: str) -> None:
    """Each of the three sends them; what follows the first `=` is the text."""
    assert (await cli(verb, small, *LABELLED)).code == 0
    await fake.idle()
    assert [run.extra_data["comfy_async_labels"] for run in fake.books.accepted] == [LABELS]


async def test_the_ref_has_them(cli: Any, small: Path) -> None:
    """What submit prints says what the job is called."""
    assert json.loads((await cli("submit", small, *LABELLED)).out)["labels"] == LABELS


@pytest.mark.parametrize("verb", ["run", "submit", "batch", "queue", "history"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("user", "--label takes NAME=TEXT, for example user=7, not 'user'"),
        ("=7", "--label: the name of a label is not empty and has no '=' in it: ''"),
    ],
)
async def test_what_is_no_label(
    cli: Any, small: Path, fake: FakeComfy, verb: str, given: str, said: str
) -> None:
    """It is a usage error, before anything is sent."""
    done = await cli(verb, *([small] if verb in ("run", "submit", "batch") else []), "--label", given)
    assert (done.code, said in done.err) == (2, True)
    assert not fake.books.requests


@pytest.mark.parametrize("version", ["0.3.44", "0.33.0"])
async def test_history_shows_and_finds(cli: Any, small: Path, version: str) -> None:
    """The latest first, with what each is called; --label leaves out the others."""
    async with FakeComfy(version=version) as fake:
        where = ("--server", fake.url)
        assert (await cli("batch", small, "--label", "user=7", *where)).code == 0
        await cli("run", small, "--set", "1.color=1", *LABELLED, *where)
        await cli("run", small, "--set", "1.color=2", "--label", "user=8", *where)
        listed = await cli("history", *where)
        first, second = listed.out.splitlines()[:2]
        assert first.endswith("user=8")
        assert second.endswith("user=7 order=a=b")
        found = await cli("history", "--label", "user=7", "--label", "order=a=b", "--json", *where)
        assert [line["labels"] for line in found.objects] == [LABELS]
        everything = await cli("history", "--json", *where)
        assert [line["labels"] for line in everything.objects][:2] == [{"user": "8"}, LABELS]
        none = await cli("history", "--label", "user=9", *where)
        assert (none.code, none.out, "no job has these labels" in none.err) == (0, "", True)


async def test_history_finds_the_latest(cli: Any, small: Path, fake: FakeComfy) -> None:
    """Of many that have a label, the last ones, the very last first."""
    for color in range(4):
        await cli("run", small, "--set", f"1.color={color}", "--label", f"color={color}", "--label", "user=7")
    found = await cli("history", "--label", "user=7", "-n", "2", "--json")
    assert [line["labels"]["color"] for line in found.objects] == ["3", "2"]


async def test_queue_shows_and_finds(cli: Any, small: Path, fake: FakeComfy) -> None:
    """What runs and waits, with its labels; places stay those of the whole queue."""
    fake.hold()
    await cli("submit", small, "--label", "user=8")
    await cli("submit", small, *LABELLED)
    listed = await cli("queue")
    assert listed.out.splitlines()[-1].endswith("user=7 order=a=b")
    found = await cli("queue", "--label", "user=7", "--json")
    assert [line["labels"] for line in found.objects] == [LABELS]
    everything = await cli("queue", "--json")
    assert found.objects[0] == everything.objects[-1]
    none = await cli("queue", "--label", "user=9")
    assert (none.out, "no job has these labels" in none.err) == ("", True)
    fake.release()
    await fake.idle()


async def test_clear_takes_no_label(cli: Any, fake: FakeComfy) -> None:
    """It would take out the jobs of others too."""
    done = await cli("queue", "--clear", "--yes", "--label", "user=7")
    assert done.code == 2
    assert not fake.books.requests


async def test_a_key(cli: Any, small: Path, fake: FakeComfy) -> None:
    """The same key is the same job, from one process after the other; an empty one is none."""
    first = json.loads((await cli("submit", small, "--key", "order-12")).out)
    second = json.loads((await cli("submit", small, "--key", "order-12")).out)
    assert first["prompt_id"] == second["prompt_id"]
    assert (await cli("run", small, "--key", "order-12")).code == 0
    other = await cli("run", small, "--set", "1.color=9", "--key", "order-12")
    assert (other.code, "runs another workflow" in other.err) == (1, True)
    assert (await cli("submit", small, "--key", "")).code == 2
    assert len(fake.books.accepted) == 1


async def test_a_kept_prompt_keeps_them(cli: Any, small: Path, tmp_path: Path, free_port: int) -> None:
    """The command that goes on later says them again."""
    where = ("--server", f"http://127.0.0.1:{free_port}")
    done = await cli(
        "submit", small, *LABELLED, "--key", "12", "--keep", tmp_path / "kept.json", "--json", *where
    )
    assert "--label user=7 --label order=a=b --key 12" in json.dumps(done.objects)


async def test_cancel_by_label(cli: Any, small: Path, fake: FakeComfy) -> None:
    """The open jobs that have it, and no others; jobs are named in one way."""
    fake.hold()
    ours = [json.loads((await cli("submit", small, "--label", "user=7")).out)["prompt_id"] for _ in range(2)]
    other = json.loads((await cli("submit", small, "--label", "user=8")).out)["prompt_id"]
    done = await cli("cancel", "--label", "user=7", "--json")
    none = await cli("cancel", "--label", "user=9")

    assert {item["prompt_id"]: item["status"] for item in done.objects} == dict.fromkeys(ours, "cancelled")
    assert (none.code, none.err) == (0, "no open job has these labels\n")
    assert [run.prompt_id for run in fake.books.accepted if run.end is None] == [other]
    for args in ([], [other, "--label", "user=8"]):
        wrong = await cli("cancel", *args)
        assert (wrong.code, "cancel takes jobs, or --label" in wrong.err) == (2, True)
