"""Rules of packs beyond what the editor was asked: old files, errors that name the node, choices."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from convert_files import SUBGRAPH, catalog, convert, editor, inputs_of, node, subgraph

from comfy_async.errors import ConversionError

DATA = Path(__file__).parents[1] / "data"


@functools.cache
def classes() -> dict[str, Any]:
    """Return the classes of ComfyUI and of the packs that the editor was asked about."""
    found: dict[str, Any] = json.loads(gzip.decompress((DATA / "packs_truth.json.gz").read_bytes()))[
        "classes"
    ]
    return {**catalog(), **found}


def one(type: str, *inputs: Any, outputs: Any = ("STRING",), **fields: Any) -> dict[str, Any]:
    """Return object_info of one class, whose inputs are (name, type[, options])."""
    required = {name: list(spec) for name, *spec in inputs}
    return {
        type: {
            "input": {"required": required},
            "output": list(outputs),
            "output_name": list(outputs),
            **fields,
        }
    }


def image(id: int, links: list[int], **fields: Any) -> dict[str, Any]:
    """Return a node that makes a picture."""
    return node(id, "EmptyImage", 64, 64, 1, 0, outputs=[("IMAGE", links)], **fields)


def shown(id: int, link: int | None, **fields: Any) -> dict[str, Any]:
    """Return a node that shows a picture."""
    return node(id, "PreviewImage", inputs=[("images", "IMAGE", link)], **fields)


def error(file: Any, known: Any = None) -> ConversionError:
    """Return the error that converting raises."""
    with pytest.raises(ConversionError) as caught:
        convert(file, classes() if known is None else known)
    return caught.value


# rgthree-comfy


@pytest.mark.parametrize("seed", [-1, -2, -3])
def test_seeds_that_stand_for_a_draw(seed: int) -> None:
    """They go out as they are: the server draws a number for each run."""
    file = editor([node(1, "Seed (rgthree)", seed, "", "", "")])
    assert inputs_of(file, "1", classes()) == {"seed": seed}


def test_loras_that_the_file_has_by_name() -> None:
    """Without a list of values their names tell which are LoRAs."""
    values = {"divider": {}, "lora_1": {"on": True, "lora": "a", "strength": 1, "strengthTwo": None}}
    file = editor([node(1, "Power Lora Loader (rgthree)", widgets_values_named=values)])
    assert inputs_of(file, "1", classes())["lora_1"] == {"on": True, "lora": "a", "strength": 1}


# cg-use-everywhere


def broadcast(link: int | None, **properties: Any) -> dict[str, Any]:
    """Return a node that broadcasts what comes into it."""
    properties = {"version": "7.8", "widget_ue_connectable": {}, "input_ue_unconnectable": {}, **properties}
    inputs = [("anything", "IMAGE", link)]
    return node(2, "Anything Everywhere", inputs=inputs, properties={"ue_properties": properties})


FEED = (1, 1, 0, 2, 0, "IMAGE")


def test_a_pattern_that_python_cannot_read() -> None:
    """What it matches in JavaScript is not known, so the node is named."""
    file = editor([image(1, [1]), broadcast(1, title_regex=r"\p{L}+"), shown(3, None)], [FEED])
    told = error(file)
    assert told.problems[0].node == "2"
    assert told.problems[0].received == r"\p{L}+"


def test_a_collapsed_node_at_the_edge_of_a_group() -> None:
    """Its width depends on a font, so whether it lies in the group cannot be known."""
    frame = {"title": "A", "bounding": [-100, -100, 150, 1000]}
    flags = {"flags": {"collapsed": True}, "size": [300, 60]}
    nodes = [
        image(1, [1], pos=[0, 0], size=[60, 60]),
        {**broadcast(1, group_restricted=1), "pos": [0, 100], "size": [60, 60]},
        shown(3, None, pos=[0, 200], **flags),
    ]
    told = error(editor(nodes, [FEED], groups=[frame]))
    assert told.problems[0].node == "3"
    assert "collapsed" in told.problems[0].message


@pytest.mark.parametrize("place", [[-60, 200], [900, 200]])
def test_a_collapsed_node_far_from_the_edge(place: list[int]) -> None:
    """However wide it is, it lies within the group, or without."""
    frame = {"title": "A", "bounding": [-200, -100, 500, 1000]}
    nodes = [
        image(1, [1], pos=[0, 0], size=[60, 60]),
        {**broadcast(1, group_restricted=1), "pos": [0, 100], "size": [60, 60]},
        shown(3, None, pos=place, flags={"collapsed": True}, size=[300, 60]),
    ]
    made = convert(editor(nodes, [FEED], groups=[frame]), classes())
    assert ("images" in made["3"]["inputs"]) == (place[0] < 0)


def test_broadcasts_of_the_first_versions() -> None:
    """Files from before their properties had a name are read by what the node itself says."""
    old = node(2, "Anything Everywhere?", "Right", ".*", inputs=[("anything", "*", 1)])
    made = convert(
        editor([image(1, [1]), old, shown(3, None, title="Left"), shown(4, None, title="Right")], [FEED]),
        classes(),
    )
    assert made["4"]["inputs"] == {"images": ["1", 0]}
    assert made["3"]["inputs"] == {}


def test_an_old_seed_reaches_nothing() -> None:
    """The pack takes its seed for the title to look for, and what the seed does for the input."""
    old = node(1, "Seed Everywhere", 123515, "fixed", outputs=[("INT", [])])
    taker = node(
        2, "KSampler", 7, "fixed", 20, 8, "euler", "normal", 1, inputs=[("seed", "INT", None, "seed")]
    )
    assert convert(editor([old, taker]), classes())["2"]["inputs"]["seed"] == 7


def test_a_primitive_that_is_broadcast() -> None:
    """The editor loses its value; nobody can say what is meant."""
    nodes = [
        node(1, "PrimitiveNode", 55, "fixed", outputs=[("INT", [1])]),
        node(2, "Anything Everywhere", inputs=[("anything", "INT", 1)]),
        node(3, "EmptyImage", 8, 8, 1, 0, outputs=[("IMAGE", [])]),
    ]
    assert error(editor(nodes, [(1, 1, 0, 2, 0, "INT")])).problems[0].node == "1"


# Set and Get


def getter(prefix: str, name: str) -> dict[str, Any]:
    """Return a node that gets a picture by name."""
    return node(3, f"{prefix}etNode" if prefix == "G" else f"{prefix}getNode", name, outputs=[("IMAGE", [2])])


def test_an_easy_getter_without_a_setter() -> None:
    """The editor refuses to queue such a file, and so does the conversion."""
    file = editor([getter("easy ", "nobody"), shown(4, 2)], [(2, 3, 0, 4, 0, "IMAGE")])
    told = error(file)
    assert told.problems[0].received == "nobody"
    assert "easy setNode" in told.problems[0].advice


def test_an_easy_getter() -> None:
    """It stands for the setter of its name."""
    setter = node(2, "easy setNode", "pic", inputs=[("IMAGE", "IMAGE", 1)], outputs=[("*", [])])
    file = editor(
        [image(1, [1]), setter, getter("easy ", "pic"), shown(4, 2)], [FEED, (2, 3, 0, 4, 0, "IMAGE")]
    )
    assert inputs_of(file, "4") == {"images": ["1", 0]}


def test_two_setters_around_a_subgraph() -> None:
    """Which of them a getter inside means is not known."""
    inner = [node(10, "GetNode", "pic", outputs=[("IMAGE", [1])]), shown(11, 1)]
    setters = [
        node(place, "SetNode", "pic", inputs=[("IMAGE", "IMAGE", link)], outputs=[("*", [])])
        for place, link in ((2, 1), (4, 2))
    ]
    definition = subgraph(inner, [(1, 10, 0, 11, 0, "IMAGE")])
    links = [FEED, (2, 3, 0, 4, 0, "IMAGE")]
    file = editor(
        [image(1, [1]), image(3, [2]), *setters, node(5, SUBGRAPH)],
        links,
        definitions={"subgraphs": [definition]},
    )
    told = error(file)
    assert told.problems[0].class_type == "GetNode"
    assert told.problems[0].received == "pic"


# VideoHelperSuite


def test_the_newest_file_of_a_server() -> None:
    """Only the editor knows it; the node is named, with the way out."""
    latest = node(1, "VHS_SelectLatest", "out/", "mp4", outputs=[("STRING", [1])])
    load = node(
        2, "VHS_LoadVideoPath", inputs=[("video", "STRING", 1, "video")], widgets_values={"video": "a.mp4"}
    )
    told = error(editor([latest, load], [(1, 1, 0, 2, 0, "STRING")]))
    assert (told.problems[0].node, told.problems[0].class_type) == ("1", "VHS_SelectLatest")


def test_values_in_an_order_that_nobody_knows() -> None:
    """The editor cannot restore such a node either; it is named."""
    told = error(editor([node(1, "VHS_SplitImages", 3, 7, "x")]))
    assert told.problems[0].received == [3, 7, "x"]


def test_a_format_with_an_unknown_kind_of_input() -> None:
    """A widget that nobody knows is named."""
    formats = {"video/new": [["dial", "DIAL", {}]]}
    known = one("VHS_VideoCombine", ("format", ["image/gif", "video/new"], {"formats": formats}))
    file = editor([node(1, "VHS_VideoCombine", widgets_values={"format": "video/new", "dial": 3})])
    told = error(file, known)
    assert told.problems[0].received == "video/new"
    assert "'dial'" in told.problems[0].message


# ComfyUI-Easy-Use


@pytest.mark.parametrize(("saved", "sent"), [("a,b", "a,b"), (["a", "b"], "a,b"), ("", "")])
@pytest.mark.parametrize("declared", [True, False])
def test_the_styles_of_easy_use(saved: Any, sent: str, declared: bool) -> None:
    """The chosen styles are one text, whether the class declares them or its JavaScript adds them."""
    inputs: list[Any] = [("styles", ["fooocus_styles"], {})]
    if declared:
        inputs.append(("select_styles", "EASY_PROMPT_STYLES", {}))
    known = one("easy stylesSelector", *inputs)
    file = editor([node(1, "easy stylesSelector", "fooocus_styles", saved)])
    assert inputs_of(file, "1", known) == {"styles": "fooocus_styles", "select_styles": sent}


def test_choosers_of_easy_use() -> None:
    """What is chosen went into the text; the heading is sent."""
    lora, wildcard = "Select the LoRA to add to the text", "Select the Wildcard to add to the text"
    known = one(
        "easy wildcards",
        ("text", "STRING", {"multiline": True}),
        ("Select to add LoRA", [lora, "x.safetensors"]),
        ("Select to add Wildcard", [wildcard, "__a__"]),
    )
    file = editor([node(1, "easy wildcards", "a <lora:x>", "x.safetensors", "__a__")])
    assert inputs_of(file, "1", known) == {
        "text": "a <lora:x>",
        "Select to add LoRA": lora,
        "Select to add Wildcard": wildcard,
    }


def test_a_seed_of_easy_use() -> None:
    """Its button takes a place in the file and is not sent."""
    known = one("easy seed", ("seed", "INT", {"default": 0}))
    assert inputs_of(editor([node(1, "easy seed", 5, "randomize", None)]), "1", known) == {"seed": 5}


# ComfyUI-Impact-Pack


@pytest.mark.parametrize("mode", [True, False])
def test_wildcards_of_impact(mode: bool) -> None:
    """A mode of an older version is named as the present one does, and braces are the server's."""
    known = one(
        "ImpactWildcardProcessor",
        ("wildcard_text", "STRING", {"multiline": True, "dynamicPrompts": True}),
        ("populated_text", "STRING", {"multiline": True, "dynamicPrompts": True}),
        ("mode", ["populate", "fixed", "reproduce"]),
        ("seed", "INT", {}),
        ("Select to add Wildcard", ["Select the Wildcard to add to the text", "__a__"]),
    )
    file = editor([node(1, "ImpactWildcardProcessor", "{a|b}", "a", mode, 5, "fixed", "__a__")])
    assert inputs_of(file, "1", known) == {
        "wildcard_text": "{a|b}",
        "populated_text": "a",
        "mode": "populate" if mode else "fixed",
        "seed": 5,
        "Select to add Wildcard": "Select the Wildcard to add to the text",
    }


