"""Checking at the edges: what packs, other folders, huge values and old lists do to a check."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from comfy_async.types import Problem
from comfy_async.workflow import NodeCatalog, Workflow
from comfy_async.workflow.check import settled, stale_classes, unseen_files

ROOT = Path(__file__).parents[2]
SD15 = ROOT / "examples/workflows/sd15_text2image_api.json"
CASES = ROOT / "tests/data/cases"

OUTER = "exception_during_validation"

Graph = dict[str, Any]


@pytest.fixture(scope="module")
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(ROOT / "tests/data/object_info.json.gz")


@pytest.fixture
def graph() -> Graph:
    """The SD1.5 workflow as a dict to damage."""
    loaded: Graph = json.loads(SD15.read_text())
    return loaded


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """Return a node in API format."""
    return {"class_type": class_type, "inputs": inputs}


def check(flow: Graph, catalog: NodeCatalog) -> list[Problem]:
    """Ask a graph what is wrong with it."""
    return Workflow.load(flow).check(catalog)


def errors(problems: list[Problem]) -> list[tuple[str | None, str | None, str]]:
    """Return (node, input, type) of the errors."""
    return [(p.node, p.input, p.type) for p in problems if p.severity == "error"]


def pack_catalog(catalog: NodeCatalog) -> NodeCatalog:
    """The bare catalog with some classes of packs, as their servers declare them."""
    own = {
        "ImpactInversedSwitch": {"input": {}, "output": ["*"], "python_module": "custom_nodes.impact"},
        "Unheard Switch": {"input": {}, "output": ["IMAGE"], "python_module": "custom_nodes.unheard"},
        "Loader": {
            "input": {"required": {"image": [["a.png"], {}]}},
            "output": ["IMAGE"],
            "python_module": "custom_nodes.unheard",
        },
    }
    packs = json.loads((CASES / "packs_object_info.json").read_text())
    return NodeCatalog({**catalog.raw, **packs, **own})


def warnings(problems: list[Problem]) -> list[tuple[str | None, str | None, str]]:
    """Return (node, input, type) of the warnings."""
    return [(p.node, p.input, p.type) for p in problems if p.severity == "warning"]


def test_a_node_that_undeclared_inputs_need_runs(catalog: NodeCatalog) -> None:
    """The server follows every link; only what no link leads to does not run."""
    flow = Workflow.load(CASES / "12_unused_node_false_api.json")
    assert flow.check(pack_catalog(catalog)) == []
    apart = flow.add("EmptyImage", {"width": 64, "height": 64, "batch_size": 1, "color": 0}, id="9")
    assert warnings(apart.check(pack_catalog(catalog))) == [("9", None, "unused_node")]


def test_a_deadly_link_behind_an_undeclared_input(catalog: NodeCatalog) -> None:
    """Where only undeclared inputs lead nothing is validated, so even a declared one may kill the server."""
    flow = Workflow.load(CASES / "12_unused_node_false_api.json").to_api()
    flow["1"] = node("ImageInvert", image=["99", 0])
    found = check(flow, pack_catalog(catalog))
    assert errors(found) == [("1", "image", "missing_link_source")]


def test_outputs_that_a_pack_does_not_declare(catalog: NodeCatalog) -> None:
    """Known ones are taken, others of packs are doubted, ComfyUI's own have no more than they say."""
    known = pack_catalog(catalog)

    def linked(class_type: str, slot: Any) -> list[Problem]:
        return check({"1": node(class_type), "2": node("PreviewImage", images=["1", slot])}, known)

    assert linked("ImpactInversedSwitch", 3) == []
    assert warnings(linked("Unheard Switch", 1)) == [("2", "images", "undeclared_output")]
    assert errors(linked("Unheard Switch", 1)) == []
    assert errors(linked("Unheard Switch", 1.5)) == [("2", "images", OUTER)]
    assert ("2", "images", OUTER) in errors(linked("EmptyImage", 1))


def test_files_in_named_folders_in_the_list_of_a_pack(catalog: NodeCatalog) -> None:
    """`[temp]` is never in a list, and packs look for such a file themselves."""
    known = pack_catalog(catalog)

    def loaded(value: str) -> list[Problem]:
        return check({"1": node("Loader", image=value), "2": node("PreviewImage", images=["1", 0])}, known)

    assert loaded("b.png [temp]") == []
    assert errors(loaded("b.png")) == [("1", "image", "value_not_in_list")]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", "pass the bytes"),
        ("https://example.org/a.png", "Download it"),
        ("/home/me/a.png", "pathlib.Path, not a text"),
        (r"C:\pictures\a.png", "pathlib.Path, not a text"),
        ("absent.png [input]", "To upload one of yours"),
    ],
)
def test_pictures_that_are_no_file_of_the_servers(catalog: NodeCatalog, value: str, says: str) -> None:
    """An address, a picture in text, a path of another disk: refused, with the way that works."""
    flow = {"1": node("LoadImage", image=value), "2": node("PreviewImage", images=["1", 0])}
    (problem,) = check(flow, catalog)
    assert errors([problem]) == [("1", "image", "custom_validation_failed")]
    assert says in problem.advice


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("clipspace/none.png [input]", ("none.png", "clipspace", "input")),
        ("a.png [output]", ("a.png", "", "output")),
        ("a.png [temp]", ("a.png", "", "temp")),
        ("deep/er/a.png", ("a.png", "deep/er", "input")),
    ],
)
def test_files_that_no_list_tells_of(catalog: NodeCatalog, value: str, place: tuple[str, str, str]) -> None:
    """That is said; who asks the server for them settles it."""
    found = check({"1": node("LoadImage", image=value), "2": node("PreviewImage", images=["1", 0])}, catalog)
    assert warnings(found) == [("1", "image", "unseen_file")]
    assert unseen_files(found) == {value: place}
    assert settled(found, absent=(), present={value}) == []
    assert settled(found, absent=(), present=()) == found
    (refused,) = settled(found, absent={value}, present=())
    assert errors([refused]) == [("1", "image", "custom_validation_failed")]
    assert value in refused.message


