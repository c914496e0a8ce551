"""Editor files with nodes of packs and of old editors, each with the graph that ComfyUI posts of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from convert_files import catalog

from comfy_async import NodeCatalog, Workflow
from comfy_async.workflow.convert import convert_editor

CASES = Path(__file__).parents[1] / "data" / "cases"

NAMES = (
    "01_duplicate_id_of_notes",
    "02_duplicate_id_of_nodes",
    "03_group_node",
    "04_companion_left_out",
    "05_power_lora_loader",
    "07_anything_everywhere",
    "08_all_nodes_bypassed",
    "50_vhs_format_widgets",
    "52_virtual_note_plus_mtb",
)


def load(name: str) -> Any:
    """Return a case's JSON."""
    return json.loads((CASES / name).read_text("utf-8"))


def classes() -> dict[str, Any]:
    """Return the classes of ComfyUI and of the packs in the cases."""
    return {**catalog(), **load("packs_object_info.json"), **load("50_catalog.json")}


def ids_and_inputs(prompt: dict[str, Any]) -> dict[str, Any]:
    """Return of each node what the server runs: its class and its inputs."""
    return {key: (node["class_type"], node["inputs"]) for key, node in prompt.items()}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "02_duplicate_id_of_nodes"])
def test_the_newest_editor_runs_the_same(name: str) -> None:
    """Only nodes that share an id become something else in the newest editor, which numbers them anew."""
    made = convert_editor(load(f"{name}.json"), classes())
    assert ids_and_inputs(made) == ids_and_inputs(load(f"{name}.expected_api.json"))


@pytest.mark.parametrize("name", NAMES)
def test_the_cases(name: str) -> None:
    """Each file becomes the graph that belongs to it."""
    wanted = load(f"{name}.expected_api.json")
    made = convert_editor(load(f"{name}.json"), classes(), editor="1.49.6")
    if not any("_meta" in node for node in wanted.values()):
        made = {key: {k: v for k, v in node.items() if k != "_meta"} for key, node in made.items()}
    assert made == wanted


def test_a_text_with_loras_and_its_list() -> None:
    """The loader of LoraManager sends its text, the list, and what belongs to the text."""
    node = convert_editor(load("51_lora_manager.json"), classes())["2"]
    [lora] = node["inputs"].pop("loras")["__value__"]
    assert lora == {
        "name": "one",
        "strength": "0.80",
        "active": True,
        "expanded": False,
        "clipStrength": "0.80",
    }
    assert node["inputs"] == {
        "__lm_autocomplete_meta_text": {"version": 1, "textWidgetName": "text"},
        "text": "<lora:one:0.8>",
        "model": ["1", 0],
    }


def test_an_empty_prompt_is_said_to_be_one() -> None:
    """A file in which nothing runs is a workflow without nodes, and `check` says what it lacks."""
    known = NodeCatalog.load(classes())
    flow = Workflow.from_ui(load("08_all_nodes_bypassed.json"), known)
    assert flow.to_api() == {}
    [problem] = flow.check(known)
    assert problem.type == "prompt_no_outputs"
    assert problem.message == "no node that runs makes an output"
    assert problem.advice == "In the editor 2 (PreviewImage) is bypassed: enable it there."
