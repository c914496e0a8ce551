"""Converting: subgraphs, the values that their instances own, and ids that stay apart."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from convert_files import INNER_SUBGRAPH, SUBGRAPH, convert, editor, inputs_of, node, subgraph

from comfy_async.errors import ConversionError


def sized(inner: int = 20, **fields: Any) -> dict[str, Any]:
    """Return a definition with an image whose width is an input of the subgraph."""
    return subgraph(
        [
            node(
                inner,
                "EmptyImage",
                64,
                32,
                1,
                0,
                inputs=[("width", "INT", 5, "width")],
                outputs=[("IMAGE", [6])],
            )
        ],
        [(5, -10, 0, inner, 0, "INT"), (6, inner, 0, -20, 0, "IMAGE")],
        inputs=[("width", "INT", [5])],
        outputs=[("image", "IMAGE", [6])],
        **fields,
    )


def instance(id: int, *values: Any, link: int | None = None, out: int = 0, **fields: Any) -> dict[str, Any]:
    """Return an instance of it."""
    inputs = [("width", "INT", link, "width")]
    return node(id, SUBGRAPH, *values, inputs=inputs, outputs=[("IMAGE", [out] if out else [])], **fields)


def with_definitions(nodes: Any, links: Any, *definitions: Any) -> dict[str, Any]:
    """Return a file with these definitions."""
    return editor(nodes, links, definitions={"subgraphs": list(definitions)})


def test_inner_nodes_have_ids_with_the_way_to_them() -> None:
    """`10:20` is node 20 inside instance 10; links go through the border in both directions."""
    nodes = [
        node(1, "PrimitiveInt", 7, "fixed", outputs=[("INT", [1])]),
        instance(10, link=1, out=2),
        node(3, "PreviewImage", inputs=[("images", "IMAGE", 2)]),
    ]
    found = convert(with_definitions(nodes, [(1, 1, 0, 10, 0, "INT"), (2, 10, 0, 3, 0, "IMAGE")], sized()))
    assert found.keys() == {"1", "3", "10:20"}
    assert found["10:20"]["inputs"]["width"] == ["1", 0]
    assert found["3"]["inputs"]["images"] == ["10:20", 0]


def test_an_instance_owns_its_values() -> None:
    """Each instance has its own value; without one it has the inner node's."""
    file = with_definitions([instance(10, 100), instance(11, 200), instance(12)], [], sized())
    widths = {id: entry["inputs"]["width"] for id, entry in convert(file).items()}
    assert widths == {"10:20": 100, "11:20": 200, "12:20": 64}


def test_values_of_instances_by_name() -> None:
    """An instance's values may be named as well."""
    by_object = with_definitions([instance(10, widgets_values={"width": 100})], [], sized())
    by_names = with_definitions([instance(10, widgets_values_named={"width": 100})], [], sized())
    assert inputs_of(by_object, "10:20")["width"] == inputs_of(by_names, "10:20")["width"] == 100


def test_texts_of_instances_are_sent_as_they_are() -> None:
    """Alternatives are for prompts in a node's own field, not for those that an instance owns."""
    definition = subgraph(
        [node(20, "CLIPTextEncode", "{inner}", inputs=[("text", "STRING", 5, "text")])],
        [(5, -10, 0, 20, 0, "STRING")],
        inputs=[("text", "STRING", [5])],
    )
    made = node(10, SUBGRAPH, '{"json": 1}', inputs=[("text", "STRING", None, "text")])
    assert inputs_of(with_definitions([made], [], definition), "10:20")["text"] == '{"json": 1}'


def test_lists_of_instances_are_wrapped() -> None:
    """A list that an instance owns is no link."""
    file = with_definitions([instance(10, ["a", 0])], [], sized())
    assert inputs_of(file, "10:20")["width"] == {"__value__": ["a", 0]}


def test_a_muted_feeder_leaves_the_inner_value() -> None:
    """Where the link into an instance comes from nowhere, the inner node's own value is sent."""
    nodes = [node(1, "PrimitiveInt", 7, "fixed", outputs=[("INT", [1])], mode=2), instance(10, 100, link=1)]
    assert inputs_of(with_definitions(nodes, [(1, 1, 0, 10, 0, "INT")], sized()), "10:20")["width"] == 64


