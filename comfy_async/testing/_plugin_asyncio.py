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


def _add(scope: Any) -> None:
    """Put the fixtures whose loop has a scope into this module, where pytest finds them."""

    # pytest-asyncio keeps the scope on the function, so each scope has functions of its own.
    async def server(request: pytest.FixtureRequest) -> AsyncIterator[FakeComfy]:
        from ._plugin_parts import running

        async with running(request.node) as made:
            yield made

    async def session(request: pytest.FixtureRequest, comfy_server: FakeComfy) -> AsyncIterator[ComfySession]:
        from ._plugin_parts import connected

        async with connected(request.node, comfy_server) as made:
            yield made

    async def recording(request: pytest.FixtureRequest) -> AsyncIterator[Recorder | Replay]:
        from ._plugin_parts import recorded

        async with recorded(request.node) as made:
            yield made

    functions: dict[str, Any] = {"server": server, "session": session, "recording": recording}
    for what, function in functions.items():
        name = f"_comfy_{what}_{scope}"
        globals()[name] = pytest_asyncio.fixture(function, name=name, loop_scope=scope)


for _scope in ("function", "class", "module", "package", "session"):
    _add(_scope)
