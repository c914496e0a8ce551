"""Converting damaged files ends in a named error with its place, never in a KeyError."""

from __future__ import annotations

import copy
import functools
import importlib.resources
import json
from typing import Any

import pytest
from convert_files import SUBGRAPH, catalog, convert, editor, node, subgraph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comfy_async.errors import ConversionError, WorkflowFormatError
from comfy_async.workflow.convert import convert_editor


def definition(**fields: Any) -> dict[str, Any]:
    """Return a file with two definitions of which the second has these fields."""
    first = {**subgraph([], []), "id": "first"}
    second = {**subgraph([node(20, "EmptyImage"), node(21, "EmptyImage")], []), **fields}
    return editor([node(10, SUBGRAPH)], definitions={"subgraphs": [first, second]})


@pytest.mark.parametrize(
    ("file", "place"),
    [
        (None, ""),
        ([], ""),
        ("{}", ""),
        ({}, "nodes"),
        ({"nodes": 5}, "nodes"),
        ({"nodes": {}}, "nodes"),
        ({"nodes": [None]}, "nodes[0]"),
        ({"nodes": [[]]}, "nodes[0]"),
        ({"nodes": [{"id": 1}]}, "nodes[0].type"),
        ({"nodes": [{"id": 1, "type": ""}]}, "nodes[0].type"),
        ({"nodes": [{"id": 1, "type": 7}]}, "nodes[0].type"),
        ({"nodes": [{"type": "A"}]}, "nodes[0].id"),
        ({"nodes": [{"id": True, "type": "A"}]}, "nodes[0].id"),
        ({"nodes": [{"id": 1.5, "type": "A"}]}, "nodes[0].id"),
        ({"nodes": [{"id": [], "type": "A"}]}, "nodes[0].id"),
        (editor([{**node(1, "A"), "inputs": 5}]), "nodes[0].inputs"),
        (editor([{**node(1, "A"), "inputs": [5]}]), "nodes[0].inputs[0]"),
        (editor([{**node(1, "A"), "inputs": [{"name": 5}]}]), "nodes[0].inputs[0].name"),
        (editor([{**node(1, "A"), "inputs": [{"name": "a", "link": "x"}]}]), "nodes[0].inputs[0].link"),
        (editor([{**node(1, "A"), "inputs": [{"name": "a", "link": [1]}]}]), "nodes[0].inputs[0].link"),
        (editor([{**node(1, "A"), "outputs": "x"}]), "nodes[0].outputs"),
        (editor([{**node(1, "A"), "outputs": [{"links": 3}]}]), "nodes[0].outputs[0].links"),
        (editor([{**node(1, "A"), "widgets_values": 3}]), "nodes[0].widgets_values"),
        (editor([{**node(1, "A"), "widgets_values": "abc"}]), "nodes[0].widgets_values"),
        ({**editor([]), "links": 3}, "links"),
        ({**editor([]), "links": [3]}, "links[0]"),
        ({**editor([]), "links": [[1, 2, 3]]}, "links[0]"),
        ({**editor([]), "links": [[1, 2, 0, 3, None]]}, "links[0]"),
        ({**editor([]), "links": [{"id": 1}]}, "links[0]"),
        ({**editor([]), "definitions": []}, "definitions"),
        ({**editor([]), "definitions": {"subgraphs": {}}}, "definitions.subgraphs"),
        ({**editor([]), "definitions": {"subgraphs": [7]}}, "definitions.subgraphs[0]"),
        (definition(id=None), "definitions.subgraphs[1].id"),
        (definition(id=""), "definitions.subgraphs[1].id"),
        (definition(id="first"), "definitions.subgraphs[1].id"),
        (definition(nodes="x"), "definitions.subgraphs[1].nodes"),
        (
            definition(nodes=[node(1, "A"), {**node(2, "B"), "inputs": 1}]),
            "definitions.subgraphs[1].nodes[1].inputs",
        ),
        (definition(links=[{}]), "definitions.subgraphs[1].links[0]"),
        (definition(inputs=[{"linkIds": 5}]), "definitions.subgraphs[1].inputs[0].linkIds"),
        (definition(outputs=[5]), "definitions.subgraphs[1].outputs[0]"),
        (
            definition(definitions={"subgraphs": [{"id": "x", "nodes": [4]}]}),
            "definitions.subgraphs[1].definitions.subgraphs[0].nodes[0]",
        ),
    ],
)
def test_damage_is_named_with_its_place(file: Any, place: str) -> None:
    """The error says where the damage is."""
    with pytest.raises(WorkflowFormatError) as caught:
        convert(file)
    assert caught.value.place == place
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "file",
    [
        editor([]),
        {"nodes": []},
        {"nodes": [node(1, "EmptyImage")], "links": None, "definitions": None},
        editor([{"id": 1, "type": "EmptyImage"}]),
        editor([{**node(1, "EmptyImage"), "inputs": None, "outputs": None, "properties": [], "mode": None}]),
        {**editor([node(1, "EmptyImage")]), "links": {"a": [1, 1, 0, 2, 0, "IMAGE"]}, "last_node_id": "x"},
        editor([node(1, "EmptyImage")], definitions={}),
        editor([{**node(1, "EmptyImage"), "widgets_values_named": 5, "title": 5}]),
        editor([{**node(1, "EmptyImage"), "inputs": [{"name": None, "type": ["a", "b"], "widget": 5}]}]),
    ],
)
def test_what_may_be_missing(file: Any) -> None:
    """What old files leave out, or write otherwise, is no damage."""
    assert convert(file).keys() <= {"1"}


