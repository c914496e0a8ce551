"""Converting: kinds of inputs that came with newer servers, and kinds that nobody has heard of."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from convert_files import catalog, convert, editor, inputs_of, node, one_class, thing

from comfy_async.errors import ConversionError, WorkflowFormatError
from comfy_async.workflow import NodeCatalog, Workflow
from comfy_async.workflow._stubs import write_stubs

ROWS = {
    "required": {"name": ["COMBO", {"options": ["a", "b"]}]},
    "optional": {"strength": ["FLOAT", {"default": 1.0, "min": 0, "max": 2, "step": 0.01}]},
}


def group(**options: Any) -> tuple[str, str, dict[str, Any]]:
    """Return a group of fields that is called `loras`."""
    return "loras", "COMFY_DYNAMICGROUP_V3", {"template": ROWS, "min": 0, "max": 5, **options}


LOADER = one_class(group(), ("n", "INT", {"default": 3}), output_node=True)


def test_rows_take_their_values_in_order() -> None:
    """The count takes a place and is not sent; the fields of each row follow it."""
    found = inputs_of(thing(2, "a", 0.5, "b", 0.25, 9), "1", LOADER)
    assert found == {
        "loras.0.name": "a",
        "loras.0.strength": 0.5,
        "loras.1.name": "b",
        "loras.1.strength": 0.25,
        "n": 9,
    }
    assert inputs_of(thing(0, 9), "1", LOADER) == {"n": 9}
    assert inputs_of(thing(), "1", one_class(group(min=1))) == {"loras.0.name": "a", "loras.0.strength": 1}


@pytest.mark.parametrize(
    ("count", "rows"), [(2.9, 2), (1, 2), (-1, 2), (None, 2), ("3", 2), (True, 2), (3, 3)]
)
def test_counts_are_truncated_and_at_least_the_minimum(count: Any, rows: int) -> None:
    """What is no number asks for the minimum, as in the editor."""
    found = inputs_of(thing(count, "a", 1, "b", 1, "a", 1), "1", one_class(group(min=2)), lost="keep")
    assert len([name for name in found if name.endswith(".name")]) == rows


def test_rows_by_name() -> None:
    """An object of values has the rows by their names."""
    values = {"loras": 1, "loras.0.name": "b", "loras.0.strength": 0.3, "n": 5}
    found = inputs_of(editor([node(1, "Thing", widgets_values=values)]), "1", LOADER)
    assert found == {"loras.0.name": "b", "loras.0.strength": 0.3, "n": 5}


def test_a_field_of_a_row_may_be_linked_and_promoted_back() -> None:
    """A row's value is changed in the editor file where it stands."""
    classes = NodeCatalog(LOADER)
    flow = Workflow.from_ui(thing(2, "a", 0.5, "b", 0.25, 9), classes)
    changed = flow.with_inputs({"1.loras.1.strength": 0.75})
    assert changed.editor is not None
    assert changed.editor["nodes"][0]["widgets_values"] == [2, "a", 0.5, "b", 0.75, 9]
    assert Workflow.from_ui(changed.editor, classes).to_api() == changed.to_api()


def test_with_inputs_knows_the_rows_of_a_group() -> None:
    """A further row is taken when a catalog knows the class; check takes rows as they are."""
    classes = NodeCatalog(LOADER)
    flow = Workflow.from_ui(thing(1, "a", 0.5, 9), classes)
    more = flow.with_inputs({"1.loras.1.name": "b"}, catalog=classes)
    assert more.get("1", "loras.1.name") == "b"
    assert classes.input("Thing", "loras.1.strength", {}) is not None
    assert {item.key for item in flow.inputs(classes)} >= {"1.loras.0.strength"}
    wrong = flow.with_inputs({"1.loras.0.name": "zz"})
    assert "loras.0.name" in {problem.input for problem in wrong.check(classes)}


def test_stubs_have_the_rows(tmp_path: Any) -> None:
    """Each field of each row is a keyword; views that are never sent are none."""
    kinds = one_class(
        group(max=2), ("view", "RESOLUTION_PREVIEW", {}), ("branch", "COMFY_BRANCH_SELECTOR", {})
    )
    stub = write_stubs(NodeCatalog(kinds), tmp_path)[1].read_text()
    assert "loras__0__name" in stub
    assert "loras__1__strength" in stub
    assert "loras__2__name" not in stub
    assert "view" not in stub.partition("def Thing")[2]
    assert "branch: str" in stub


def test_views_are_not_sent() -> None:
    """A camera's angle takes a place; its state, and a resolution, do neither."""
    one = ("a", "INT"), ("b", "INT")
    angle = one_class(one[0], ("view", "CAMERA_ANGLE_VIEW", {}), one[1])
    assert inputs_of(thing(10, "camera", 20), "1", angle) == {"a": 10, "b": 20}
    for kind in ("RESOLUTION_PREVIEW", "CAMERA_INFO_STATE"):
        classes = one_class(one[0], ("view", kind, {}), one[1])
        assert inputs_of(thing(10, 20), "1", classes) == {"a": 10, "b": 20}
        assert inputs_of(thing(10, None, 20), "1", classes) == {"a": 10, "b": 20}
        spec = NodeCatalog(classes).input("Thing", "view")
        assert spec is not None
        assert not spec.required


