"""Converting: where a link comes from, and what becomes of nodes that are not run."""

from __future__ import annotations

from typing import Any

import pytest
from convert_files import convert, editor, inputs_of, node, one_class

from comfy_async.errors import ConversionError, WorkflowFormatError
from comfy_async.workflow.convert import convert_editor


def checkpoint(**fields: Any) -> dict[str, Any]:
    """Return node 4, whose outputs are links 1, 2 and 3."""
    outputs = [("MODEL", [1]), ("CLIP", [2]), ("VAE", [3])]
    return node(4, "CheckpointLoaderSimple", "a.safetensors", outputs=outputs, **fields)


def encode(id: int, link: int | None, out: int = 0, **fields: Any) -> dict[str, Any]:
    """Return a node that turns a text into conditioning."""
    return node(
        id,
        "CLIPTextEncode",
        "hello",
        inputs=[("clip", "CLIP", link)],
        outputs=[("CONDITIONING", [out] if out else [])],
        **fields,
    )


CLIP_LINK = (2, 4, 1, 6, 0, "CLIP")


def test_a_link_names_node_and_output() -> None:
    """A link becomes the id of its node, as text, and the number of its output."""
    assert inputs_of(editor([checkpoint(), encode(6, 2)], [CLIP_LINK]), "6") == {
        "text": "hello",
        "clip": ["4", 1],
    }


def test_ids_of_either_type() -> None:
    """Ids may be numbers or texts, links arrays or objects, ids of links texts."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    file = editor([{**checkpoint(), "id": "4"}, {**encode(6, 2), "id": "n6"}])
    file["links"] = [dict(zip(keys, ("2", "4", 1, "n6", 0, "CLIP"), strict=True)), None]
    assert inputs_of(file, "n6")["clip"] == ["4", 1]


@pytest.mark.parametrize("type", ["Reroute", "Reroute (rgthree)"])
@pytest.mark.parametrize("mode", [0])
def test_reroutes_are_passed_through(type: str, mode: int) -> None:
    """A chain of reroutes is as good as a link."""
    nodes = [
        checkpoint(),
        node(7, type, inputs=[("", "*", 2)], outputs=[("CLIP", [8])], mode=mode),
        node(9, type, inputs=[("", "*", 8)], outputs=[("CLIP", [5])]),
        encode(6, 5),
    ]
    links = [(2, 4, 1, 7, 0, "CLIP"), (8, 7, 0, 9, 0, "CLIP"), (5, 9, 0, 6, 0, "CLIP")]
    found = convert(editor(nodes, links))
    assert found["6"]["inputs"]["clip"] == ["4", 1]
    assert found.keys() == {"4", "6"}


def test_a_reroute_from_nowhere() -> None:
    """An input behind a reroute without an input is left out."""
    nodes = [node(7, "Reroute", inputs=[("", "*", None)], outputs=[("*", [5])]), encode(6, 5)]
    assert "clip" not in inputs_of(editor(nodes, [(5, 7, 0, 6, 0, "CLIP")]), "6")


def test_a_reroute_that_does_not_fit() -> None:
    """A reroute hands on what comes in; an input of another type behind it is cut off."""
    nodes = [
        checkpoint(),
        node(7, "Reroute", inputs=[("", "*", 3)], outputs=[("CLIP", [5])]),
        encode(6, 5),
    ]
    assert "clip" not in inputs_of(editor(nodes, [(3, 4, 2, 7, 0, "VAE"), (5, 7, 0, 6, 0, "CLIP")]), "6")


def test_setters_and_getters() -> None:
    """GetNode stands for what goes into the SetNode of its name (KJNodes)."""
    nodes = [
        checkpoint(),
        node(7, "SetNode", "words", inputs=[("CLIP", "CLIP", 2)], outputs=[("CLIP", [])]),
        node(8, "GetNode", "words", outputs=[("CLIP", [5])]),
        node(9, "GetNode", "nobody", outputs=[("CLIP", [15])]),
        encode(6, 5),
        encode(16, 15),
    ]
    links = [(2, 4, 1, 7, 0, "CLIP"), (5, 8, 0, 6, 0, "CLIP"), (15, 9, 0, 16, 0, "CLIP")]
    found = convert(editor(nodes, links))
    assert found["6"]["inputs"]["clip"] == ["4", 1]
    assert "clip" not in found["16"]["inputs"]


def test_notes_are_left_out() -> None:
    """Notes are for people."""
    nodes = [checkpoint(), node(7, "Note", "a"), node(8, "MarkdownNote", "b"), node(9, "Label (rgthree)")]
    assert convert(editor(nodes)).keys() == {"4"}


@pytest.mark.parametrize("mode", [1, 3])
def test_other_modes_run(mode: int) -> None:
    """On event and on trigger are as good as always."""
    assert "6" in convert(editor([encode(6, None, mode=mode)]))


def test_a_muted_node_takes_its_links_along() -> None:
    """A muted node is left out, and so is every input that it feeds."""
    found = convert(editor([checkpoint(mode=2), encode(6, 2)], [CLIP_LINK]))
    assert found.keys() == {"6"}
    assert found["6"]["inputs"] == {"text": "hello"}


def test_a_link_loses_to_no_value() -> None:
    """Where a link into a widget comes from nowhere, the widget's own value is sent."""
    nodes = [
        node(5, "PrimitiveString", "fed", outputs=[("STRING", [9])], mode=2),
        node(6, "CLIPTextEncode", "own", inputs=[("text", "STRING", 9, "text")]),
    ]
    assert inputs_of(editor(nodes, [(9, 5, 0, 6, 0, "STRING")]), "6") == {"text": "own"}
    nodes[0]["mode"] = 0
    assert inputs_of(editor(nodes, [(9, 5, 0, 6, 0, "STRING")]), "6") == {"text": ["5", 0]}


