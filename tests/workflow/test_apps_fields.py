"""Fields of drawings: which inputs of the prompt they become, and why some become none."""

from __future__ import annotations

from typing import Any

import pytest
from convert_files import INNER_SUBGRAPH, SUBGRAPH, catalog, editor, node, subgraph

from comfy_async.workflow.convert import Field, convert_fields


def field(file: dict[str, Any], id: Any, name: str) -> Field:
    """Return one field of a file."""
    (found,) = convert_fields(file, catalog(), [(str(id), name)])
    return found


def saved(link: int, *, id: int = 90, source: Any = 1) -> tuple[dict[str, Any], list[Any]]:
    """Return what keeps pictures, and the link to it."""
    kept = node(id, "SaveImage", "x", inputs=[("images", "IMAGE", link)])
    return kept, [link, source, 0, id, 0, "IMAGE"]


def picture(id: Any, *links: int, width: int = 64, **fields: Any) -> dict[str, Any]:
    """Return what makes a plain picture."""
    return node(id, "EmptyImage", width, 64, 1, 0, outputs=[("IMAGE", list(links))], **fields)


def nested(*, host_value: int | None = None, modes: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Return a subgraph within a subgraph, used twice, whose width is promoted through both."""
    inner = subgraph(
        [picture(7, 12, inputs=[("width", "INT", 11, "width")])],
        [(11, -10, 0, 7, 0, "INT"), (12, 7, 0, -20, 0, "IMAGE")],
        id=INNER_SUBGRAPH,
        inputs=[("width", "INT", [11])],
        outputs=[("IMAGE", "IMAGE", [12])],
    )
    outer = subgraph(
        [
            node(
                5,
                INNER_SUBGRAPH,
                inputs=[("width", "INT", 21, "width")],
                outputs=[("IMAGE", [22])],
            )
        ],
        [(21, -10, 0, 5, 0, "INT"), (22, 5, 0, -20, 0, "IMAGE")],
        inputs=[("size", "INT", [21])],
        outputs=[("IMAGE", "IMAGE", [22])],
    )
    values = () if host_value is None else (host_value,)
    hosts = [
        node(
            id,
            SUBGRAPH,
            *values,
            inputs=[("size", "INT", None, "size")],
            outputs=[("IMAGE", [link])],
            mode=mode,
        )
        for id, link, mode in ((1, 31, modes[0]), (2, 32, modes[1]))
    ]
    keepers = [saved(31, id=91, source=1), saved(32, id=92, source=2)]
    return editor(
        [*hosts, *(kept for kept, _ in keepers)],
        [link for _, link in keepers],
        definitions={"subgraphs": [outer, inner]},
    )


def test_a_root_node_has_its_own_input() -> None:
    """Named by its id, as a number or a text."""
    kept, link = saved(1)
    file = editor([picture(1, 1), kept], [link])

    assert field(file, 1, "width").targets == (("1", "width"),)
    assert field(file, "90", "filename_prefix").targets == (("90", "filename_prefix"),)


def test_a_promoted_input_is_followed_inwards() -> None:
    """Through two instances, to the node that takes it."""
    assert field(nested(host_value=5), 1, "size").targets == (("1:5:7", "width"),)
    assert field(nested(host_value=5), 2, "size").targets == (("2:5:7", "width"),)


def test_an_inner_node_means_all_that_its_instances_are() -> None:
    """A path means one of them."""
    assert field(nested(), 7, "width").targets == (("1:5:7", "width"), ("2:5:7", "width"))
    assert field(nested(), "2:5:7", "width").targets == (("2:5:7", "width"),)


def test_the_newer_form_names_the_graph() -> None:
    """The file's own id is the root; that of a definition a node inside it."""
    kept, link = saved(1)
    root = "99999999-2222-4333-8444-555555555555"
    file = editor([picture(1, 1), kept], [link], id=root)

    assert field(file, f"{root}:1:width", "width").targets == (("1", "width"),)
    assert field(nested(), f"{INNER_SUBGRAPH}:7:width", "width").targets == (
        ("1:5:7", "width"),
        ("2:5:7", "width"),
    )


def test_a_primitive_is_every_input_that_it_feeds() -> None:
    """Those of subgraph instances too."""
    kept, link = saved(1)
    other, second = saved(2, id=91, source=3)
    file = editor(
        [
            node(2, "PrimitiveNode", 96, "fixed", outputs=[("INT", [5, 6])], title="Width"),
            picture(1, 1, inputs=[("width", "INT", 5, "width")]),
            picture(3, 2, inputs=[("width", "INT", 6, "width")]),
            kept,
            other,
        ],
        [[5, 2, 0, 1, 0, "INT"], [6, 2, 0, 3, 0, "INT"], link, second],
    )

    found = field(file, 2, "value")
    assert found.targets == (("1", "width"), ("3", "width"))
    assert found.title == "Width"


@pytest.mark.parametrize(
    ("file", "id", "name", "reason"),
    [
        (nested(), 77, "width", "there is no node 77"),
        (nested(), 1, "height", "node 1 has no input 'height'"),
        (nested(modes=(2, 0)), 1, "size", "node 1 is muted"),
        (nested(modes=(4, 0)), 1, "size", "node 1 is bypassed"),
        (nested(), 91, "images", "input 'images' of node 91 takes links only"),
        (nested(), "1:5:8", "width", "there is no node 1:5:8"),
        (editor([node(1, "Note", "hello")]), 1, "text", "node 1 (Note) is never sent"),
        (
            editor([node(1, "PrimitiveNode", 5, outputs=[("INT", [])])]),
            1,
            "value",
            "the primitive feeds no input of the prompt",
        ),
    ],
)
def test_what_is_no_input_says_why(file: dict[str, Any], id: Any, name: str, reason: str) -> None:
    """Named with its node."""
    found = field(file, id, name)
    assert (found.targets, found.reason) == ((), reason)


def test_a_linked_field_is_none() -> None:
    """What a link brings, nobody sets."""
    kept, link = saved(1)
    file = editor(
        [
            node(2, "PrimitiveInt", 96, "fixed", outputs=[("INT", [5])]),
            picture(1, 1, inputs=[("width", "INT", 5, "width")]),
            kept,
        ],
        [[5, 2, 0, 1, 0, "INT"], link],
    )

    assert field(file, 1, "width").reason == "a link feeds it"
    assert field(file, 2, "value").targets == (("2", "value"),)


def test_a_field_is_found_by_what_it_is_called() -> None:
    """Labels stand for names where no name fits."""
    kept, link = saved(1)
    made = picture(1, 1, inputs=[("width", "INT", None, "width")])
    made["inputs"][0]["label"] = "How wide"
    found = field(editor([made, kept], [link]), 1, "How wide")

    assert (found.targets, found.label) == ((("1", "width"),), "How wide")


def test_an_instance_that_is_muted_takes_only_its_own() -> None:
    """The other instance of the same definition still has the field."""
    assert field(nested(modes=(2, 0)), 7, "width").targets == (("2:5:7", "width"),)
