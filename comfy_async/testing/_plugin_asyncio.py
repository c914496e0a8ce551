"""The fixtures as pytest-asyncio drives them: one of each for every scope that a test's loop can have.

A server must live in the event loop of its test, and a fixture has one fixed scope of its loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from comfy_async import ComfySession

    from . import FakeComfy
    from .recorder import Recorder, Replay


async def _server(request: pytest.FixtureRequest) -> AsyncIterator[FakeComfy]:
    from ._plugin_parts import running

    async with running(request.node) as server:
        yield server


async def _session(request: pytest.FixtureRequest, comfy_server: FakeComfy) -> AsyncIterator[ComfySession]:
    from ._plugin_parts import connected

    async with connected(request.node, comfy_server) as session:
        yield session


async def _recording(request: pytest.FixtureRequest) -> AsyncIterator[Recorder | Replay]:
    from ._plugin_parts import recorded

    async with recorded(request.node) as server:
        yield server


def _fixture(function: Any, name: str, scope: Any) -> Any:
    """Return a fixture whose loop has a scope; pytest finds it by its name in this module."""
    return pytest_asyncio.fixture(function, name=name, loop_scope=scope)


for _scope in ("function", "class", "module", "package", "session"):
    for _what, _function in (("server", _server), ("session", _session), ("recording", _recording)):
        _name = f"_comfy_{_what}_{_scope}"
        globals()[_name] = _fixture(_function, _name, _scope)
