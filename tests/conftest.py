"""What most tests use: a server, a session with it, and a limit for tests that hang."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from session_tools import library_tasks, teach

from comfy_async import ComfySession
from comfy_async.testing import FakeComfy

pytest_plugins = ["check_tools", "cli_tools", "ray_tools"]

TOGETHER = {
    "tests/ray/": "ray",
    "tests/examples/test_examples.py::test_ray": "ray",
    "tests/package/test_package.py": "package",
    "tests/docs/test_benchmarks.py": "benchmarks",
    "tests/face/test_typing_outside.py": "mypy",
    "tests/workflow/test_apps_stubs.py": "mypy",
    "tests/workflow/test_workflow_build.py": "mypy",
}
"""Tests that share what takes long to make, a cluster say, by how their ids begin: one worker runs them."""

HANG_SECONDS = 240.0
LIVE_URL = os.environ.get("COMFY_LIVE_URL", "").rstrip("/")


def pytest_configure(config: pytest.Config) -> None:
    """Keep what hypothesis remembers with pytest's own cache, or else out of the checkout."""
    folder = Path(tempfile.gettempdir()) / "comfy_async-hypothesis"
    if config.pluginmanager.hasplugin("cacheprovider"):
        folder = config.cache.mkdir("hypothesis")
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(folder))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test that hangs fail instead."""
    for item in items:
        function = getattr(item, "obj", None)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(function):
            if not hasattr(function, "hypothesis"):
                item.obj = _limited(function)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Return what gives the tests of a group to one worker, and all others to whoever is free.

    xdist 3.8 does so by marks, which pytest 9.2 does not let it read: the cluster was started on each.
    """
    scheduler: Any = importlib.import_module("xdist.scheduler").LoadScopeScheduling
    return type("InGroups", (scheduler,), {"_split_scope": lambda self, id: _group_of(id)})(config, log)


def _group_of(id: str) -> str:
    """Return the group of a test, its own id when it belongs to none."""
    return next((group for begin, group in TOGETHER.items() if id.startswith(begin)), id)


def _limited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the test with a limit of time."""

    @functools.wraps(function)
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(HANG_SECONDS):
            await function(*args, **kwargs)

    return limited


@pytest.fixture
async def fake() -> AsyncIterator[FakeComfy]:
    """A server of its own for each test; at the end nobody is connected and no task is left."""
    async with FakeComfy() as server:
        yield server
        async with asyncio.timeout(120):
            await server.wait_for(lambda books: books.sockets_now == 0)
        assert not library_tasks()


@pytest.fixture
def server(fake: FakeComfy) -> FakeComfy:
    """A server of its own for each test, which knows steps, a text, and a node that fails."""
    return teach(fake)


@pytest.fixture
async def comfy(fake: FakeComfy) -> AsyncIterator[ComfySession]:
    """A session with that server: entered in one task and left in another."""
    async with fake.session() as session:
        yield session


@pytest.fixture
def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings reaches the tests."""
    for name in ("COMFY_LOCAL_URL", "COMFY_BASE_URL", "COMFY_CLOUD_API_KEY", "COMFY_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["fake", "live"])
async def live_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Where the live tests run: FakeComfy always, and the ComfyUI in COMFY_LIVE_URL too."""
    if request.param == "live":
        if not LIVE_URL:
            pytest.skip("COMFY_LIVE_URL names no server")
        yield LIVE_URL
        return
    async with FakeComfy() as fake:
        yield fake.url


@pytest.fixture
async def live(live_url: str) -> AsyncIterator[ComfySession]:
    """A session with that live server."""
    async with ComfySession(live_url) as comfy:
        yield comfy