# A class with inputs of these types and one output, to be bypassed.
def bypassed(inputs: list[tuple[str, str]], output: str, wanted: str) -> Any:
    """Return which input of a bypassed node feeds an input of the wanted type."""
    classes: dict[str, Any] = {
        "Source": {"input": {}, "output": [kind for _, kind in inputs], "output_name": []},
        "Middle": {"input": {"required": {name: [kind] for name, kind in inputs}}, "output": [output]},
        "Sink": {"input": {"required": {"it": [wanted]}}, "output": []},
    }
    links: list[Any] = [(index + 1, 1, index, 2, index, kind) for index, (_, kind) in enumerate(inputs)]
    nodes = [
        node(1, "Source", outputs=[(kind, [index + 1]) for index, (_, kind) in enumerate(inputs)]),
        node(
            2,
            "Middle",
            inputs=[(name, kind, index + 1) for index, (name, kind) in enumerate(inputs)],
            outputs=[(output, [50])],
            mode=4,
        ),
        node(3, "Sink", inputs=[("it", wanted, 50)]),
    ]
    found = convert_editor(editor(nodes, [*links, (50, 2, 0, 3, 0, wanted)]), classes)
    assert "2" not in found
    return found["3"]["inputs"].get("it")


@pytest.mark.parametrize(
    ("inputs", "output", "wanted", "slot"),
    [
        ([("a", "IMAGE"), ("b", "IMAGE")], "IMAGE", "IMAGE", 0),
        ([("a", "MASK"), ("b", "IMAGE")], "IMAGE", "IMAGE", 1),
        ([("a", "MASK"), ("b", "MASK")], "IMAGE", "IMAGE", None),
        ([("a", "MASK"), ("b", "MASK")], "IMAGE", "*", 0),
        ([("a", "*"), ("b", "IMAGE")], "IMAGE", "IMAGE", 0),
        ([("a", "MASK"), ("b", "*")], "IMAGE", "IMAGE", 1),
        ([("a", "MASK"), ("b", "IMAGE,MASK")], "IMAGE", "IMAGE", 1),
        ([("a", "image"), ("b", "IMAGE")], "IMAGE", "IMAGE", 0),
        ([], "IMAGE", "IMAGE", None),
    ],
)
def test_bypassing(inputs: list[tuple[str, str]], output: str, wanted: str, slot: int | None) -> None:
    """An input stands in: at the same place, else of just that type, else one that fits, else none."""
    assert bypassed(inputs, output, wanted) == (None if slot is None else ["1", slot])


