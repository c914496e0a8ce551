"""What servers after 0.33.0 say otherwise, from a run to its error: on FakeComfy 0.45.2."""

from __future__ import annotations

from typing import Literal

import pytest
from session_tools import picture

from comfy_async import AgentStatus, AssetScan, Failed, JobFailedError
from comfy_async._display.cards import error_card
from comfy_async.testing import FakeComfy


@pytest.mark.parametrize("transport", ["auto", "poll"])
async def test_a_run_that_fails_outside_of_its_nodes(transport: Literal["auto", "poll"]) -> None:
    """The error names no node and says so, whether it came by the socket or by polling."""
    async with FakeComfy(version="0.45.2") as fake, fake.session(transport=transport) as comfy:
        fake.faults.fail_runs("ModelNotPermittedError", "'flux' is not permitted")
        job = await comfy.submit(picture())
        with pytest.raises(JobFailedError) as caught:
            await job
        events = [event async for event in job]
    error = caught.value
    assert (error.node, error.exception_type) == (None, "ModelNotPermittedError")
    assert str(error).startswith("the run failed, and the server names no node: ModelNotPermittedError")
    assert "do not allow the model" in str(error)
    assert isinstance(events[-1], Failed)
    assert "the run" in error_card(error).partition("ModelNotPermittedError")[0]


async def test_the_agent_and_the_scan() -> None:
    """They come to everybody, and belong to no job."""
    seen: list[object] = []
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        events = comfy.events()
        job = await comfy.submit(picture())
        await job
        await comfy.assets.scan()
        async for event in events:
            if isinstance(event, AgentStatus):
                seen.append(event.state)
            if isinstance(event, AssetScan):
                seen.append(event.stage)
                break
        told = [type(event) async for event in job]
    assert seen == ["ready", "completed"]
    assert not {AgentStatus, AssetScan} & set(told)
