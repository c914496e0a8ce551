"""The README's Python is run, so that it stays true."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_tools import ROOT, Block, blocks, run_program, run_snippet, run_test

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = blocks(ROOT / "README.md")
PROGRAMS = [block for block in BLOCKS if block.kind == "program"]
TESTS = [block for block in BLOCKS if block.kind == "test"]
SNIPPETS = [block for block in BLOCKS if block.kind == "snippet"]


def test_every_kind_of_block_is_there() -> None:
    """A README without code would pass the rest unseen."""
    assert PROGRAMS
    assert TESTS
    assert SNIPPETS


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
async def test_programs_run(block: Block, tmp_path: Path) -> None:
    """A whole program runs in a process of its own, on a server where the README says."""
    assert "out/ComfyUI_00001_.png" in await run_program(block, tmp_path)
    assert (tmp_path / "out" / "ComfyUI_00001_.png").exists()


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
async def test_snippets_run(block: Block, tmp_path: Path) -> None:
    """A snippet runs inside a coroutine that has `comfy` and `flow`."""
    await run_snippet(block.code, tmp_path)


@pytest.mark.parametrize("block", TESTS, ids=str)
async def test_tests_pass(block: Block) -> None:
    """The test that users are shown passes."""
    await run_test(block)
