"""The command line under test: in this process for speed, as a child where signals matter.

A plugin of tests/conftest.py: type checkers take one module of a name, and so one conftest.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from comfy_async.testing import FakeComfy

SD15 = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"


@functools.cache
def _command_of(app: Any) -> Any:
    """Return what typer makes of an app."""
    from typer.main import get_command

    return get_command(app)


@dataclasses.dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON lines of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        """The objects of one kind."""
        return [item for item in self.objects if item["event"] == event]


class Child:
    """A `comfy-async` process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """Return the next line of stdout."""
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode()

    async def until(self, event: str) -> dict[str, Any]:
        """Read JSON lines up to the first of a kind."""
        while text := await self.line():
            found: dict[str, Any] = json.loads(text)
            if found["event"] == event:
                return found
        raise AssertionError(f"no {event}; {await self.done()}")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.kill(self.process.pid, signal.SIGINT)

    async def done(self) -> Done:
        """Wait for the end."""
        out, err = await self.process.communicate()
        return Done(self.process.returncode or 0, out.decode(), err.decode())


class Cli:
    """Runs `comfy-async`."""

    def __init__(self, fake: FakeComfy) -> None:
        self.fake = fake
        self.env = {"COMFY_LOCAL_URL": fake.url, "COMFY_BASE_URL": "", "NO_COLOR": "1", "TERM": "xterm"}
        self.children: list[Child] = []

    async def __call__(self, *args: object, input: str | None = None) -> Done:
        """Run a command to its end in a thread of this process."""
        # Not above: most tests have no need of typer.
        from typer import testing

        from comfy_async.cli._app import app

        texts = [str(arg) for arg in args]
        # The commands are made of their functions anew each time, which takes longer than most of them.
        vars(testing)["_get_command"] = _command_of
        invoke = testing.CliRunner().invoke
        done = await asyncio.to_thread(invoke, app, texts, input=input, env=self.env)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    async def start(self, *args: object) -> Child:
        """Start a command as a process of its own."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "comfy_async.cli", *map(str, args)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.env},
        )
        child = Child(process)
        self.children.append(child)
        return child

    async def aclose(self) -> None:
        """End what a failed test left."""
        for child in self.children:
            if child.process.returncode is None:
                child.process.kill()
                await child.process.communicate()


@pytest.fixture
async def cli(
    fake: FakeComfy, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cli]:
    """The command line, pointed at the fake server by the environment, in a folder of its own."""
    # Commands write to where they are: prompts that are kept, files that are fetched.
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    made = Cli(fake)
    yield made
    await made.aclose()


@pytest.fixture
def sd15() -> Path:
    """The workflow of the examples."""
    return SD15


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A workflow of two nodes that saves one picture."""
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16, "height": 8, "batch_size": 1, "color": 255},
            "_meta": {"title": "Canvas"},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "small"}},
    }
    path = tmp_path / "small.json"
    path.write_text(json.dumps(graph))
    return path
