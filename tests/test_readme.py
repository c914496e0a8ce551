"""The README's Python is run, so that it stays true."""

from __future__ import annotations

import re
from pathlib import Path

import doc_tools
import pytest

from comfy_async._resources.routes import ROUTES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
EARLY = "2024 or before"
BLOCKS = doc_tools.python_blocks(README)
PROGRAMS = [block for block in BLOCKS if doc_tools.is_program(block)]
TESTS = [block for block in BLOCKS if doc_tools.is_test(block)]
SNIPPETS = [block for block in BLOCKS if block not in PROGRAMS and block not in TESTS]


def route_table() -> str:
    """Return the table of routes as the README shows it."""
    rows = ["| route | from here | since | Comfy Cloud |", "|---|---|---|---|"]
    rows += [
        f"| `{route.method} {route.path}` | `{route.verb}` | {route.since or EARLY} | {route.cloud} |"
        for route in ROUTES
    ]
    return "\n".join(rows)


def test_the_table_of_routes() -> None:
    """It is the library's own list; `python tests/test_readme.py` writes it anew."""
    assert f"<!-- routes -->\n{route_table()}\n<!-- /routes -->" in README


def test_every_kind_of_block_is_there() -> None:
    """A README without code would pass the rest unseen."""
    assert PROGRAMS
    assert TESTS
    assert SNIPPETS


@pytest.mark.parametrize("block", PROGRAMS)
async def test_programs_run(block: str, tmp_path: Path) -> None:
    """A whole program runs in a process of its own, on a server where the README says."""
    doc_tools.furnish(tmp_path)
    output = await doc_tools.run_program(block, tmp_path)
    assert "out/ComfyUI_00001_.png" in output
    assert (tmp_path / "out" / "ComfyUI_00001_.png").exists()


@pytest.mark.parametrize("block", SNIPPETS)
async def test_snippets_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snippet runs where `comfy` and `flow` are there, and await is."""
    monkeypatch.chdir(tmp_path)
    async with doc_tools.stage(tmp_path) as names:
        await doc_tools.run_code(block, names)


@pytest.mark.parametrize("block", TESTS)
async def test_tests_pass(block: str) -> None:
    """The test that users are shown passes."""
    await doc_tools.run_tests(block)


if __name__ == "__main__":
    table = f"<!-- routes -->\n{route_table()}\n<!-- /routes -->"
    text = re.sub(r"<!-- routes -->.*?<!-- /routes -->", lambda _: table, README, flags=re.DOTALL)
    (ROOT / "README.md").write_text(text, "utf-8")
