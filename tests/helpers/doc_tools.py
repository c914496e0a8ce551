"""How the code in the documentation is found and run: README.md and the guides alike."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import comfy_async
from comfy_async import ComfySession, Workflow
from comfy_async.testing import FakeComfy

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "examples" / "guides"
SERVER = "http://127.0.0.1:8188"
SECOND = "http://127.0.0.1:8189"
PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "ComfyUI"}},
}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)

Kind: TypeAlias = Literal["program", "test", "snippet"]


@dataclasses.dataclass(frozen=True)
class Block:
    """One block of Python in a page."""

    page: str
    line: int
    code: str

    @property
    def kind(self) -> Kind:
        """A program starts a loop or a `main` of its own, a test is one, all else is a snippet."""
        if "asyncio.run(" in self.code or "__main__" in self.code:
            return "program"
        return "test" if "async def test_" in self.code else "snippet"

    def __str__(self) -> str:
        """Return where it stands."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(page.name, text.count("\n", 0, found.start()) + 1, found[1])
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


def furnish(folder: Path) -> None:
    """Put into a folder what the pages take for granted: the examples, a picture, a workflow."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "face.png").write_bytes(PNG)
    (folder / "portrait.json").write_text(json.dumps(PICTURE), "utf-8")


async def run_program(block: Block, folder: Path) -> str:
    """Run a whole program in a process of its own, on a server where the page says; return what it prints."""
    furnish(folder)
    async with FakeComfy() as fake:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", block.code.replace(SERVER, fake.url), cwd=folder, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Give a piece of code, in a folder, `comfy`, `flow`, `fake` and every public name."""
    furnish(folder)
    async with FakeComfy() as fake, ComfySession(fake.url) as comfy:
        await comfy.run(PICTURE)
        flow = Workflow.load(ROOT / "examples/workflows/sd15_text2image_api.json")
        names: dict[str, Any] = {name: getattr(comfy_async, name) for name in comfy_async.__all__}
        with contextlib.chdir(folder):
            yield names | {"asyncio": asyncio, "fake": fake, "comfy": comfy, "flow": flow}


async def app_of(names: dict[str, Any]) -> Any:
    """Return the app that the pages speak of, on a stage."""
    inputs = {"prompt": "6.text", "seed": "3.seed", "steps": "3.steps"}
    return await names["comfy"].app(names["flow"], inputs=inputs, outputs={"picture": "9"})


async def run_snippet(code: str, folder: Path) -> None:
    """Run code on a stage, inside a coroutine."""
    async with stage(folder) as names, contextlib.AsyncExitStack() as servers:
        if re.search(r"\bapp\b", code):
            names["app"] = await app_of(names)
        if SECOND in code:
            second = await servers.enter_async_context(FakeComfy())
            code = code.replace(SECOND, second.url)
        code = code.replace(SERVER, names["comfy"].base_url)
        body = textwrap.indent(code, "    ")
        exec(f"async def snippet(comfy, flow):\n{body}", names)
        await names["snippet"](names["comfy"], names["flow"])


async def run_test(block: Block) -> None:
    """Run the tests that a block defines."""
    names: dict[str, Any] = {}
    exec(block.code, names)
    with contextlib.chdir(ROOT):
        for name, function in names.items():
            if name.startswith("test_"):
                await function()
