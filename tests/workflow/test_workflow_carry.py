"""The editor file that goes along with an edited workflow says what was run, or stays at home."""

from __future__ import annotations

import copy
import importlib.resources
import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from convert_files import catalog, editor, node, subgraph

from comfy_async.errors import ConversionError
from comfy_async.workflow import Workflow

ROOT = Path(__file__).parents[2]
SD15_UI = ROOT / "examples/workflows/sd15_text2image_ui.json"
TEMPLATES = importlib.resources.files("comfyui_workflow_templates_json") / "templates"


def drawn(content: Any = SD15_UI) -> Workflow:
    """An editor file, converted."""
    return Workflow.load(content).converted(catalog())


def again(flow: Workflow) -> dict[str, Any]:
    """What the editor would queue of the file that goes along."""
    assert flow.editor is not None
    return Workflow.from_ui(flow.editor, catalog()).to_api()


def values(flow: Workflow, kind: str) -> Any:
    """The values in the editor file of the first node of that type."""
    assert flow.editor is not None
    return next(node["widgets_values"] for node in flow.editor["nodes"] if node["type"] == kind)


def other_value(value: Any, rng: random.Random) -> Any:
    """Another value of the same type that any widget would take."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.randint(1, 9)
    if isinstance(value, float):
        return value + 0.5
    return f"{value} and a fox {rng.randint(1, 99)}" if isinstance(value, str) else value


def random_edits(flow: Workflow, rng: random.Random) -> dict[Any, Any]:
    """New values for some inputs."""
    places = [
        ((key, name), value)
        for key, entry in flow.to_api().items()
        for name, value in entry["inputs"].items()
        if isinstance(value, bool | int | float | str)
    ]
    chosen = rng.sample(places, min(len(places), rng.randint(1, 4)))
    return {place: other_value(value, rng) for place, value in chosen}


def template_names() -> list[str]:
    """The official templates."""
    return sorted(item.name for item in TEMPLATES.iterdir() if item.name.endswith(".json"))


def test_what_goes_along_converts_to_what_is_run() -> None:
    """Of every template, with random values changed: the same graph, or no file at all."""
    rng, carried, left_out = random.Random(7), 0, 0
    for name in template_names()[::2]:
        content = json.loads((TEMPLATES / name).read_text("utf-8"))
        if not isinstance(content, dict) or "nodes" not in content:
            continue
        try:
            flow = drawn(content)
        except ConversionError:
            continue
        if again(flow) != flow.to_api():
            continue  # chance or time is in it
        original = json.dumps(flow.editor)
        edited = flow.with_inputs(random_edits(flow, rng))
        if edited.editor is None:
            left_out += 1
        else:
            carried += 1
            assert again(edited) == edited.to_api(), name
        assert json.dumps(flow.editor) == original
    assert carried > 100
    assert left_out < carried


@pytest.mark.parametrize(
    "edit",
    [
        lambda flow: flow.with_inputs({"KSampler.seed": 43, "6.text": "a fox"}),
        lambda flow: flow.set("KSampler", "seed", 43).set("6", "text", "a fox").set("3", "steps", 8),
        lambda flow: flow.randomized(7),
        lambda flow: flow.set("3", "cfg", 7.5).set("3", "sampler_name", "heun"),
    ],
)
def test_changed_values_go_along(edit: Any) -> None:
    """However a value is changed, the editor file has it, and the original keeps the old one."""
    flow = drawn()
    before = copy.deepcopy(flow.editor)
    edited = edit(flow)
    assert edited.editor != before
    assert flow.editor == before
    assert again(edited) == edited.to_api()


def test_what_stays_the_same_is_shared() -> None:
    """The carried file has its own changed node; every other object is the original's."""
    flow = drawn()
    edited = flow.set("3", "seed", 43)
    assert flow.editor is not None
    assert edited.editor is not None
    own = [
        new["type"]
        for new, old in zip(edited.editor["nodes"], flow.editor["nodes"], strict=True)
        if new is not old
    ]
    assert own == ["KSampler"]
    assert edited.editor["links"] is flow.editor["links"]
    assert flow.set("3", "seed", flow.get("3", "seed")).editor == flow.editor


@pytest.mark.parametrize(
    "edit",
    [
        lambda flow: flow.remove("9"),
        lambda flow: flow.add("PreviewImage", {"images": ["8", 0]}),
        lambda flow: flow.with_inputs({"3.model": ["4", 1]}),
        lambda flow: flow.with_inputs({"3.seed": ["5", 0]}),
        lambda flow: flow.with_inputs({"3.extra": 1}, add=True),
        lambda flow: flow.replace("6", "7"),
        lambda flow: flow.set("6", "text", "a {red|green} fox"),
        lambda flow: flow.set("6", "text", "{" * 5000),
        lambda flow: flow.set("6", "text", "see https://example.org"),
        lambda flow: flow.set("6", "text", "two\r\nlines"),
        lambda flow: flow.set("9", "filename_prefix", "%date:yyyy%"),
        lambda flow: flow.set("3", "seed", 2**60),
        lambda flow: flow.set("3", "seed", "43"),
        lambda flow: flow.set("3", "steps", True),
        lambda flow: flow.set("3", "scheduler", "fixed"),
    ],
)
def test_what_the_file_could_not_say_leaves_it_out(edit: Any) -> None:
    """A change of the graph, and a value that the editor would send differently, are not guessed."""
    flow = edit(drawn())
    assert flow.editor is None
    assert flow.set("3", "cfg", 5).editor is None


