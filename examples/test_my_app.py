"""Testing your own app with the fixtures of comfy_async: no ComfyUI, no GPU, no mocks.

Needs `pip install 'comfy-async[testing]' pytest-asyncio`, and no server.

    pytest examples/test_my_app.py
"""

from __future__ import annotations

from typing import Any

import pytest

from comfy_async import ComfySession, JobFailedError, OutOfMemoryError, Workflow
from comfy_async.testing import FakeComfy

WORKFLOW: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
        "_meta": {"title": "Canvas"},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "app"}},
}


async def draw(comfy: ComfySession, *, size: int) -> tuple[int, int]:
    """The app: draws a picture, and tries a smaller one when the server runs out of memory."""
    while True:
        flow = Workflow.load(WORKFLOW).with_inputs({"Canvas.width": size, "Canvas.height": size})
        try:
            result = await comfy.run(flow)
        except OutOfMemoryError:
            size //= 2
            continue
        return (await result.images[0].image()).size


@pytest.mark.asyncio
async def test_it_draws(comfy_server: FakeComfy, comfy_session: ComfySession) -> None:
    """The fixtures: a server that really runs the graph, and a session with it."""
    assert await draw(comfy_session, size=128) == (128, 128)
    assert len(comfy_server.books.runs) == 1


@pytest.mark.asyncio
async def test_it_gets_by_with_less(comfy_server: FakeComfy, comfy_session: ComfySession) -> None:
    """A class of your own that fails as you say: here too large a picture does not fit."""

    def canvas(values: dict[str, Any]) -> list[Any]:
        if values["width"] > 32:
            raise MemoryError("torch.OutOfMemoryError: Allocation on device")
        return [None]

    comfy_server.script("EmptyImage", inputs={"width": "INT"}, outputs=["IMAGE"], returns=canvas)
    comfy_server.script("SaveImage", inputs={}, output={"text": ["small"]})
    with pytest.raises(JobFailedError):
        await comfy_session.run(Workflow.load(WORKFLOW).with_inputs({"Canvas.width": 64}))


@pytest.mark.asyncio
@pytest.mark.comfy_faults("fail", "POST", "/prompt", "reset", count=1, after_effect=True)
async def test_a_lost_answer_draws_once(comfy_server: FakeComfy, comfy_session: ComfySession) -> None:
    """The server took the prompt, and its answer was lost: nothing runs twice."""
    assert await draw(comfy_session, size=64) == (64, 64)
    assert len(comfy_server.books.accepted) == 1


@pytest.mark.asyncio
@pytest.mark.comfy_server(step_seconds=0.05)
@pytest.mark.comfy_faults("refuse_upgrades", 403)
async def test_without_a_socket(comfy_session: ComfySession) -> None:
    """A proxy that blocks WebSockets: the result is found by polling."""
    assert await draw(comfy_session, size=64) == (64, 64)
