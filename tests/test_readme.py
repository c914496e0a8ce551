"""The README's Python is run, so that it stays true."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import comfy_async
from comfy_async import ComfySession, Workflow
from comfy_async._resources.routes import ROUTES
from comfy_async.testing import FakeComfy

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
EARLY = "2024 or before"
PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "ComfyUI"}},
}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PROGRAMS = [block for block in BLOCKS if "asyncio.run(" in block]
TESTS = [block for block in BLOCKS if "async def test_" in block]
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
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    async with FakeComfy() as fake:
        text = block.replace("http://127.0.0.1:8188", fake.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", text, cwd=tmp_path, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    assert "out/ComfyUI_00001_.png" in output.decode()
    assert (tmp_path / "out" / "ComfyUI_00001_.png").exists()


@pytest.mark.parametrize("block", SNIPPETS)
async def test_snippets_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snippet runs inside a coroutine that has `comfy` and `flow`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "face.png").write_bytes(PNG)
    async with FakeComfy() as fake, ComfySession(fake.url) as comfy:
        await comfy.run(PICTURE)
        flow = Workflow.load(ROOT / "examples/workflows/sd15_text2image_api.json")
        names = {name: getattr(comfy_async, name) for name in comfy_async.__all__} | {"asyncio": asyncio}
        body = textwrap.indent(block, "    ")
        exec(f"async def snippet(comfy, flow):\n{body}", names)
        await names["snippet"](comfy, flow)


@pytest.mark.parametrize("block", TESTS)
async def test_tests_pass(block: str) -> None:
    """The test that users are shown passes."""
    names: dict[str, object] = {}
    exec(block, names)
    for name, function in names.items():
        if name.startswith("test_"):
            await function()  # type: ignore[operator]


if __name__ == "__main__":
    table = f"<!-- routes -->\n{route_table()}\n<!-- /routes -->"
    text = re.sub(r"<!-- routes -->.*?<!-- /routes -->", lambda _: table, README, flags=re.DOTALL)
    (ROOT / "README.md").write_text(text, "utf-8")
