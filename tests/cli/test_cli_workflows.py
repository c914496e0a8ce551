"""`inputs`, `check`, `convert`, `nodes`, `models`, and prompts kept for later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from comfy_async import Workflow
from comfy_async.cli._tables import range_text
from comfy_async.testing import FakeComfy
from comfy_async.workflow.catalog import NodeClass

NOBODY = "http://127.0.0.1:9"
ROOT = Path(__file__).parents[2]
UI = ROOT / "examples" / "workflows" / "sd15_text2image_ui.json"
CATALOG = ROOT / "tests" / "data" / "object_info.json.gz"


async def test_inputs_need_no_server(cli: Any, sd15: Path) -> None:
    """Prompts come first, with the keys that --set takes."""
    cli.env["COMFY_LOCAL_URL"] = NOBODY
    plain = await cli("inputs", sd15)
    lines = await cli("inputs", sd15, "--json")
    every = await cli("inputs", sd15, "--all", "--json")

    assert plain.out.splitlines()[0].split()[:2] == ["6.text", "text"]
    assert [item["key"] for item in lines.objects if item["kind"] == "seed"] == ["3.seed"]
    assert {"key", "kind", "node", "title", "class_type", "input", "value", "type"} < lines.objects[0].keys()
    assert len(every.objects) >= len(lines.objects)


async def test_inputs_with_ranges(cli: Any, sd15: Path, fake: FakeComfy) -> None:
    """With a server or a catalog the ranges and choices are listed; scripts get them exactly."""
    done = await cli("inputs", sd15, "--server", fake.url)
    offline = await cli("inputs", UI, "--catalog", CATALOG, "--json")

    assert "INT 0..2^64-1" in done.out
    assert "one of euler, " in done.out
    assert [item["max"] for item in offline.objects if item["key"] == "3.seed"] == [2**64 - 1]


async def test_inputs_of_nothing(cli: Any, tmp_path: Path) -> None:
    """A workflow without anything to set says so."""
    path = tmp_path / "bare.json"
    path.write_text('{"1": {"class_type": "X", "inputs": {}}}')

    assert "--all" in (await cli("inputs", path)).err


async def test_check(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """Errors exit with 1 and stand line by line; a sound workflow with 0; --strict counts warnings."""
    broken = tmp_path / "broken.json"
    Workflow.load(sd15).with_inputs({"3.sampler_name": "eulr"}).save(broken)
    unused = tmp_path / "unused.json"
    Workflow.load(sd15).add("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1}).save(unused)
    good = await cli("check", sd15, "--json")
    bad = await cli("check", broken, "--json")
    plain = await cli("check", broken, "--catalog", CATALOG)
    warned = await cli("check", unused)
    strict = await cli("check", unused, "--strict")

    assert good.code == 0
    assert good.objects == [{"event": "checked", "ok": True, "errors": 0, "warnings": 0}]
    assert bad.code == plain.code == 1
    assert bad.of("problem")[0]["nearest"][0] == "euler"
    assert "error: 3 (KSampler), input 'sampler_name'" in plain.out
    assert (warned.code, strict.code) == (0, 1)


async def test_convert_is_the_editors_own(cli: Any, sd15: Path, tmp_path: Path) -> None:
    """The editor file becomes the API file, on stdout, in a file and as JSON."""
    target = tmp_path / "api.json"
    printed = await cli("convert", UI, "--catalog", CATALOG)
    written = await cli("convert", UI, "--catalog", CATALOG, "-o", target)
    lines = await cli("convert", UI, "--json")

    exported = Workflow.load(sd15).to_api()
    assert lines.objects[0]["workflow"] == exported  # by the ways of the editor that the server ships
    assert unpacked(printed.out) == exported
    assert written.out.strip() == str(target)
    assert unpacked(target) == exported


def unpacked(source: Any) -> dict[str, Any]:
    """Read a graph, and take off the packs that the newest editor names."""
    graph = Workflow.load(source).to_api()
    for node in graph.values():
        node["_meta"] = {"title": node["_meta"]["title"]}
    return graph


async def test_convert_without_a_server(cli: Any) -> None:
    """An editor file takes a catalog."""
    cli.env["COMFY_LOCAL_URL"] = NOBODY
    done = await cli("convert", UI, "--json")

    assert done.code == 1
    assert done.objects[0]["error"]["code"] == "server_not_running"


async def test_run_takes_an_editor_file(cli: Any, tmp_path: Path) -> None:
    """It is converted by the server's catalog; --set works on it."""
    done = await cli("run", UI, "--set", "3.steps=2", "--out", tmp_path, "--json")

    assert done.code == 0
    assert done.of("saved")


