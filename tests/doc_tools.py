"""What runs the Python of the docs: the README, the guides, the examples of docstrings."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import json
import linecache
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import comfy_async
from comfy_async import ComfySession, Workflow
from comfy_async.testing import FakeComfy

ROOT = Path(__file__).resolve().parent.parent
FLOW = "examples/workflows/sd15_text2image_api.json"
PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "ComfyUI"}},
}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)


def python_blocks(text: str) -> list[str]:
    """Return the ```python blocks of a page of markdown."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def is_program(block: str) -> bool:
    """Say whether a block is a whole program, which starts its own loop."""
    return "asyncio.run(" in block


def is_test(block: str) -> bool:
    """Say whether a block holds tests, which users are shown."""
    return "async def test_" in block


def furnish(folder: Path) -> None:
    """Put into a folder the files that the docs speak of."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "face.png").write_bytes(PNG)
    (folder / "portrait.json").write_text(json.dumps(PICTURE), "utf-8")


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Yield the names that a snippet has: `fake`, `comfy`, `flow` and every public name.

    The working directory is the caller's to change; the fake has made one picture already.
    """
    furnish(folder)
    async with FakeComfy() as fake, ComfySession(fake.url) as comfy:
        await comfy.run(PICTURE)
        flow = Workflow.load(ROOT / FLOW)
        public = {name: getattr(comfy_async, name) for name in comfy_async.__all__}
        yield public | {"asyncio": asyncio, "fake": fake, "comfy": comfy, "flow": flow}


async def run_code(code: str, names: dict[str, Any], *, mode: str = "exec", where: str = "<docs>") -> None:
    """Run a piece of code, which may await at its top level.

    Raises:
        Exception: Whatever the code raises, with its lines in the traceback.
    """
    linecache.cache[where] = (len(code), None, code.splitlines(keepends=True), where)
    compiled = compile(code, where, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    outcome = eval(compiled, names)
    if inspect.iscoroutine(outcome):
        await outcome


async def run_prompts(text: str, names: dict[str, Any], *, where: str = "<docs>") -> None:
    """Run `>>>` lines, and hold what they print against the lines below them, where there are any.

    Raises:
        AssertionError: Something else was printed.
        Exception: Whatever the code raises.
    """
    checker = doctest.OutputChecker()
    for number, example in enumerate(doctest.DocTestParser().get_examples(text)):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            await run_code(example.source, names, mode="single", where=f"{where[:-1]} {number}>")
        got = printed.getvalue()
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        if example.want and not checker.check_output(example.want, got, flags):
            raise AssertionError(f"{where}: {example.source}expected:\n{example.want}printed:\n{got}")


async def run_program(block: str, folder: Path) -> str:
    """Run a whole program in a process of its own, on a fake where it says; return what it printed."""
    async with FakeComfy() as fake:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            block.replace("http://127.0.0.1:8188", fake.url),
            cwd=folder,
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def run_tests(block: str) -> None:
    """Run the tests that a block defines."""
    names: dict[str, Any] = {}
    await run_code(block, names)
    for name, function in list(names.items()):
        if name.startswith("test_"):
            await function()
