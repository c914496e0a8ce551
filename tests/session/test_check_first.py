"""`comfy.check` and `submit(check=True)`: what is missing is said before anything is queued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_async import ComfySession, PromptRejectedError, Workflow
from comfy_async.testing import FakeComfy

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "workflows"


def damaged() -> dict[str, Any]:
    """Return the SD1.5 workflow with an unknown sampler and an unknown model."""
    graph: dict[str, Any] = json.loads((EXAMPLES / "sd15_text2image_api.json").read_text("utf-8"))
    graph["3"]["inputs"]["sampler_name"] = "eulr"
    graph["4"]["inputs"]["ckpt_name"] = "v1-5-pruned-emaonly.safetensors"
    return graph


async def test_a_sound_workflow_has_no_problem(fake: FakeComfy, comfy: ComfySession) -> None:
    """Both formats are checked, the editor's after its conversion."""
    for name in ("sd15_text2image_api.json", "sd15_text2image_ui.json"):
        assert await comfy.check(EXAMPLES / name) == []
    await comfy.submit(EXAMPLES / "sd15_text2image_ui.json", check=True)


async def test_every_problem_has_its_place_and_advice(fake: FakeComfy, comfy: ComfySession) -> None:
    """Node, input, value and the nearest valid values, as the server would say it."""
    found = {(problem.node, problem.input): problem for problem in await comfy.check(damaged())}
    assert found["3", "sampler_name"].nearest[0] == "euler"
    assert found["4", "ckpt_name"].type == "value_not_in_list"
    with pytest.raises(PromptRejectedError) as caught:
        await comfy.submit(damaged())
    told = {(problem.node, problem.input, problem.type) for problem in caught.value.problems}
    assert told == {(p.node, p.input, p.type) for p in found.values()}


async def test_submit_checks_first_when_asked(fake: FakeComfy, comfy: ComfySession) -> None:
    """Nothing is posted."""
    with pytest.raises(PromptRejectedError, match="nothing was sent"):
        await comfy.submit(Workflow.load(damaged()), check=True)
    assert fake.books.count("POST", "/prompt") == 0


async def test_what_came_after_the_catalog_was_read(fake: FakeComfy, comfy: ComfySession) -> None:
    """An upload, by this session or another: the lists are read again before anything is refused (B1)."""
    await comfy.nodes.catalog()
    async with fake.session() as other:
        late = await other.files.upload(b"\x89PNG late", name="late.png")
    flow: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": late.name}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    assert (await comfy.check(flow)).ok
    flow["1"]["inputs"]["image"] = "never.png"
    found = await comfy.check(flow)
    assert not found.ok
    assert found[0].input == "image"


async def test_files_that_no_list_tells_of(fake: FakeComfy, comfy: ComfySession) -> None:
    """The server is asked for each: what is there is fine, what is not is refused (B4)."""
    kept = await comfy.files.upload(b"\x89PNG there", name="there.png", subfolder="deep")
    flow: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": f"{kept.subfolder}/{kept.name}"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    assert await comfy.check(flow) == []
    flow["1"]["inputs"]["image"] = "deep/absent.png"
    (problem,) = await comfy.check(flow)
    assert problem.severity == "error"
    assert "does not have the file" in problem.message
