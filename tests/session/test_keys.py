"""Keys: one piece of work is one job, however often, from wherever and after whatever it is submitted."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from session_tools import HeldAnswers, JumpClock, fast, graph, picture

from comfy_async import (
    ComfySession,
    JobFailedError,
    PromptRejectedError,
    Settings,
    SubmitUnknownError,
    UnsupportedError,
    Workflow,
    WorkflowError,
)
from comfy_async._client.session import engine_of
from comfy_async._session.keys import key_id
from comfy_async.testing import FakeComfy

KEY = "order-12"
RELEASES = ["0.3.10", "0.3.44", "0.3.60", "0.7.0", "0.33.0"]


def posts(fake: FakeComfy) -> int:
    """Return how many prompts the server was sent."""
    return fake.books.requests["POST", "/prompt"]


class TestOneJob:
    """The same key is the same job."""

    @pytest.mark.parametrize("version", RELEASES)
    @pytest.mark.parametrize("ended", [False, True])
    async def test_from_another_process(self, version: str, ended: bool) -> None:
        """Another session attaches to it, waiting or finished, on every release; nothing is posted."""
        async with FakeComfy(version=version) as fake:
            if not ended:
                fake.hold()
            async with fast(fake) as comfy:
                first = await comfy.submit(picture(), key=KEY)
                if ended:
                    await first
            async with fast(fake) as comfy:
                second = await comfy.submit(picture(), key=KEY)
                assert second.prompt_id == first.prompt_id
                fake.release()
                assert (await second).images
            assert posts(fake) == 1

    async def test_the_id_follows_from_the_key(self, server: FakeComfy) -> None:
        """It is the same everywhere, another one in another namespace."""
        async with fast(server) as comfy, fast(server, key_namespace="shop") as shop:
            one = await comfy.submit(graph(), key=KEY)
            two = await shop.submit(graph(), key=KEY)
            await asyncio.gather(one, two)
        assert one.prompt_id == key_id(KEY) == "1c772394-781d-54ba-8d27-9925ebd8f206"
        assert two.prompt_id == key_id(KEY, "shop") != one.prompt_id

    async def test_at_once_in_one_process(self, server: FakeComfy) -> None:
        """Whoever comes while the first is being submitted gets the very same handle."""
        async with fast(server) as comfy:
            jobs = await asyncio.gather(*(comfy.submit(graph(), key=KEY) for _ in range(10)))
            assert len(set(map(id, jobs))) == 1
            await jobs[0]
            assert (await comfy.submit(graph(), key=KEY)).prompt_id == jobs[0].prompt_id
        assert posts(server) == 1

    async def test_other_work_at_once(self, server: FakeComfy) -> None:
        """Of two that come at once with different work under one key, the second is refused."""
        async with fast(server) as comfy:
            racing = (comfy.submit(graph(seed), key=KEY) for seed in (1, 2))
            job, error = await asyncio.gather(*racing, return_exceptions=True)
            assert isinstance(error, WorkflowError)
            assert not isinstance(job, BaseException)
            await job
        assert posts(server) == 1

    async def test_by_run_and_stream(self, server: FakeComfy) -> None:
        """Both take a key; a map has one job for each and takes none."""
        async with fast(server) as comfy:
            result = await comfy.run(graph(), key=KEY)
            async with comfy.stream(graph(), key=KEY) as job:
                assert (await job).texts == result.texts
            options: dict[str, Any] = {"key": KEY}
            with pytest.raises(ValueError, match="takes no `key`"):
                comfy.map([graph()], **options)
        assert posts(server) == 1

    async def test_labels_and_titles_are_no_content(self, server: FakeComfy) -> None:
        """What does not change what runs does not make it other work; the first one's labels stay."""
        flow = graph()
        async with fast(server) as comfy:
            await (await comfy.submit(flow, key=KEY, labels={"try": "1"}))
            flow["1"]["_meta"]["title"] = "Another title"
            job = await comfy.submit(dict(reversed(flow.items())), key=KEY, labels={"try": "2"}, front=True)
            assert job.labels == {"try": "1"}
        assert posts(server) == 1

    @pytest.mark.parametrize("key", ["", 12, "k" * 513, "\ud800", b"order"])
    async def test_what_is_no_key(self, server: FakeComfy, key: Any) -> None:
        """It is refused before anything is sent."""
        async with fast(server) as comfy:
            with pytest.raises(ValueError, match="the key "):
                await comfy.submit(graph(), key=key)
            with pytest.raises(ValueError, match="the key "):
                comfy.stream(graph(), key=key)
        assert posts(server) == 0

    async def test_namespace(self) -> None:
        """It is a text."""
        bad: Any = 7
        with pytest.raises(ValueError, match="key_namespace is a text, not 7"):
            ComfySession(key_namespace=bad)

    async def test_in_the_cloud(self) -> None:
        """It cannot hold a job to a key, says so and why; nothing was posted."""
        async with FakeComfy(mode="cloud") as fake, fake.session() as comfy:
            with pytest.raises(UnsupportedError, match="it chooses the ids") as caught:
                await comfy.submit(picture(), key=KEY)
            assert "job.ref" in caught.value.hint
            assert not fake.books.accepted