async def test_run_takes_a_picture(cli: Any, small: Path, tmp_path: Path) -> None:
    """A PNG that ComfyUI saved runs again."""
    first = await cli("run", small, "--out", tmp_path)
    again = await cli("run", first.out.strip(), "--json")

    assert again.code == 0
    assert again.of("completed")


async def test_run_takes_stdin(cli: Any) -> None:
    """`-` reads the workflow from stdin."""
    graph = {"1": {"class_type": "PreviewAny", "inputs": {"source": "hello"}}}
    done = await cli("run", "-", "--json", input=json.dumps(graph))

    assert done.code == 0


async def test_optional_input_that_the_file_lacks(cli: Any, fake: FakeComfy, tmp_path: Path) -> None:
    """An input that an export leaves out may be set: the server's class has it."""
    fake.script("Maker", inputs={"a": "INT"}, optional={"b": ("INT", {"default": 1})})
    path = tmp_path / "maker.json"
    path.write_text(json.dumps({"1": {"class_type": "Maker", "inputs": {"a": 1}}}))
    good = await cli("run", path, "--set", "1.b=5")
    bad = await cli("run", path, "--set", "1.c=5", "--json")

    assert good.code == 0
    assert bad.code == 2
    assert "comfy-async inputs" in bad.objects[0]["error"]["hint"]


async def test_upload_through_set(cli: Any, fake: FakeComfy, tmp_path: Path, small: Path) -> None:
    """`@FILE` is uploaded, and the node gets its name on the server."""
    picture = (await cli("run", small, "--out", tmp_path)).out.strip()
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    path = tmp_path / "load.json"
    path.write_text(json.dumps(graph))
    done = await cli("run", path, "--set", f"Load Image.image=@{picture}", "--set", f"1.image=@{picture}")
    by_class = await cli("run", path, "--set", f"LoadImage.image=@{picture}")

    assert done.code == 2
    assert by_class.code == 0
    assert len(fake.books.uploads) == 1


async def test_nodes(cli: Any, tmp_path: Path) -> None:
    """A class is shown, words are searched for, nothing found names what comes near."""
    one = await cli("nodes", "KSampler", "--catalog", CATALOG)
    line = await cli("nodes", "KSampler", "--catalog", CATALOG, "--json")
    some = await cli("nodes", "upscale", "latent")
    none = await cli("nodes", "KSamplr")
    nowhere = await cli("nodes", "what", "nobody", "has")
    every = await cli("nodes", "--json")

    assert "sampler_name" in one.out
    assert "0..2^64-1" in one.out
    names = [item["name"] for item in line.objects[0]["inputs"]]
    assert names[:3] == ["model", "seed", "steps"]
    assert line.objects[0]["outputs"] == [{"slot": 0, "name": "LATENT", "type": "LATENT"}]
    assert some.code in {0, 1}
    assert none.code == 1
    assert "Nearest: KSampler" in none.err
    assert "`comfy-async nodes` lists all" in nowhere.err
    assert {item["event"] for item in every.objects} == {"node"}


