"""Group nodes of old files: nested, damaged, described nowhere; others are held against the editor."""

from __future__ import annotations

from typing import Any

import pytest
from convert_files import catalog, convert, editor, node

from comfy_async import Workflow
from comfy_async.errors import ConversionError, WorkflowFormatError


def shown(id: int, link: int | None) -> dict[str, Any]:
    """Return a node that shows a picture."""
    return node(id, "PreviewImage", inputs=[("images", "IMAGE", link)])


def error(file: Any) -> ConversionError:
    """Return the error that converting raises."""
    with pytest.raises(ConversionError) as caught:
        convert(file)
    return caught.value


def member(type: str, *values: Any, **fields: Any) -> dict[str, Any]:
    """Return a node of a group, which has no id."""
    made = node(0, type, *values, **fields)
    del made["id"]
    return made


def group(nodes: list[Any], links: list[Any], external: list[Any] | None = None) -> dict[str, Any]:
    """Return what a file says of a group node."""
    return {"nodes": nodes, "links": links, "external": external or []}


PAIR = group(
    [
        member("EmptyImage", 64, 64, 1, 0, outputs=[("IMAGE", [])]),
        member("ImageInvert", inputs=[("image", "IMAGE", None)], outputs=[("IMAGE", [])]),
    ],
    [[0, 0, 1, 0, 1, "IMAGE"]],
    [[1, 0, "IMAGE"]],
)


def grouped(type: str, groups: dict[str, Any], *values: Any) -> dict[str, Any]:
    """Return a file with a group node whose picture is shown."""
    nodes = [node(5, type, *values, outputs=[("IMAGE", [1])]), shown(2, 1)]
    return editor(nodes, [(1, 5, 0, 2, 0, "IMAGE")], extra={"groupNodes": groups})


@pytest.mark.parametrize("separator", [">", "/"])
def test_a_group_node_inside_another(separator: str) -> None:
    """Both are expanded, with the values that the outer one shows."""
    outer = group(
        [
            member(f"workflow{separator}pair", 1, 2, 1, 3, outputs=[("IMAGE", [])]),
            member("ImageInvert", inputs=[("image", "IMAGE", None)], outputs=[("IMAGE", [])]),
        ],
        [[0, 0, 1, 0, 1, "IMAGE"]],
        [[1, 0, "IMAGE"]],
    )
    groups = {"outer": outer, "pair": PAIR}
    made = convert(grouped(f"workflow{separator}outer", groups, 8, 16, 1, 7))
    sized = next(key for key, item in made.items() if item["class_type"] == "EmptyImage")
    assert made[sized]["inputs"] == {"width": 8, "height": 16, "batch_size": 1, "color": 7}
    path = made["2"]["inputs"]["images"]
    while made[path[0]]["class_type"] != "EmptyImage":
        path = made[path[0]]["inputs"]["image"]
    assert path == [sized, 0]


def test_a_group_node_that_the_file_does_not_describe() -> None:
    """The error says what is missing."""
    told = error(grouped("workflow>pair", {"other": PAIR}))
    assert "'pair'" in told.problems[0].message
    assert "extra.groupNodes" in told.problems[0].message


def test_a_group_node_that_contains_itself() -> None:
    """It is named, whether it does so at once or by way of another."""
    inner = group([member("workflow>outer", outputs=[("IMAGE", [])])], [], [[0, 0, "IMAGE"]])
    outer = group([member("workflow>inner", outputs=[("IMAGE", [])])], [], [[0, 0, "IMAGE"]])
    assert "contains itself" in str(error(grouped("workflow>outer", {"outer": outer, "inner": inner})))


def test_a_class_that_is_missing_in_a_group() -> None:
    """The node inside is named."""
    lone = group([member("NoSuchClass", outputs=[("IMAGE", [])])], [], [[0, 0, "IMAGE"]])
    [problem] = error(grouped("workflow>lone", {"lone": lone})).problems
    assert (problem.class_type, problem.type) == ("NoSuchClass", "missing_node_type")


