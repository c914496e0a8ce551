"""Labels: sent along, kept with the job, found in queue and history, and carried wherever the job goes."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from session_tools import fast, graph, picture

from comfy_async import ComfyPool, ComfySession, Settings
from comfy_async.testing import FakeComfy, FastClock

SEVEN = {"user": "7", "order": "12"}
RELEASES = ["0.3.10", "0.3.44", "0.3.60", "0.7.0", "0.33.0"]


async def ids(found: Any) -> list[str]:
    """Return the ids of the jobs that a search finds."""
    return [record.id async for record in found]


async def asked(comfy: ComfySession, verb: str, flow: Any, **options: Any) -> None:
    """Begin with a verb, whether it is awaited or entered."""
    made = getattr(comfy, verb)([flow] if verb == "map" else flow, **options)
    if asyncio.iscoroutine(made):
        await made


class TestSending:
    """What goes along with a prompt."""

    async def test_under_one_key(self, server: FakeComfy) -> None:
        """The labels stand in `extra_data` under their key, beside what the caller put there."""
        async with fast(server) as comfy:
            job = await comfy.submit(graph(), labels=SEVEN, extra_data={"mine": 1})
            assert job.labels == SEVEN
            await job
            record = await comfy.history.get(job.prompt_id)
        assert record.extra_data["comfy_async_labels"] == SEVEN
        assert record.extra_data["mine"] == 1
        assert record.labels == SEVEN

    async def test_nothing_without(self, server: FakeComfy) -> None:
        """A job without labels sends none, and its ref is what it always was."""
        async with fast(server) as comfy:
            job = await comfy.submit(graph())
            await job
            assert "comfy_async_labels" not in (await comfy.history.get(job.prompt_id)).extra_data
        assert job.labels == {}
        assert set(job.ref) == {"prompt_id", "client_id", "server"}

    async def test_by_every_verb(self, server: FakeComfy) -> None:
        """`run`, `stream` and `map` take them as `submit` does."""
        async with fast(server) as comfy:
            await comfy.run(graph(1), labels={"by": "run"})
            async with comfy.stream(graph(2), labels={"by": "stream"}) as job:
                await job
            async with comfy.map([graph(3)], labels={"by": "map"}) as finished:
                told = [job.labels async for job in finished]
            found = [record.labels async for record in comfy.jobs.find()]
        assert told == [{"by": "map"}]
        assert found == [{"by": "run"}, {"by": "stream"}, {"by": "map"}]

    @pytest.mark.parametrize("verb", ["run", "submit", "stream", "map"])
    async def test_refused_before_anything_is_sent(
        self, server: FakeComfy, verb: str, tmp_path: Path
    ) -> None:
        """A label that is no text raises at once: no file is uploaded, no prompt posted."""
        (tmp_path / "a.png").write_bytes(b"\x89PNG")
        flow = {"1": {"class_type": "LoadImage", "inputs": {"image": tmp_path / "a.png"}}}
        bad: Any = {"user": 7}
        async with fast(server) as comfy:
            with pytest.raises(ValueError, match="the label 'user' is a text, not 7"):
                await asked(comfy, verb, flow, labels=bad)
            assert set(server.books.requests) == {("GET", "/system_stats")}


class TestComingBack:
    """What is still known of a job's labels later and elsewhere."""

    @pytest.mark.parametrize("version", RELEASES)
    @pytest.mark.parametrize("ended", [False, True])
    async def test_after_attach(self, version: str, ended: bool) -> None:
        """A bare id is enough: queue and history tell them, on every release."""
        async with FakeComfy(version=version) as fake, fast(fake) as comfy, fast(fake) as other:
            if not ended:
                fake.hold()
            job = await comfy.submit(picture(), labels=SEVEN)
            if ended:
                await job
            found = await other.attach(job.prompt_id)
            assert found.labels == SEVEN
            fake.release()
            await found

    async def test_when_the_queue_is_long(self) -> None:
        """A server whose list tells no labels, with a long queue: by the ref at once, else at the end."""
        async with FakeComfy(version="0.33.0") as fake, fast(fake) as comfy, fast(fake) as other:
            fake.hold()
            jobs = [await comfy.submit(picture(number), labels=SEVEN) for number in range(20)]
            by_ref = await other.attach(jobs[-1].ref)
            by_id = await other.attach(jobs[-2].prompt_id)
            assert by_ref.labels == SEVEN
            fake.release()
            await by_id
            assert by_id.labels == SEVEN

    async def test_an_old_ref(self, server: FakeComfy) -> None:
        """A ref of an earlier version has no labels, and attaches as it did."""
        async with fast(server) as comfy, fast(server) as other:
            job = await comfy.submit(graph(), labels=SEVEN)
            ref = {key: value for key, value in job.ref.items() if key != "labels"}
            found = await other.attach(ref)
            await found
            assert found.labels == SEVEN
            assert json.loads(json.dumps(job.ref))["labels"] == SEVEN

    async def test_in_a_results_file(self, server: FakeComfy, tmp_path: Path) -> None:
        """What comes out of a results file has them, although the server has forgotten the job."""
        path = tmp_path / "r.jsonl"
        for _ in range(2):
            async with fast(server) as comfy:
                async with comfy.map([graph()], results=path, labels=SEVEN) as finished:
                    assert [job.labels async for job in finished] == [SEVEN]
                await comfy.history.clear()
        assert next(filter(None, map(_ref_in, path.read_text().splitlines())))["labels"] == SEVEN
        assert len(server.books.accepted) == 1

    async def test_across_a_pool(self) -> None:
        """A job that its server lost runs on the next one under the same labels."""
        async with FakeComfy() as one, FakeComfy() as two:
            settings = Settings(clock=FastClock(10))
            async with ComfyPool([one.url, two.url], settings=settings) as pool:
                for each in (one, two):
                    each.hold()
                job = await pool.submit(picture(), labels=SEVEN)
                first, second = (one, two) if one.books.accepted else (two, one)
                async with ComfySession(first.url) as comfy:
                    await comfy.queue.clear()
                for each in (one, two):
                    each.release()
                await job
                assert job.labels == SEVEN
                assert second.books.accepted[0].extra_data["comfy_async_labels"] == SEVEN


