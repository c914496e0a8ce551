"""A picture that carries two workflows runs the one that the editor opens, also when it was changed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from session_tools import served

from comfy_async import Workflow

APART = Path(__file__).parents[2] / "tests/data/cases/27_prompt_differs_from_workflow.png"


async def test_the_drawn_workflow_runs(caplog: pytest.LogCaptureFixture) -> None:
    """The prompt in the file has another colour; what goes along in the new picture is what ran."""
    async with served() as (_, comfy):
        with caplog.at_level(logging.WARNING, logger="comfy_async"):
            job = await comfy.submit(Workflow.load(APART))
            await job
            again = await comfy.submit(Workflow.load(APART).with_inputs({"1.width": 128}))
            await again
    assert job.workflow is not None
    assert again.workflow is not None
    assert (job.workflow.get("1", "color"), job.workflow.carries_both) == (255, False)
    assert (again.workflow.get("1", "color"), again.workflow.get("1", "width")) == (255, 128)
    assert again.workflow.editor is not None
    assert sum("prefer='prompt'" in record.getMessage() for record in caplog.records) == 2


async def test_the_prompt_runs_on_request() -> None:
    """And the other workflow is not sent along."""
    async with served() as (_, comfy):
        job = await comfy.submit(Workflow.load(APART, prefer="prompt"))
        await job
    assert job.workflow is not None
    assert job.workflow.get("1", "color") == 7
    assert job.workflow.editor is None