def test_bypassing_in_a_row() -> None:
    """Two bypassed nodes in a row are both passed through."""
    nodes = [
        node(1, "EmptyImage", outputs=[("IMAGE", [1])]),
        node(2, "ImageInvert", inputs=[("image", "IMAGE", 1)], outputs=[("IMAGE", [2])], mode=4),
        node(3, "ImageInvert", inputs=[("image", "IMAGE", 2)], outputs=[("IMAGE", [3])], mode=4),
        node(5, "PreviewImage", inputs=[("images", "IMAGE", 3)]),
    ]
    links = [(1, 1, 0, 2, 0, "IMAGE"), (2, 2, 0, 3, 0, "IMAGE"), (3, 3, 0, 5, 0, "IMAGE")]
    assert inputs_of(editor(nodes, links), "5")["images"] == ["1", 0]


def switch_file(true_link: int | None) -> dict[str, Any]:
    """Return a bypassed VAEDecode that feeds a switch whose other side may have an image."""
    nodes = [
        node(14, "EmptyImage", outputs=[("IMAGE", [4])]),
        checkpoint(),
        node(
            5,
            "VAEDecode",
            inputs=[("samples", "LATENT", None), ("vae", "VAE", 3)],
            outputs=[("IMAGE", [20])],
            mode=4,
        ),
        node(
            2,
            "ComfySwitchNode",
            True,
            inputs=[("on_false", "*", 20), ("on_true", "*", true_link)],
            outputs=[("*", [])],
        ),
    ]
    links = [(3, 4, 2, 5, 1, "VAE"), (20, 5, 0, 2, 0, "IMAGE"), (4, 14, 0, 2, 1, "IMAGE")]
    return editor(nodes, links[: 3 if true_link else 2])


def test_matching_types_decide_bypassing() -> None:
    """What else is connected to a switch says what it takes, and so what may stand in."""
    assert "on_false" not in inputs_of(switch_file(4), "2")


def test_inputs_that_the_class_does_not_have() -> None:
    """A linked input of an older class is sent as it is, one that was a widget's is not."""
    nodes = [
        checkpoint(),
        node(6, "CLIPTextEncode", "x", inputs=[("foo", "MODEL", 1), ("bar", "CLIP", 2, "bar")]),
    ]
    file = editor(nodes, [(1, 4, 0, 6, 0, "MODEL"), (2, 4, 1, 6, 1, "CLIP")])
    assert inputs_of(file, "6", lost="keep") == {"text": "x", "foo": ["4", 0]}
    with pytest.raises(
        ConversionError, match="link 2 from node 4 ends in an input that its class lacks"
    ) as caught:
        convert(file)
    (problem,) = caught.value.problems
    assert (problem.node, problem.class_type, problem.type) == ("6", "CLIPTextEncode", "link_lost")


def test_the_class_says_what_is_a_widget() -> None:
    """A socket that was saved as a widget's input keeps its link."""
    classes = {**one_class(("a", "INT", {"forceInput": True})), "Source": {"input": {}, "output": ["INT"]}}
    nodes = [node(5, "Source", outputs=[("INT", [9])]), node(1, "Thing", inputs=[("a", "INT", 9, "a")])]
    assert inputs_of(editor(nodes, [(9, 5, 0, 1, 0, "INT")]), "1", classes) == {"a": ["5", 0]}


def test_links_of_choices() -> None:
    """Links to inputs of the present choice stay, those to inputs of another are dropped."""
    options = [
        {"key": "size", "inputs": {"required": {"image": ["IMAGE", {}]}}},
        {"key": "mask", "inputs": {"required": {"mask": ["MASK", {}], "image": ["IMAGE", {}]}}},
    ]
    classes = {
        **one_class(("how", "COMFY_DYNAMICCOMBO_V3", {"options": options})),
        "Source": {"input": {}, "output": ["IMAGE", "MASK"]},
    }

    def linked(choice: str) -> Any:
        nodes = [
            node(5, "Source", outputs=[("IMAGE", [8]), ("MASK", [9])]),
            node(1, "Thing", choice, inputs=[("how.image", "IMAGE", 8), ("how.mask", "MASK", 9)]),
        ]
        return inputs_of(editor(nodes, [(8, 5, 0, 1, 0, "IMAGE"), (9, 5, 1, 1, 1, "MASK")]), "1", classes)

    assert linked("mask") == {"how": "mask", "how.image": ["5", 0], "how.mask": ["5", 1]}
    assert linked("size") == {"how": "size", "how.image": ["5", 0]}


