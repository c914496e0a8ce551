"""Sessions with servers that choose the ids, up to 0.3.44: nothing twice, nothing lost, nothing invented."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from session_tools import picture, served

from comfy_async import Preview, UnsupportedError
from comfy_async.testing import FakeComfy

VERSIONS = ["0.3.10", "0.3.44"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_lost_answer(version: str) -> None:
    """The prompt was queued under an id of the server's own: it is found by its mark, and not sent again."""
    async with served(version=version) as (fake, comfy):
        fake.faults.fail("POST", "/prompt", "reset", count=1, after_effect=True)
        result = await comfy.run(picture())
        assert len(result.images) == 1
        assert [record.end for record in fake.books.accepted] == ["success"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_run_is_whole_and_quiet(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its picture is there, nothing is missing, and nobody is said to share the client_id."""
    async with served(version=version) as (_, comfy):
        with caplog.at_level(logging.WARNING, "comfy_async"):
            result = await comfy.run(picture())
        assert len(result.images) == 1
        assert result.missing == ()
        assert caplog.records == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_frames_before_the_answer(version: str) -> None:
    """The run is over before its id is told: pictures that only the socket carries are there all the same."""
    graph = picture()
    graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
    async with served(version=version) as (fake, comfy):
        late = fake.faults.delay("POST", "/prompt", 60, after_effect=True)
        submitting = asyncio.create_task(comfy.submit(graph))
        await fake.wait_for(lambda books: books.ended == 1)
        # Whatever the socket was sent before this has come when this has.
        events = comfy.events()
        fake.faults.send_raw(comfy.client_id, '{"type": "all is sent", "data": {}}')
        async for event in events:
            if event.type == "all is sent":
                break
        late.cancel()
        job = await submitting
        told = [event async for event in job]
        assert [event.node for event in told if isinstance(event, Preview)] == ["2"]
        result = await job
        assert (len(result.images), result.missing) == (1, ())


@pytest.mark.parametrize("previews", ["auto", "latent2rgb", "taesd"])
async def test_previews_that_cannot_be_had(previews: Any) -> None:
    """Who asks for them by name is told; the session's default asks for what there is (D6)."""
    async with FakeComfy(version="0.3.64") as old, old.session() as comfy:
        with pytest.raises(UnsupportedError, match="previews") as caught:
            await comfy.submit(picture(), previews=previews)
        assert caught.value.needs == "0.5.0"
        await (await comfy.submit(picture()))
        await comfy.run(picture(2), previews="none")


async def test_who_chooses_the_ids_is_learned() -> None:
    """From the first answer: what it says of its version only says what to try first."""
    async with FakeComfy(version="0.3.10") as old, old.session() as comfy:
        await comfy.run(picture())
        assert comfy.server.proven["client_prompt_id"] is False
    async with FakeComfy() as new, new.session() as comfy:
        await comfy.run(picture())
        assert comfy.server.proven["client_prompt_id"] is True