class TestFinding:
    """`comfy.jobs.find`."""

    @pytest.mark.parametrize("version", RELEASES)
    async def test_in_queue_and_history(self, version: str) -> None:
        """Jobs of every state, with all of the labels and no fewer, on every release."""
        async with FakeComfy(version=version) as fake, fast(fake) as comfy:
            first = await comfy.submit(picture(1), labels=SEVEN)
            second = await comfy.submit(picture(2), labels={"user": "7"})
            await comfy.run(picture(3), labels={"user": "8"})
            await comfy.run(picture(4))
            await asyncio.gather(first, second)
            fake.hold()
            third = await comfy.submit(picture(5), labels=SEVEN)
            one, two, three = first.prompt_id, second.prompt_id, third.prompt_id
            assert await ids(comfy.jobs.find(labels={"user": "7"})) == [three, one, two]
            assert await ids(comfy.jobs.find(labels=SEVEN)) == [three, one]
            assert await ids(comfy.jobs.find(labels=SEVEN, status="completed")) == [one]
            assert await ids(comfy.jobs.find(labels=SEVEN, status=["pending", "in_progress"])) == [three]
            assert await ids(comfy.jobs.find(labels={"user": "9"})) == []
            fake.release()
            await third

    async def test_no_further_than_the_loop_goes(self, server: FakeComfy) -> None:
        """The history is read page by page: who has what he wants reads no second one."""
        async with fast(server) as comfy:
            await asyncio.gather(*(comfy.run(graph(seed), labels=SEVEN) for seed in range(205)))
            assert len(await ids(comfy.jobs.find(labels=SEVEN))) == 205
            before = server.books.requests["GET", "/history"]
            async for _ in comfy.jobs.find(labels=SEVEN, status="completed"):
                break
            assert server.books.requests["GET", "/history"] - before == 1

    async def test_a_job_that_ends_meanwhile(self, server: FakeComfy) -> None:
        """It is told once, although the history has it as well by then."""
        async with fast(server) as comfy:
            server.hold()
            job = await comfy.submit(graph(), labels=SEVEN)
            found = []
            async for record in comfy.jobs.find(labels=SEVEN):
                found.append(record.id)
                server.release()
                await job
            assert found == [job.prompt_id]

    @pytest.mark.parametrize("word", ["running", "in_progress"])
    async def test_either_word_for_what_runs(self, word: str, server: FakeComfy) -> None:
        """The server's own, and that of `job.status`; in pages too."""
        async with fast(server) as comfy:
            with server.gate("Steps") as gate:
                job = await comfy.submit(graph(), labels=SEVEN)
                await gate.reached()
                assert await ids(comfy.jobs.find(status=word)) == [job.prompt_id]
                paged = [one.id async for page in comfy.jobs.page(status=[word]) for one in page]
                assert paged == [job.prompt_id]
            await job

    async def test_no_such_status(self, comfy: ComfySession) -> None:
        """A status that no job has is refused by name; so is a label that is no text."""
        says = r"no such status: done; there are pending, in_progress \(or running\), completed, failed"
        with pytest.raises(ValueError, match=says):
            await ids(comfy.jobs.find(status="done"))
        bad: Any = {"user": 7}
        with pytest.raises(ValueError, match="is a text, not 7"):
            await ids(comfy.jobs.find(labels=bad))

    async def test_in_the_cloud(self, caplog: pytest.LogCaptureFixture) -> None:
        """Each job is asked for by itself; those that tell nothing are counted, not passed over."""
        async with FakeComfy(mode="cloud") as fake, fake.session() as comfy:
            job = await comfy.submit(picture(), labels=SEVEN)
            await job
            await comfy.run(picture(2), labels={"user": "8"})
            assert await ids(comfy.jobs.find(labels=SEVEN)) == [job.prompt_id]
            assert not caplog.records
            fake.hold()
            waiting = await comfy.submit(picture(3), labels=SEVEN)
            with caplog.at_level(logging.WARNING, "comfy_async"):
                assert await ids(comfy.jobs.find(labels=SEVEN)) == [job.prompt_id]
            (record,) = caplog.records
            assert record.getMessage().startswith("1 jobs at ")
            fake.release()
            await waiting


def _ref_in(line: str) -> dict[str, Any] | None:
    """Return the ref of a job in a line of a results file, None where it has none."""
    found: dict[str, Any] | None = json.loads(line).get("ref")
    return found