def test_a_change_that_is_taken_back_brings_the_file_back() -> None:
    """What counts is what is run, not how it came about."""
    flow = drawn()
    taken_back = flow.set("3", "seed", 2**60).set("3", "seed", flow.get("3", "seed"))
    assert taken_back.editor == flow.editor


def test_a_graph_that_no_catalog_converted_carries_nothing() -> None:
    """A picture's API graph is not known to be its editor file's: with another value it goes alone."""
    own = drawn()
    picture = Workflow(own.to_api(), editor=own.editor)
    assert picture.editor == own.editor
    assert picture.set("3", "seed", 43).editor is None


def test_values_by_name() -> None:
    """Objects of values, and the copy by name that newer files have, are kept up."""
    by_name = drawn(editor([node(1, "EmptyImage", widgets_values={"width": 64, "color": 1})]))
    assert values(by_name.set("1", "width", 96), "EmptyImage") == {"width": 96, "color": 1}
    both = editor([node(1, "EmptyImage", 64, 64, 1, 0, widgets_values_named={"width": 64, "color": 0})])
    flow = drawn(both).set("1", "width", 96)
    assert flow.editor is not None
    assert flow.editor["nodes"][0]["widgets_values_named"] == {"width": 96, "color": 0}
    assert values(flow, "EmptyImage") == [96, 64, 1, 0]
    del both["nodes"][0]["widgets_values"]
    alone = drawn(both).set("1", "width", 96)
    assert alone.editor is None  # the editor does not read names that stand alone
    assert drawn(editor([node(1, "EmptyImage", 64)])).set("1", "height", 96).editor is None


def test_a_primitive_has_the_value() -> None:
    """An input that was made a link to a primitive is changed there, for all that it feeds."""
    images = [
        node(id, "EmptyImage", 64, 64, 1, 0, inputs=[("width", "INT", id, "width")], outputs=[("IMAGE", [])])
        for id in (1, 2)
    ]
    primitive = node(3, "PrimitiveNode", 32, "fixed", outputs=[("INT", [1, 2])])
    links = [(1, 3, 0, 1, 0, "INT"), (2, 3, 0, 2, 0, "INT")]
    flow = drawn(editor([*images, primitive], links))
    both = flow.with_inputs({"1.width": 96, "2.width": 96})
    assert values(both, "PrimitiveNode") == [96, "fixed"]
    assert again(both) == both.to_api()
    assert flow.set("1", "width", 96).editor is None
    assert flow.with_inputs({"1.width": 2**40, "2.width": 2**40}).editor is None


def twice() -> Workflow:
    """A subgraph that is used twice, with an input that each instance has for itself."""
    inner = subgraph(
        [node(1, "EmptyImage", 64, 64, 1, 0, inputs=[("width", "INT", 1, "width")], outputs=[("IMAGE", [])])],
        [(1, -10, 0, 1, 0, "INT")],
        inputs=[("width", "INT", [1])],
    )
    hosts = [node(id, inner["id"], 32 + id, inputs=[("width", "INT", None, "width")]) for id in (5, 6)]
    return drawn(editor(hosts, definitions={"subgraphs": [inner]}))


def test_values_of_subgraphs() -> None:
    """An instance's own value is changed there; one of the definition only for all instances alike."""
    flow = twice()
    assert (flow.get("5:1", "width"), flow.get("6:1", "width")) == (37, 38)
    one = flow.set("5:1", "width", 96)
    assert one.editor is not None
    assert [item["widgets_values"] for item in one.editor["nodes"]] == [[96], [38]]
    assert again(one) == one.to_api()
    assert flow.set("5:1", "height", 96).editor is None
    both = flow.with_inputs({"5:1.height": 96, "6:1.height": 96})
    assert again(both) == both.to_api()


def test_it_survives_pickling() -> None:
    """A workflow that was sent to another process has the carried file, and carries on."""
    flow: Workflow = pickle.loads(pickle.dumps(drawn().set("3", "seed", 43)))
    assert values(flow, "KSampler")[0] == 43
    assert values(flow.set("3", "seed", 44), "KSampler")[0] == 44
    gone = pickle.loads(pickle.dumps(drawn().remove("9")))
    assert gone.editor is None


def test_a_file_that_waits_for_its_upload_goes_along_when_it_has_a_name(tmp_path: Path) -> None:
    """LoadImage in the editor file names what was uploaded."""
    flow = drawn(
        editor([node(1, "LoadImage", "example.png", "image", outputs=[("IMAGE", []), ("MASK", [])])])
    )
    waiting = flow.set("1", "image", tmp_path / "face.png")
    assert waiting.editor is None
    assert values(waiting.set("1", "image", "face.png"), "LoadImage") == ["face.png", "image"]
