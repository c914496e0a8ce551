"""`check` beside a server's own validation: COMFY_LIVE_URL, or FakeComfy where there is none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from check_agreement import ask, base_prompts, compare, damaged_prompts

from comfy_async import ComfySession
from comfy_async.testing import FakeComfy
from comfy_async.workflow import NodeCatalog

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
        catalog = NodeCatalog(ask(target, "/object_info"))
        whole = compare(target, base_prompts(catalog).items(), catalog)
        damaged = compare(target, damaged_prompts(catalog, DAMAGED, 0), catalog)
        return damaged[0]["prompts"], [*whole[1], *damaged[1]]

    async with ComfySession(target) as comfy:
        if not comfy.server.can("cancel_jobs"):
            pytest.skip("the words of older servers are others")
    count, differences = await asyncio.to_thread(both)
    assert count == DAMAGED
    assert not differences, "\n".join(differences)