@pytest.mark.parametrize("mode", [2, 4])
def test_stopped_instances(mode: int) -> None:
    """A muted or bypassed instance of the root is not expanded."""
    nodes = [instance(10, out=2, mode=mode), node(3, "PreviewImage", inputs=[("images", "IMAGE", 2)])]
    found = convert(with_definitions(nodes, [(2, 10, 0, 3, 0, "IMAGE")], sized()))
    assert found.keys() == {"3"}
    assert found["3"]["inputs"] == {}


def nested(mode: int = 0, *values: Any) -> dict[str, Any]:
    """Return instance 10 of a definition that has an instance 30 of the sized one."""
    outer = subgraph(
        [instance(30, *values, link=7, out=8, mode=mode)],
        [(7, -10, 0, 30, 0, "INT"), (8, 30, 0, -20, 0, "IMAGE")],
        inputs=[("width", "INT", [7])],
        outputs=[("image", "IMAGE", [8])],
    )
    outer["id"] = INNER_SUBGRAPH
    nodes = [
        {**instance(10, 300, out=2), "type": INNER_SUBGRAPH},
        node(3, "PreviewImage", inputs=[("images", "IMAGE", 2)]),
    ]
    return with_definitions(nodes, [(2, 10, 0, 3, 0, "IMAGE")], outer, sized())


def test_nested_subgraphs() -> None:
    """Ids grow with each level, values and links pass all of them."""
    found = convert(nested())
    assert found.keys() == {"3", "10:30:20"}
    assert found["10:30:20"]["inputs"]["width"] == 300
    assert found["3"]["inputs"]["images"] == ["10:30:20", 0]


def test_definitions_inside_definitions() -> None:
    """A definition may carry those that it uses."""
    file = nested()
    outer, inner = file["definitions"]["subgraphs"]
    file["definitions"]["subgraphs"] = [{**outer, "definitions": {"subgraphs": [inner]}}]
    assert "10:30:20" in convert(file)


def test_nested_values_come_from_the_middle() -> None:
    """Without a value of its own the outer instance shows that of the one inside it."""
    file = nested(0, 200)
    del file["nodes"][0]["widgets_values"]
    assert inputs_of(file, "10:30:20")["width"] == 200


def test_nested_stopped_instances_are_expanded_all_the_same() -> None:
    """Frontend 1.49.6 expands an inner instance whatever its mode, and passes links by it."""
    found = convert(nested(4))
    assert found.keys() == {"3", "10:30:20"}
    assert "images" not in found["3"]["inputs"]


def test_a_value_straight_through() -> None:
    """A definition may hand an input to its output."""
    definition = subgraph(
        [], [(5, -10, 0, -20, 0, "IMAGE")], inputs=[("a", "IMAGE", [5])], outputs=[("b", "IMAGE", [5])]
    )
    nodes = [
        node(1, "EmptyImage", outputs=[("IMAGE", [1])]),
        node(10, SUBGRAPH, inputs=[("a", "IMAGE", 1)], outputs=[("IMAGE", [2])]),
        node(3, "PreviewImage", inputs=[("images", "IMAGE", 2)]),
    ]
    links = [(1, 1, 0, 10, 0, "IMAGE"), (2, 10, 0, 3, 0, "IMAGE")]
    assert inputs_of(with_definitions(nodes, links, definition), "3")["images"] == ["1", 0]


def test_primitives_do_not_reach_inside() -> None:
    """A primitive before an instance feeds nothing inside it, as in the frontend."""
    nodes = [node(1, "PrimitiveNode", 777, "fixed", outputs=[("INT", [1])]), instance(10, 100, link=1)]
    assert inputs_of(with_definitions(nodes, [(1, 1, 0, 10, 0, "INT")], sized()), "10:20")["width"] == 64


def test_setters_are_seen_from_inside() -> None:
    """A getter looks for its setter in the graphs around it too."""
    definition = subgraph(
        [
            node(21, "GetNode", "pic", outputs=[("IMAGE", [6])]),
            node(20, "PreviewImage", inputs=[("images", "IMAGE", 6)]),
        ],
        [(6, 21, 0, 20, 0, "IMAGE")],
    )
    nodes = [
        node(1, "EmptyImage", outputs=[("IMAGE", [1])]),
        node(2, "SetNode", "pic", inputs=[("IMAGE", "IMAGE", 1)]),
        node(10, SUBGRAPH),
    ]
    assert inputs_of(with_definitions(nodes, [(1, 1, 0, 2, 0, "IMAGE")], definition), "10:20")["images"] == [
        "1",
        0,
    ]


