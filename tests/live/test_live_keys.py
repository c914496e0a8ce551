"""Labels and keys on any ComfyUI as it is installed, and on FakeComfy: queue and history keep them."""

from __future__ import annotations

import asyncio
import logging
import uuid

import pytest
from test_live_runs import color, long_chain, picture

from comfy_async import ComfySession, Job, WorkflowError

RACES = 50


class TestLabels:
    """What the server keeps of them."""

    async def test_found_in_every_state(self, live: ComfySession, live_url: str) -> None:
        """Waiting, running and finished jobs are found by their labels, by another session too."""
        label = {"run": uuid.uuid4().hex, "text": "ä=🦊"}
        done = await live.submit(picture(), labels=label)
        await done
        running = await live.submit(long_chain(), labels=label)
        waiting = await live.submit(picture(), labels=label)
        async with ComfySession(live_url) as other:
            found = {record.id: record.labels async for record in other.jobs.find(labels=label)}
            assert set(found) == {job.prompt_id for job in (done, running, waiting)}
            assert all(labels == label for labels in found.values())
            assert (await other.attach(waiting.prompt_id)).labels == label
            assert (await other.attach(done.prompt_id)).labels == label
            await running.cancel()
            await waiting
            ended = [record.status async for record in other.jobs.find(labels=label, status="completed")]
        assert ended == ["completed", "completed"]


class TestKeys:
    """One key, one job."""

    async def test_fifty_races(self, live: ComfySession, live_url: str) -> None:
        """In each three sessions submit one key at once: one of them posts, and all have the one job."""
        async with ComfySession(live_url) as second, ComfySession(live_url) as third:
            sessions = (live, second, third)
            ids: set[str] = set()
            posts = 0
            for _ in range(RACES):
                key, flow = uuid.uuid4().hex, picture()
                jobs: list[Job] = await asyncio.gather(*(each.submit(flow, key=key) for each in sessions))
                results = await asyncio.gather(*jobs)
                # A job has the client_id of whoever posted it.
                posts += sum(
                    job.ref["client_id"] == each.client_id for job, each in zip(jobs, sessions, strict=True)
                )
                assert len({job.prompt_id for job in jobs}) == 1
                assert len({result.files[0].filename for result in results}) == 1
                ids.add(jobs[0].prompt_id)
        assert len(ids) == posts == RACES

    async def test_races_for_what_runs_long(self, live: ComfySession, live_url: str) -> None:
        """While the job waits behind another one the queue has it once."""
        blocker = await live.submit(long_chain())
        async with ComfySession(live_url) as second:
            for _ in range(10):
                key, flow = uuid.uuid4().hex, picture()
                one, two = await asyncio.gather(live.submit(flow, key=key), second.submit(flow, key=key))
                assert one.prompt_id == two.prompt_id
                queue = await live.queue.snapshot()
                marks = [row.extra_data.get("comfy_async_keyed", {}).get("key") for row in queue.pending]
                assert marks.count(key) <= 1
                await one.cancel()
        await blocker.cancel()

    async def test_another_process_later(self, live_url: str) -> None:
        """A finished job is found by its key; other work under it is refused."""
        key, value = uuid.uuid4().hex, color()
        async with ComfySession(live_url) as comfy:
            first = await comfy.submit(picture(value=value), key=key)
            files = (await first).files
        async with ComfySession(live_url) as comfy:
            second = await comfy.submit(picture(value=value), key=key)
            assert second.prompt_id == first.prompt_id
            assert [file.filename for file in (await second).files] == [file.filename for file in files]
            with pytest.raises(WorkflowError, match="runs another workflow"):
                await comfy.submit(picture(), key=key)

    async def test_again_when_the_history_is_gone(
        self, live: ComfySession, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It runs again, and says so; a job that was cancelled while it waited leaves its key at once."""
        key, flow = uuid.uuid4().hex, picture()
        job = await live.submit(flow, key=key)
        await job
        await live.history.delete(job.prompt_id)
        with caplog.at_level(logging.WARNING, "comfy_async"):
            await (await live.submit(flow, key=key))
        assert "does not know it any more" in caplog.text
        blocker = await live.submit(long_chain())
        other = uuid.uuid4().hex
        assert await (await live.submit(flow, key=other)).cancel() == "cancelled"
        again = await live.submit(flow, key=other)
        await blocker.cancel()
        await again


async def test_any_route(live: ComfySession) -> None:
    """A route by its path, whole and streamed."""
    answer = await live.request("GET", "/queue")
    assert set(answer.json()) == {"queue_running", "queue_pending"}
    async with live.request_stream("GET", "/object_info") as stream:
        assert sum([len(chunk) async for chunk in stream]) > 1000
