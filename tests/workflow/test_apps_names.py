"""Names of an app's inputs and outputs: from mappings, titles, App mode, the workflow itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from convert_files import catalog
from hypothesis import given
from hypothesis import strategies as st

from comfy_async import App, UnknownInputError, Workflow
from comfy_async.workflow.apps.names import is_name, unique, word

EXAMPLES = Path(__file__).parents[2] / "examples/workflows"
SD15 = EXAMPLES / "sd15_text2image_api.json"


def graph(**titles: str) -> dict[str, Any]:
    """Return the workflow of the examples with other titles: `n5="$size"`."""
    made: dict[str, Any] = json.loads(SD15.read_text())
    for key, title in titles.items():
        made[key.removeprefix("n")].setdefault("_meta", {})["title"] = title
    return made


def app(source: Any = SD15, **options: Any) -> App:
    """Read an app as a bare ComfyUI would have it."""
    return App.load(source, catalog(), **options)


def test_a_workflow_that_names_nothing_shows_what_people_change() -> None:
    """Prompts first, told apart by what they feed; then seeds and sizes."""
    assert list(app().inputs)[:5] == ["prompt", "negative_prompt", "seed", "width", "height"]
    assert "filename_prefix" not in app().inputs
    assert {name: item.node for name, item in app().outputs.items()} == {"image": "9"}


def test_both_formats_give_the_same_names() -> None:
    """An editor file is converted first."""
    drawn = app(EXAMPLES / "sd15_text2image_ui.json")
    assert {name: item.targets for name, item in drawn.inputs.items()} == {
        name: item.targets for name, item in app().inputs.items()
    }


def test_names_of_ones_own() -> None:
    """By id, title or class; a list gives one value to several places; nothing else is an input."""
    found = app(
        inputs={"text": "6.text", "size": ["5.width", ("5", "height")], "steps": "KSampler.steps"},
        outputs={"picture": "Save Image"},
    )
    assert {name: item.targets for name, item in found.inputs.items()} == {
        "text": (("6", "text"),),
        "size": (("5", "width"), ("5", "height")),
        "steps": (("3", "steps"),),
    }
    assert found.outputs["picture"].node == "9"
    made = found.workflow(size=640)
    assert (made.get("5", "width"), made.get("5", "height")) == (640, 640)


def test_a_name_of_ones_own_may_be_a_field_of_the_drawing() -> None:
    """An instance's own input is in no prompt, and means the inner one."""
    from test_apps_fields import nested

    found = app(nested(host_value=64), inputs={"wide": "2.size"})
    assert found.inputs["wide"].targets == (("2:5:7", "width"),)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"p": "6.txt"}, "has no input 'txt'; nearest: 'text'"),
        ({"p": "66.text"}, "no node has the id, title or class '66'"),
        ({"p": "CLIPTextEncode.text"}, "means more than one node"),
        ({"class": "6.text"}, "'class' is not a valid name for an input"),
        ({"a b": "6.text"}, "'a b' is not a valid name"),
        ({"_p": "6.text"}, "'_p' is not a valid name"),
        ({"ﬁ": "6.text"}, "is not a valid name"),
        ({"p": []}, "input 'p' has no place"),
        ({"p": 6}, "the key 6 is neither a string nor a (node, input) pair"),
        (
            {"m": "3.model"},
            "takes a link of type MODEL, no value. Name an input of the node that it is linked",
        ),
    ],
)
def test_a_mapping_that_means_nothing_is_refused(inputs: dict[str, Any], told: str) -> None:
    """At once, with what comes near."""
    with pytest.raises(UnknownInputError) as caught:
        app(inputs=inputs)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ({"p": "99"}, "output '99' is not a node of the workflow"),
        ({"p": "CLIPTextEncode"}, "means more than one node"),
        ({"p-q": "9"}, "'p-q' is not a valid name for an output"),
    ],
)
def test_an_output_that_means_nothing_is_refused(outputs: dict[str, Any], told: str) -> None:
    """As inputs are."""
    with pytest.raises(UnknownInputError) as caught:
        app(outputs=outputs)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("title", "name", "field"),
    [
        ("$size", "size", "width"),
        ("$tall.height", "tall", "height"),
        ("$class", "class_", "width"),
        ("$größe", "größe", "width"),
        ("$2nd.batch_size", "n_2nd", "batch_size"),
        ("$__init__", "init", "width"),
        ("$None", "None_", "width"),
        ("$self", "self", "width"),
        (" $my size ", "my_size", "width"),
    ],
)
def test_titles_name_inputs(title: str, name: str, field: str) -> None:
    """`$name` means what people change at the node, `$name.input` this input; always a Python name."""
    (found,) = app(graph(n5=title)).inputs.values()
    assert (found.name, found.targets) == (name, (("5", field),))
    assert is_name(found.name)
    assert app(graph(n5=title)).workflow(**{name: 24}).get("5", field) == 24


def test_a_title_of_an_output_names_the_output() -> None:
    """And makes no input of it."""
    found = app(graph(n9="$picture"))
    assert list(found.outputs) == ["picture"]
    assert "prompt" in found.inputs


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("$size.depth", "5.depth: node 5 has no input 'depth'"),
        ("$a.b.c", "5.b.c: node 5 has no input 'b.c'"),
    ],
)
def test_a_title_that_means_nothing_is_told(title: str, told: str) -> None:
    """It is unresolved, never dropped in silence."""
    assert [str(lost) for lost in app(graph(n5=title)).unresolved] == [told]


