"""Files with nodes of packs, held against what the editor itself posted with the packs installed.

tests/data/packs_truth.json.gz has the files, the classes that they take, and what editors 1.49.6
and 1.58.1 posted to a ComfyUI 0.33.0 with rgthree-comfy 1.0.2608210019, cg-use-everywhere 7.8,
ComfyUI-KJNodes 1.5.0 and ComfyUI-VideoHelperSuite 1.7.9.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async.workflow.convert import convert_editor

TRUTH = Path(__file__).parents[1] / "data" / "packs_truth.json.gz"


@functools.cache
def truth() -> dict[str, Any]:
    """Return the files and answers."""
    found: dict[str, Any] = json.loads(gzip.decompress(TRUTH.read_bytes()))
    return found


CASES = [(version, name) for version, cases in truth()["cases"].items() for name in sorted(cases)]


@pytest.mark.parametrize(("version", "name"), CASES)
def test_the_same_as_the_editor(version: str, name: str) -> None:
    """Converted here and posted by the editor, it is one graph."""
    case = truth()["cases"][version][name]
    assert convert_editor(case["editor"], truth()["classes"], editor=version) == case["posted"]