def test_growing_groups_keep_their_links() -> None:
    """Inputs of a group are sent by the names that they have, gaps and all."""
    nodes = [
        node(1, "EmptyImage", outputs=[("IMAGE", [1, 2])]),
        node(
            2,
            "BatchImagesNode",
            inputs=[
                ("images.image0", "IMAGE", None),
                ("images.image1", "IMAGE", 1),
                ("images.image5", "IMAGE", 2),
            ],
        ),
    ]
    found = inputs_of(editor(nodes, [(1, 1, 0, 2, 1, "IMAGE"), (2, 1, 0, 2, 2, "IMAGE")]), "2")
    assert found == {"images.image1": ["1", 0], "images.image5": ["1", 0]}


def primitive(values: Any, kind: str, *targets: tuple[int, str, str], **fields: Any) -> dict[str, Any]:
    """Return a file with a primitive that feeds inputs of new nodes: (id, class, input)."""
    nodes = [node(1, "PrimitiveNode", outputs=[(kind, [10 + id for id, _, _ in targets])], **fields)]
    if values is not None:
        nodes[0]["widgets_values"] = values
    nodes += [node(id, type, inputs=[(name, kind, 10 + id, name)]) for id, type, name in targets]
    return editor(nodes, [(10 + id, 1, 0, id, 0, kind) for id, _, _ in targets])


def test_primitives_set_what_they_feed() -> None:
    """A primitive is no node of the prompt: its value takes the place of the widget's."""
    found = convert(primitive([7, "fixed"], "INT", (2, "EmptyImage", "width"), (3, "EmptyImage", "height")))
    assert (found["2"]["inputs"]["width"], found["3"]["inputs"]["height"]) == (7, 7)
    assert found.keys() == {"2", "3"}


@pytest.mark.parametrize(
    ("value", "kind", "target", "name", "wanted"),
    [
        (3.456789, "FLOAT", "KSampler", "cfg", 3.5),
        (999, "FLOAT", "KSampler", "cfg", 100),
        (-3, "INT", "EmptyImage", "width", 1),
        (515, "INT", "EmptyLatentImage", "width", 512),
        ("x.png", "COMBO", "LoadImage", "image", "x.png"),
        ("words", "STRING", "CLIPTextEncode", "text", "words"),
        (True, "BOOLEAN", "PrimitiveBoolean", "value", True),
    ],
)
def test_primitive_numbers_are_rounded(value: Any, kind: str, target: str, name: str, wanted: Any) -> None:
    """A number comes out as if it had been typed: to the step and within the range."""
    assert inputs_of(primitive([value, "fixed"], kind, (2, target, name)), "2")[name] == wanted


def test_primitives_without_a_value() -> None:
    """A primitive that saved nothing has the value of the first widget that it feeds."""
    assert inputs_of(primitive(None, "INT", (2, "EmptyImage", "width")), "2")["width"] == 512


def test_primitives_fill_in_names_when_asked() -> None:
    """With its property set, a primitive's text has %...% replaced."""
    file = primitive(["%Sky.width% wide"], "STRING", (2, "CLIPTextEncode", "text"))
    file["nodes"].append(node(8, "EmptyImage", 64, title="Sky"))
    assert inputs_of(file, "2")["text"] == "%Sky.width% wide"
    file["nodes"][0]["properties"] = {"Run widget replace on values": True}
    assert inputs_of(file, "2")["text"] == "64 wide"


def test_primitives_before_sockets_say_nothing() -> None:
    """A socket has no widget to set."""
    classes = one_class(("a", "INT", {"forceInput": True}))
    assert inputs_of(primitive([7], "INT", (2, "Thing", "a")), "2", classes) == {}


def circle(type: str, name: str) -> dict[str, Any]:
    """Return two nodes that feed each other, and one that is fed."""
    nodes = [
        node(1, type, inputs=[(name, "IMAGE", 1)], outputs=[("IMAGE", [2, 3])], mode=4),
        node(2, type, inputs=[(name, "IMAGE", 2)], outputs=[("IMAGE", [1])], mode=4),
        node(3, "PreviewImage", inputs=[("images", "IMAGE", 3)]),
    ]
    return editor(nodes, [(1, 2, 0, 1, 0, "IMAGE"), (2, 1, 0, 2, 0, "IMAGE"), (3, 1, 0, 3, 0, "IMAGE")])