async def test_catalog_is_kept_for_work_without_the_server(cli: Any, tmp_path: Path) -> None:
    """--save and --stubs write files; the catalog serves offline."""
    saved = tmp_path / "info.json.gz"
    written = await cli("nodes", "--save", saved, "--stubs", tmp_path / "stubs", "--json")
    cli.env["COMFY_LOCAL_URL"] = NOBODY
    offline = await cli("convert", UI, "--catalog", saved)

    paths = [Path(item["path"]).name for item in written.objects]
    assert paths == ["info.json.gz", "comfy_nodes.py", "comfy_nodes.pyi"]
    assert offline.code == 0


async def test_models(cli: Any) -> None:
    """Kinds, the models of a kind, and what is said of one that is not there."""
    kinds = await cli("models", "--json")
    some = await cli("models", "checkpoints")
    unknown = await cli("models", "chekpoints", "--json")

    assert {"event": "model_folder", "folder": "checkpoints"} in kinds.objects
    assert "v1-5-pruned-emaonly-fp16.safetensors" in some.out
    assert unknown.objects[0]["error"]["code"] == "not_found"
    assert "checkpoints" in unknown.objects[0]["error"]["hint"]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", ["run", "submit"])
async def test_prompt_is_kept_when_nobody_answers(
    cli: Any, sd15: Path, workplace: Path, fake: FakeComfy, command: str
) -> None:
    """The prepared prompt is written, complete, and the command to submit it later is told."""
    done = await cli(command, sd15, "--seed", 9, "--server", NOBODY, "--project", "faces", "--json")
    kept = Path("projects/faces/workflows/sd15_text2image_api.json")
    later = await cli("submit", kept)

    assert done.code == 1
    error = done.objects[0]["error"]
    assert error["kept"] == str(kept)
    assert error["command"] == f"comfy-async submit {kept} --server {NOBODY}"
    assert Workflow.load(workplace / kept).get("3", "seed") == 9
    assert later.code == 0
    await fake.idle()


async def test_kept_prompt_names_its_files(cli: Any, workplace: Path) -> None:
    """Files go up with the job: the command for later has them, a path of choice is taken."""
    picture = workplace / "my face.png"
    picture.write_bytes(b"\x89PNG")
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}}
    (workplace / "load.json").write_text(json.dumps(graph))
    done = await cli(
        *("run", "load.json", "--set", "1.image=@my face.png", "--server", NOBODY, "--keep", "kept.json")
    )

    assert "comfy-async submit kept.json --set '1.image=@my face.png'" in done.err


async def test_editor_file_cannot_be_kept_without_a_catalog(cli: Any, workplace: Path) -> None:
    """There is nothing to keep but the file itself; with a catalog there is."""
    without = await cli("run", UI, "--server", NOBODY, "--json")
    kept = await cli("run", UI, "--server", NOBODY, "--catalog", CATALOG, "--keep", "kept.json", "--json")

    assert "kept" not in without.objects[0]["error"]
    assert Workflow.load(workplace / kept.objects[0]["error"]["kept"]).format == "api"


async def test_ask_needs_a_terminal(cli: Any, sd15: Path) -> None:
    """A script that nobody answers gets an error, not a prompt."""
    done = await cli("run", sd15, "--ask", "6.text")

    assert done.code == 2
    assert "--set" in done.err


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("6.text", "positive prompt [beautiful scenery"),
        ("7.text", "negative prompt [text, watermark]: "),
        ("3.steps", "KSampler steps [20]: "),
    ],
)
def test_questions_are_for_people(sd15: Path, key: str, told: str) -> None:
    """`positive prompt`, where the graph says so."""
    from comfy_async.cli._values import question

    assert question(Workflow.load(sd15), key).startswith(told)


class Catalogue:
    """A session whose server has one partner node."""

    def __init__(self, *paid: str) -> None:
        self.nodes = self
        self.paid = paid

    async def info(self, class_type: str) -> NodeClass:
        """Return one class."""
        return NodeClass(class_type, {"api_node": class_type in self.paid})


