"""A pytest plugin: coverage notes the lines of each test under its name, and a file what each takes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

_TAKEN: dict[str, float] = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test with its name as coverage's context: asyncio's tasks run under it too."""
    current = coverage.Coverage.current()
    name = item.nodeid.partition("[")[0]
    if current is not None:
        current.switch_context(name)
    began = time.monotonic()
    try:
        return (yield)
    finally:
        _TAKEN[name] = _TAKEN.get(name, 0.0) + time.monotonic() - began
        if current is not None:
            current.switch_context("")


def pytest_sessionfinish() -> None:
    """Write what each test has taken."""
    Path(os.environ["MUTATION_TAKEN"]).write_text(json.dumps(_TAKEN), "utf-8")