def test_a_switch_with_more_inputs_and_outputs() -> None:
    """Slots that the class does not declare are the pack's own, and their links are kept."""
    known = {
        **catalog(),
        **one("ImpactInversedSwitch", ("select", "INT", {}), ("input", "*", {}), outputs=("*",)),
    }
    switch = node(
        2,
        "ImpactInversedSwitch",
        2,
        inputs=[("input", "IMAGE", 1)],
        outputs=[("output1", []), ("output2", [2])],
    )
    made = convert(editor([image(1, [1]), switch, shown(3, 2)], [FEED, (2, 2, 1, 3, 0, "IMAGE")]), known)
    assert made["2"]["inputs"] == {"select": 2, "input": ["1", 0]}
    assert made["3"]["inputs"] == {"images": ["2", 1]}


# ComfyUI-Lora-Manager


LORAS = one("Lora Loader (LoraManager)", ("text", "AUTOCOMPLETE_TEXT_LORAS", {}), ("loras", "LORAS", {}))


@pytest.mark.parametrize(
    ("values", "properties"),
    [
        (["<lora:a:0.5>", []], {}),
        ([{"version": 1, "textWidgetName": "text"}, "<lora:a:0.5>", []], {}),
        ([[], "<lora:a:0.5>"], {"__lm_widget_ids": ["loras", "text"]}),
    ],
)
def test_values_of_lora_manager_in_any_order(values: list[Any], properties: dict[str, Any]) -> None:
    """Old files lack what belongs to the text, and newer ones name their values."""
    file = editor([node(1, "Lora Loader (LoraManager)", *values, properties=properties)])
    inputs = inputs_of(file, "1", LORAS)
    assert inputs["text"] == "<lora:a:0.5>"
    assert inputs["loras"] == {
        "__value__": [{"name": "a", "strength": 0.5, "active": True, "expanded": False, "clipStrength": 0.5}]
    }


