"""What servers after 0.33.0 say otherwise, from a run to its error: on FakeComfy 0.45.2."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from session_tools import picture

from comfy_async import AgentStatus, AssetScan, Failed, JobFailedError, PromptRejectedError, Workflow
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


async def test_a_job_with_a_text() -> None:
    """What it shows is there without its outputs, and a long one says that it goes on."""
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        for text in ("a fox", "x" * 5000):
            await comfy.run({"1": {"class_type": "PreviewAny", "inputs": {"source": text}}})
            await fake.idle()
        (long, short), *_ = [page async for page in comfy.jobs.page(status="completed")]
        pictured = await comfy.run(picture())
        await fake.idle()
        other = await comfy.jobs.get(pictured.prompt_id)
    assert short.preview_text == "a fox"
    assert long.preview_text is not None
    assert (long.preview_text[0], long.preview_text[-1]) == ("x", "…")
    assert other.preview_text is None


async def test_a_job_that_waits() -> None:
    """Its graph is there before it has ended."""
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        fake.hold()
        job = await comfy.submit(picture())
        record = await comfy.jobs.get(job.prompt_id)
        fake.release()
        await job
    assert (record.status, record.done) == ("pending", False)
    assert record.workflow is not None
    assert record.workflow["prompt"] == picture()


async def test_why_the_cloud_lets_a_job_wait(cli: Any) -> None:
    """Place and reason are fields of the job, and the command line tells the reason."""
    async with FakeComfy(version="0.45.2", mode="cloud") as fake, fake.session() as comfy:
        fake.hold()
        jobs = [await comfy.submit(picture(color)) for color in (1, 2)]
        records = [await comfy.jobs.get(job.prompt_id) for job in jobs]
        args = ("--cloud", "--dialect", "cloud-v1", "--server", fake.url, "--api-key", fake.api_key)
        plain, lines = await cli("queue", *args), await cli("queue", "--json", *args)
        fake.release()
        for job in jobs:
            await job
    assert [(record.queue_position, record.queue_reason) for record in records] == [
        (0, "concurrency_limit"),
        (1, "concurrency_limit"),
    ]
    assert (records[0].executor, records[0].deployment, records[0].workflow_version_id) == (None, None, None)
    assert plain.out.count("pending (concurrency_limit)") == 2
    assert {item["reason"] for item in lines.objects} == {"concurrency_limit"}


async def test_the_history_on_the_command_line(cli: Any) -> None:
    """A job that shows a text is told by it."""
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        await comfy.run({"1": {"class_type": "PreviewAny", "inputs": {"source": "a fox"}}})
        await fake.idle()
        plain = await cli("history", "--server", fake.url)
        (line,) = (await cli("history", "--json", "--server", fake.url)).objects
    assert plain.out.rstrip().endswith("a fox")
    assert line["text"] == "a fox"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["main.py", "--cpu"], ""),
        (["main.py", "--disable-partner-nodes"], "--disable-partner-nodes"),
        (["main.py", "--disabled-nodes-config=off.json", "--offline"], "--disabled-nodes-config, --offline"),
    ],
)
async def test_a_class_that_is_switched_off(argv: list[str], told: str) -> None:
    """It is absent from the lists like one that was never there; how the server was started tells more."""
    graph = picture()
    graph["2"]["class_type"] = "KlingImage"
    stats = {"system": {"argv": argv, "comfyui_version": "0.45.2"}, "devices": []}
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        fake.faults.fail("GET", "/system_stats", 200, json=stats)
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
    (problem,) = caught.value.problems
    assert problem.advice.startswith("Install the node pack")
    assert (f"started with {told}." in problem.advice) if told else ("switched off" not in problem.advice)


async def test_a_refusal_whose_server_says_no_more() -> None:
    """Advice is not worth an error."""
    graph = picture()
    graph["2"]["class_type"] = "KlingImage"
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        fake.faults.fail("GET", "/system_stats", 404)
        with pytest.raises(PromptRejectedError, match="KlingImage"):
            await comfy.submit(graph)


def test_prompts_keep_the_identity_of_packs(tmp_path: Path) -> None:
    """`_meta` with title, registry id and version stays through loading, edits, saving; titles are found."""
    graph = picture()
    graph["2"]["_meta"] = {"title": "Keep it", "cnr_id": "a-pack", "aux_id": "me/a-pack", "ver": "1.2.0"}
    path = tmp_path / "prompt.json"
    Workflow.load(graph).with_inputs({"Keep it.filename_prefix": "x"}).save(path)
    again = Workflow.load(path).set("Keep it", "filename_prefix", "y").bypass("1")
    assert Workflow.load(path).to_api()["2"]["_meta"] == graph["2"]["_meta"]
    assert again.nodes["2"].title == "Keep it"
    assert again.to_api()["2"]["_meta"] == graph["2"]["_meta"]


async def test_the_identity_of_packs_is_sent() -> None:
    """As it was loaded."""
    graph = picture()
    graph["2"]["_meta"] = {"title": "Keep it", "cnr_id": "a-pack", "aux_id": "me/a-pack", "ver": "1.2.0"}
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        fake.hold()
        job = await comfy.submit(graph)
        (sent,) = (await comfy.queue.snapshot()).pending
        fake.release()
        await job
    assert sent.prompt["2"]["_meta"] == graph["2"]["_meta"]


async def test_files_carry_their_ids(tmp_path: Path) -> None:
    """In results and in uploads, from the server itself."""
    path = tmp_path / "face.png"
    async with FakeComfy(version="0.45.2") as fake, fake.session() as comfy:
        (image,) = (await comfy.run(picture())).images
        path.write_bytes(await image.read())
        uploaded = await comfy.files.upload(path)
        assert image.id is not None
        asset = await comfy.assets.get(image.id)
    assert image.preview_id is not None
    assert asset.name == image.filename
    assert uploaded.asset is not None
    assert uploaded.asset["loader_path"] == uploaded.name
