"""Prompts on their way into API v2: never twice, never lost, and every refusal made plain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from session_tools import eventually, fast, graph, library_tasks, picture, teach, two_outputs

from comfy_async import (
    AuthError,
    ComfyPool,
    ComfySession,
    InsufficientCreditsError,
    JobError,
    PromptRejectedError,
    RateLimitError,
    ResponseError,
    SubmitUnknownError,
    UnsupportedError,
    Workflow,
)
from comfy_async.testing import ApiV2, FakeComfy

KEY = "comfyui-k3y-of-v2"
JOBS = "/api/v2/jobs"


def manners(fake: FakeComfy) -> ApiV2:
    """How a server speaks API v2."""
    assert fake.v2 is not None
    return fake.v2


@pytest.fixture
async def fake() -> AsyncIterator[FakeComfy]:
    """A deployment."""
    async with FakeComfy(dialect="api-v2", api_key=KEY) as server:
        yield teach(server, steps=4)


@pytest.fixture
async def comfy(fake: FakeComfy) -> AsyncIterator[ComfySession]:
    """A session whose pauses last a tenth."""
    async with fast(fake, api_key=KEY, dialect="api-v2") as session:
        yield session


class TestExactlyOnce:
    """A lost answer is never a second job."""

    @pytest.mark.parametrize("failure", [500, "reset"])
    async def test_a_job_whose_answer_is_lost(
        self, fake: FakeComfy, comfy: ComfySession, failure: Any
    ) -> None:
        """Where the server lists no jobs, nobody can know: it is said, and nothing is sent a second time."""
        fake.faults.fail("POST", JOBS, failure, count=1, after_effect=True)
        with pytest.raises(SubmitUnknownError, match="unknown"):
            await comfy.submit(picture())
        await fake.idle()
        assert len(fake.books.accepted) == 1

    @pytest.mark.parametrize("failure", [500, "reset"])
    async def test_found_in_the_list(self, fake: FakeComfy, comfy: ComfySession, failure: Any) -> None:
        """Where it lists them the job is found by its graph, and there is one."""
        manners(fake).lists_jobs = True
        await comfy.run(picture(1))
        fake.faults.fail("POST", JOBS, failure, count=1, after_effect=True)
        job = await comfy.submit(picture(2))
        assert (await job).images
        assert len(fake.books.accepted) == 2
        assert job.prompt_id == fake.books.accepted[1].prompt_id

    async def test_several_that_could_be_it(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """Two jobs of the same graph that are not ours: none is taken for ours."""
        manners(fake).lists_jobs = True
        async with fast(fake, api_key=KEY, dialect="api-v2") as other:
            await other.run(picture())
        fake.faults.fail("POST", JOBS, 500, count=1, after_effect=True)
        with pytest.raises(SubmitUnknownError, match="2 jobs"):
            await comfy.submit(picture())

    async def test_a_post_that_never_arrived(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It is sent again under the same key, and taken on once."""
        fake.faults.fail("POST", JOBS, "reset", count=2)
        assert (await comfy.run(picture())).images
        assert len(fake.books.accepted) == 1

    async def test_a_post_that_was_swallowed(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A key that stays claimed without a job: nobody can know that, and it is said."""
        fake.faults.swallow_jobs()
        with pytest.raises(SubmitUnknownError):
            await comfy.submit(picture())
        assert not fake.books.accepted

    async def test_who_is_cancelled_in_the_middle(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A submission that is cancelled while its request is under way leaves nothing on the server."""
        fake.hold()
        rule = fake.faults.delay("POST", JOBS, 0.2)
        submitting = asyncio.create_task(comfy.submit(picture()))
        await eventually(lambda: rule.hits)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        await eventually(lambda: fake.books.accepted and fake.books.accepted[0].end == "deleted")

    async def test_who_is_cancelled_while_it_waits(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """One that waits for a busy server is gone at once: it was never taken on."""
        rule = fake.faults.refuse_jobs("queue_full", retry_after="60")
        submitting = asyncio.create_task(comfy.submit(picture()))
        await eventually(lambda: rule.hits)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        assert not [name for name in library_tasks() if "submit" in name]


class TestBusy:
    """A server that is busy is waited for, within a bound."""

    @pytest.mark.parametrize("reason", ["queue_full", "rate_limited", "deployment_not_ready"])
    async def test_as_it_says(self, fake: FakeComfy, comfy: ComfySession, reason: Any) -> None:
        """It is tried again when the server says."""
        rule = fake.faults.refuse_jobs(reason, count=2)
        assert (await comfy.run(picture())).images
        assert rule.hits == 2

    async def test_too_long(self, fake: FakeComfy) -> None:
        """Beyond `Settings.busy_seconds` it is an error, with the server's code."""
        fake.faults.refuse_jobs("queue_full", retry_after="10")
        async with fast(fake, api_key=KEY, dialect="api-v2", busy_seconds=25.0) as comfy:
            with pytest.raises(RateLimitError) as caught:
                await comfy.submit(picture())
        assert (caught.value.code, caught.value.retry_after) == ("queue_full", 10.0)


class TestRefused:
    """What the server says against a prompt."""

    async def test_an_input(self, comfy: ComfySession) -> None:
        """Node, input and reason."""
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}})
        (problem,) = caught.value.problems
        assert (problem.node, problem.input, problem.type) == ("9", "images", "required_input_missing")

    async def test_a_value(self, comfy: ComfySession) -> None:
        """The answer leaves the value out: it is the workflow's; what to do first works on this server."""
        flow = picture()
        flow["1"]["inputs"]["width"] = "wide"
        flow["4"] = {"class_type": "LoadImage", "inputs": {"image": "examplo.png"}}
        flow["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
        with pytest.raises(PromptRejectedError) as caught:
            await comfy.submit(flow)
        received = {problem.input: problem.received for problem in caught.value.problems}
        assert received == {"width": "wide", "image": "examplo.png"}
        assert "'wide'" in str(caught.value)
        assert "None" not in str(caught.value)
        assert "`comfy.nodes.use(NodeCatalog.load(path))`" in caught.value.hint

    async def test_a_value_with_a_catalog(self, comfy: ComfySession) -> None:
        """The nearest values come from the catalog that the session was given, and `check` works."""
        async with FakeComfy() as plain, plain.session() as session:
            comfy.nodes.use(await session.nodes.catalog())
        path = Path(__file__).parents[2] / "examples/workflows/sd15_text2image_api.json"
        flow = Workflow.load(path).with_inputs({"3.sampler_name": "eulr"})
        with pytest.raises(PromptRejectedError, match="'eulr' is not one of the values") as caught:
            await comfy.submit(flow, on_partial="keep")
        (problem,) = caught.value.problems
        assert problem.nearest[0] == "euler"
        assert caught.value.hint == "Set 3.sampler_name to 'euler', for example."
        assert [found.input for found in await comfy.check(flow)] == ["sampler_name"]

    async def test_a_class(self, comfy: ComfySession) -> None:
        """A class that is not there is named as a class, not as an input."""
        with pytest.raises(PromptRejectedError, match="no node class 'Nope'") as caught:
            await comfy.submit({"1": {"class_type": "Nope", "inputs": {}}})
        assert caught.value.problems[0].input is None

    async def test_as_a_proxy_words_it(self) -> None:
        """comfy-api-proxy hands on ComfyUI's own words, which say more."""
        async with (
            FakeComfy(dialect="api-v2", api_v2=ApiV2.proxy(), api_key=KEY) as fake,
            fast(fake, api_key=KEY, dialect="api-v2") as comfy,
        ):
            with pytest.raises(PromptRejectedError) as caught:
                await comfy.submit({"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}})
        assert caught.value.problems[0].type == "required_input_missing"

    @pytest.mark.parametrize(
        ("reason", "error"),
        [
            ("insufficient_credits", InsufficientCreditsError),
            ("unauthorized", AuthError),
            ("forbidden", AuthError),
            ("deployment_stopped", ResponseError),
        ],
    )
    async def test_by_the_server(
        self, fake: FakeComfy, comfy: ComfySession, reason: Any, error: type[Exception]
    ) -> None:
        """Refusals that are none of the workflow's are no `PromptRejectedError`, and are not repeated."""
        rule = fake.faults.refuse_jobs(reason)
        with pytest.raises(error) as caught:
            await comfy.submit(picture())
        assert not isinstance(caught.value, PromptRejectedError)
        assert rule.hits == 1
        assert KEY not in repr(caught.value)

    async def test_what_cannot_be_said(self, comfy: ComfySession) -> None:
        """Options that API v2 has no word for are refused before anything is sent."""
        for options in (
            {"front": True},
            {"number": 3},
            {"targets": ["2"]},
            {"extra_data": {"mine": 1}},
            {"previews": "taesd"},
        ):
            with pytest.raises(UnsupportedError, match="API v2"):
                await comfy.submit(picture(), **options)

    async def test_an_asset_that_is_gone(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """A file that the server has lost is sent again, once."""
        flow = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "y"}},
        }
        made = await (await comfy.run(picture())).files[0].read()
        face = await comfy.files.upload(made, name="face.png")
        workflow = Workflow.load(flow).with_inputs({"1.image": face})
        assert (await comfy.run(workflow)).images
        assert fake.core.v2 is not None
        fake.core.v2.shelf.assets.clear()
        assert (await comfy.run(workflow.with_inputs({"2.filename_prefix": "z"}))).images


class TestPartly:
    """A server that runs only a part, and does not say so."""

    async def test_found_by_our_own_check(self) -> None:
        """With a catalog at hand, what would be left out is found before anything is sent."""
        async with FakeComfy() as plain, plain.session() as session:
            catalog = await session.nodes.catalog()
        flow = two_outputs()
        del flow["3"]["inputs"]["images"]
        async with (
            FakeComfy(dialect="api-v2", api_v2=ApiV2.proxy(), api_key=KEY) as fake,
            fast(fake, api_key=KEY, dialect="api-v2") as comfy,
        ):
            assert (await comfy.run(flow)).missing == ("3",)
            comfy.nodes.use(catalog)
            with pytest.raises(PromptRejectedError, match="nothing was sent") as caught:
                await comfy.run(flow)
            assert caught.value.problems[0].node == "3"
            assert len((await comfy.run(flow, on_partial="keep")).images) == 1

    async def test_a_link_to_nowhere(self, fake: FakeComfy, comfy: ComfySession) -> None:
        """It needs no catalog to be seen: nothing is sent, unless a part is enough."""
        broken = two_outputs()
        broken["3"]["inputs"]["images"] = ["77", 0]
        with pytest.raises(PromptRejectedError, match="linked to node .77., which is not there") as caught:
            await comfy.run(broken)
        (problem,) = caught.value.problems
        assert (problem.node, problem.input, problem.title) == ("3", "images", "The other")
        assert not fake.books.accepted
        job = await comfy.submit(broken, on_partial="keep")
        assert len((await job).images) == 1

    async def test_told_afterwards(self, comfy: ComfySession, tmp_path: Path) -> None:
        """Without a catalog a saver that made nothing is named, and what was made is kept."""
        broken = two_outputs()
        del broken["3"]["inputs"]["filename_prefix"]
        job = await comfy.submit(broken)
        result = await job
        assert result.missing == ("3",)
        with pytest.raises(JobError, match="reported nothing of 3"):
            _ = result.images
        with pytest.raises(JobError, match="it may have left these nodes out"):
            await result.save(tmp_path)
        assert len(await result.save(tmp_path, allow_missing=True)) == 1
        again = await (await comfy.attach(job.prompt_id))
        assert again.missing == ("3",)
        chosen = await (await comfy.submit(broken, on_partial="keep"))
        assert (chosen.missing, len(chosen.images)) == ((), 1)

    @pytest.mark.parametrize("kind", ["session", "pool"])
    async def test_a_resumed_batch_tells_it_too(self, fake: FakeComfy, tmp_path: Path, kind: str) -> None:
        """What was left out stays out when the job comes out of its results file."""
        broken = two_outputs()
        del broken["3"]["inputs"]["filename_prefix"]
        options: dict[str, Any] = {"api_key": KEY, "dialect": "api-v2"}
        for _ in range(2):
            made = fast(fake, **options) if kind == "session" else ComfyPool([fake.url], **options)
            async with made as comfy, comfy.map([broken], results=tmp_path / "r.jsonl") as finished:
                assert [(await job).missing async for job in finished] == [("3",)]
        assert len(fake.books.accepted) == 1


async def test_the_partner_key(fake: FakeComfy, comfy: ComfySession) -> None:
    """It goes along as the one key of extra_data, and nobody sees it."""
    job = await comfy.submit(graph(), partner_api_key="partner-s3cret")
    await job
    record = fake.books.accepted[0]
    assert record.secrets.get("api_key_comfy_org") == "partner-s3cret"
    assert "s3cret" not in repr(job)


@pytest.mark.parametrize("kept", ["pairs", "text", "none"])
async def test_labels(kept: str, caplog: pytest.LogCaptureFixture) -> None:
    """They go along in the way that the server keeps them, and find the job where it lists jobs."""
    api_v2 = {
        "pairs": ApiV2.deployment(),
        "text": ApiV2.proxy(),
        "none": ApiV2(lists_jobs=True),
    }[kept]
    async with (
        FakeComfy(dialect="api-v2", api_v2=api_v2, api_key=KEY) as fake,
        fast(fake, api_key=KEY, dialect="api-v2") as comfy,
    ):
        for user in ("6", "7"):
            job = await comfy.submit(picture(int(user)), labels={"user": user, "order": "12"})
            assert job.labels == {"user": user, "order": "12"}
            await job
        found = [record async for record in comfy.jobs.find(labels={"user": "7"}, status="completed")]
        assert [record.id for record in found] == ([] if kept == "none" else [job.prompt_id])
        told = [record for record in caplog.records if "keeps no labels" in record.getMessage()]
        assert len(told) == (kept == "none")


async def test_a_key(comfy: ComfySession) -> None:
    """A server that chooses the ids holds no job to a key, and that is said."""
    with pytest.raises(UnsupportedError, match="key"):
        await comfy.submit(picture(), key="order-12")
