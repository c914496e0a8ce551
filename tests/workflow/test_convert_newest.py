"""The official templates of November 2026 convert to what editor 1.58.1 makes of them."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

from convert_files import catalog

from comfy_async.workflow import Workflow
from comfy_async.workflow.convert import NEWEST, convert_editor

DATA = Path(__file__).parents[1] / "data"

# Load3D sends pictures that the browser renders, under names with the time in them.
RENDERED = ("image", "mask", "normal")


@functools.cache
def read(name: str) -> Any:
    """The content of a packed file."""
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


@functools.cache
def expected() -> dict[str, Any]:
    """What editor 1.58.1 made of 408 templates; the one link that it loses put back."""
    content: dict[str, Any] = read("expected_api_1.58.1.json.gz")
    for prompt in content.values():
        for entry in prompt.values():
            if entry["class_type"] == "Load3D":
                entry["inputs"]["image"].update(dict.fromkeys(RENDERED, ""))
    if "api_flux2" in content:
        content["api_flux2"]["23"]["inputs"]["model.images.image_4"] = ["18", 0]
    return content


def test_all_templates_come_out_as_from_the_newest_editor() -> None:
    """408 of 408: ids, classes, inputs, titles and packs, those with unknown classes too."""
    assert NEWEST == "1.58.1"
    assert len(expected()) == 408
    templates = read("templates_0.1.123.json.gz")
    wrong = []
    for name, wanted in expected().items():
        found = convert_editor(templates[name], catalog(), unknown="keep")
        if found != wanted:
            wrong.append(f"{name}: nodes {[key for key in wanted if found.get(key) != wanted[key]]}")
    assert not wrong, "\n".join(wrong)


def test_unknown_classes_can_be_kept_in_a_workflow() -> None:
    """from_ui(unknown="keep") is to look at: None for a class, and values by number."""
    name = next(
        name
        for name, prompt in expected().items()
        if any(entry["class_type"] is None for entry in prompt.values())
    )
    flow = Workflow.from_ui(read("templates_0.1.123.json.gz")[name], catalog(), unknown="keep")
    assert flow.to_api() == expected()[name]
    assert json.loads(flow.encode()) == expected()[name]
    unknown = next(key for key, entry in expected()[name].items() if entry["class_type"] is None)
    assert flow.nodes[unknown].class_type == ""
