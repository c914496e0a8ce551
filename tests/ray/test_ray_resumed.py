"""A fleet's results file: what is known again, what is not, and what is saved twice."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from session_tools import graph, picture, teach

from comfy_async import Workflow
from comfy_async.ray import ComfyFleet

pytestmark = pytest.mark.usefixtures("cluster")


def folders(root: Path) -> list[str]:
    """Name the folder of each picture."""
    return sorted(path.parent.name for path in root.rglob("*.png"))


async def test_seeds_drawn_anew_are_told(
    fakes: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning is that of a session's map; the same draws give none."""
    (fake,) = await fakes(1)
    teach(fake)
    path = tmp_path / "run.jsonl"
    flow = Workflow.load(graph())
    same = [flow.randomized(n) for n in range(2)]
    async with ComfyFleet(fake.url) as fleet:
        for flows in (same, same, [flow.randomized(9)]):
            assert not caplog.records
            async with fleet.map(flows, results=path) as finished:
                assert [job.status async for job in finished] == ["completed"] * len(flows)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["randomized(n)" in record.getMessage() for record in told] == [True]
    assert fake.books.started == 3


async def test_a_resumed_loop_saves_no_copies(fakes: Any, tmp_path: Path) -> None:
    """The loop of the guide, run twice, leaves one file for each job."""
    (fake,) = await fakes(1)
    flows = [picture(n) for n in range(2)]
    async with ComfyFleet(fake.url) as fleet:
        for _ in range(2):
            async with fleet.map(flows, results=tmp_path / "run.jsonl") as finished:
                async for job in finished:
                    await (await job).save(tmp_path / "out" / f"{job.index:03d}")
    assert folders(tmp_path / "out") == ["000", "001"]