def test_borders_that_lead_nowhere() -> None:
    """Links over the border of a subgraph must end in an input or output that it has."""
    inner = [node(20, "ImageInvert", inputs=[("image", "IMAGE", 5)], outputs=[("IMAGE", [6])])]
    links = [(5, -10, 3, 20, 0, "IMAGE"), (6, 20, 0, -20, 0, "IMAGE")]
    made = subgraph(inner, links, inputs=[("image", "IMAGE", [])], outputs=[("image", "IMAGE", [6])])
    file = editor([node(10, SUBGRAPH)], definitions={"subgraphs": [made]})
    with pytest.raises(WorkflowFormatError, match="no input 3") as caught:
        convert(file)
    assert caught.value.place == "definitions.subgraphs[0].nodes[0].inputs[0].link"
    made["links"][0]["origin_slot"] = 0
    made["links"][1]["origin_id"] = 99
    file["nodes"].append(node(3, "PreviewImage", inputs=[("images", "IMAGE", 2)]))
    file["links"] = [[2, 10, 0, 3, 0, "IMAGE"]]
    with pytest.raises(WorkflowFormatError, match="node 99"):
        convert(file)
    file["links"] = [[2, 10, 7, 3, 0, "IMAGE"]]
    with pytest.raises(WorkflowFormatError, match="no output 7"):
        convert(file)


def test_an_exhausted_file_of_ids() -> None:
    """The frontend gives ids up to a hundred million."""
    inner = subgraph([node(10, "EmptyImage")], [])
    file = editor([node(10, SUBGRAPH)], definitions={"subgraphs": [inner]}, last_node_id=100_000_000)
    with pytest.raises(WorkflowFormatError, match="no node id up to 100000000 is left"):
        convert(file)


# Templates that have most of what files can have: nested and repeated subgraphs, old
# promotions, reroutes, primitives, dynamic choices, growing groups, bypassed nodes.
SAMPLES = (
    "templates_graphic_design_recomposer",
    "flux1_dev_uso_reference_image_gen",
    "video_wan_animate2",
    "template_ltx2_3_style_transition",
    "templates-1_click_multiple_character_angles-v1.0",
)


@functools.cache
def sample(name: str) -> Any:
    """Return a template."""
    folder = importlib.resources.files("comfyui_workflow_templates_json") / "templates"
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


@functools.cache
def places(name: str) -> list[tuple[Any, ...]]:
    """Return the way to every value of a template that a conversion looks at."""
    found: list[tuple[Any, ...]] = []
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(sample(name), ())]
    ignored = {"pos", "size", "flags", "groups", "config", "models", "color", "bgcolor", "ds", "bounding"}
    while waiting:
        value, way = waiting.pop()
        if way:
            found.append(way)
        if isinstance(value, dict):
            waiting += [(item, (*way, key)) for key, item in value.items() if key not in ignored]
        elif isinstance(value, list):
            waiting += [(item, (*way, index)) for index, item in enumerate(value)]
    return sorted(found, key=repr)


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-30, 500),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from(["-10", "-20", "Reroute", "PrimitiveNode", "KSampler", "*", "IMAGE", SUBGRAPH]),
    st.lists(st.integers(-20, 20), max_size=6),
    st.dictionaries(
        st.sampled_from(["id", "name", "link", "links", "nodes", "0"]), st.integers(), max_size=3
    ),
)
change = st.tuples(st.integers(0, 10**6), st.sampled_from(["replace", "delete", "double", "swap"]), junk)


def damage(file: Any, way: tuple[Any, ...], how: str, value: Any) -> None:
    """Change one place of a file, if it is still there."""
    try:
        *before, last = way
        holder = file
        for key in before:
            holder = holder[key]
        if how == "delete":
            del holder[last]
        elif how == "double" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        elif how == "swap" and isinstance(holder, list):
            holder[last], holder[0] = holder[0], holder[last]
        else:
            holder[last] = value
    except (KeyError, IndexError, TypeError):
        pass


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(name=st.sampled_from(SAMPLES), changes=st.lists(change, min_size=1, max_size=6))
def test_random_damage_ends_in_a_named_error_or_a_prompt(name: str, changes: list[Any]) -> None:
    """Whatever is broken, the outcome is a sound prompt or one of the two errors; the file is left alone."""
    file = copy.deepcopy(sample(name))
    ways = places(name)
    for index, how, value in changes:
        damage(file, ways[index % len(ways)], how, value)
    before = copy.deepcopy(file)
    found = outcome(file)
    assert found if isinstance(found, str) else is_sound(found)
    assert file == before


def outcome(file: Any) -> dict[str, Any] | str:
    """Return the prompt, or the message of one of the two errors that there may be."""
    try:
        return convert_editor(file, catalog())
    except (WorkflowFormatError, ConversionError) as error:
        return str(error)


def is_sound(prompt: dict[str, Any]) -> bool:
    """Return whether a prompt is JSON whose links all name nodes that it has."""
    links = [
        value for entry in prompt.values() for value in entry["inputs"].values() if isinstance(value, list)
    ]
    return (
        json.loads(json.dumps(prompt)) == prompt
        and all(entry["class_type"] in catalog() for entry in prompt.values())
        and all(source in prompt and isinstance(slot, int) for source, slot in links)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        junk,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from(
                    ["nodes", "links", "id", "type", "inputs", "outputs", "definitions", "subgraphs"]
                ),
                inner,
                max_size=6,
            ),
        ),
        max_leaves=25,
    )
)
def test_random_json_ends_in_a_named_error_or_a_prompt(file: Any) -> None:
    """Any JSON at all."""
    assert outcome(file) or not file["nodes"]
