"""`comfy-async app`: what a workflow takes and gives, and a run with an option for each input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_async.testing import FakeComfy


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A workflow that wants a picture, a choice and a yes or no, under names that options have too."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "nobody.png"}, "_meta": {"title": "$photo"}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {
                "image": ["1", 0],
                "upscale_method": "bilinear",
                "width": 8,
                "height": 8,
                "crop": "disabled",
            },
            "_meta": {"title": "$out.width"},
        },
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": "copy"},
            "_meta": {"title": "$copy"},
        },
    }
    path = tmp_path / "photo.json"
    path.write_text(json.dumps(graph))
    return path


async def last_prompt(fake: FakeComfy) -> dict[str, Any]:
    """Return the latest prompt that the server has run."""
    await fake.idle()
    async with fake.session() as comfy:
        return dict((await comfy.history.get(fake.books.accepted[-1].prompt_id)).prompt)


async def test_an_app_is_listed(cli: Any, sd15: Path) -> None:
    """Names, types, what is there now, ranges and choices; outputs; and the same for scripts."""
    shown = await cli("app", sd15)
    told = await cli("app", sd15, "--json")
    assert shown.code == told.code == 0
    assert "negative_prompt  string  text, watermark" in shown.out
    assert "1..10000" in shown.out
    assert "image" in shown.out.splitlines()[-1]
    (about,) = told.of("app")
    assert about["schema"]["properties"]["steps"]["maximum"] == 10000
    inputs = {item["name"]: item for item in told.of("app_input")}
    assert (inputs["seed"]["key"], inputs["seed"]["default"]) == ("3.seed", 1234)
    assert [item["name"] for item in told.of("app_output")] == ["image"]


async def test_help_has_an_option_for_each_input(cli: Any, sd15: Path, photo: Path) -> None:
    """With its kind, its range and its default; without a run."""
    done = await cli("app", sd15, "run", "--help")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert "--prompt TEXT" in text
    assert "--steps INTEGER" in text
    assert "(1..10000) [default: 20]" in text
    wanted = await cli("app", photo, "run", "-h")
    assert "--photo FILE" in wanted.out
    assert "[required]" in wanted.out
    assert "--input-out INTEGER" in wanted.out


@pytest.mark.parametrize(("words", "code"), [((), 2), (("--help",), 0), (("x.json", "--help"), 0)])
async def test_help_without_a_workflow(cli: Any, words: tuple[str, ...], code: int) -> None:
    """Is that of all apps; nothing is read for it."""
    done = await cli("app", *words)
    assert done.code == code
    assert "--catalog" in done.out
    assert "run --help" in done.out


async def test_a_run_sends_the_values(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """As texts and numbers; a file is saved where it was wanted."""
    wish = tmp_path / "wish.txt"
    wish.write_text("a fox\nat night\n")
    done = await cli(
        *("app", sd15, "run", "--prompt", f"@{wish}", "--negative-prompt", "@@home", "--seed", "7"),
        *("--cfg", "7.5", "--steps=2", "--sampler-name", "heun", "--out", tmp_path / "out"),
    )
    assert done.code == 0, done.err
    sent = await last_prompt(fake)
    assert sent["6"]["inputs"]["text"] == "a fox\nat night"
    assert sent["7"]["inputs"]["text"] == "@home"
    sampler = sent["3"]["inputs"]
    assert (sampler["seed"], sampler["cfg"], sampler["steps"], sampler["sampler_name"]) == (7, 7.5, 2, "heun")
    assert done.out.strip() == str(tmp_path / "out" / "ComfyUI_00001_.png")


async def test_files_are_uploaded(cli: Any, photo: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """A path of this machine; an input called like an option is behind `input-`."""
    picture = tmp_path / "me.png"
    Image.new("RGB", (4, 4)).save(picture)
    done = await cli("app", photo, "run", "--photo", picture, "--input-out", "16", "--json")
    assert done.code == 0, done.err
    sent = await last_prompt(fake)
    assert sent["1"]["inputs"]["image"].startswith("me-")
    assert sent["2"]["inputs"]["width"] == 16
    assert done.of("completed")[0]["status"] == "completed"
    assert len(done.of("output")) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--photo", "nowhere.png"), "--photo: there is no file nowhere.png"),
        (("--photo", "https://x.org/y.png"), "is a URL, and files are not downloaded. Download it"),
        ((), "photo: no image file is given"),
        (("--phote", "x"), "No such option: --phote"),
        (("--photo",), "requires an argument"),
        (("--photo", "example.png", "--input-out", "x"), "out: 'x' (str) is not a whole number"),
        (("--photo", "example.png", "--input-out", "-1"), "out: -1 is too small; the minimum is 0"),
        (("--photo", "example.png", "stray"), "unexpected extra argument"),
    ],
)
async def test_wrong_calls_are_told(
    cli: Any, photo: Path, fake: FakeComfy, words: tuple[str, ...], told: str
) -> None:
    """In the words of a terminal, with exit code 2, and nothing is sent."""
    done = await cli("app", photo, "run", *words)
    assert done.code == 2
    assert told in done.err
    assert "Path(" not in done.err
    assert fake.books.accepted == []


async def test_what_follows_a_workflow(cli: Any, sd15: Path) -> None:
    """`run`, or nothing."""
    for words in (("go",), ("--prompt", "x")):
        done = await cli("app", sd15, *words)
        assert done.code == 2
        assert "after the workflow comes `run` or nothing" in done.err


async def test_names_of_ones_own(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """`--name` and `--output` replace what the workflow says."""
    shown = await cli("app", sd15, "--name", "wish=6.text", "--output", "picture=9", "--json")
    assert [item["name"] for item in shown.of("app_input")] == ["wish"]
    assert [item["name"] for item in shown.of("app_output")] == ["picture"]
    done = await cli("app", sd15, "run", "--name", "wish=6.text", "--wish", "a fox")
    assert done.code == 0, done.err
    assert (await last_prompt(fake))["6"]["inputs"]["text"] == "a fox"
    wrong = await cli("app", sd15, "--name", "wish")
    assert (wrong.code, "--name takes NAME=NODE.INPUT" in wrong.err) == (2, True)
    unknown = await cli("app", sd15, "--name", "wish=6.txt")
    assert (unknown.code, "nearest: 'text'" in unknown.err) == (2, True)


async def test_without_a_server(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """A file of nodes serves for the list, an embedded server for a try."""
    catalog = Path(__file__).parents[1] / "data/object_info.json.gz"
    cli.env["COMFY_LOCAL_URL"] = "http://127.0.0.1:9"
    listed = await cli("app", sd15, "--catalog", catalog)
    assert (listed.code, "negative_prompt" in listed.out) == (0, True)
    tried = await cli("app", sd15, "run", "--fake", "--steps", "1", "--out", tmp_path / "out")
    assert tried.code == 0, tried.err
    away = await cli("app", sd15)
    assert (away.code, "--catalog object_info.json" in away.err) == (1, True)


async def test_rows_may_name_inputs(cli: Any, sd15: Path, fake: FakeComfy, tmp_path: Path) -> None:
    """Beside places; a wrong name or value is told with the file, before anything is sent."""
    rows = tmp_path / "rows.csv"
    rows.write_text('prompt,3.steps,seed\na fox,1,7\n"b, c",2,random\n')
    done = await cli("batch", sd15, "--rows", rows, "--json")
    assert done.code == 0, done.err
    assert [item["values"] for item in sorted(done.of("item"), key=lambda item: item["index"])] == [
        {"prompt": "a fox", "3.steps": "1", "seed": "7"},
        {"prompt": "b, c", "3.steps": "2", "seed": "random"},
    ]
    async with fake.session() as comfy:
        prompts = [(await comfy.history.get(run.prompt_id)).prompt for run in fake.books.accepted]
    sent = {prompt["3"]["inputs"]["steps"]: prompt for prompt in prompts}
    assert (sent[1]["6"]["inputs"]["text"], sent[1]["3"]["inputs"]["seed"]) == ("a fox", 7)
    assert sent[2]["6"]["inputs"]["text"] == "b, c"
    count = len(fake.books.accepted)
    rows.write_text("prmpt,seed\na fox,x\n")
    wrong = await cli("batch", sd15, "--rows", rows)
    assert wrong.code == 2
    assert f"--rows {rows}, line 2: the app was not called" in wrong.err
    assert "the app has no input 'prmpt'; nearest: 'prompt'" in wrong.err
    assert "seed: 'x' (str) is not a whole number" in wrong.err
    assert len(fake.books.accepted) == count


async def test_stubs_of_an_app(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """Beside those of the nodes, which are wanted with it."""
    done = await cli("nodes", "--stubs", tmp_path, "--app", sd15, "--app", sd15)
    assert done.code == 0, done.err
    stub = (tmp_path / "comfy_apps.pyi").read_text()
    assert "async def sd15_text2image_api(" in stub
    assert "async def sd15_text2image_api_2(" in stub
    alone = await cli("nodes", "--app", sd15)
    assert (alone.code, "--app needs --stubs" in alone.err) == (2, True)


async def test_what_is_unresolved_is_listed(cli: Any, tmp_path: Path) -> None:
    """With its reason."""
    drawn = json.loads((Path(__file__).parents[2] / "examples/workflows/sd15_text2image_ui.json").read_text())
    drawn["extra"]["linearData"] = {"inputs": [[6, "text"], [77, "seed"]], "outputs": [9]}
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps(drawn))
    done = await cli("app", path)
    assert "unresolved: 77.seed: there is no node 77" in done.out
    assert [item["node"] for item in (await cli("app", path, "--json")).of("unresolved")] == ["77"]