class TestOtherWork:
    """A key stands for one piece of work."""

    @pytest.mark.parametrize("version", ["0.3.44", "0.33.0"])
    @pytest.mark.parametrize("ended", [False, True])
    async def test_is_an_error(self, version: str, ended: bool) -> None:
        """Another workflow under the key is refused by both names, and the job goes on."""
        async with FakeComfy(version=version) as fake, fast(fake) as comfy:
            if not ended:
                fake.hold()
            job = await comfy.submit(picture(1), key=KEY)
            if ended:
                await job
            with pytest.raises(WorkflowError, match=f"'{KEY}' is that of job {job.prompt_id}") as caught:
                await comfy.submit(picture(2), key=KEY)
            assert caught.value.prompt_id == job.prompt_id
            fake.release()
            await job
            assert posts(fake) == 1

    async def test_other_outputs_are_other_work(self, server: FakeComfy) -> None:
        """The same graph with other targets makes other things."""
        async with fast(server) as comfy:
            await (await comfy.submit(graph(), key=KEY))
            with pytest.raises(WorkflowError, match="runs another workflow"):
                await comfy.submit(graph(), key=KEY, targets=["2"])

    async def test_a_job_that_does_not_tell(self, server: FakeComfy) -> None:
        """Somebody else's prompt under that id is not taken for ours."""
        async with fast(server) as comfy, httpx.AsyncClient(base_url=server.url) as bare:
            await bare.post("/prompt", json={"prompt": graph(), "prompt_id": key_id(KEY)})
            with pytest.raises(WorkflowError, match="does not tell what it runs"):
                await comfy.submit(graph(), key=KEY)

    async def test_in_a_long_queue(self) -> None:
        """A server whose list tells nothing is asked for its whole queue rather than believed."""
        async with FakeComfy(version="0.33.0") as fake, fast(fake) as comfy, fast(fake) as other:
            fake.hold()
            first = await comfy.submit(picture(), key=KEY)
            for number in range(20):
                await comfy.submit(picture(number + 1))
            assert (await other.submit(picture(), key=KEY)).prompt_id == first.prompt_id
            with pytest.raises(WorkflowError, match="runs another workflow"):
                await other.submit(picture(99), key=KEY)
            await other.queue.clear()
            fake.release()


