"""`check` beside a server's own validation: COMFY_LIVE_URL, or FakeComfy where there is none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from check_agreement import compare
from prompt_damages import base_prompts, damaged_prompts
from server_verdict import LiveServer

from comfy_async import ComfySession
from comfy_async.testing import FakeComfy

DAMAGED = 300


@pytest.fixture
async def target() -> AsyncIterator[str]:
    """The server's URL."""
    url = os.environ.get("COMFY_LIVE_URL")
    if url:
        yield url.rstrip("/")
        return
    async with FakeComfy() as fake:
        yield fake.url


async def test_check_agrees_with_the_server(target: str) -> None:
    """On whole templates and on 300 damaged ones both say the same, as far as the server goes."""

    def both() -> tuple[int, list[str]]:
        server = LiveServer(target)
        whole = compare(server, base_prompts(server.catalog).items())
        damaged = compare(server, damaged_prompts(server.catalog, DAMAGED, 0))
        return damaged.counts["prompts"], [*whole.differences, *damaged.differences]

    async with ComfySession(target) as comfy:
        if not comfy.server.can("cancel_jobs"):
            pytest.skip("the words of older servers are others")
    count, differences = await asyncio.to_thread(both)
    assert count == DAMAGED
    assert not differences, "\n".join(differences)
