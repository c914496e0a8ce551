"""Workflows: loading, reading, changing by name, saving."""

from __future__ import annotations

import concurrent.futures
import copy
import dataclasses
import enum
import gzip
import io
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_async.errors import UnknownInputError, WorkflowError, WorkflowFormatError
from comfy_async.types import NodeInfo
from comfy_async.workflow import NodeCatalog, Workflow

ROOT = Path(__file__).parents[2]
SD15 = ROOT / "examples/workflows/sd15_text2image_api.json"
SD15_UI = ROOT / "examples/workflows/sd15_text2image_ui.json"


@pytest.fixture
def sd15() -> Workflow:
    """The SD1.5 workflow in API format."""
    return Workflow.load(SD15)


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    """Return a node in API format."""
    made: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
    return {**made, "_meta": {"title": title}} if title else made


@pytest.mark.parametrize("kind", ["path", "str path", "text", "bytes", "bytearray", "dict", "gzip", "bom"])
def test_loads_from_everything(kind: str) -> None:
    """Paths, text, bytes and dicts give the same workflow."""
    text = SD15.read_text()
    sources: dict[str, Any] = {
        "path": SD15,
        "str path": str(SD15),
        "text": "\n " + text,
        "bytes": text.encode(),
        "bytearray": bytearray(text.encode()),
        "dict": json.loads(text),
        "gzip": gzip.compress(text.encode()),
        "bom": b"\xef\xbb\xbf" + text.encode(),
    }
    flow = Workflow.load(sources[kind])
    assert flow.to_api() == json.loads(text)
    assert flow.format == "api"
    assert repr(flow) == "<Workflow 8 nodes, api>"


def test_takes_the_body_of_a_post() -> None:
    """A saved POST /prompt body gives its graph and the editor file beside it."""
    editor = json.loads(SD15_UI.read_text())
    body = {"prompt": json.loads(SD15.read_text()), "extra_data": {"extra_pnginfo": {"workflow": editor}}}
    flow = Workflow.load(body)
    assert len(flow) == 8
    assert flow.editor == editor


def test_ignores_remarks_beside_the_nodes() -> None:
    """A top-level `_meta` block without class_type is no node, and is not sent."""
    flow = Workflow.load({"_meta": {"schema": "compose/1"}, "version": 1, "1": node("A")})
    assert list(flow.to_api()) == ["1"]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ('{"a":', "line 1, column 6"),
        ("[]", "the top level"),
        ('{"3": {"inputs": {}}}', "3.class_type"),
        ('{"3": 5}', "3.class_type"),
        ('{"3": {"class_type": null, "inputs": {}}}', "3.class_type"),
        ('{"3": {"class_type": "A"}}', "3.inputs"),
        ('{"3": {"class_type": "A", "inputs": []}}', "3.inputs"),
        ('{"3": {"class_type": "A", "inputs": {"x": [NaN]}}}', "3.inputs.x"),
        ('{"3": {"class_type": "A", "inputs": {"x": ' + "[" * 300 + "]" * 300 + "}}}", "3.inputs.x"),
        ("[" * 100_000, ""),
        ("{}", ""),
        ("", ""),
        ("a\nb", ""),
        (b"", ""),
        (b"\xff\xff\xff", "byte 0"),
        (b"\x1f\x8b\x08oops", ""),
        (gzip.compress(b"{}" * 100, mtime=0)[:-9], ""),
        ('{"3": ' + "1" * 5000 + "}", ""),
        ('{"nodes": [{"type": "A"}]}', "nodes[0].id"),
        ('{"nodes": [{"id": 1}]}', "nodes[0].type"),
        ('{"nodes": [1]}', "nodes[0]"),
        ('{"nodes": [], "links": 3}', "links"),
    ],
)
def test_damage_is_named_with_its_place(source: str | bytes, place: str) -> None:
    """What cannot be read says where it is damaged."""
    with pytest.raises(WorkflowFormatError) as caught:
        Workflow.load(source)
    assert caught.value.place == place


