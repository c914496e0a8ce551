"""From a workflow to a queued job: what is sent, what is refused and why."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from session_tools import HeldAnswers, collect, first, lives, picture, seeded, served, steps, turns

from comfy_async import (
    ComfySession,
    JobCancelledError,
    NotComfyUIError,
    PartialPromptError,
    PromptRejectedError,
    Queued,
    ResponseError,
    Settings,
    Started,
    UnsupportedError,
    Workflow,
    WorkflowError,
)
from comfy_async.testing import FakeComfy


def queued(fake: FakeComfy) -> dict[str, Any]:
    """Return the `extra_data` of the one job in the queue."""
    (item,) = [*fake.core.queue.running, *fake.core.queue.pending]
    return item.extra_data


def two_outputs() -> dict[str, Any]:
    """Return a graph with two outputs."""
    graph = picture()
    graph["3"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "other"},
        "_meta": {"title": "The other"},
    }
    return graph


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
            await comfy.submit(picture(), previews="latent2rgb")
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
            with pytest.raises(UnsupportedError, match=r"0\.3\.47") as caught:
                await comfy.submit(two_outputs(), targets=["3"])
            assert (caught.value.needs, caught.value.version) == ("0.3.47", "0.3.45")
            assert fake.books.accepted == []
            assert comfy._jobs == {}

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


SAMPLER = {
    "seed": 1,
    "steps": 0,
    "cfg": 8,
    "sampler_name": "eulr",
    "scheduler": "normal",
    "denoise": 1,
    "model": ["4", 0],
    "positive": ["6", 0],
    "negative": ["6", 0],
}


def invalid() -> dict[str, Any]:
    """Return a graph with a bad choice, a number out of bounds and a missing input."""
    return {
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": SAMPLER, "_meta": {"title": "Base sampler"}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
    }


class TestRejected:
    """The server refuses, and the error says what to change."""

    async def test_problems(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Each with node, title, class, input, received value and nearest valid values."""
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(invalid())
        error = caught.value
        assert type(error) is PromptRejectedError
        assert (error.type, error.server) == ("prompt_outputs_failed_validation", comfy.base_url)
        found = {(problem.node, problem.input): problem for problem in error.problems}
        sampler = found["3", "sampler_name"]
        assert (sampler.title, sampler.class_type, sampler.type) == (
            "Base sampler",
            "KSampler",
            "value_not_in_list",
        )
        assert (sampler.received, sampler.nearest[0]) == ("eulr", "euler")
        assert found["3", "steps"].type == "value_smaller_than_min"
        assert found["3", "steps"].received == 0
        assert found["3", "latent_image"].type == "required_input_missing"
        model = found["4", "ckpt_name"]
        assert model.nearest[0] == "v1-5-pruned-emaonly-fp16.safetensors"
        text = str(error)
        for word in ("Base sampler", "eulr", "euler", "latent_image", "fp16"):
            assert word in text
        assert set(error.node_errors) == {"3", "4"}
        assert fake.books.accepted == []
        assert comfy._jobs == {}

    async def test_unknown_class(self, comfy: ComfySession) -> None:
        """The node and its class are named, with the nearest when the catalog is known."""
        graph = picture()
        graph["2"]["class_type"] = "SaveImag"
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
        (problem,) = caught.value.problems
        assert (problem.node, problem.type, problem.title) == ("2", "missing_node_type", "Keep it")
        assert problem.advice
        await comfy.nodes.catalog()
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
        assert "SaveImage" in caught.value.problems[0].nearest

    async def test_no_outputs(self, comfy: ComfySession) -> None:
        """A graph that saves nothing."""
        graph = picture()
        del graph["2"]
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
        assert caught.value.type == "prompt_no_outputs"
        assert "SaveImage" in str(caught.value)

    async def test_the_session_goes_on(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A refused prompt leaves no trace, and `run` and `stream` raise it too."""
        with pytest.raises(PromptRejectedError):
            await comfy.run(invalid())
        with pytest.raises(PromptRejectedError):
            async with comfy.stream(invalid()):
                pytest.fail("entered")
        assert (await comfy.run(picture())).images
        assert fake.books.started == 1

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"error": {"type": "x", "message": "said"}, "node_errors": []}, "said"),
            ({"error": "in one word", "node_errors": {}}, "in one word"),
            ({"error": {}, "node_errors": {"1": {"errors": [{"type": "odd", "message": "huh"}]}}}, "huh"),
            ({"node_errors": {"1": None, "2": {"errors": None}}}, "refused"),
            ({}, "refused"),
        ],
    )
    async def test_odd_refusals(self, fake: FakeComfy, comfy: ComfySession, body: Any, words: str) -> None:
        """Old servers and gateways refuse in other shapes."""
        fake.faults.fail("POST", "/prompt", 400, json=body, count=1)
        with pytest.raises(PromptRejectedError, match=words):
            await comfy.submit(picture())

    async def test_an_answer_of_somebody_else(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """200 without a prompt_id is no answer of a ComfyUI."""
        fake.faults.fail("POST", "/prompt", 200, json={"ok": True}, count=1)
        with pytest.raises(NotComfyUIError, match="prompt_id"):
            await comfy.submit(picture())
        assert comfy._jobs == {}

    @pytest.mark.parametrize("status", [403, 404, 413, 429])
    async def test_other_statuses(self, fake: FakeComfy, comfy: ComfySession, status: int) -> None:
        """A definite no is raised at once and sent once."""
        fake.faults.fail("POST", "/prompt", status, json={"error": {"message": "no"}})
        with pytest.raises(ResponseError) as caught:
            await comfy.submit(picture())
        assert caught.value.status == status
        assert fake.books.requests[("POST", "/prompt")] == 1
        assert comfy._jobs == {}


class TestPartial:
    """Some outputs of a prompt are refused."""

    def graph(self) -> dict[str, Any]:
        """Return a graph with a good and a bad output."""
        graph = two_outputs()
        graph["3"]["inputs"]["images"] = ["77", 0]
        return graph

    async def test_raised_and_cancelled(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """By default the job is taken off the server, and the error says what was wrong."""
        fake.hold()
        with pytest.raises(PartialPromptError) as caught:
            await comfy.submit(self.graph())
        error = caught.value
        assert isinstance(error, PromptRejectedError)
        assert error.prompt_id == fake.books.accepted[0].prompt_id
        assert [(problem.node, problem.title) for problem in error.problems] == [("3", "The other")]
        assert "on_partial" in error.hint
        assert fake.books.ends(error.prompt_id) == ["deleted"]
        assert comfy._jobs == {}

    async def test_raised_although_it_ran(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A server that was faster has run it; the error is the same."""
        with pytest.raises(PartialPromptError):
            await comfy.submit(self.graph())
        assert comfy._jobs == {}

    async def test_kept(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """`on_partial="keep"` runs the rest and leaves the problems."""
        job = await comfy.submit(self.graph(), on_partial="keep")
        assert [problem.node for problem in job.node_errors] == ["3"]
        result = await job
        assert [file.node for file in result.images] == ["2"]
        assert (await first(job, Queued)).prompt_id == job.prompt_id

    async def test_run_takes_it_too(self, comfy: ComfySession) -> None:
        """As every option of `submit`."""
        assert (await comfy.run(self.graph(), on_partial="keep")).images


class TestChecked:
    """`check=True` compares with the server's classes before anything is queued."""

    async def test_problems(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """The same error, nothing posted."""
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(invalid(), check=True)
        assert {problem.input for problem in caught.value.problems} >= {
            "sampler_name",
            "steps",
            "latent_image",
        }
        assert fake.books.requests[("POST", "/prompt")] == 0

    async def test_sound(self, comfy: ComfySession) -> None:
        """A sound workflow runs."""
        assert (await comfy.run(picture(), check=True)).images
        assert [p for p in await comfy.check(picture()) if p.severity == "error"] == []


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
        assert not isinstance(waiting._error, JobCancelledError)
    await running