HALF_KNOWN = group(
    [
        member("EmptyImage", 64, 64, 1, 0, outputs=[("IMAGE", [])]),
        member(
            "NoSuchClass",
            5,
            inputs=[("image", "IMAGE", None)],
            outputs=[("IMAGE", [])],
            properties={"aux_id": "somebody/some-pack"},
        ),
    ],
    [[0, 0, 1, 0, 1, "IMAGE"]],
    [[1, 0, "IMAGE"]],
)


def test_a_group_node_with_a_missing_class_names_it_and_its_pack() -> None:
    """Its output is that of the missing class; the error is about the class, not about the output."""
    [problem] = error(grouped("workflow/pair", {"pair": HALF_KNOWN}, 8, 16, 1, 7, 5)).problems
    assert (problem.node, problem.class_type, problem.type) == ("5", "NoSuchClass", "missing_node_type")
    assert problem.message == "the server has no class 'NoSuchClass', which is in the group node 'pair'"
    assert "somebody/some-pack" in problem.advice


def test_a_missing_class_in_a_group_node_inside_another() -> None:
    """The outer one is named, for it is what the file shows."""
    outer = group([member("workflow>pair", outputs=[("IMAGE", [])])], [], [[0, 0, "IMAGE"]])
    [problem] = error(grouped("workflow>outer", {"outer": outer, "pair": HALF_KNOWN})).problems
    assert (problem.class_type, "'outer'" in problem.message) == ("NoSuchClass", True)


def test_a_group_node_with_a_missing_class_stays_as_it_is() -> None:
    """With `unknown="keep"` it is what editors 1.49.6 and 1.58.1 post of this file, with its id."""
    made = convert(grouped("workflow/pair", {"pair": HALF_KNOWN}, 8, 16, 1, 7, 5), unknown="keep")
    values = {"UNKNOWN": 8, "UNKNOWN_1": 16, "UNKNOWN_2": 1, "UNKNOWN_3": 7, "UNKNOWN_4": 5}
    assert (made["5"]["inputs"], made["5"]["class_type"]) == (values, None)
    assert made["2"]["inputs"] == {"images": ["5", 0]}
    assert set(made) == {"2", "5"}


def test_group_nodes_that_double_with_each_level() -> None:
    """Forty levels of two end at once: each is read once, and counted before it is expanded."""
    groups = {
        f"level{depth}": group([member(f"workflow>level{depth + 1}")] * 2, [], []) for depth in range(40)
    }
    groups["level40"] = PAIR
    assert "more than 10000 nodes" in str(error(grouped("workflow>level0", groups)))


@pytest.mark.parametrize(
    "damage",
    [
        {"nodes": 5},
        {"nodes": [None]},
        {"nodes": [{"type": ""}]},
        {"nodes": PAIR["nodes"], "links": [[0, 0, 9, 0, 1, "IMAGE"]]},
        {"nodes": PAIR["nodes"], "links": [[0, 0, 1, 7, 1, "IMAGE"]]},
        {"nodes": PAIR["nodes"], "links": "x"},
    ],
)
def test_a_damaged_group_node(damage: dict[str, Any]) -> None:
    """It is told with its place."""
    with pytest.raises(WorkflowFormatError, match="groupNodes.pair"):
        convert(grouped("workflow>pair", {"pair": damage}))


def test_a_changed_value_goes_back_into_the_group_node() -> None:
    """The editor file that is sent along has the value where the group node keeps it."""
    flow = Workflow.from_ui(grouped("workflow>pair", {"pair": PAIR}, 8, 8, 1, 0), catalog())
    key = next(key for key, item in flow.to_api().items() if item["class_type"] == "EmptyImage")
    changed = flow.with_inputs({(key, "width"): 24})
    assert changed.editor is not None
    assert changed.editor["nodes"][0]["widgets_values"] == [24, 8, 1, 0]