class TestEnds:
    """What becomes of a key when its job has ended."""

    async def test_a_failed_job_keeps_it(self, server: FakeComfy) -> None:
        """However it ended, it is the job of the key: awaiting it raises again."""
        async with fast(server) as comfy:
            for _ in range(2):
                with pytest.raises(JobFailedError):
                    await comfy.run(graph(last="Break"), key=KEY)
        assert posts(server) == 1

    async def test_a_refused_prompt_takes_none(
        self, server: FakeComfy, caplog: pytest.LogCaptureFixture
    ) -> None:
        """There is no job then: what is right runs under the key at once, and nobody is warned."""
        async with fast(server) as comfy:
            wrong = graph()
            del wrong["1"]["inputs"]["seed"]
            for _ in range(2):
                with pytest.raises(PromptRejectedError):
                    await comfy.submit(wrong, key=KEY)
            await comfy.run(graph(), key=KEY)
        assert posts(server) == 3
        assert not caplog.records

    @pytest.mark.parametrize("version", ["0.3.44", "0.33.0"])
    async def test_a_cleared_history_frees_it(self, version: str, caplog: pytest.LogCaptureFixture) -> None:
        """It runs again, and that is said."""
        async with FakeComfy(version=version) as fake, fast(fake) as comfy:
            for round in range(3):
                await comfy.run(picture(), key=KEY)
                await comfy.history.clear()
                assert posts(fake) == round + 1
            assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
            assert "does not know it any more" in caplog.text

    async def test_a_lost_job_frees_it(self, server: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """A server that was started anew knows nothing of it: it runs there."""
        async with fast(server) as comfy:
            await comfy.run(graph(), key=KEY)
            await server.faults.restart(history=False)
            await comfy.run(graph(), key=KEY)
        assert posts(server) == 2

    async def test_a_job_that_was_cancelled_before_it_ran(self, server: FakeComfy) -> None:
        """It left no trace, and the key is free at once."""
        async with fast(server) as comfy:
            server.hold()
            job = await comfy.submit(graph(), key=KEY)
            assert await job.cancel() == "cancelled"
            server.release()
            await comfy.run(graph(), key=KEY)
        assert posts(server) == 2

    async def test_a_submission_that_is_cancelled(self, server: FakeComfy) -> None:
        """It is withdrawn, and whoever waits for the same key goes on by itself."""
        held = HeldAnswers("POST", "/prompt")
        async with fast(server, http_transport=held) as comfy:
            server.hold()
            first = asyncio.create_task(comfy.submit(graph(), key=KEY))
            await held.held.wait()
            second = asyncio.create_task(comfy.submit(graph(), key=KEY))
            first.cancel()
            held.release.set()
            await asyncio.wait([first])
            assert first.cancelled()
            job = await second
            server.release()
            await job


class TestRaces:
    """Two processes that come at once."""

    @pytest.mark.parametrize("version", ["0.3.44", "0.33.0"])
    async def test_one_posts(self, version: str) -> None:
        """Races of three sessions each: one prompt was posted in each, and all have its job.

        Fifty of them run in tests/live.
        """
        server = FakeComfy(version=version)
        async with server as fake, fast(fake) as one, fast(fake) as two, fast(fake) as three:
            sessions = (one, two, three)
            for number in range(15):
                key = f"order-{number}"
                racing = (comfy.submit(picture(number), key=key) for comfy in sessions)
                jobs = await asyncio.gather(*racing)
                results = await asyncio.gather(*jobs)
                assert len({job.prompt_id for job in jobs}) == 1
                assert len({result.files[0].filename for result in results}) == 1
                assert posts(fake) == number + 1

    async def test_whoever_claims_and_dies(self, server: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """A claim without a post is waited for, for a while, and then passed over; that is said."""
        async with fast(server) as comfy:
            async with fast(server) as dead:
                await dead.connect()
                assert await engine_of(dead).api.claim(f"{key_id(KEY)}-0.txt", "dead")
            await comfy.run(graph(), key=KEY)
        assert posts(server) == 1
        first, last = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        about = f"key {KEY!r}: another process was about to submit job {key_id(KEY)} to {server.url}"
        assert first.startswith(about)
        assert "is waited for, at most 30 s" in first
        assert "is not waited for" in last

    async def test_whoever_was_stopped_posts_no_more(self, server: FakeComfy) -> None:
        """A process that was asleep after its claim asks for another one: the others may have gone on."""
        clock = JumpClock()

        class Sleepy(httpx.AsyncHTTPTransport):
            """The network; time passes after the first claim."""

            claims = 0

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                """Send, and let time pass."""
                response = await super().handle_async_request(request)
                if request.url.path.endswith("/upload/image"):
                    self.claims += 1
                    clock.jump(6 if self.claims == 1 else 0)
                return response

        network = Sleepy()
        async with ComfySession(server.url, settings=Settings(clock=clock, http_transport=network)) as comfy:
            await comfy.run(graph(), key=KEY)
        # The first claim and its end, the second claim and its end.
        assert network.claims == 4
        assert posts(server) == 1

    async def test_an_answer_that_is_lost(self, server: FakeComfy) -> None:
        """The prompt arrived all the same: it is found, and nothing is posted again."""
        async with fast(server) as comfy:
            server.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
            await comfy.run(graph(), key=KEY)
        assert posts(server) == 1

    async def test_an_unknown_outcome(self, server: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """Where nobody can say whether the post arrived, the next one waits for it before it posts."""

        class Cut(httpx.AsyncHTTPTransport):
            """The network, until a prompt is posted."""

            is_cut = False

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                """Send, or fail."""
                self.is_cut = self.is_cut or request.url.path.endswith("/prompt")
                if self.is_cut:
                    raise httpx.ReadError("cut")
                return await super().handle_async_request(request)

        async with fast(server, http_transport=Cut()) as comfy:
            with pytest.raises(SubmitUnknownError):
                await comfy.submit(graph(), key=KEY)
        async with fast(server) as comfy:
            await comfy.run(graph(), key=KEY)
        assert "is not waited for" in caplog.text


class TestFiles:
    """Work with files."""

    async def test_the_same_file_is_the_same_work(self, fake: FakeComfy, tmp_path: Any) -> None:
        """It is uploaded again after a crash, under the same name."""
        path = tmp_path / "face.png"
        async with fast(fake) as comfy:
            await comfy.run(picture(), key="made")
            path.write_bytes(await (await comfy.run(picture(), key="made")).images[0].read())
        flow = Workflow.load(picture()).add("LoadImage", {"image": path}, title="Face")
        ids = set()
        for _ in range(2):
            async with fast(fake) as comfy:
                job = await comfy.submit(flow, key=KEY)
                ids.add(job.prompt_id)
                await job
        assert len(ids) == 1
