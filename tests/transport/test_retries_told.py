"""The table of the guide to operations says how often what is tried; here it is counted."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from session_tools import fast, picture

from comfy_async import ComfyError, ComfySession
from comfy_async.testing import FakeComfy

GUIDE = (Path(__file__).parents[2] / "examples/guides/operations.md").read_text()


def told(row: str) -> int:
    """Return how often the guide says that something is tried."""
    (line,) = [line for line in GUIDE.splitlines() if line.startswith(f"| {row}")]
    number = re.search(r"(\d+) (tries|posts)|\| once", line)
    assert number is not None
    return int(number[1] or 1)


@pytest.mark.parametrize(
    ("row", "method", "path", "failure", "call"),
    [
        ("reading", "GET", "/queue", 503, lambda comfy: comfy.queue.snapshot()),
        ("reading", "GET", "/queue", "reset", lambda comfy: comfy.queue.snapshot()),
        ("reading", "POST", "/queue", 502, lambda comfy: comfy.queue.clear()),
        ("reading", "PUT", "/x", 429, lambda comfy: comfy.request("PUT", "/x")),
        ("`file.read()`", "GET", "/view", 504, lambda comfy: comfy.files.read("a.png")),
        ("`save()`", "GET", "/view", 503, lambda comfy: comfy.files.save("a.png", "never")),
        ("everything else", "POST", "/x", 503, lambda comfy: comfy.request("POST", "/x")),
        ("a prompt, `POST", "POST", "/prompt", "reset", lambda comfy: comfy.submit(picture())),
    ],
)
async def test_how_often(
    row: str,
    method: str,
    path: str,
    failure: Any,
    call: Callable[[ComfySession], Awaitable[object]],
    fake: FakeComfy,
) -> None:
    """As often as the guide says, and then it is an error."""
    async with fast(fake) as comfy:
        rule = fake.faults.fail(method, path, failure)
        with pytest.raises(ComfyError):
            await call(comfy)
        assert rule.hits == told(row)


@pytest.mark.parametrize("failure", [400, 404, 500])
async def test_what_is_not(failure: int, fake: FakeComfy) -> None:
    """What the server means is an error at once; so is a pause that is too long."""
    async with fast(fake) as comfy:
        rule = fake.faults.fail("GET", "/queue", failure)
        with pytest.raises(ComfyError):
            await comfy.queue.snapshot()
        assert rule.hits == 1
        rule.cancel()
        busy = fake.faults.fail("GET", "/queue", 503, headers={"Retry-After": "31"})
        with pytest.raises(ComfyError):
            await comfy.queue.snapshot()
        assert busy.hits == 1
