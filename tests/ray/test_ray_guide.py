"""The fleet guide is true: its Python runs on a cluster, on servers where the page says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import ray.data
from doc_tools import GUIDES, Block, blocks, run_snippet

from comfy_async.testing import FakeComfy

pytestmark = pytest.mark.usefixtures("cluster")

ADDRESSES = ("http://10.0.0.7:8188", "http://10.0.0.8:8188")
COMMAND = 'argv=["python", "main.py", "--port", "{port}"], cwd="/opt/ComfyUI"'
STAND_IN = [sys.executable, "-m", "comfy_async.testing", "--port", "{port}", "--step-seconds", "0"]
BLOCKS = blocks(GUIDES / "fleet.md")


def test_all_that_the_page_shows() -> None:
    """A page without code would pass the rest unseen."""
    text = "".join(block.code for block in BLOCKS)
    for shown in (*ADDRESSES, COMMAND, "ComfyMapper", "files="):
        assert shown in text


@pytest.mark.parametrize("block", BLOCKS, ids=str)
async def test_the_guide_runs(block: Block, tmp_path: Path) -> None:
    """Each block on two servers, or on stand-ins for what it starts."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    async with FakeComfy() as one, FakeComfy() as other:
        code = block.code.replace(COMMAND, f"argv={STAND_IN!r}").replace("/tmp/rows", str(tmp_path / "rows"))
        for address, fake in zip(ADDRESSES, (one, other), strict=True):
            code = code.replace(address, fake.url)
        await run_snippet(code, tmp_path)
        ends = [record.end for fake in (one, other) for record in fake.books.accepted]
    assert set(ends) <= {"success"}
    assert ends or "ComfyCommand" in code
