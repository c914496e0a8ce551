"""What the log is told once, and what nobody is told."""

from __future__ import annotations

import json
import logging
from typing import Literal

import pytest
from session_tools import (
    JumpClock,
    collect,
    eventually,
    fast,
    steps,
)

from comfy_async import ComfyError, ComfySession, ConnectError, JobFailedError, Settings
from comfy_async.testing import FakeComfy


class TestQuiet:
    """Ten minutes without news are worth one warning, and nothing else."""

    async def test_one_warning(self, fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """The job goes on; the warning names it and is not repeated."""
        graph = steps(fake, 1)
        clock = JumpClock()
        caplog.set_level(logging.WARNING, "comfy_async")
        settings = Settings(clock=clock, look_every=0.02, poll_min=0.02, poll_max=0.02)

        def warnings() -> list[str]:
            return [r.getMessage() for r in caplog.records if "no news of it came" in r.getMessage()]

        async def looks(count: int) -> None:
            seen = fake.books.requests.total()
            await fake.wait_for(lambda books: books.requests.total() >= seen + count)

        async with fake.session(settings=settings) as comfy:
            with fake.gate("Steps") as gate:
                job = await comfy.submit(graph)
                await gate.reached()
                await looks(3)
                clock.jump(590)
                await looks(3)
                assert warnings() == []
                clock.jump(20)
                await eventually(warnings)
                clock.jump(2000)
                await looks(5)
                (text,) = warnings()
                assert job.prompt_id in text
                assert "10 minutes" in text
                assert job.status == "running"
            assert (await job).texts == ("shown",)


class TestSecrets:
    """Keys and passwords stay out of what people print, log and report."""

    async def test_reprs_errors_and_logs(self, fake: FakeComfy, caplog: pytest.LogCaptureFixture) -> None:
        """In no repr, no error, no log line, no event."""
        caplog.set_level(logging.DEBUG)
        address = fake.url.replace("http://", "http://user:hunter2@") + "?token=sesame"
        fake.script("Bad", inputs={"x": "INT"}, error=("ValueError", "no good"))
        async with ComfySession(
            address,
            api_key="api-secret",
            partner_api_key="partner-secret",
            headers={"X-Mine": "header-secret"},
        ) as comfy:
            job = await comfy.submit({"1": {"class_type": "Bad", "inputs": {"x": 1}}})
            texts = [
                repr(comfy),
                repr(comfy.connection),
                repr(comfy.settings),
                repr(job),
                json.dumps(job.ref),
            ]
            with pytest.raises(JobFailedError) as caught:
                await job
            texts += [str(caught.value), repr(caught.value), repr(vars(caught.value)), comfy.base_url]
            texts += [repr(event) for event in await collect(job)]
            with pytest.raises(ComfyError) as other:
                await comfy.files.read("nothing.png")
            texts += [str(other.value), repr(vars(other.value))]
        texts += [repr(comfy), *(record.getMessage() for record in caplog.records)]
        for secret in ("hunter2", "sesame", "api-secret", "partner-secret", "header-secret"):
            assert not [text for text in texts if secret in text], secret

    async def test_where_nobody_answers(self, free_port: int) -> None:
        """The error of a failed connection has the address without its password."""
        with pytest.raises(ConnectError) as caught:
            await ComfySession(f"http://user:hunter2@127.0.0.1:{free_port}/?token=sesame").connect()
        text = str(caught.value) + repr(vars(caught.value))
        assert "hunter2" not in text
        assert "sesame" not in text


@pytest.mark.parametrize("transport", ["auto", "poll"])
async def test_a_node_that_repeats_its_key(
    fake: FakeComfy, transport: Literal["auto", "poll"], caplog: pytest.LogCaptureFixture
) -> None:
    """What a server says in an event or its history is veiled like every other text of its (E10)."""
    key = "comfyui-s3cret-key"
    fake.script("Leak", is_output=True, error=("RuntimeError", f"401 for key {key}"))
    flow = {"1": {"class_type": "Leak", "inputs": {}}}
    async with fast(fake, transport=transport, partner_api_key=key) as comfy:
        events = comfy.events()
        job = await comfy.submit(flow)
        with pytest.raises(JobFailedError) as caught:
            await job
        shown = [str(caught.value), repr(caught.value), repr(vars(caught.value)), str(job.error)]
        shown += [str(event.data) + str(event.raw) async for event in job]
        while len(events._box):
            event = await anext(events)
            shown.append(str(event.data) + str(event.raw))
        await events.aclose()
    assert "401 for key •••" in shown[0]
    assert not [text for text in [*shown, caplog.text] if key in text]