def test_refuses_what_holds_no_workflow(tmp_path: Path) -> None:
    """A wrong type is a format error, a missing file an OSError."""
    with pytest.raises(WorkflowFormatError, match="int"):
        Workflow.load(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        Workflow.load(tmp_path / "missing.json")


def test_a_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that grows without end is not unpacked."""
    monkeypatch.setattr("comfy_async.workflow._reading.MAX_BYTES", 1000)
    with pytest.raises(WorkflowFormatError, match="unpacks to more than"):
        Workflow.load(gzip.compress(b" " * 5000))


def test_an_editor_file_is_recognised_and_says_what_to_do(sd15: Workflow) -> None:
    """Operations on the graph of an editor file fail with the way out."""
    flow = Workflow.load(SD15_UI)
    assert flow.format == "editor"
    assert repr(flow) == "<Workflow 8 nodes, editor>"
    assert flow.editor == json.loads(SD15_UI.read_text())
    for act in (flow.to_api, flow.encode, flow.uploads, lambda: flow.nodes, lambda: flow.find("3")):
        with pytest.raises(
            WorkflowFormatError, match=r"flow\.converted\(await comfy\.nodes\.catalog\(\)\).*submit\(\)"
        ):
            act()
    with pytest.raises(WorkflowFormatError, match="API format"):
        Workflow(editor=sd15.to_api())


def test_nan_in_an_editor_file_becomes_null() -> None:
    """The editor itself writes null, and no server takes NaN."""
    flow = Workflow.load('{"nodes": [{"id": 1, "type": "A", "pos": [NaN, 1.5]}]}')
    assert flow.editor == {"nodes": [{"id": 1, "type": "A", "pos": [None, 1.5]}]}


def test_reads_nodes(sd15: Workflow) -> None:
    """Titles, classes and values can be read; nothing found is an empty list."""
    assert sd15.nodes["6"] == NodeInfo("6", "CLIP Text Encode (Prompt)", "CLIPTextEncode")
    assert list(sd15.nodes) == ["3", "4", "5", "6", "7", "8", "9", "10"]
    assert sd15.title("6") == "CLIP Text Encode (Prompt)"
    assert sd15.class_type("10") == "VAELoader"
    assert [found.id for found in sd15.find("CLIPTextEncode")] == ["6", "7"]
    assert [found.id for found in sd15.find("Save Image")] == ["9"]
    assert sd15.find("nothing") == []
    assert sd15.get("3", "seed") == 1234
    assert sd15.get("3", "model") == ["4", 0]
    with pytest.raises(UnknownInputError, match="no node has"):
        sd15.title("99")
    with pytest.raises(TypeError):
        sd15.nodes["6"] = NodeInfo("6", "", "")  # type: ignore[index]


def test_find_lists_ids_then_titles_then_classes() -> None:
    """A name that is an id, a title and a class finds all three, in this order."""
    flow = Workflow.load({"a": node("X"), "b": node("Y", "X"), "X": node("Z")})
    assert [found.id for found in flow.find("X")] == ["X", "b", "a"]


def test_what_is_handed_out_is_not_ours(sd15: Workflow) -> None:
    """Changing the dict from to_api changes no workflow, nor does changing the loaded dict."""
    data = json.loads(SD15.read_text())
    flow = Workflow.load(data)
    data["3"]["inputs"]["seed"] = -1
    given = flow.to_api()
    given["3"]["inputs"]["model"].append("x")
    given["4"]["_meta"]["title"] = "x"
    assert flow == sd15


def test_variants_share_what_they_do_not_change(sd15: Workflow) -> None:
    """A thousand variants cost a thousand samplers, not a thousand graphs."""
    variant = sd15.with_inputs({"3.seed": 42})
    assert sd15._nodes is not None
    assert variant._nodes is not None
    shared = [key for key in sd15.nodes if sd15._nodes[key] is variant._nodes[key]]
    assert shared == ["4", "5", "6", "7", "8", "9", "10"]
    assert sd15.get("3", "seed") == 1234
    assert json.loads(variant.encode()) == variant.to_api()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("1.x", ("1", "x")),
        ("v1.5 model.name", ("2", "name")),
        ("Resize.resize_type.width", ("3", "resize_type.width")),
        (("v1.5 model", "name"), ("2", "name")),
        ((1, "x"), ("1", "x")),
        ("C.z", ("4", "z")),
        ("57:3.x", ("57:3", "x")),
    ],
)
def test_keys_mean_id_then_title_then_class(key: Any, expected: tuple[str, str]) -> None:
    """A key is tried at every dot, because titles and inputs contain dots."""
    flow = Workflow.load(
        {
            "1": node("A", x=0),
            "2": node("B", "v1.5 model", name=0),
            "3": node("R", "Resize", **{"resize_type": "w", "resize_type.width": 0}),
            "4": node("C", "1", x=0, z=0),
            "57:3": node("D", x=0),
        }
    )
    assert flow.with_inputs({key: 7}).get(*expected) == 7


def test_a_key_that_means_two_nodes_lists_them(sd15: Workflow) -> None:
    """Ambiguity is an error with the candidates, by title, by class and across dots."""
    with pytest.raises(UnknownInputError) as caught:
        sd15.with_inputs({"CLIPTextEncode.text": "x"})
    assert caught.value.candidates == (
        '6 "CLIP Text Encode (Prompt)" (CLIPTextEncode)',
        '7 "CLIP Text Encode (Prompt)" (CLIPTextEncode)',
    )
    flow = Workflow.load({"1": node("A", "a", **{"b.c": 0}), "2": node("A", "a.b", c=0)})
    with pytest.raises(UnknownInputError, match="more than one"):
        flow.with_inputs({"a.b.c": 1})
    assert flow.with_inputs({("a.b", "c"): 1}).get("2", "c") == 1


@pytest.mark.parametrize(
    ("key", "nearest", "says"),
    [
        ("3.sed", "seed", "has no input 'sed'"),
        ("KSampler.STEPS", "steps", "no input 'STEPS'"),
        ("KSmpler.seed", "KSampler", "no node has"),
        ("save image.filename_prefix", "Save Image", "no node has"),
    ],
)
def test_unknown_names_come_with_the_nearest(sd15: Workflow, key: str, nearest: str, says: str) -> None:
    """A slip of the pen is answered with what was meant."""
    with pytest.raises(UnknownInputError, match=says) as caught:
        sd15.with_inputs({key: 1})
    assert caught.value.candidates[0] == nearest


@pytest.mark.parametrize("key", ["seed", 3, ("3",), ("3", 4), "", ".", "3."])
def test_keys_that_are_none(sd15: Workflow, key: Any) -> None:
    """Anything else than node.input or (node, input) is refused."""
    with pytest.raises(UnknownInputError):
        sd15.with_inputs({key: 1})


def test_inputs_that_the_export_lacks(catalog: NodeCatalog) -> None:
    """They need a catalog that knows them, or add=True."""
    flow = Workflow.load({"1": node("KSampler", seed=1)})
    with pytest.raises(UnknownInputError, match="catalog"):
        flow.with_inputs({"1.cfg": 7})
    assert flow.with_inputs({"1.cfg": 7}, catalog=catalog).get("1", "cfg") == 7
    assert flow.with_inputs({"1.anything": 7}, add=True).get("1", "anything") == 7
    with pytest.raises(UnknownInputError):
        flow.with_inputs({"1.anything": 7}, catalog=catalog)


def test_parts_of_a_dynamic_combo_follow_its_value(catalog: NodeCatalog) -> None:
    """The inputs that a choice brings can be set with it, in either order."""
    flow = Workflow.load({"1": node("ResizeImageMaskNode", resize_type="scale by multiplier")})
    changed = flow.with_inputs({"1.resize_type.width": 64, "1.resize_type": "scale width"}, catalog=catalog)
    assert changed.get("1", "resize_type.width") == 64
    with pytest.raises(UnknownInputError):
        flow.with_inputs({"1.resize_type.width": 64}, catalog=catalog)


class Colour(enum.StrEnum):
    """A choice as users may write it."""

    RED = "red"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (["4", 0], ["4", 0]),
        (("4", 1), ["4", 1]),
        ([512, 512], {"__value__": [512, 512]}),
        ((1, 2, 3), {"__value__": [1, 2, 3]}),
        ([], {"__value__": []}),
        ({"__value__": [1]}, {"__value__": [1]}),
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (None, None),
        (True, True),
        (Colour.RED, "red"),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_values_become_what_comfyui_reads(sd15: Workflow, value: Any, sent: Any) -> None:
    """[id, slot] is a link, another list is wrapped, numpy numbers become numbers."""
    flow = sd15.with_inputs({"3.denoise": value})
    assert flow.to_api()["3"]["inputs"]["denoise"] == sent
    assert json.loads(flow.encode()) == flow.to_api()


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -math.inf,
        [math.nan],
        {"a": math.inf},
        object(),
        {1: 2},
        {3},
        ["99", 0],
        ["4", -1],
        [Path("a")],
    ],
)
def test_values_that_cannot_be_sent_are_refused_with_their_place(sd15: Workflow, value: Any) -> None:
    """NaN, infinities, strangers and links to nowhere never reach the server."""
    with pytest.raises(UnknownInputError, match=r"node 3 \(KSampler\), input 'cfg'"):
        sd15.with_inputs({"3.cfg": value})


def test_a_list_in_itself_is_refused(sd15: Workflow) -> None:
    """Endless values are damage, not a RecursionError."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnknownInputError, match="nested"):
        sd15.with_inputs({"3.cfg": loop})
    with pytest.raises(WorkflowFormatError, match="nested"):
        Workflow.load({"nodes": [{"id": 1, "type": "A", "x": loop}]})


@pytest.mark.parametrize(
    "value",
    [
        Path("face.png"),
        b"\x89PNG",
        bytearray(b"x"),
        io.BytesIO(b"x"),
        Image.new("RGB", (2, 2)),
        np.zeros((2, 2, 3), np.uint8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_files_wait_for_their_upload(value: Any) -> None:
    """Paths, bytes, files and images are kept; to_api says that they wait, and where."""
    flow = Workflow.load({"1": node("LoadImage", "Load Image", image="a.png")})
    waiting = flow.with_inputs({"Load Image.image": value})
    assert list(waiting.uploads()) == [("1", "image")]
    assert waiting.uploads()["1", "image"] is value
    assert waiting.get("1", "image") is value
    for act in (waiting.to_api, waiting.encode):
        with pytest.raises(WorkflowError, match=r'1 "Load Image" \(LoadImage\), input .image'):
            act()
    assert waiting.with_inputs({"1.image": "b.png"}).to_api()["1"]["inputs"] == {"image": "b.png"}


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """What stands for a file on the server."""

    name_for_input: str


class UploadedName(str):
    """The same as a text."""

    __slots__ = ()


def test_uploaded_files_go_in_by_name() -> None:
    """A handle is sent as its name and can be found again for another server."""
    flow = Workflow.load({"1": node("LoadImage", image="a.png")})
    handle = Uploaded("sub/b.png")
    changed = flow.with_inputs({"1.image": handle})
    assert changed.uploads() == {}
    assert changed.handles() == {("1", "image"): handle}
    assert changed.to_api()["1"]["inputs"]["image"] == "sub/b.png"
    named = flow.with_inputs({"1.image": UploadedName("c.png")}).to_api()["1"]["inputs"]["image"]
    assert (named, type(named)) == ("c.png", str)


def test_copies_and_pickles(sd15: Workflow) -> None:
    """A workflow crosses process borders and stays equal."""
    for flow in (sd15, Workflow.load(SD15_UI), sd15.with_inputs({"4.ckpt_name": Path("x")})):
        assert pickle.loads(pickle.dumps(flow)) == flow
        assert copy.deepcopy(flow) == copy.copy(flow) == flow
    assert sd15 != sd15.with_inputs({"3.seed": 0})
    assert sd15 != sd15.to_api()
    with pytest.raises(TypeError):
        hash(sd15)


def test_save_is_stable_and_keeps_titles(sd15: Workflow, tmp_path: Path) -> None:
    """Equal graphs make equal files, ids in numeric order, and loading gives the same again."""
    path = sd15.save(tmp_path / "deep/down/flow.json")
    assert Workflow.load(path) == sd15
    assert list(json.loads(path.read_text())) == ["3", "4", "5", "6", "7", "8", "9", "10"]
    shuffled = Workflow(dict(reversed(sd15.to_api().items())))
    assert shuffled.save(tmp_path / "b.json").read_bytes() == path.read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["b.json", "deep"]


def test_save_from_many_threads(sd15: Workflow, tmp_path: Path) -> None:
    """Threads that save to one name are in nobody's way, and leave nothing else."""
    path = tmp_path / "flow.json"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for saved in pool.map(lambda _: sd15.save(path), range(200)):
            assert saved == path
    assert Workflow.load(path) == sd15
    assert list(tmp_path.iterdir()) == [path]


def test_save_takes_every_text(tmp_path: Path) -> None:
    """Emoji stay readable, and half of one does not stop the saving."""
    for text in ("\N{GRINNING FACE} grün", "\ud83d"):
        flow = Workflow.load({"57:3": node("A", text, text=text), "b": node("A"), "57": node("A")})
        path = flow.save(tmp_path / "a.json")
        assert Workflow.load(path) == flow
        assert list(json.loads(path.read_bytes())) == ["57", "57:3", "b"]


def test_an_empty_workflow_is_one() -> None:
    """A graph that is to be built begins empty, and is true."""
    flow = Workflow()
    assert (len(flow), flow.to_api(), bool(flow), flow.format) == (0, {}, True, "api")


def titled(api: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return a graph whose remarks are titles only: the exported file is older than the others."""
    return {key: {**node, "_meta": {"title": node["_meta"]["title"]}} for key, node in api.items()}


def test_an_editor_file_converts_with_a_catalog(sd15: Workflow, catalog: NodeCatalog) -> None:
    """from_ui, converted and to_api(catalog) give the exported file and keep the editor's."""
    flow = Workflow.from_ui(SD15_UI, catalog)
    assert titled(flow.to_api()) == sd15.to_api()
    assert flow.editor == json.loads(SD15_UI.read_text())
    unconverted = Workflow.load(SD15_UI)
    assert unconverted.converted(catalog) == Workflow.from_ui(unconverted, catalog) == flow
    assert Workflow.from_ui(flow.set("3", "seed", 1), catalog) == flow
    assert unconverted.to_api(catalog) == flow.to_api()
    assert flow.to_api()["3"]["_meta"].keys() == {"title", "cnr_id", "ver"}
    assert sd15.converted(catalog) is sd15
    for source in (SD15, sd15):
        with pytest.raises(WorkflowFormatError, match="API format"):
            Workflow.from_ui(source, catalog)


@pytest.mark.parametrize("source", ["[]", b"3", b'"text"', b"null", b"1.5", b"true"])
def test_json_of_another_kind_is_named(source: str | bytes) -> None:
    """A list or a number is JSON, but no workflow."""
    with pytest.raises(WorkflowFormatError, match="is not a workflow but a JSON"):
        Workflow.load(source)


def test_a_dict_may_hold_files_to_upload() -> None:
    """A graph written in Python may name its picture by a path at once."""
    flow = Workflow.load({"1": node("LoadImage", image=Path("a.png"))})
    assert flow.uploads() == {("1", "image"): Path("a.png")}
    assert flow == Workflow.load({"1": node("LoadImage", image=Path("a.png"))})
    assert flow._nodes is not None
    assert flow._nodes["1"] != "1"


@pytest.mark.parametrize("dumped", [False, True])
def test_ids_that_are_numbers(dumped: bool) -> None:
    """Ids and links may be numbers, also where JSON has made texts of the ids that are keys."""
    graph = {1: node("EmptyImage", width=8), 2: node("SaveImage", images=[1, 0]), 3: node("X", size=[64, 64])}
    flow = Workflow.load(json.dumps(graph) if dumped else graph).to_api()
    assert flow["2"]["inputs"] == {"images": ["1", 0]}
    assert flow["3"]["inputs"] == {"size": [64, 64]}


def test_one_id_as_text_and_as_number() -> None:
    """Of two nodes none is dropped in silence."""
    with pytest.raises(WorkflowFormatError, match="two nodes have the id '1'"):
        Workflow.load({1: node("EmptyImage"), "1": node("SaveImage")})