def test_a_link_cannot_be_named_by_a_title() -> None:
    """Only values can be given."""
    (lost,) = app(graph(n3="$net.model")).unresolved
    assert str(lost) == "3.model: node 3 has no input 'model'"


def test_one_title_twice_gives_two_names() -> None:
    """In the order of the file."""
    found = app(graph(n6="$text", n7="$text"))
    assert {name: item.node for name, item in found.inputs.items()} == {"text": "6", "text_2": "7"}


def test_titles_and_app_mode_go_together() -> None:
    """What a title names is called so; what App mode lists is there too."""
    drawn = json.loads((EXAMPLES / "sd15_text2image_ui.json").read_text())
    drawn["extra"]["linearData"] = {"inputs": [[6, "text"], [3, "steps"]], "outputs": [9]}
    for node in drawn["nodes"]:
        node["title"] = {3: "$draws.seed", 6: "$wish"}.get(node["id"], node.get("title"))
    found = app(drawn)
    assert {name: item.targets for name, item in found.inputs.items()} == {
        "wish": (("6", "text"),),
        "steps": (("3", "steps"),),
        "draws": (("3", "seed"),),
    }


@pytest.mark.parametrize(
    "linear",
    [
        {"inputs": None},
        {"inputs": 5, "outputs": 5},
        {"inputs": [None, 5, [], [6], ["6"], [6, None], [[6], "text"], {"a": 1}], "outputs": [None, [], 77]},
        {"inputs": [["x" * 36 + ":6:text"], ["6:", "text"], [":", "text"]]},
        [],
        "text",
    ],
)
def test_damaged_lists_of_app_mode_are_told(linear: Any) -> None:
    """No damage ends in a traceback, and nothing of it is an input by mistake."""
    drawn = json.loads((EXAMPLES / "sd15_text2image_ui.json").read_text())
    drawn["extra"]["linearData"] = linear
    found = app(drawn)
    listed = linear.get("inputs") if isinstance(linear, dict) else None
    if isinstance(listed, list):
        named = [
            lost for lost in found.unresolved if lost.input or not lost.reason.startswith("there is no such")
        ]
        assert len(named) + sum(item.node == "6" for item in found.inputs.values()) >= len(listed) - 1
    assert app(drawn).unresolved == found.unresolved


@pytest.mark.parametrize(
    ("candidates", "names"),
    [
        ([["image"], ["image"], ["image"]], ["image", "image_2", "image_3"]),
        ([["image", "face"], ["image", "room"]], ["face", "room"]),
        ([["image", "face"], ["image", "face"]], ["image", "image_2"]),
        ([["image", "seed"], ["image", "room"], ["seed"]], ["image", "image_2", "seed"]),
        ([["image"], ["image"], ["image_2"]], ["image", "image_3", "image_2"]),
        ([["提示", "text"], ["", ""]], ["text", "value"]),
    ],
)
def test_names_are_told_apart(candidates: list[list[str]], names: list[str]) -> None:
    """By a further name where all have one, else by numbers; never twice the same."""
    assert unique(candidates) == names


@given(st.lists(st.lists(st.text(max_size=12), max_size=3), max_size=8))
def test_names_are_always_names(texts: list[list[str]]) -> None:
    """Whatever people write: identifiers, each once, the same in each run."""
    candidates = [[word(text) for text in item] for item in texts]
    found = unique(candidates)
    assert all(map(is_name, found))
    assert len(set(found)) == len(found) == len(texts)
    assert unique(candidates) == found


def test_the_name_of_an_app_is_that_of_its_file(tmp_path: Path) -> None:
    """Without its endings; a workflow without a file is called `app`."""
    path = tmp_path / "My portrait (2).app.json"
    path.write_text(SD15.read_text())
    assert app(path).name == "my_portrait_2"
    assert app(str(path)).name == "my_portrait_2"
    assert app(SD15.read_text()).name == "app"
    assert app(Workflow.load(SD15), name="x").name == "x"


def test_a_value_that_a_link_brings_may_be_given() -> None:
    """Where the input takes values too: without one the link stays."""
    linked = graph()
    linked["30"] = {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "hi"}}
    linked["6"]["inputs"]["text"] = ["30", 0]
    found = app(linked, inputs={"wish": "6.text"})
    assert (found.inputs["wish"].default, found.inputs["wish"].required) == (None, False)
    assert found.workflow().get("6", "text") == ["30", 0]
    assert found.workflow(wish="a fox").get("6", "text") == "a fox"


def test_a_value_node_is_called_by_what_it_feeds() -> None:
    """Or by its title, where somebody gave it one."""
    linked = graph()
    linked["30"] = {"class_type": "PrimitiveInt", "inputs": {"value": 640}}
    linked["5"]["inputs"]["width"] = ["30", 0]
    assert app(linked).inputs["width"].targets == (("30", "value"),)
    linked["30"]["_meta"] = {"title": "How wide"}
    assert app(linked).inputs["how_wide"].targets == (("30", "value"),)