def test_a_list_follows_its_text() -> None:
    """What the text does not name is gone, what it alone names comes last, switches are kept."""
    saved = [{"name": "b", "strength": 1, "active": False}, {"name": "gone", "strength": 1}]
    file = editor([node(1, "Lora Loader (LoraManager)", "<lora:a:0.5:0.25> <lora:b:0.7>", saved)])
    loras = inputs_of(file, "1", LORAS)["loras"]["__value__"]
    assert [(item["name"], item["strength"], item["active"]) for item in loras] == [
        ("b", 1, False),
        ("a", 0.5, True),
    ]
    assert loras[1]["clipStrength"] == 0.25


def test_trigger_words() -> None:
    """The switches of trigger words are a list of their own beside the text that they came from."""
    known = one(
        "TriggerWord Toggle (LoraManager)", ("group_mode", "BOOLEAN", {}), ("default_active", "BOOLEAN", {})
    )
    words = [{"text": "cat", "active": False}]
    file = editor([node(1, "TriggerWord Toggle (LoraManager)", True, True, words, "cat")])
    assert inputs_of(file, "1", known) == {
        "group_mode": True,
        "default_active": True,
        "toggle_trigger_words": {"__value__": words},
        "orinalMessage": "cat",
    }


# ComfyUI-KJNodes


@pytest.mark.parametrize(
    "values", [(0, 0, "tiled"), (0, 1, "center"), (64, 0, "center"), (0, 0, 0, "center"), (0, 0)]
)
def test_values_of_the_resizer_that_are_not_those_of_its_old_files(values: tuple[Any, ...]) -> None:
    """Only two zeros and a choice of `crop` are what the class has its choice 0 for."""
    file = editor(
        [
            image(1, [1]),
            node(2, "ImageResizeKJ", 8, 8, "area", False, 2, *values, inputs=[("image", "IMAGE", 1)]),
        ],
        [(1, 1, 0, 2, 0, "IMAGE")],
    )
    assert error(file).problems[0].type == "values_lost"