def test_clashing_ids_get_the_next_free_ones() -> None:
    """An inner node whose id is taken gets the next one after the last that was given."""
    twin = sized(20)
    twin["id"] = INNER_SUBGRAPH
    nodes = [instance(10), {**instance(11), "type": INNER_SUBGRAPH}, node(50, "Note", "x")]
    file = with_definitions(nodes, [], sized(20), twin)
    file["last_node_id"] = 60
    assert convert(file).keys() == {"10:20", "11:61"}
    same = with_definitions([instance(10)], [], sized(10))
    assert convert(same).keys() == {"10:11"}


def test_text_ids_of_the_root_do_not_clash() -> None:
    """The frontend looks at the numbers of the root only."""
    file = with_definitions([{**instance(20), "id": "20"}], [], sized(20))
    assert convert(file).keys() == {"20:20"}


def test_new_ids_are_followed_by_links_and_promotions() -> None:
    """What named the old id names the new one."""
    made = instance(20, 100, properties={"proxyWidgets": [["20", "height"]]})
    found = inputs_of(with_definitions([made], [], sized(20)), "20:21")
    assert (found["width"], found["height"]) == (100, 100)


def promoted(proxies: Any, *values: Any, definition: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a file of an instance with an old list of promoted widgets."""
    made = instance(10, properties={"proxyWidgets": proxies}, widgets_values=list(values), **fields)
    return with_definitions([made], [], definition or sized())


def test_old_promotions() -> None:
    """`proxyWidgets` names inner widgets; the instance's values stand in its order."""
    found = inputs_of(promoted([["20", "height"], ["20", "width"]], 8, 9), "10:20")
    assert (found["height"], found["width"]) == (8, 9)


def test_old_promotions_without_values() -> None:
    """Without values the inner ones stay."""
    found = inputs_of(promoted([["20", "height"], ["20", "width"]]), "10:20")
    assert (found["height"], found["width"]) == (32, 64)


def test_old_promotions_as_text() -> None:
    """The list may be JSON text; a list of the wrong form is left alone."""
    assert inputs_of(promoted(json.dumps([["20", "height"]]), 8), "10:20")["height"] == 8
    for bad in ("[", "7", [["20"]], [["20", 1]], [20], {"a": 1}):
        assert inputs_of(promoted(bad, 8), "10:20")["height"] == 32


def test_promotions_of_the_instance_itself() -> None:
    """The id -1 names an input of the instance."""
    assert inputs_of(promoted([["20", "height"], ["-1", "width"]], 8, 9), "10:20")["width"] == 9


def test_promotions_that_lead_nowhere() -> None:
    """Entries of nodes and widgets that are not there have no effect, nor have previews."""
    proxies = [["99", "width"], ["20", "nope"], ["20", "$$canvas-image-preview"], ["20", "height"]]
    assert inputs_of(promoted(proxies, 1, 2, 3, 4), "10:20")["height"] == 4


def test_promotions_with_old_prefixes() -> None:
    """Early versions wrote the way to the widget before its name."""
    assert inputs_of(promoted([["20", "20: height"]], 8), "10:20")["height"] == 8


def test_two_instances_with_old_promotions() -> None:
    """What one instance's list adds to the definition, the other has too, with its own value."""
    proxies = {"proxyWidgets": [["20", "height"]]}
    nodes = [
        instance(10, properties=proxies, widgets_values=[8]),
        instance(11, properties=proxies, widgets_values=[9]),
        instance(12),
    ]
    found = convert(with_definitions(nodes, [], sized()))
    assert [found[f"{id}:20"]["inputs"]["height"] for id in (10, 11, 12)] == [8, 9, 32]


def test_kept_values_of_failed_migrations() -> None:
    """Values that an earlier migration could not place come back by name."""
    entry = {"originalEntry": ["-1", "width"], "reason": "missingSourceNode", "hostValue": 55}
    made = instance(10, 100, properties={"proxyWidgetErrorQuarantine": [entry, {"nonsense": 1}, 7]})
    assert inputs_of(with_definitions([made], [], sized()), "10:20")["width"] == 55


def with_primitive(title: str = "") -> dict[str, Any]:
    """Return a definition whose primitive feeds both sides of an image."""
    image = node(
        20,
        "EmptyImage",
        64,
        32,
        1,
        0,
        inputs=[("width", "INT", 5, "width"), ("height", "INT", 6, "height")],
    )
    feeder = node(21, "PrimitiveNode", 7, "fixed", outputs=[("INT", [5, 6])], title=title)
    return subgraph([image, feeder], [(5, 21, 0, 20, 0, "INT"), (6, 21, 0, 20, 1, "INT")])


@pytest.mark.parametrize("title", ["", "Edge"])
def test_promoted_primitives(title: str) -> None:
    """A promoted primitive becomes an input of the definition that feeds what it fed."""
    made = node(10, SUBGRAPH, 9, properties={"proxyWidgets": [["21", "value"]]})
    found = inputs_of(with_definitions([made], [], with_primitive(title)), "10:20")
    assert (found["width"], found["height"]) == (9, 9)


def test_primitives_inside_that_are_not_promoted() -> None:
    """Otherwise a primitive inside a definition does its work there."""
    found = inputs_of(with_definitions([node(10, SUBGRAPH)], [], with_primitive()), "10:20")
    assert (found["width"], found["height"]) == (7, 7)


def test_promoted_primitives_that_do_not_fit() -> None:
    """A primitive whose targets are of another type stays what it is."""
    definition = with_primitive()
    definition["nodes"][1]["outputs"][0]["type"] = "FLOAT"
    made = node(10, SUBGRAPH, 9, properties={"proxyWidgets": [["21", "value"]]})
    assert inputs_of(with_definitions([made], [], definition), "10:20")["width"] == 7


def test_promotions_of_nested_instances() -> None:
    """A promoted widget may itself be promoted, by the name of the inner input or widget."""
    for entry in (["30", "width"], ["30", "width", "20"]):
        file = nested(0, 200)
        outer = file["definitions"]["subgraphs"][0]
        outer["inputs"], outer["links"] = [], outer["links"][1:]
        outer["nodes"][0]["inputs"][0]["link"] = None
        file["nodes"][0].update(inputs=[], widgets_values=[400], properties={"proxyWidgets": [entry]})
        assert inputs_of(file, "10:30:20")["width"] == 400


def test_a_subgraph_that_contains_itself() -> None:
    """It could never be expanded."""
    for inner in ([node(20, SUBGRAPH)], [node(20, INNER_SUBGRAPH)]):
        other = subgraph([node(21, SUBGRAPH)], [])
        other["id"] = INNER_SUBGRAPH
        with pytest.raises(ConversionError, match="contains itself") as caught:
            convert(with_definitions([node(10, SUBGRAPH)], [], subgraph(inner, []), other))
        assert caught.value.problems[0].type == "dependency_cycle"


def test_a_definition_that_is_not_in_the_file() -> None:
    """An instance without its definition is an unknown node."""
    with pytest.raises(ConversionError, match="a node is a subgraph whose definition the file lacks"):
        convert(editor([instance(10)]))


def test_subgraphs_that_multiply() -> None:
    """Definitions that use each other twice at each of forty levels are refused at once."""
    ids = [f"{level:08d}-0000-4000-8000-000000000000" for level in range(40)]
    definitions = []
    for level, own in enumerate(ids):
        inner = [node(100 + level * 2 + side, ids[level + 1]) for side in (0, 1)] if level < 39 else []
        definitions.append({**subgraph(inner, []), "id": own})
    with pytest.raises(ConversionError, match="more than 100000 nodes"):
        convert(with_definitions([node(10, ids[0])], [], *definitions))


def test_a_chain_too_long_to_follow() -> None:
    """Thousands of reroutes in a row end in a named error, not in the interpreter's."""
    # Other packages raise the limit for the whole process.
    count = 3 * sys.getrecursionlimit()
    nodes = [node(i, "Reroute", inputs=[("", "*", i)], outputs=[("*", [i + 1])]) for i in range(1, count)]
    nodes.append(node(count, "PreviewImage", inputs=[("images", "IMAGE", count)]))
    links = [(i, i - 1, 0, i, 0, "*") for i in range(2, count + 1)]
    nodes[0]["inputs"][0]["link"] = None
    with pytest.raises(ConversionError, match="too long"):
        convert(editor(nodes, links))
