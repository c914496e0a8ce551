"""The README's Python is run, so that it stays true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_tools import GUIDES, ROOT, Block, blocks, run_program, run_snippet, run_test

from comfy_async import PromptRejectedError, Workflow, errors
from comfy_async.testing import FakeComfy

README = (ROOT / "README.md").read_text("utf-8")
ERRORS = (GUIDES / "errors.md").read_text("utf-8")
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


def test_it_is_short() -> None:
    """It is a door and not the house; and no example is longer than eight lines, but the one program."""
    assert len(README.splitlines()) <= 180
    for block in (*TESTS, *SNIPPETS):
        assert len([line for line in block.code.splitlines() if line.strip()]) <= 8, block


def test_the_table_of_errors() -> None:
    """Each that it names is one."""
    table = re.findall(r"^\| (`\w+Error`.*?) \|", README, re.MULTILINE)
    assert len(table) >= 5
    assert {name for row in table for name in re.findall(r"\w+Error", row)} <= set(errors.__all__)


def test_the_tree_of_errors() -> None:
    """The guide's has every error."""
    tree = ERRORS.partition("```text\nComfyError")[2].partition("\n```")[0]
    assert {"ComfyError", *re.findall(r"\w+Error", tree)} == set(errors.__all__)


async def test_the_error_that_is_shown() -> None:
    """A refused prompt reads as the guide shows it."""
    flow = Workflow.load(ROOT / "examples/workflows/sd15_text2image_api.json")
    async with FakeComfy() as fake, fake.session() as comfy:
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.run(flow.with_inputs({"3.sampler_name": "eulr"}))
        text = f"PromptRejectedError: {caught.value}".replace(fake.url, "http://127.0.0.1:8188")
    assert text in ERRORS


def test_every_guide_is_linked() -> None:
    """The README is the one index of the guides."""
    linked = set(re.findall(r"\(examples/guides/(\w+\.md)", README))
    assert linked == {page.name for page in GUIDES.glob("*.md")}