@pytest.mark.parametrize(("type", "name"), [("ImageInvert", "image"), ("Reroute", "")])
def test_circles(type: str, name: str) -> None:
    """Links that never reach a node that is run are named."""
    with pytest.raises(ConversionError, match="cycle") as caught:
        convert(circle(type, name))
    assert caught.value.problems[0].type == "dependency_cycle"
    assert caught.value.problems[0].node in ("1", "2")


def test_circles_of_running_nodes_are_the_servers() -> None:
    """A circle of nodes that are run is sent as it is: the server has its own words for it."""
    file = circle("ImageInvert", "image")
    for item in file["nodes"]:
        item["mode"] = 0
    assert convert(file)["1"]["inputs"] == {"image": ["2", 0]}


def test_links_into_nowhere() -> None:
    """A link that the table does not have is none (rules/19); one from a node that is not there is damage."""
    assert "clip" not in inputs_of(editor([encode(6, 99)]), "6")
    with pytest.raises(WorkflowFormatError, match="node 44") as caught:
        convert(editor([checkpoint(), encode(6, 2)], [(2, 44, 1, 6, 0, "CLIP")]))
    assert caught.value.place == "nodes[1].inputs[0].link"


def test_unknown_classes_are_listed() -> None:
    """All unknown classes at once, with the pack that the file names."""
    nodes = [
        node(1, "Nope", title="My node", properties={"cnr_id": "nope-pack", "aux_id": "me/nope"}),
        node(2, "Other", properties={"aux_id": "me/other"}),
        node(3, "Core", properties={"cnr_id": "comfy-core"}),
        node(4, "Muted", mode=2),
        node(5, "Bypassed", mode=4),
    ]
    with pytest.raises(ConversionError, match="3 nodes are of a class") as caught:
        convert(editor(nodes))
    problems = caught.value.problems
    assert [(problem.node, problem.class_type) for problem in problems] == [
        ("1", "Nope"),
        ("2", "Other"),
        ("3", "Core"),
    ]
    assert problems[0].type == "missing_node_type"
    assert problems[0].advice == "Install the node pack 'nope-pack'."
    assert problems[1].advice == "Install the node pack 'me/other'."
    assert problems[2].advice == ""
    assert '1 "My node" (Nope)' in str(caught.value)


def test_a_bypassed_unknown_node_is_passed_through() -> None:
    """A node that is not run need not be known."""
    nodes = [
        checkpoint(),
        node(8, "Nope", 1, inputs=[("clip", "CLIP", 2)], outputs=[("CLIP", [5])], mode=4),
        encode(6, 5),
    ]
    assert inputs_of(editor(nodes, [(2, 4, 1, 8, 0, "CLIP"), (5, 8, 0, 6, 0, "CLIP")]), "6")["clip"] == [
        "4",
        1,
    ]


def test_unknown_nodes_can_be_kept() -> None:
    """Kept, they are written as the editor does: no class, and values by number."""
    nodes = [checkpoint(), node(8, "Nope", 1, "a", None, inputs=[("clip", "CLIP", 2)])]
    found = convert(editor(nodes, [(2, 4, 1, 8, 0, "CLIP")]), unknown="keep")
    assert found["8"] == {
        "inputs": {"UNKNOWN": 1, "UNKNOWN_1": "a", "UNKNOWN_2": "null", "clip": ["4", 1]},
        "class_type": None,
        "_meta": {"title": ""},
    }
    older = convert(editor([node(8, "Nope")]), unknown="keep", editor="1.49.6")
    assert older["8"]["_meta"] == {"title": None}


def test_group_nodes_without_a_description_are_refused() -> None:
    """Group nodes that the file does not describe are named, with the way out; others are expanded."""
    with pytest.raises(ConversionError) as caught:
        convert(editor([node(1, "workflow>Mine")], extra={"groupNodes": {"Other": {"nodes": []}}}))
    (problem,) = caught.value.problems
    assert "group node 'Mine'" in problem.message
    assert "another copy" in problem.advice