def test_lights_are_sent() -> None:
    """They begin with none, whatever is declared."""
    classes = one_class(("lights", "LIGHT_INFO_PREVIEW", {"default": [1]}), ("b", "INT"))
    assert inputs_of(thing([{"x": 1}], 20), "1", classes) == {"lights": {"__value__": [{"x": 1}]}, "b": 20}
    assert inputs_of(thing(), "1", classes)["lights"] == {"__value__": []}


def test_what_areas_charts_and_galleries_begin_with() -> None:
    """Newer editors read it where all other kinds declare it."""
    classes = one_class(
        ("t", "TEXTAREA", {"default": "hello"}),
        ("c", "CHART", {"data": {"x": 1}}),
        ("g", "GALLERIA", {"images": ["a"]}),
    )
    assert inputs_of(thing(), "1", classes) == {"t": "hello", "c": {"x": 1}, "g": {"__value__": ["a"]}}
    assert inputs_of(thing(), "1", classes, editor="1.49.6")["t"] == ""


def test_curves_are_marked() -> None:
    """A curve is an object with a mark; 1.49.6 marks lists only."""
    curve = {"points": [[0, 0], [1, 1]], "interpolation": "linear"}
    classes = one_class(("curve", "CURVE", {}))
    assert inputs_of(thing(curve), "1", classes) == {"curve": {"__type__": "CURVE", "__value__": curve}}
    assert inputs_of(thing(curve), "1", classes, editor="1.49.6") == {"curve": curve}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (5.0, "5"),
        (1e21, "1e+21"),
        (1e-7, "1e-7"),
        (-1.25e-9, "-1.25e-9"),
        (123456789012345680000, "123456789012345680000"),
        (1e16, "10000000000000000"),
        (False, "false"),
        ([1, [2, 3], None, True, {"a": 1}], "1,2,3,,true,[object Object]"),
        ({}, "[object Object]"),
        (None, ""),
    ],
)
def test_text_areas_send_texts(value: Any, text: str) -> None:
    """Each as JavaScript writes it."""
    assert inputs_of(editor([node(1, "CLIPTextEncode", value)]), "1") == {"text": text}


def test_packs_are_named_as_far_as_the_file_names_them_rightly() -> None:
    """What is no registry id, repository or version is left out."""
    named = {
        ("a-b", None, "v1.2.3"): {"cnr_id": "a-b", "ver": "1.2.3"},
        ("a b", None, "unknown"): {"ver": "unknown"},
        ("-a", "me/pack.git", "abcd"): {"aux_id": "me/pack.git", "ver": "abcd"},
        ("x", "a/b/c", "nightly"): {"cnr_id": "x"},
        ("é", "me--x/pack", "01.2.3"): {},
        (5, "a_b/c", "1.0.0\n"): {},
    }
    for (cnr, aux, ver), wanted in named.items():
        properties = {"cnr_id": cnr, "aux_id": aux, "ver": ver}
        found = convert(editor([node(1, "EmptyImage", properties=properties)]))["1"]["_meta"]
        assert found == {"title": "Empty Image", **wanted}
    assert convert(editor([node(1, "EmptyImage", properties={"cnr_id": "a"})]), editor="1.54.12")["1"][
        "_meta"
    ] == {"title": "Empty Image"}


def test_a_class_may_say_by_which_names_its_list_is_read() -> None:
    """`fallbackWidgetsValuesNames`; what the file names itself wins, and changes go where values stand."""
    classes = one_class(("a", "INT"), ("b", "INT"), fallbackWidgetsValuesNames=["b", "a"])
    assert inputs_of(thing(10, 11), "1", classes) == {"a": 11, "b": 10}
    assert inputs_of(thing(10, 11), "1", classes, editor="1.49.6") == {"a": 10, "b": 11}
    known = NodeCatalog(classes)
    listed = Workflow.from_ui(thing(10, 11), known).set("1", "a", 7)
    assert listed.editor is not None
    assert listed.editor["nodes"][0]["widgets_values"] == [10, 7]
    file = thing(10, 11, widgets_values_named={"a": 1, "b": 2})
    named = Workflow.from_ui(file, known).set("1", "a", 7)
    assert named.editor is not None
    assert named.editor["nodes"][0]["widgets_values_named"] == {"a": 7, "b": 2}
    assert Workflow.from_ui(named.editor, known).to_api() == named.to_api()


