"""The guides are true: their Python runs, and what they list is what the library has.

`python tests/test_guides.py` writes the generated parts anew.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from doc_tools import GUIDES, Block, blocks, run_program, run_snippet, run_test

from comfy_async._resources.routes import ROUTES

EARLY = "2024 or before"
BLOCKS = [block for page in sorted(GUIDES.glob("*.md")) for block in blocks(page)]
PROGRAMS = [block for block in BLOCKS if block.kind == "program"]
TESTS = [block for block in BLOCKS if block.kind == "test"]
SNIPPETS = [block for block in BLOCKS if block.kind == "snippet"]


def between(page: str, mark: str) -> str:
    """Return the generated part of a page that stands between two comments."""
    found = re.search(
        rf"<!-- {mark} -->\n(.*?)\n<!-- /{mark} -->", (GUIDES / page).read_text("utf-8"), re.DOTALL
    )
    assert found, f"{page} has no part {mark}"
    return found[1]


def route_table() -> str:
    """Return the table of routes as routes.md shows it."""
    rows = ["| route | from here | since | Comfy Cloud |", "|---|---|---|---|"]
    rows += [
        f"| `{route.method} {route.path}` | `{route.verb}` | {route.since or EARLY} | {route.cloud} |"
        for route in ROUTES
    ]
    return "\n".join(rows)


def test_the_table_of_routes() -> None:
    """It is the library's own list."""
    assert between("routes.md", "routes") == route_table()


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
async def test_guide_programs_run(block: Block, tmp_path: Path) -> None:
    """A whole program runs in a process of its own, and leaves a picture in `out`."""
    await run_program(block, tmp_path)
    assert list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
async def test_guide_snippets_run(block: Block, tmp_path: Path) -> None:
    """A snippet runs inside a coroutine that has `comfy`, `flow` and `fake`."""
    await run_snippet(block.code, tmp_path)


@pytest.mark.parametrize("block", TESTS, ids=str)
async def test_guide_tests_pass(block: Block) -> None:
    """The tests that users are shown pass."""
    await run_test(block)


def write(page: str, mark: str, content: str) -> None:
    """Put a generated part in its place."""
    path = GUIDES / page
    part = f"<!-- {mark} -->\n{content}\n<!-- /{mark} -->"
    text = path.read_text("utf-8")
    path.write_text(
        re.sub(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _: part, text, flags=re.DOTALL), "utf-8"
    )


if __name__ == "__main__":
    write("routes.md", "routes", route_table())
    sys.exit()
