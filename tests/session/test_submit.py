"""From a workflow to a queued job: what is sent, in which form, to servers of every age."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from session_tools import (
    HeldAnswers,
    collect,
    first,
    lives,
    picture,
    seeded,
    served,
    steps,
    turns,
    two_outputs,
)

from comfy_async import (
    ComfySession,
    JobCancelledError,
    Queued,
    Settings,
    Started,
    UnsupportedError,
    Workflow,
    WorkflowError,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy


def queued(fake: FakeComfy) -> dict[str, Any]:
    """Return the `extra_data` of the one job in the queue."""
    (item,) = [*fake.core.queue.running, *fake.core.queue.pending]
    return item.extra_data


class TestForms:
    """Whatever a workflow comes as."""

    async def test_every_form(self, comfy: ComfySession, tmp_path: Path) -> None:
        """A dict, a Workflow, a path as Path and as text, JSON as text and as bytes."""
        graph = picture()
        path = tmp_path / "portrait.json"
        path.write_text(json.dumps(graph))
        forms: list[Any] = [
            graph,
            Workflow.load(graph),
            path,
            str(path),
            json.dumps(graph),
            json.dumps(graph).encode(),
        ]
        for form in forms:
            assert (await comfy.run(form)).images

    @pytest.mark.parametrize("form", ["{not json", {}, {"1": 5}, b"\xff\xfe", "[1, 2]"])
    async def test_no_workflow(self, fake: FakeComfy, comfy: ComfySession, form: Any) -> None:
        """A WorkflowError, and nothing is sent."""
        with pytest.raises(WorkflowError):
            await comfy.submit(form)
        assert fake.books.requests[("POST", "/prompt")] == 0
        assert fake.books.sockets_opened == 0

    async def test_no_file(self, comfy: ComfySession, tmp_path: Path) -> None:
        """A path where no file is says so."""
        with pytest.raises((FileNotFoundError, WorkflowError), match="nowhere"):
            await comfy.run(tmp_path / "nowhere.json")


class TestBody:
    """What the server gets."""

    async def test_who_and_what(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Our client_id, an id of our making, the graph as it is."""
        graph = picture()
        with fake.gate("EmptyImage") as gate:
            job = await comfy.submit(graph, previews="default")
            await gate.reached()
            (record,) = fake.books.accepted
            assert (record.prompt_id, record.client_id) == (job.prompt_id, comfy.client_id)
            assert fake.core.queue.running[0].prompt == graph
            assert "preview_method" not in queued(fake)
        await job

    @pytest.mark.parametrize(
        ("session", "job", "sent"),
        [
            ("auto", None, "auto"),
            ("taesd", None, "taesd"),
            ("none", None, "none"),
            ("default", None, None),
            ("none", "latent2rgb", "latent2rgb"),
            ("latent2rgb", "none", "none"),
        ],
    )
    async def test_previews(self, fake: FakeComfy, session: Any, job: Any, sent: str | None) -> None:
        """The job's word beats the session's; "default" sends nothing."""
        fake.hold()
        async with fake.session(previews=session) as comfy:
            await comfy.submit(picture(), previews=job)
            assert queued(fake).get("preview_method") == sent

    async def test_run_asks_for_no_previews(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Nobody would see them."""
        with fake.gate("EmptyImage") as gate:
            running = asyncio.create_task(comfy.run(picture()))
            await gate.reached()
            assert queued(fake)["preview_method"] == "none"
        await running

    async def test_a_server_without_preview_methods(self) -> None:
        """What it does not know is not sent."""
        async with served(version="0.3.60") as (fake, comfy):
            fake.hold()
            await comfy.submit(picture())
            assert "preview_method" not in queued(fake)

    async def test_extra_data(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Yours goes along and stays yours."""
        mine = {"mine": {"a": 1}, "preview_method": "taesd"}
        fake.hold()
        await comfy.submit(picture(), extra_data=mine)
        sent = queued(fake)
        assert sent["mine"] == {"a": 1}
        assert sent["preview_method"] == "taesd"
        assert mine == {"mine": {"a": 1}, "preview_method": "taesd"}

    async def test_partner_keys(self, fake: FakeComfy) -> None:
        """The job's key beats the session's; the server takes it out of what it shows."""
        fake.hold()
        async with fake.session(partner_api_key="session-key") as comfy:
            await comfy.submit(picture())
            await comfy.submit(picture(), partner_api_key="job-key")
        keys = [item.sensitive.get("api_key_comfy_org") for item in fake.core.queue.pending]
        assert sorted(map(str, keys)) == ["job-key", "session-key"]
        assert "-key" not in repr(fake.core.queue.pending)

    async def test_order(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """`front` goes before all, `number` where it says, and beats `front`."""
        graph = steps(fake, 1)
        with fake.gate("Steps", step=None) as gate:
            running = await comfy.submit(graph)
            await gate.reached()
            jobs = {
                "usual": await comfy.submit(seeded(graph, 2)),
                "front": await comfy.submit(seeded(graph, 3), front=True),
                "number": await comfy.submit(seeded(graph, 4), number=0.5),
                "both": await comfy.submit(seeded(graph, 5), number=99, front=True),
            }
        await running
        for job in jobs.values():
            await job
        started = sorted(fake.books.runs[1:], key=lambda record: record.started_at)
        names = {job.prompt_id: name for name, job in jobs.items()}
        assert [names[record.prompt_id] for record in started] == ["front", "number", "usual", "both"]

    async def test_the_queued_event(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It carries the server's number."""
        fake.hold()
        jobs = [await comfy.submit(picture(n)) for n in range(2)]
        numbers = [(await first(job, Queued)).number for job in jobs]
        assert numbers == [0, 1]
        assert [job.status for job in jobs] == ["pending", "pending"]

    async def test_targets(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Only some outputs run, and only they count for the progress."""
        job = await comfy.submit(two_outputs(), targets=["3"])
        result = await job
        assert [file.node for file in result.images] == ["3"]
        assert fake.books.accepted[0].executed == ["1", "3"]
        assert (job.progress.done, job.progress.total) == (2, 2)

    async def test_targets_of_an_old_server(self) -> None:
        """An UnsupportedError that names the version, and nothing is sent."""
        async with served(version="0.3.45") as (fake, comfy):
            with pytest.raises(UnsupportedError, match=r"0\.3\.48") as caught:
                await comfy.submit(two_outputs(), targets=["3"])
            assert (caught.value.needs, caught.value.version) == ("0.3.48", "0.3.45")
            assert fake.books.accepted == []
            assert engine_of(comfy).jobs.by_id == {}

    async def test_editor_format(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A file of the editor is converted with the server's own classes, and goes along."""
        editor = {
            "nodes": [
                {
                    "id": 1,
                    "type": "EmptyImage",
                    "mode": 0,
                    "inputs": [],
                    "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
                    "widgets_values": [16, 16, 1, 0],
                },
                {
                    "id": 2,
                    "type": "SaveImage",
                    "mode": 0,
                    "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
                    "outputs": [],
                    "widgets_values": ["edited"],
                },
            ],
            "links": [[1, 1, 0, 2, 0, "IMAGE"]],
            "version": 0.4,
        }
        with fake.gate("EmptyImage") as gate:
            job = await comfy.submit(editor)
            await gate.reached()
            assert queued(fake)["extra_pnginfo"]["workflow"]["nodes"][0]["type"] == "EmptyImage"
        assert [file.filename for file in (await job).images] == ["edited_00001_.png"]

    async def test_the_job_keeps_what_was_submitted(self) -> None:
        """Of the job one learns its seed, and whatever its workflow came from."""
        async with served() as (fake, comfy):
            graph = Workflow.load("examples/workflows/sd15_text2image_ui.json")
            job = await comfy.submit(graph)
            assert job.workflow is not None
            assert job.workflow.to_api() == graph.to_api(await comfy.nodes.catalog())
            seeds = {}
            async with comfy.map(job.workflow.randomized(seed) for seed in range(3)) as finished:
                async for one in finished:
                    assert one.workflow is not None
                    seeds[one.index] = one.workflow.get("3", "seed")
            assert seeds == {seed: job.workflow.randomized(seed).get("3", "seed") for seed in range(3)}
            assert (await comfy.attach(job.ref)).prompt_id == job.prompt_id
            async with fake.session() as other:
                assert (await other.attach(job.ref)).workflow is None

    async def test_what_is_changed_is_in_the_picture(self) -> None:
        """An edited editor file is saved as it was run, or not at all."""
        async with served() as (fake, comfy):
            drawn = Workflow.load("examples/workflows/sd15_text2image_ui.json")
            flow = drawn.converted(await comfy.nodes.catalog())
            for edited, seeds in (
                (flow.with_inputs({"KSampler.seed": 43}), [43]),
                (flow.set("KSampler", "seed", 43).replace("6", "7"), None),
            ):
                image = (await comfy.run(edited)).images[0]
                saved = Workflow.load(await image.read())
                assert saved.to_api() == edited.to_api()
                nodes = None if saved.editor is None else saved.editor["nodes"]
                assert seeds == (
                    nodes and [node["widgets_values"][0] for node in nodes if node["type"] == "KSampler"]
                )


class TestOldServers:
    """A server that makes the ids itself."""

    async def test_many_at_once(self) -> None:
        """Each job finds its id and its own events, those too that came before the answer."""
        async with served(mode="old") as (fake, comfy):
            graph = steps(fake, 3)
            jobs = await asyncio.gather(*(comfy.submit(seeded(graph, seed)) for seed in range(8)))
            streams = await asyncio.gather(*(collect(job) for job in jobs))
            assert {job.prompt_id for job in jobs} == {record.prompt_id for record in fake.books.accepted}
            for job, events in zip(jobs, streams, strict=True):
                names = lives(events)
                assert {event.prompt_id for event in events} <= {job.prompt_id, None}
                assert names[-1] == "Completed"
                assert len(names) == len(set(names))
                assert {"Queued", "Started", "NodeStarted 1", "NodeFinished 1"} <= set(names)
                assert (await job).texts == ("shown",)

    async def test_events_before_the_answer(self) -> None:
        """What came under an unknown id is replayed, also while another answer is under way."""
        async with FakeComfy(mode="old") as fake:
            graph = steps(fake, 3)
            held = HeldAnswers("POST", "/prompt")
            async with fake.session(settings=Settings(http_transport=held)) as comfy:
                submitting = [asyncio.create_task(comfy.submit(seeded(graph, seed))) for seed in range(3)]
                await fake.wait_for(lambda books: books.ended == 3)
                await turns(50)
                held.release.set()
                for task in submitting:
                    job = await task
                    names = lives(await collect(job))
                    assert {"Started", "NodeStarted 1", "NodeFinished 1", "NodeFinished 2"} <= set(names)
                    assert len(names) == len(set(names))
                    assert names[-1] == "Completed"
                    assert (await job).texts == ("shown",)
            assert len(fake.books.accepted) == 3


async def test_a_job_that_is_deleted_by_somebody(fake: FakeComfy, comfy: ComfySession) -> None:
    """A pending job that somebody else removes does not hang."""
    graph = steps(fake, 1)
    with fake.gate("Steps"):
        running = await comfy.submit(graph)
        waiting = await comfy.submit(seeded(graph, 2))
        await first(running, Started)
        fake.core.queue.delete(waiting.prompt_id)
        with pytest.raises(Exception, match="does not know|cancelled"):
            await waiting
        assert waiting.status in ("lost", "cancelled")
        assert not isinstance(waiting.error, JobCancelledError)
    await running
