"""The examples of the public names run on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray.data
from doc_tools import ROOT, stage
from name_tools import docs, example, run_example

import comfy_async.ray as face

pytestmark = pytest.mark.usefixtures("cluster")

DOCS = docs(ROOT / "comfy_async" / "ray")


@pytest.mark.parametrize("name", ["", *DOCS])
async def test_each_example_runs(name: str, tmp_path: Path) -> None:
    """As it stands in the docstring, on two servers."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    own = {known: getattr(face, known) for known in face.__all__}
    async with stage(tmp_path) as names:
        text = example(DOCS[name] if name else face.__doc__ or "")
        await run_example(text, own | names, where=f"<comfy_async.ray.{name}>")
