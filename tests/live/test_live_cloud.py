"""The live suite once more, in the cloud's dialect: every test of it that takes only a session."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator

import pytest
import test_live_runs

from comfy_async import ComfySession
from comfy_async.testing import FakeComfy


@pytest.fixture
async def live() -> AsyncIterator[ComfySession]:
    """A session with a stand-in for the cloud."""
    async with FakeComfy(mode="cloud") as fake, fake.session() as comfy:
        yield comfy


for _name, _test in vars(test_live_runs).items():
    if _name.startswith("test_") and "live_url" not in inspect.signature(_test).parameters:
        globals()[_name] = _test
