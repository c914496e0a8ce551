"""What the plugin's fixtures are made of; loaded when a test asks for one of them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ._chaos import Faults
from ._server import FakeComfy
from .recorder import Recorder, Replay

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["connected", "recorded", "running"]


@asynccontextmanager
async def running(node: pytest.Item) -> AsyncIterator[FakeComfy]:
    """Run the server that a test's markers ask for, with their faults.

    Raises:
        pytest.UsageError: A marker names no fault.
    """
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeComfy(**_options(node, "comfy_server")))
        # The closest comes first; what stands on the module is done before what stands on the test.
        for marker in reversed(list(node.iter_markers("comfy_faults"))):
            done = _fault(server.faults, marker)
            if inspect.isawaitable(done):
                await done
            elif hasattr(done, "__aenter__"):
                await stack.enter_async_context(done)
        yield server


@asynccontextmanager
async def connected(node: pytest.Item, server: FakeComfy) -> AsyncIterator[ComfySession]:
    """Run a session with a server, as a test's marker asks for."""
    async with server.session(**{"connect": "lazy", **_options(node, "comfy_session")}) as session:
        yield session


@asynccontextmanager
async def recorded(node: pytest.Item) -> AsyncIterator[Recorder | Replay]:
    """Replay the recording of a test's marker, or record it again.

    Raises:
        pytest.UsageError: There is no marker, or no file yet.
    """
    marker = node.get_closest_marker("comfy_recording")
    if marker is None or len(marker.args) != 1:
        raise pytest.UsageError('comfy_recording takes @pytest.mark.comfy_recording("file.jsonl")')
    path = node.path.parent / marker.args[0]
    url = node.config.getoption("comfy_record")
    if url:
        async with Recorder(url, path) as recorder:
            yield recorder
        return
    if not path.exists():
        raise pytest.UsageError(f"there is no recording {path}: make it with --comfy-record=URL")
    async with Replay(path, **marker.kwargs) as replay:
        yield replay


def _options(node: pytest.Item, name: str) -> dict[str, Any]:
    """Return the options of all markers of that name; the closest wins."""
    found: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers(name))):
        found |= marker.kwargs
    return found


def _fault(faults: Faults, marker: pytest.Mark) -> Any:
    """Call the fault that a marker names.

    Raises:
        pytest.UsageError: There is none of that name.
    """
    name = str(marker.args[0]) if marker.args else ""
    method = None if name.startswith("_") else getattr(faults, name, None)
    if method is None:
        known = ", ".join(word for word in dir(faults) if not word.startswith("_"))
        raise pytest.UsageError(f"comfy_faults: there is no fault {name!r}; there are {known}")
    return method(*marker.args[1:], **marker.kwargs)