async def test_partner_key_goes_only_where_it_is_needed(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COMFY_API_KEY is no gift for every server: it is sent with partner nodes only."""
    from comfy_async.cli._prepare import partner_options

    workflow, server, paid = Workflow.load(small), Catalogue(), Catalogue("EmptyImage")

    assert await partner_options(paid, workflow) == {}  # type: ignore[arg-type]
    monkeypatch.setenv("COMFY_API_KEY", "comfyui-secret")
    assert await partner_options(server, workflow) == {}  # type: ignore[arg-type]
    assert await partner_options(paid, workflow) == {"partner_api_key": "comfyui-secret"}  # type: ignore[arg-type]


def of_a_pack(workflow: Path) -> None:
    """Make the first node one of a pack that the file names."""
    graph = json.loads(workflow.read_text())
    graph["1"] |= {"class_type": "MakerOfThings", "_meta": {"cnr_id": "maker-pack", "ver": "1.2.0"}}
    workflow.write_text(json.dumps(graph))


async def test_check_names_what_installs_what_is_missing(cli: Any, small: Path, sd15: Path) -> None:
    """Classes with their packs, models with their addresses; nothing is installed."""
    of_a_pack(small)
    plain = await cli("check", small)
    lines = await cli("check", small, "--json")

    assert plain.code == lines.code == 1
    assert "missing: MakerOfThings (1): maker-pack 1.2.0" in plain.out
    assert "\n  comfy node install maker-pack@1.2.0\n" in plain.out
    (missing,) = lines.of("missing_class")
    assert (missing["class_type"], missing["nodes"], missing["registry_id"]) == (
        *("MakerOfThings", ["1"]),
        "maker-pack",
    )
    assert lines.of("install") == [{"event": "install", "command": "comfy node install maker-pack@1.2.0"}]
    assert not (await cli("check", sd15, "--json")).of("install")


@pytest.mark.parametrize("command", ["run", "submit"])
async def test_nothing_is_kept_unasked(cli: Any, sd15: Path, workplace: Path, command: str) -> None:
    """Without a terminal a mistyped port puts no file anywhere; an option that names a place does."""
    done = await cli(command, sd15, "--server", NOBODY)
    lines = await cli(command, sd15, "--server", NOBODY, "--json")

    assert os.listdir(workplace) == []
    assert "Nothing was kept; --keep FILE keeps the prepared prompt." in done.err
    assert "kept" not in lines.objects[0]["error"]
    await cli(command, sd15, "--server", NOBODY, "--keep", "here.json")
    assert os.listdir(workplace) == ["here.json"]


async def test_of_two_in_one_file_the_prompt_can_be_asked_for(cli: Any, sd15: Path) -> None:
    """--prefer says which; another word is refused."""
    wrong = await cli("inputs", sd15, "--prefer", "both")
    assert (wrong.code, "--prefer takes workflow or prompt" in wrong.err) == (2, True)
    assert (await cli("inputs", sd15, "--prefer", "prompt")).code == 0


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0, 2**64 - 1, "0..2^64-1"),
        (-(2**63), 2**63 - 1, "-2^63..2^63-1"),
        (0, 1 << 50, "0..2^50"),
        (1, 10_000, "1..10000"),
        (0, 65535, "0..65535"),
        (-1, 2**32 - 2, "-1..4294967294"),
        (0.0, None, "0.0.."),
        (None, None, ""),
    ],
)
def test_ranges_as_people_read_them(low: object, high: object, text: str) -> None:
    """Large powers of two as such: twenty digits fit no column."""
    assert range_text(low, high) == text


async def test_what_is_cut_is_said(cli: Any, sd15: Path, small: Path, fake: FakeComfy) -> None:
    """Below the table, with the way to all of it; lines for a pipe are of a length that one can read."""
    for command in (["inputs", sd15, "--server", fake.url], ["app", sd15]):
        done = await cli(*command)
        cut = [line for line in done.out.splitlines() if "…" in line]
        assert any("euler, " in line and "(44)" in line for line in cut)
        assert max(map(len, done.out.splitlines()[1:])) < 180
        assert "what ends in … is cut: --json has it whole" in done.err
    assert "is cut" not in (await cli("inputs", small)).err