def test_a_kind_that_nobody_has_heard_of_is_refused() -> None:
    """It might take a value's place; node, class, input and type are named, and there is a way on."""
    classes = one_class(("a", "INT"), ("odd", "NEVER_HEARD_OF", {}), ("b", "INT"))
    with pytest.raises(ConversionError, match="'odd' is of type 'NEVER_HEARD_OF'") as caught:
        convert(thing(10, 20), classes)
    (problem,) = caught.value.problems
    assert (problem.node, problem.class_type, problem.input) == ("1", "Thing", "odd")
    assert (problem.type, problem.received) == ("unknown_input_type", "NEVER_HEARD_OF")
    assert inputs_of(thing(10, 20), "1", classes, lost="keep") == {"a": 10, "b": 20}
    flow = Workflow.from_ui(thing(10, 20), NodeCatalog(classes), lost="keep")
    assert flow.get("1", "b") == 20


def test_a_kind_that_is_linked_is_a_socket() -> None:
    """Something gives it, in the catalog or in the file."""
    classes = one_class(("a", "INT"), ("odd", "ODD", {}))
    giver = {**classes, "Giver": {"input": {}, "output": ["ODD"]}}
    assert inputs_of(thing(10), "1", giver) == {"a": 10}
    linked = editor(
        [node(1, "Thing", 10, inputs=[("odd", "ODD", 9)]), node(5, "EmptyImage")], [(9, 5, 0, 1, 0, "ODD")]
    )
    assert inputs_of(linked, "1", {**catalog().raw, **classes})["odd"] == ["5", 0]


def test_a_kind_that_the_file_shows_as_a_socket() -> None:
    """Editors mark inputs that are widgets: one without the mark is none, one that is not shown may be."""
    classes = one_class(("a", "INT"), ("b", "INT"), optional=[("odd", "NEVER_HEARD_OF", {})])
    assert inputs_of(thing(10, 20, inputs=[("odd", "NEVER_HEARD_OF", None)]), "1", classes) == {
        "a": 10,
        "b": 20,
    }
    for inputs in ([("odd", "NEVER_HEARD_OF", None, "odd")], [("a", "INT", None, "a")]):
        with pytest.raises(ConversionError, match="'odd' is of type 'NEVER_HEARD_OF'"):
            convert(thing(10, 20, inputs=inputs), classes)


def test_a_kind_that_the_class_wants_linked_is_a_socket() -> None:
    """`forceInput` makes a socket of any type, and so does the old `defaultInput` of an optional one."""
    classes = one_class(
        ("a", "INT"), ("odd", "ODD", {"forceInput": True}), optional=[("old", "OLD", {"defaultInput": True})]
    )
    assert inputs_of(thing(10), "1", classes) == {"a": 10}


def test_values_that_no_widget_takes_are_refused() -> None:
    """A pack's JavaScript may have made widgets for them: dropped in silence they would be missed."""
    classes = one_class(("a", "INT"), python_module="custom_nodes.somebody")
    with pytest.raises(ConversionError, match="it has 2 saved values more than its widgets take") as caught:
        convert(thing(1, {"on": True}, "x.safetensors"), classes)
    (problem,) = caught.value.problems
    assert problem.received == [{"on": True}, "x.safetensors"]
    assert inputs_of(thing(1, {"on": True}), "1", classes, lost="keep") == {"a": 1}
    assert inputs_of(thing(1, None, ""), "1", classes) == {"a": 1}


def test_values_of_another_version_of_comfyui_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """ComfyUI's own classes have no secret widgets: newer files run on older servers, and it is logged."""
    file = editor([node(1, "PreviewAny", None, None, False), node(2, "KSampler", 1, "fixed", mode=4)])
    with caplog.at_level(logging.WARNING, "comfy_async.workflow"):
        assert convert(file)["1"]["class_type"] == "PreviewAny"
    assert "1 (PreviewAny)" in caplog.text


@pytest.mark.parametrize("least", [10_000_000, 2**63])
def test_a_catalog_that_wants_millions_of_inputs(least: int) -> None:
    """It is refused at once, and told for the catalog's fault."""
    template = {"input": {"required": {"v": ["IMAGE", {}]}}, "prefix": "v", "min": least}
    for kind in (("many", "COMFY_AUTOGROW_V3", {"template": template}), group(min=least)):
        with pytest.raises(WorkflowFormatError, match="the catalog is at fault") as caught:
            convert(thing(), one_class(kind))
        assert caught.value.place == f"Thing.input.{kind[0]}"


def test_the_editor_of_the_catalog_decides() -> None:
    """A session's catalog knows which editor its server ships; a version that is none is refused."""
    older = NodeCatalog(catalog().raw, editor="1.49.6")
    assert older.editor == "1.49.6"
    assert inputs_of(editor([node(1, "CLIPTextEncode", 5)]), "1", older) == {"text": 5}
    assert (
        Workflow.from_ui(editor([node(1, "CLIPTextEncode", 5)]), older, editor="1.58.1").get("1", "text")
        == "5"
    )
    with pytest.raises(ValueError, match="not a version"):
        convert(editor([node(1, "CLIPTextEncode", 5)]), editor="newest")
