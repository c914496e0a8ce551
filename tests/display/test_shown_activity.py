"""What a node says that it does, while it does it: in every display, on a server that tells it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from session_tools import JumpClock, eventually

from comfy_async import Job, JobProgress, ProgressState, Settings, Workflow
from comfy_async._base.secrets import Veil
from comfy_async._display.cards import job_parts
from comfy_async._display.console import Display
from comfy_async.cli._report import Report
from comfy_async.testing import FakeComfy

FLOW = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"


@pytest.fixture
async def loading() -> AsyncIterator[Job]:
    """A job whose checkpoint has been loading for twelve seconds."""
    clock = JumpClock()
    async with FakeComfy(version="0.45.2") as fake, fake.session(settings=Settings(clock=clock)) as comfy:
        with fake.gate("CheckpointLoaderSimple") as gate:
            job = await comfy.submit(Workflow.load(FLOW))
            await gate.reached()
            await eventually(lambda: job.progress.activity)
            clock.jump(12.0)
            yield job
            gate.open()
            await job
            assert (job.progress.activity, job.progress.activity_seconds) == ("", 0.0)


async def test_a_line_to_print(loading: Job) -> None:
    """The word, the node, the time."""
    assert loading.progress.activity == "loading"
    assert str(loading.progress).split(", ")[1:3] == ["loading Load Checkpoint", "12 s"]


async def test_a_card(loading: Job) -> None:
    """Before the node's id."""
    (line,) = [part for part in job_parts(loading, veil=Veil([])) if "Load Checkpoint" in part]
    assert "loading, 12 s · node 4" in line


async def test_the_live_lines_of_a_terminal(loading: Job) -> None:
    """Before the title, with the time where steps stand otherwise."""
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=80, color_system=None)) as display:
        display.update(loading)
        display.draw(force=True)
    assert "loading Load Checkpoint [4]  12 s" in out.getvalue()


async def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """In the line of the node that begins."""
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        job = await comfy.submit(Workflow.load(FLOW))
        await job.show()
    assert "%  loading Load Checkpoint [4]\n" in capsys.readouterr().out


def as_of(then: JobProgress) -> Any:
    """A replay that says so of every event."""
    return SimpleNamespace(take=lambda _event: then)


def test_an_activity_is_told_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """A node that loads for minutes makes no steps, and is not silent; nor is it told with every frame."""
    job: Any = SimpleNamespace(prompt_id="p")
    then = JobProgress(title="Load Checkpoint", node="4", activity="loading", activity_seconds=40.0)
    report = Report()
    for _ in range(3):
        report.event(ProgressState(), job, as_of(then))
        report.event(ProgressState(), job, as_of(JobProgress()))
    assert capsys.readouterr().err == "0 %, loading Load Checkpoint, 40 s\n"


async def test_the_command_line(cli: Any) -> None:
    """Lines for people, and a field for scripts."""
    async with FakeComfy(version="0.45.2") as fake:
        told = await cli("run", FLOW, "--server", fake.url)
    async with FakeComfy(version="0.45.2") as fake:
        data = await cli("run", FLOW, "--server", fake.url, "--json")
    assert "%  loading Load Checkpoint [4]" in told.err
    said = {item["node"]: item["activity"] for item in data.of("node_started")}
    assert said == {node: "loading" if node in ("4", "10") else "" for node in said}
    assert all("activity" in item for item in data.of("progress"))