@pytest.mark.parametrize(
    ("class_type", "field"),
    [("VHS_LoadVideo", "video"), ("VHS_LoadVideoFFmpeg", "video"), ("VHS_LoadAudioUpload", "audio")],
)
def test_files_that_video_helper_suite_looks_for(catalog: NodeCatalog, class_type: str, field: str) -> None:
    """Its lists are no bounds, as the server says: a deeper file may be there, an absent one is no file."""
    more = {
        class_type: {"input": {"required": {field: [["a.webm"]]}}, "output": ["*"], "output_node": True},
    }
    both = NodeCatalog({**catalog.raw, **more})

    def said(name: str) -> list[Problem]:
        return check({"1": node(class_type, **{field: name})}, both)

    assert said("a.webm") == []
    assert warnings(said("deeper/a.webm")) == [("1", field, "unseen_file")]
    assert errors(said("b.webm")) == [("1", field, "custom_validation_failed")]


def test_a_list_may_have_grown_old(catalog: NodeCatalog) -> None:
    """What was found by lists names the classes to read again; a newer entry takes it back."""
    flow = Workflow.load(SD15).with_inputs({"4.ckpt_name": "new.safetensors", "3.steps": 0})
    found = flow.check(catalog)
    assert stale_classes(found) == {"CheckpointLoaderSimple"}
    entry = json.loads(json.dumps(catalog["CheckpointLoaderSimple"]))
    entry["input"]["required"]["ckpt_name"][0] = ["new.safetensors"]
    newer = catalog.updated({"CheckpointLoaderSimple": entry})
    assert errors(flow.check(newer)) == [("3", "steps", "value_smaller_than_min")]
    assert "CheckpointLoaderSimple" not in catalog.updated({"CheckpointLoaderSimple": {}})
    assert stale_classes(flow.check(newer)) == set()


def test_a_misspelt_input_is_told(graph: Graph, catalog: NodeCatalog) -> None:
    """The server ignores it; numbered inputs of packs are no slips, nor is what resembles nothing."""
    graph["9"]["inputs"]["filename_prefx"] = graph["9"]["inputs"].pop("filename_prefix")
    graph["3"]["inputs"].update(stepz=3, nobody_knows=1)
    found = check(graph, catalog)
    assert ("9", "filename_prefx", "unknown_input") in warnings(found)
    assert ("3", "stepz", "unknown_input") in warnings(found)
    assert len(warnings(found)) == 2
    pack = {"input": {"optional": {"image_1": ["IMAGE"]}}, "output_node": True}
    known = NodeCatalog({"Many": {**pack, "python_module": "custom_nodes.many"}})
    assert check({"1": node("Many", image_2="x")}, known) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("false", True),
        ("no", True),
        ("0", True),
        ("maybe", True),
        ("", True),
        ("true", False),
        (False, False),
    ],
)
def test_texts_where_yes_or_no_is_asked_for(catalog: NodeCatalog, value: Any, told: bool) -> None:
    """Every text but an empty one is yes to the server: said where it looks otherwise."""
    spec = {"input": {"required": {"flag": ["BOOLEAN", {}]}}, "output_node": True}
    found = check({"1": node("Own", flag=value)}, NodeCatalog({"Own": spec}))
    assert warnings(found) == ([("1", "flag", "text_for_boolean")] if told else [])


def calls(action: Callable[[], object]) -> int:
    """Count the calls of Python and C functions that an action makes."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "place", [("3", "sampler_name"), ("3", "steps"), ("4", "ckpt_name"), ("6", "clip"), ("20", "image")]
)
def test_a_huge_value_costs_no_more_than_a_small_one(
    graph: Graph, catalog: NodeCatalog, place: tuple[str, str]
) -> None:
    """A picture in base64 is not compared letter by letter, and is not repeated in the message."""
    graph["20"] = node("LoadImage", image="a.png")
    graph["21"] = node("PreviewImage", images=["20", 0])
    graph[place[0]]["inputs"][place[1]] = "iVBORw0KGgo" * 20
    check(graph, catalog)
    small = calls(lambda: check(graph, catalog))
    graph[place[0]]["inputs"][place[1]] = "iVBORw0KGgo" * 2_000_000
    flow = Workflow.load(graph)
    found: list[Problem] = []
    assert calls(lambda: found.extend(flow.check(catalog))) < 2 * small
    assert all(len(str(problem)) < 500 for problem in found)


def test_near_names_are_searched_once_a_class(catalog: NodeCatalog) -> None:
    """Five hundred nodes of one unknown class cost little more than one."""
    many = Workflow.load(CASES / "14_500_nodes_of_an_unknown_class_api.json")
    api = many.to_api()
    first = next(iter(api))
    one = Workflow.load({first: {**api[first], "class_type": "Another unknown one"}})
    once = calls(lambda: one.check(catalog))
    found: list[Problem] = []
    every = calls(lambda: found.extend(many.check(catalog)))
    assert sum(problem.type == "missing_node_type" for problem in found) == 500
    assert every < once + 500 * 100
