"""Where the live tests run: on FakeComfy always, and on the ComfyUI in COMFY_LIVE_URL too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from comfy_async import ComfySession
from comfy_async.testing import FakeComfy

LIVE_URL = os.environ.get("COMFY_LIVE_URL", "").rstrip("/")


@pytest.fixture(params=["fake", "live"])
async def live_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The server's URL."""
    if request.param == "live":
        if not LIVE_URL:
            pytest.skip("COMFY_LIVE_URL names no server")
        yield LIVE_URL
        return
    async with FakeComfy() as fake:
        yield fake.url


@pytest.fixture
async def live(live_url: str) -> AsyncIterator[ComfySession]:
    """A session with that server."""
    async with ComfySession(live_url) as comfy:
        yield comfy
