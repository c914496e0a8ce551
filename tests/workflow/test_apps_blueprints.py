"""Subgraph blueprints as apps: loaded, run and saved around one instance."""

from __future__ import annotations

from typing import Any

import pytest
from convert_files import SUBGRAPH, catalog, editor, node, subgraph

from comfy_async import App, UnknownInputError


def drawing(*, shape: int | None = 7, proxies: list[Any] | None = None) -> dict[str, Any]:
    """Return a blueprint that joins two pictures, the second of which may be left out."""
    batch = node(
        5,
        "ImageStitch",
        "right",
        True,
        0,
        "white",
        inputs=[("image1", "IMAGE", 1), ("image2", "IMAGE", 2), ("spacing_width", "INT", 3, "spacing_width")],
        outputs=[("IMAGE", [4])],
        title="Join",
    )
    if shape is not None:
        batch["inputs"][1]["shape"] = shape
    joins = subgraph(
        [batch],
        [
            (1, -10, 0, 5, 0, "IMAGE"),
            (2, -10, 1, 5, 1, "IMAGE"),
            (3, -10, 2, 5, 2, "INT"),
            (4, 5, 0, -20, 0, "IMAGE"),
        ],
        inputs=[("first", "IMAGE", [1]), ("second", "IMAGE", [2]), ("gap", "INT", [3])],
        outputs=[("joined", "IMAGE", [4])],
    )
    host = node(
        9,
        SUBGRAPH,
        8,
        inputs=[("first", "IMAGE", None), ("second", "IMAGE", None), ("gap", "INT", None, "gap")],
        outputs=[("IMAGE", [])],
        title="Join two",
    )
    host["inputs"][2]["label"] = "How far apart"
    host["outputs"][0]["name"] = "joined"
    if proxies is not None:
        host["properties"] = {"proxyWidgets": proxies}
    return editor([host], definitions={"subgraphs": [joins]})


def test_links_are_loaded_and_fields_are_inputs() -> None:
    """In the order of the instance, by what people call them; what it gives is saved."""
    app = App.load(drawing(), catalog())
    assert [(item.name, item.upload, item.required) for item in app.inputs.values()] == [
        ("first", "image", True),
        ("second", "image", False),
        ("how_far_apart", None, False),
    ]
    assert [(item.name, item.class_type) for item in app.outputs.values()] == [("joined", "SaveImage")]
    assert app.unresolved == ()


def test_what_may_be_left_out_is_not_loaded() -> None:
    """Its node goes, and the link with it."""
    app = App.load(drawing(), catalog())
    both = app.workflow(first=b"x", second=b"y", how_far_apart=3).graph
    one = app.workflow(first=b"x").graph
    assert (len(both), len(one)) == (4, 3)
    assert both["9:5"].inputs["spacing_width"] == 3
    assert "image2" in both["9:5"].inputs
    assert "image2" not in one["9:5"].inputs


def test_what_may_not_be_left_out_must_be_given() -> None:
    """As the slots inside say."""
    app = App.load(drawing(shape=None), catalog())
    with pytest.raises(UnknownInputError, match="second: no image file is given"):
        app.workflow(first=b"x")


def test_fields_that_older_files_list_are_inputs_too() -> None:
    """Those that are the editor's own are not."""
    proxies = [["5", "direction"], ["-1", "gap"], ["5", "$$canvas-image-preview"], ["5", "spacing_color"]]
    app = App.load(drawing(proxies=proxies), catalog())
    assert list(app.inputs) == ["first", "second", "how_far_apart", "direction", "spacing_color"]
    assert app.workflow(first=b"x", direction="down").get("9:5", "direction") == "down"


def test_the_drawing_stays_as_it_was() -> None:
    """What is added is added to a copy."""
    file = drawing()
    App.load(file, catalog())
    assert file == drawing()


def test_a_link_that_nothing_loads_is_told() -> None:
    """By its name."""
    file = drawing()
    file["nodes"][0]["inputs"][0]["type"] = "MODEL"
    assert [str(lost) for lost in App.load(file, catalog()).unresolved] == [
        "9.first: input 'first' of node 9 takes links only"
    ]
