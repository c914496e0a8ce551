"""The graphs that all clients are given; no import of ours, since peers run it too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples" / "workflows"


def picture(color: int = 0, *, middle: str | None = None) -> dict[str, Any]:
    """Return a graph that saves a small picture, with a node of a class in between."""
    graph: dict[str, Any] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color},
            "_meta": {"title": "Empty Image"},
        },
        "9": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2" if middle else "1", 0], "filename_prefix": "bench"},
            "_meta": {"title": "Save Image"},
        },
    }
    if middle is not None:
        graph["2"] = {"class_type": middle, "inputs": {"image": ["1", 0]}, "_meta": {"title": "Middle"}}
    return graph


def rejected() -> dict[str, Any]:
    """Return a graph that every server refuses."""
    graph = picture(1)
    graph["1"]["inputs"]["width"] = -5
    return graph


def partly_rejected(color: int) -> dict[str, Any]:
    """Return a graph with two outputs, one of which is refused: the answer is 200 with node_errors."""
    graph = picture(color)
    graph["8"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["77", 0], "filename_prefix": "bench"},
        "_meta": {"title": "Broken"},
    }
    return graph


def text_to_image() -> dict[str, Any]:
    """Return the SD1.5 workflow of the examples."""
    graph: dict[str, Any] = json.loads((EXAMPLES / "sd15_text2image_api.json").read_text())
    return graph
