"""Values from files: tables, JSON lines, lists and prompts, read as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async import Workflow
from comfy_async.cli._connection import UsageError
from comfy_async.cli._variants import Seeds, draw_seed, read_rows, read_varied, variants
from comfy_async.testing import FakeComfy
from comfy_async.workflow.catalog import NodeCatalog


def written(folder: Path, name: str, data: bytes) -> Path:
    """Write a file as it is, whatever the platform does with line ends."""
    path = folder / name
    path.write_bytes(data)
    return path


async def sent(fake: FakeComfy) -> list[Any]:
    """Return the prompts that the server was sent and has run, in order."""
    await fake.idle()
    async with fake.session() as comfy:
        return [(await comfy.history.get(run.prompt_id)).prompt for run in fake.books.accepted]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'6.text,3.steps\n"a\nfox",2\n', [{"6.text": "a\nfox", "3.steps": "2"}]),
        (b'6.text\r\n"a\r\nfox"\r\nb\r\n', [{"6.text": "a\r\nfox"}, {"6.text": "b"}]),
        (b"6.text\na\x0cb\n", [{"6.text": "a\x0cb"}]),
        ("6.text\na\u2028b\x85c\n".encode(), [{"6.text": "a\u2028b\x85c"}]),
        (b"\xef\xbb\xbf6.text\na\n", [{"6.text": "a"}]),
        (b'6.text,3.steps\n"",2\n,3', [{"6.text": "", "3.steps": "2"}, {"3.steps": "3"}]),
        (b'6.text\n"a ""red"" fox, small"\n', [{"6.text": 'a "red" fox, small'}]),
        (b" 6.text , 3.steps\na,2\n\n,\n", [{"6.text": "a", "3.steps": "2"}]),
        (b"6.text\ra\rb", [{"6.text": "a"}, {"6.text": "b"}]),
        (b'6.text\n5" disk\n', [{"6.text": '5" disk'}]),
    ],
)
def test_csv_cells_stay_what_they_are(tmp_path: Path, data: bytes, rows: list[dict[str, str]]) -> None:
    """Line breaks in quotes, form feeds, U+2028, a byte order mark; "" is a text, nothing is nothing."""
    assert read_rows(written(tmp_path, "rows.csv", data)) == rows


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ('{"6.text": "a\u2028b\x85c"}\n'.encode(), [{"6.text": "a\u2028b\x85c"}]),
        (b'\xef\xbb\xbf{"6.text": ""}\r\n\r\n{"3.steps": 2}', [{"6.text": ""}, {"3.steps": "2"}]),
        (b'{"6.text": null, "3.steps": 2}', [{"3.steps": "2"}]),
        (b'{"1.flag": false, "1.list": [1, 2]}', [{"1.flag": "false", "1.list": "[1, 2]"}]),
    ],
)
def test_json_lines_end_at_line_feeds_only(tmp_path: Path, data: bytes, rows: list[dict[str, str]]) -> None:
    """And at nothing else that Python takes for a line's end; null leaves an input as it is."""
    assert read_rows(written(tmp_path, "rows.jsonl", data)) == rows


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("rows.csv", b"my text,3.steps\na,2\n", "rows.csv, line 1: the column 'my text' is no NODE.INPUT"),
        ("rows.csv", b"6.text;3.steps\na;2\n", "columns are separated by commas"),
        ("rows.csv", b"6.text,6.text\na,b\n", "line 1: two columns have one name"),
        ("rows.csv", b'6.text\n"a\nb"\nc,d\n', "line 4: 2 cells, and 1 columns"),
        ("rows.csv", b'6.text\n"a\n', "line 2: a quote in a cell is not closed"),
        ("rows.csv", b'6.text\n"a"b\n', "line 2: a quote in a cell is not closed, or text follows it"),
        ("rows.csv", b"", "has no rows"),
        ("rows.csv", b"6.text,\na,\n", "the column '' is no NODE.INPUT"),
        ("rows.csv", b"6.text\n", "has no rows"),
        ("rows.csv", "6.text\nä\n".encode("utf-16"), "is no text in UTF-8"),
        ("rows.csv", "6.text\nä\n".encode("cp1252"), "is no text in UTF-8 (byte 7)"),
        ("rows.jsonl", b'{"6.text": 1}\nnot json\n', "rows.jsonl, line 2: this is neither CSV nor JSON"),
        ("rows.jsonl", b'{"6.text": 1}\n{"6text": 2}\n', "line 2: the column '6text' is no NODE.INPUT"),
        ("rows.jsonl", b"[1]\n", "line 1: no object with inputs"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    """In one line, with the file and its line, and never in the words of another option."""
    with pytest.raises(UsageError) as caught:
        read_rows(written(tmp_path, name, data))
    assert told in str(caught.value)
    assert "--set" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_in_a_file_has_a_value_a_line(tmp_path: Path) -> None:
    """Without its byte order mark, and with what only Python takes for a line's end."""
    path = written(tmp_path, "lines.txt", "\ufeffa\x0cb\r\n\r\nc\u2028d".encode())

    assert read_varied([f"6.text=@{path}"]) == [[("6.text", "a\x0cb"), ("6.text", "c\u2028d")]]
    with pytest.raises(UsageError, match="save it as UTF-8"):
        read_varied([f"6.text=@{written(tmp_path, 'cp1252.txt', b'caf' + bytes([233]))}"])


async def test_prompts_in_files(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """A byte order mark is no part of a prompt; another encoding is one line of error."""
    good = written(tmp_path, "good.txt", b"\xef\xbb\xbfa fox\r\nat night\r\n")
    bad = written(tmp_path, "bad.txt", "a fox".encode("utf-16"))
    done = await cli("submit", sd15, "--set", f"6.text=@{good}")
    refused = await cli("submit", sd15, "--set", f"6.text=@{bad}")

    assert done.code == 0
    assert [prompt["6"]["inputs"]["text"] for prompt in await sent(fake)] == ["a fox\nat night"]
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert f"{bad} is no text in UTF-8" in refused.err


async def test_a_wrong_column_is_told_as_one(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """The error names the file or the option that it came from."""
    path = written(tmp_path, "rows.csv", b"3.stepz\n2\n")
    rows = await cli("batch", sd15, "--rows", path)
    vary = await cli("batch", sd15, "--vary", "3.stepz=1..2")

    assert rows.code == vary.code == 2
    assert rows.err.startswith(f"error: --rows {path}, line 2: ")
    assert vary.err.startswith("error: --vary: ")
    assert "--set" not in rows.err + vary.err


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (
            "rows.csv",
            b"width,batch_size\n16,1\nabc,2\n-4,3\n",
            ["2 of 3 rows are wrong", "  line 3: ", "'abc'", "  line 4: ", "-4"],
        ),
        ("rows.csv", b"1.width\n1\n2,3\n4,5\n\n6,7,8\n", ["3 of 4", "  lines 3, 4: 2 cells", "  line 6: 3"]),
        ("rows.csv", b"1.widthh\n1\n2\n", ["rows.csv, lines 2, 3: ", "'widthh'"]),
        (
            "rows.jsonl",
            b'{"1.color": 1}\n\n[1]\nno\n',
            ["2 of 3", "  line 3: no object", "  line 4: this is"],
        ),
        ("rows.jsonl", b'{"1.widthh": 1}\n{"9.x": 1}\n', ["2 of 2", "  line 1: ", "  line 2: "]),
    ],
)
async def test_every_wrong_row_is_named(
    cli: Any, small: Path, fake: FakeComfy, tmp_path: Path, name: str, data: bytes, told: list[str]
) -> None:
    """With its line, before anything runs; scripts get the same."""
    path = written(tmp_path, name, data)
    done = await cli("batch", small, "--rows", path)
    lines = await cli("batch", small, "--rows", path, "--json")

    assert done.code == lines.code == 2
    assert str(path) in done.err.splitlines()[0]
    for words in told:
        assert words in done.err
    rows = lines.objects[0]["error"].get("rows", [])
    assert sum(len(row["lines"]) for row in rows) == (int(told[0][0]) if "of" in told[0] else 0)
    assert not fake.books.accepted


async def test_many_wrong_rows_are_not_all_told(cli: Any, small: Path, tmp_path: Path) -> None:
    """The first twenty faults, and how many rows there are."""
    path = written(tmp_path, "rows.csv", b"width\n" + b"".join(b"x%d\n" % n for n in range(50)))
    done = await cli("batch", small, "--rows", path)

    assert "50 of 50 rows are wrong; the first 20 faults are" in done.err
    assert sum(line.startswith("  line ") for line in done.err.splitlines()) == 20


SEEDS = {
    "Rodin": {"input": {"required": {"seed": ["INT", {"default": 0, "min": 0, "max": 65535}]}}, "output": []},
    "Noise": {
        "input": {
            "required": {"noise_seed": ["INT", {"min": 10, "max": 1 << 64, "control_after_generate": True}]}
        },
        "output": [],
    },
}


def seeds(**classes: int) -> Workflow:
    """Return a workflow of nodes with a seed each."""
    names = {"Rodin": "seed", "Noise": "noise_seed"}
    return Workflow.load(
        {str(i): {"class_type": c, "inputs": {names[c]: v}} for i, (c, v) in enumerate(classes.items(), 1)}
    )


def test_drawn_seeds_are_in_the_range_of_all() -> None:
    """Counted up they stay numbers that every seed takes; what cannot be is said."""
    catalog = NodeCatalog(SEEDS)
    flows = [seeds(Rodin=1), seeds(Noise=1)]

    assert all(10 <= draw_seed(flows, 65520, catalog=catalog) <= 16 for _ in range(50))
    assert draw_seed(flows, 65526, catalog=catalog) == 10
    with pytest.raises(UsageError, match="numbers from 10 to 65535 only"):
        draw_seed(flows, 65527, catalog=catalog)


def test_a_seed_is_the_number_in_every_seed() -> None:
    """--seed has one meaning: with --seeds it is the first of them."""
    flow = seeds(Rodin=1, Noise=2)
    made = variants([flow], varied=[], rows=[], seeds=Seeds(7, 2), catalog=None)

    assert [(values, other.get("1", "seed"), other.get("2", "noise_seed")) for values, other in made] == [
        ({"draw": "7", "1.seed": "7", "2.noise_seed": "7"}, 7, 7),
        ({"draw": "8", "1.seed": "8", "2.noise_seed": "8"}, 8, 8),
    ]


@pytest.fixture
def rodin(fake: FakeComfy, tmp_path: Path) -> Path:
    """A workflow whose seed ends at 65535, on a server that has its class."""
    fake.script("Rodin", inputs={"seed": ("INT", {"default": 0, "min": 0, "max": 65535})})
    path = tmp_path / "rodin.json"
    path.write_text(json.dumps(seeds(Rodin=1).to_api()))
    return path


async def test_draws_keep_the_range_of_the_server(cli: Any, rodin: Path, fake: FakeComfy) -> None:
    """Without it nearly every draw would be refused."""
    done = [await cli("submit", rodin, "--randomize") for _ in range(4)]
    batch = await cli("batch", rodin, "--seeds", 4, "--json")
    wrong = await cli("submit", rodin, "--seed", 65536)

    assert [one.code for one in [*done, batch]] == [0] * 5
    drawn = [prompt["1"]["inputs"]["seed"] for prompt in await sent(fake)]
    assert len(drawn) == 8
    assert all(0 <= seed <= 65535 for seed in drawn)
    assert (wrong.code, "65536 is not within 0 to 65535" in wrong.err) == (2, True)


@pytest.mark.parametrize(("word", "value"), [("false", False), ("No", False), ("0", False), ("on", True)])
async def test_yes_and_no(cli: Any, fake: FakeComfy, tmp_path: Path, word: str, value: bool) -> None:
    """`false` is false by --set and in a table, whatever stands there now; what is neither is refused."""
    fake.script("Flag", inputs={"flag": "BOOLEAN"}, optional={"more": "BOOLEAN"})
    path = tmp_path / "flag.json"
    path.write_text(json.dumps({"1": {"class_type": "Flag", "inputs": {"flag": "true"}}}))
    rows = written(tmp_path, "rows.csv", f"1.flag,1.more\n{word},{word}\n".encode())
    done = await cli("submit", path, "--set", f"1.flag={word}", "--set", f"1.more={word}")
    table = await cli("batch", path, "--rows", rows)
    neither = await cli("submit", path, "--set", "1.flag=maybe")

    assert (done.code, table.code, neither.code) == (0, 0, 2)
    assert [prompt["1"]["inputs"] for prompt in await sent(fake)] == [{"flag": value, "more": value}] * 2
    assert "'maybe' is neither true nor false" in neither.err
