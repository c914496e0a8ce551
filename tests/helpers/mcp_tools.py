"""What the tests of the MCP server share: a folder of workflows, and callers of both kinds."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters, types
from session_tools import picture

SD15 = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"
REPOSITORY = Path(__file__).parents[2]


def workflows(folder: Path) -> Path:
    """Make a folder of two apps, and a file that is none."""
    folder.mkdir()
    shutil.copy(SD15, folder / "portrait.json")
    (folder / "canvas.json").write_text(json.dumps(picture()))
    (folder / "notes.json").write_text("{}")
    return folder


def by_stdio(*args: object) -> StdioServerParameters:
    """Return how the official client starts the server."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "comfy_async", "mcp", *map(str, args)],
        env={"PYTHONPATH": str(REPOSITORY)},
    )


class Heard:
    """Takes down what a call tells of its progress."""

    def __init__(self) -> None:
        """Nothing so far."""
        self.values: list[float] = []
        self.lines: list[str] = []
        self._more = asyncio.Event()

    async def __call__(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Take it down."""
        assert total == 100.0
        self.values.append(progress)
        self.lines.append(message or "")
        self._more.set()

    async def at_least(self, count: int) -> None:
        """Wait until so much was told."""
        while len(self.values) < count:
            self._more.clear()
            await self._more.wait()

    @property
    def rises(self) -> bool:
        """Whether each number is larger than the one before, as the protocol wants it."""
        return all(one < other for one, other in zip(self.values, self.values[1:], strict=False))


def text_of(result: types.CallToolResult) -> str:
    """Return the texts of an answer."""
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


def kinds_of(result: types.CallToolResult) -> list[str]:
    """Return what an answer is made of."""
    return [block.type for block in result.content]


def failed(result: types.CallToolResult) -> str:
    """Return the text of an answer that is an error."""
    assert result.is_error
    return text_of(result)


def input_folder(fake: Any) -> Path:
    """Return where a FakeComfy keeps what was uploaded."""
    folder: Path | None = fake.folders.of_type("input")
    assert folder is not None
    return folder
