"""What the server refuses, wholly or in part, and what the error says."""

from __future__ import annotations

from typing import Any

import pytest
from session_tools import first, picture, two_outputs

from comfy_async import (
    ComfySession,
    NotComfyUIError,
    PartialPromptError,
    PromptRejectedError,
    Queued,
    ResponseError,
    Settings,
    WorkflowError,
)
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy

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

    @pytest.mark.parametrize(
        ("changes", "hint"),
        [
            ({"sampler_name": "eulr"}, "Set 3.sampler_name to 'euler', for example."),
            ({"model": ["99", 0]}, "Link 3.model to a node that is there, or take the input away."),
            ({"model": ["4", 1]}, "Link 3.model to an output of the type that it takes."),
            ({"steps": "many"}, "Set 3.steps to a value of the type that it takes."),
            ({"steps": 0}, "Set 3.steps to a value within its range."),
            (
                {"scheduler": "?"},
                "Set 3.scheduler to a value that the server has, or put there what it lacks.",
            ),
        ],
    )
    async def test_the_hint_is_the_way_out(
        self, comfy: ComfySession, changes: dict[str, Any], hint: str
    ) -> None:
        """It says what to do about the first problem."""
        graph = invalid()
        graph["4"]["inputs"]["ckpt_name"] = "v1-5-pruned-emaonly-fp16.safetensors"
        graph["5"] = {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        }
        graph["3"]["inputs"] = {
            **SAMPLER,
            "steps": 1,
            "sampler_name": "euler",
            "latent_image": ["5", 0],
            **changes,
        }
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
        assert [problem.input for problem in caught.value.problems] == list(changes)
        assert caught.value.hint == hint

    async def test_a_name_where_a_file_was_meant(self, comfy: ComfySession) -> None:
        """A text names a file of the server's: that is said, and how one of one's own is given."""
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "face.png"}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
        (problem,) = caught.value.problems
        assert "face.png" in problem.message
        assert "A text names a file on the server. To upload one of yours" in problem.advice

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
        assert engine_of(comfy).jobs.by_id == {}

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
        assert engine_of(comfy).jobs.by_id == {}

    @pytest.mark.parametrize("status", [403, 404, 413, 429])
    async def test_other_statuses(self, fake: FakeComfy, comfy: ComfySession, status: int) -> None:
        """A definite no is raised at once and sent once."""
        fake.faults.fail("POST", "/prompt", status, json={"error": {"message": "no"}})
        with pytest.raises(ResponseError) as caught:
            await comfy.submit(picture())
        assert caught.value.status == status
        assert fake.books.requests[("POST", "/prompt")] == 1
        assert engine_of(comfy).jobs.by_id == {}


class TestPartial:
    """Some outputs of a prompt are refused."""

    def graph(self) -> dict[str, Any]:
        """Return a graph with a good and a bad output."""
        graph = two_outputs()
        graph["3"]["inputs"]["images"] = ["77", 0]
        return graph

    async def test_raised_and_cancelled(self, fake: FakeComfy) -> None:
        """By default the job is taken off the server, and the error says what was wrong."""
        fake.hold()
        comfy = fake.session(settings=Settings(cancel_seconds=300))
        with pytest.raises(PartialPromptError) as caught:
            await comfy.submit(self.graph())
        error = caught.value
        assert isinstance(error, PromptRejectedError)
        assert error.prompt_id == fake.books.accepted[0].prompt_id
        assert [(problem.node, problem.title) for problem in error.problems] == [("3", "The other")]
        assert "on_partial" in error.hint
        assert fake.books.ends(error.prompt_id) == ["deleted"]
        assert engine_of(comfy).jobs.by_id == {}
        await comfy.aclose()

    async def test_raised_although_it_ran(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A server that was faster has run it; the error is the same."""
        with pytest.raises(PartialPromptError):
            await comfy.submit(self.graph())
        assert engine_of(comfy).jobs.by_id == {}

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


def through_an_inversion() -> dict[str, Any]:
    """Return a graph whose picture goes through a node in the middle."""
    graph = picture()
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    graph["2"]["inputs"]["images"] = ["3", 0]
    return graph


class TestLinksToNowhere:
    """A link to a node that is not there: named when it is refused, kept back when it is deadly."""

    @pytest.mark.parametrize("place", ["2.images", "3.image"])
    async def test_refused(self, comfy: ComfySession, place: str) -> None:
        """The server names a KeyError, or the wrong input; the error says which one it is."""
        graph = through_an_inversion()
        node, name = place.split(".")
        graph[node]["inputs"][name] = ["99", 0]
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(graph)
        (problem,) = caught.value.problems
        assert (problem.node, problem.input) == (node, name)
        assert problem.message == "it is linked to node '99', which is not there"

    async def test_refused_in_part(self, comfy: ComfySession) -> None:
        """The same for an output that would not run."""
        graph = two_outputs()
        graph["3"]["inputs"]["images"] = ["no such", 0]
        job = await comfy.submit(graph, on_partial="keep")
        (problem,) = job.node_errors
        assert str(problem).endswith("input 'images': it is linked to node 'no such', which is not there")
        await job

    @pytest.mark.parametrize("check", [False, True])
    async def test_deadly(self, fake: FakeComfy, comfy: ComfySession, check: bool) -> None:
        """In an input that the class does not declare it ends a server's worker: nothing is sent."""
        graph = through_an_inversion()
        graph["3"]["inputs"]["extra"] = ["99", 0]
        with pytest.raises(PromptRejectedError if check else WorkflowError) as caught:
            await comfy.submit(graph, check=check)
        assert isinstance(caught.value, PromptRejectedError | WorkflowError)
        (problem,) = caught.value.problems
        assert (problem.node, problem.input, problem.class_type) == ("3", "extra", "ImageInvert")
        assert "'99', which is not there" in str(caught.value)
        assert fake.books.requests[("POST", "/prompt")] == 0
        assert len((await comfy.run(picture())).images) == 1

    async def test_harmless(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """No output needs it: the server overlooks it and runs the rest, and so it may."""
        graph = picture()
        graph["4"] = {"class_type": "ImageInvert", "inputs": {"image": ["99", 0], "extra": ["98", 0]}}
        assert len((await comfy.run(graph)).images) == 1

    async def test_a_sound_workflow_costs_nothing(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A class is asked for only when a link of its node leads nowhere, all of them never."""
        await comfy.run(through_an_inversion())
        asked = fake.books.requests
        assert asked[("GET", "/object_info/{node_class}")] == asked[("GET", "/object_info")] == 0
        graph = through_an_inversion()
        graph["3"]["inputs"]["image"] = ["99", 0]
        with pytest.raises(PromptRejectedError):
            await comfy.run(graph)
        assert asked[("GET", "/object_info/{node_class}")] == 1
        assert asked[("GET", "/object_info")] == 0


@pytest.mark.parametrize("version", ["0.3.10", "0.5.1", "0.33.0"])
async def test_an_unknown_class_is_named_by_every_release(version: str) -> None:
    """Node, class and the nearest ones, from the prompt and the catalog where the server says less (D9)."""
    async with FakeComfy(version=version) as old, old.session() as comfy:
        flow = {**picture(), "7": {"class_type": "SaveImagee", "inputs": {"images": ["1", 0]}}}
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(flow)
        (problem,) = caught.value.problems
        assert (problem.node, problem.class_type) == ("7", "SaveImagee")
        assert "SaveImage" in problem.nearest
