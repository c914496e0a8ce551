"""The official templates convert to what ComfyUI's own frontend makes of them."""

from __future__ import annotations

import copy
import functools
import gzip
import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_async.errors import ConversionError
from comfy_async.workflow import NodeCatalog
from comfy_async.workflow.convert import convert_editor

EDITOR = "1.49.6"

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data"

# Two templates have nodes of packs that are no part of ComfyUI. The frontend sends them with
# null for a class, which every server refuses; here they are an error unless they are kept.
UNKNOWN = {
    "template_rob_realistic_2k_images_quick_variations",
    "templates_rob_realistic_2k_images_quick_variations.app",
}

# Load3D sends pictures that the browser renders and uploads when the prompt is queued; their
# names have the time in them.
RENDERED = ("image", "mask", "normal")


@functools.cache
def expected() -> dict[str, Any]:
    """What frontend 1.49.6 made of 349 templates."""
    content: dict[str, Any] = json.loads(gzip.decompress((DATA / "expected_api.json.gz").read_bytes()))
    for prompt in content.values():
        for entry in prompt.values():
            if entry["class_type"] == "Load3D" and isinstance(entry["inputs"]["image"], dict):
                entry["inputs"]["image"].update(dict.fromkeys(RENDERED, ""))
    return content


@functools.cache
def catalog() -> NodeCatalog:
    """What a bare ComfyUI 0.33.0 can run."""
    return NodeCatalog.load(DATA / "object_info.json.gz")


@functools.cache
def templates() -> dict[str, Any]:
    """The official templates, as the package on PyPI has them."""
    folder = importlib.resources.files("comfyui_workflow_templates_json") / "templates"
    files = (item for item in folder.iterdir() if item.name.endswith(".json"))
    contents = {item.name.removesuffix(".json"): json.loads(item.read_text("utf-8")) for item in files}
    return {name: content for name, content in contents.items() if isinstance(content, dict)}


def differences(name: str) -> Iterator[str]:
    """Yield each difference of one template, by node and input."""
    wanted = expected()[name]
    found = convert_editor(
        templates()[name], catalog(), editor=EDITOR, unknown="keep" if name in UNKNOWN else "raise"
    )
    for node in sorted(wanted.keys() | found.keys()):
        if node not in found or node not in wanted:
            yield f"{name}: node {node} is {'missing' if node in wanted else 'too much'}"
            continue
        one, other = wanted[node], found[node]
        for key in ("class_type", "_meta"):
            if one[key] != other[key]:
                yield f"{name}: node {node}, {key}: {one[key]!r} became {other[key]!r}"
        for key in sorted(one["inputs"].keys() | other["inputs"].keys()):
            before, after = one["inputs"].get(key, "(none)"), other["inputs"].get(key, "(none)")
            # Sines may differ in their last bit from one machine to the next.
            camera = one["class_type"] == "Load3D" and key == "image"
            if before != after and not (camera and rounded(before) == rounded(after)):
                yield f"{name}: node {node} ({one['class_type']}), {key}: {before!r} became {after!r}"


def rounded(value: Any) -> Any:
    """Return a value with its numbers rounded to twelve places."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 12) if isinstance(value, float) else value


def test_all_templates_come_out_identical() -> None:
    """349 of 349: ids, classes, inputs and titles; the report names each difference."""
    assert len(expected()) == 349
    report = [line for name in expected() for line in differences(name)]
    assert not report, "\n".join(report)


def test_json_text_is_identical_too() -> None:
    """Numbers are written as JavaScript writes them: 8, never 8.0."""
    for name, wanted in expected().items():
        if not any(node["class_type"] == "Load3D" for node in wanted.values()):
            found = convert_editor(templates()[name], catalog(), editor=EDITOR, unknown="keep")
            assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True), name


@pytest.mark.parametrize("name", sorted(UNKNOWN))
def test_templates_with_foreign_nodes_are_refused(name: str) -> None:
    """All nodes that the server does not have are listed at once, with title and class."""
    with pytest.raises(ConversionError, match="2 nodes are of a class") as caught:
        convert_editor(templates()[name], catalog())
    assert {problem.class_type for problem in caught.value.problems} == {"ImageRemoveAlpha+", "AILab_QwenVL"}


def test_the_file_is_not_changed() -> None:
    """Converting leaves the editor file and the catalog as they were."""
    for name in list(expected())[::10]:
        editor = copy.deepcopy(templates()[name])
        convert_editor(editor, catalog(), unknown="keep")
        assert editor == templates()[name], name
    plain = json.loads(gzip.decompress((DATA / "object_info.json.gz").read_bytes()))
    assert catalog().raw == plain


def test_what_comes_out_is_nobody_elses() -> None:
    """Changing a converted graph changes neither the file nor a second conversion."""
    for name in list(expected())[::25]:
        first = convert_editor(templates()[name], catalog(), unknown="keep")
        before = json.dumps(first, sort_keys=True)
        for node in first.values():
            for value in node["inputs"].values():
                if isinstance(value, dict):
                    value["spoilt"] = True
        # A prompt with alternatives may come out differently, so only texts without are held together.
        second = convert_editor(templates()[name], catalog(), unknown="keep")
        assert '"spoilt"' not in json.dumps(second)
        assert len(json.dumps(second, sort_keys=True)) == len(before), name


def test_the_sd15_pair() -> None:
    """The editor file of examples/workflows is exactly the API file beside it."""
    folder = ROOT / "examples/workflows"
    editor = json.loads((folder / "sd15_text2image_ui.json").read_text("utf-8"))
    wanted = json.loads((folder / "sd15_text2image_api.json").read_text("utf-8"))
    assert convert_editor(editor, catalog(), editor=EDITOR) == wanted
    assert convert_editor(editor, catalog().raw, editor=EDITOR) == wanted


def _as_version_1(editor: dict[str, Any]) -> dict[str, Any]:
    """Return the file as the newer version writes it."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(keys, link, strict=False)) for link in editor["links"]]
    state = {"lastNodeId": editor.get("last_node_id"), "lastLinkId": editor.get("last_link_id")}
    return {**editor, "version": 1, "links": links, "state": state, "last_node_id": None}


def test_both_versions_convert_alike() -> None:
    """Link objects and `state` (version 1) say the same as arrays and `last_node_id` (0.4)."""
    for name in list(expected())[::3]:
        if name in UNKNOWN or "{" in json.dumps(list(_texts(expected()[name]))):
            continue
        newer = _as_version_1(templates()[name])
        assert convert_editor(newer, catalog()) == convert_editor(templates()[name], catalog()), name


def _texts(prompt: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of a prompt."""
    for node in prompt.values():
        yield from (value for value in node["inputs"].values() if isinstance(value, str))
