"""The pytest plugin: a FakeComfy and a session with it, for whoever asks for them.

It is found by entry point wherever comfy_async is installed. It does nothing unless a test asks
for one of its fixtures, and until then nothing of the library is imported.

Example:
    >>> import pytest
    >>> @pytest.mark.comfy_faults("fail", "POST", "/prompt", 503, count=1)
    ... async def test_my_app(comfy_server, comfy_session):
    ...     graph = {"1": {"class_type": "PrimitiveString", "inputs": {"value": "a fox"}},
    ...         "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}}
    ...     result = await comfy_session.run(graph)
    ...     assert len(comfy_server.books.runs) == 1
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from comfy_async import ComfySession

    from . import FakeComfy
    from .recorder import Recorder, Replay

__all__ = ["comfy_recording", "comfy_server", "comfy_session"]

_MARKERS: Final = (
    "comfy_server(**options): what the fixture `comfy_server` is made with, as FakeComfy takes it.",
    "comfy_session(**options): what the fixture `comfy_session` is made with, as ComfySession takes it.",
    "comfy_faults(name, *args, **kwargs): calls `comfy_server.faults.name(...)` before the test; "
    "may be given more than once.",
    "comfy_recording(path): the file that `comfy_recording` plays, relative to the test's own; "
    "--comfy-record=URL makes it anew from a real server.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that records anew."""
    group = parser.getgroup("comfy_async")
    group.addoption(
        "--comfy-record",
        metavar="URL",
        default=None,
        help="write the files of @pytest.mark.comfy_recording anew, from the ComfyUI at URL",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and the fixtures for pytest-asyncio where that is active."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if config.pluginmanager.hasplugin("asyncio"):
        from . import _plugin_asyncio

        config.pluginmanager.register(_plugin_asyncio, "comfy_async asyncio")


@pytest.fixture
def comfy_server(request: pytest.FixtureRequest) -> Iterator[FakeComfy]:
    """A FakeComfy of its own for each test, with the faults of its markers.

    In an async test it runs in the test's event loop. In any other it runs in a thread: use its
    `url`, `books` and `script()`, and leave what is async to async tests.
    """
    if _is_async(request):
        yield request.getfixturevalue(_variant("server", request))
        return
    from ._plugin_parts import running
    from ._serve import in_thread_as

    with in_thread_as(running(request.node)) as server:
        yield server


@pytest.fixture
def comfy_session(request: pytest.FixtureRequest) -> ComfySession:
    """A session with `comfy_server`, closed after the test; for async tests.

    It asks for nothing before it is used, so that a server with faults fails the test and not
    the fixture.
    """
    if not _is_async(request):
        raise pytest.UsageError("comfy_session is for async tests; comfy_server.url is there in any test")
    session: ComfySession = request.getfixturevalue(_variant("session", request))
    return session


@pytest.fixture
def comfy_recording(request: pytest.FixtureRequest) -> Recorder | Replay:
    """A replayed server, by `@pytest.mark.comfy_recording("file.jsonl")`; for async tests.

    With --comfy-record=URL the same test runs against the server there, and writes the file.
    """
    if not _is_async(request):
        raise pytest.UsageError("comfy_recording is for async tests")
    found: Recorder | Replay = request.getfixturevalue(_variant("recording", request))
    return found


# What the anyio plugin drives; those for pytest-asyncio are in _plugin_asyncio.


@pytest.fixture
async def _comfy_server_anyio(request: pytest.FixtureRequest) -> AsyncIterator[FakeComfy]:
    from ._plugin_parts import running

    async with running(request.node) as server:
        yield server


@pytest.fixture
async def _comfy_session_anyio(
    request: pytest.FixtureRequest, comfy_server: FakeComfy
) -> AsyncIterator[ComfySession]:
    from ._plugin_parts import connected

    async with connected(request.node, comfy_server) as session:
        yield session


@pytest.fixture
async def _comfy_recording_anyio(request: pytest.FixtureRequest) -> AsyncIterator[Recorder | Replay]:
    from ._plugin_parts import recorded

    async with recorded(request.node) as server:
        yield server


def _is_async(request: pytest.FixtureRequest) -> bool:
    """Tell whether the test is a coroutine, under hypothesis too."""
    function: Any = request.function
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inspect.iscoroutinefunction(inner)


def _variant(what: str, request: pytest.FixtureRequest) -> str:
    """Return the name of the fixture that runs in the event loop of the test.

    Raises:
        pytest.UsageError: Nobody runs async tests.
    """
    config = request.config
    has_asyncio = config.pluginmanager.hasplugin("asyncio")
    # In its auto mode pytest-asyncio takes every async fixture, those of anyio's tests too.
    auto = has_asyncio and str(config.getoption("asyncio_mode") or config.getini("asyncio_mode")) == "auto"
    if "anyio_backend" in request.fixturenames and not auto:
        return f"_comfy_{what}_anyio"
    if not has_asyncio:
        raise pytest.UsageError(
            f"comfy_{what} in an async test takes pytest-asyncio, or anyio's own plugin: @pytest.mark.anyio"
        )
    marker = request.node.get_closest_marker("asyncio")
    asked = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope") if marker is not None else None
    return f"_comfy_{what}_{asked or config.getini('asyncio_default_test_loop_scope') or 'function'}"
