"""The official templates that have App mode: every input that their authors chose, at its node.

What is right was asked of ComfyUI's own editor (1.58.1 on 0.33.0): each field was given another
value in it, and the inputs of `app.graphToPrompt()` that changed were written down. Two primitives
that the editor has replaced by an input when it opens the file were followed by hand.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from convert_files import catalog

from comfy_async import App, ConversionError
from comfy_async.workflow.apps.names import is_name

DATA = Path(__file__).parents[1] / "data"

UNKNOWN = {
    "template_qwen_multiangle.app": "CameraAngle",
    "template_seedance2_0_viral_videos_character_swap": "GeminiNodeV3",
    "templates_rob_realistic_2k_images_quick_variations.app": "ImageRemoveAlpha+",
}
"""Templates with classes that 0.33.0 does not have."""


@functools.cache
def templates() -> dict[str, Any]:
    """The 29 of comfyui-workflow-templates-json 0.1.123."""
    content: dict[str, Any] = json.loads(gzip.decompress((DATA / "app_mode_templates.json.gz").read_bytes()))
    return content


@functools.cache
def expected() -> dict[str, Any]:
    """By file: node, widget, and the inputs of the prompt that get its value, none for what is lost."""
    content: dict[str, Any] = json.loads((DATA / "app_mode_expected.json").read_text())
    return content


@functools.cache
def app(name: str) -> App:
    """One of them as an app."""
    return App.load(templates()[name], catalog())


KNOWN = sorted(templates().keys() - UNKNOWN.keys())


@pytest.mark.parametrize("name", KNOWN)
def test_each_input_is_at_its_node(name: str) -> None:
    """None is wrong, none is missing in silence; in the order of the authors."""
    listed = expected()[name]
    if not listed:
        return
    found = [sorted(map(list, item.targets)) for item in app(name).inputs.values()]
    assert found == [targets for _, _, targets in listed if targets]
    lost = [[entry.node, entry.input] for entry in app(name).unresolved if entry.input]
    assert lost == [[node, widget] for node, widget, targets in listed if not targets]
    assert all(entry.reason for entry in app(name).unresolved)


def test_as_many_are_resolved_as_there_are() -> None:
    """80 of 85; the other five lead to nodes that are not there, or to a primitive that feeds nothing."""
    listed = [targets for name in KNOWN for _, _, targets in expected()[name]]
    assert (len(KNOWN), len(listed), sum(map(bool, listed))) == (26, 85, 80)
    assert sum(len(app(name).inputs) for name in KNOWN if expected()[name]) == 80


@pytest.mark.parametrize("name", KNOWN)
def test_each_input_can_be_set(name: str) -> None:
    """A value of its kind reaches every place that it goes to, and nothing else changes."""
    if not expected()[name]:
        return
    found = app(name)
    for item in found.inputs.values():
        assert is_name(item.name)
        values = {one.name: b"x" for one in found.inputs.values() if one.required}
        before, value = found.workflow(**values), _other(item)
        after = found.workflow(**{**values, item.name: value})
        changed = {
            (key, field)
            for key, node in after.graph.items()
            for field, what in node.inputs.items()
            if what != before.graph[key].inputs.get(field)
        }
        also = {(item.node, "index")} if item.input == "choice" else set()
        assert changed == set(item.targets) | also


def _other(item: Any) -> Any:
    """Return another value that an input takes."""
    if item.upload is not None:
        return b"other"
    if item.choices is not None:
        return next(choice for choice in item.choices if choice != item.default)
    if item.type == "STRING":
        return f"{item.default} and more"
    return item.default + 1 if item.maximum is None or item.default + 1 <= item.maximum else item.minimum


@pytest.mark.parametrize("name", sorted(UNKNOWN))
def test_classes_that_a_server_lacks_are_told(name: str) -> None:
    """As on conversion."""
    with pytest.raises(ConversionError, match=UNKNOWN[name].replace("+", r"\+")):
        App.load(templates()[name], catalog())


def test_names_are_what_authors_call_them() -> None:
    """Labels first, then what an input is for, and titles where two would be alike."""
    assert list(app("template_sferro21_product_ad.app").inputs) == [
        "reference_image",
        "product_shot",
        "prompt",
        "aspect_ratio",
    ]
    assert list(app("templates-subject_holding_product.app").inputs)[:2] == ["subject_image", "product_image"]
    assert list(app("image_krea2_turbo_int8_image_style_reference").inputs)[:2] == [
        "reference_image",
        "prompt",
    ]
    assert list(app("templates_graphic_design_recomposer").inputs) == [
        "image",
        "model",
        "resolution",
        "aspect_ratio",
    ]
    assert list(app("template_product_placement").outputs) == ["image", "video"]
