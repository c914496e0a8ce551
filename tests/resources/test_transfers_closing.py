"""A session that is closed while something is under way: everybody who waits gets an error of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from comfy_async import ComfyError
from comfy_async.testing import FakeComfy

WORK = {
    "/object_info": lambda comfy, folder: comfy.nodes.catalog(),
    "/view": lambda comfy, folder: comfy.files.save("x.png", folder / "x.png"),
    "/upload/image": lambda comfy, folder: comfy.files.upload(bytes(3_000_000)),
    "/queue": lambda comfy, folder: comfy.queue.snapshot(),
}


@pytest.mark.parametrize("route", WORK)
async def test_closed_under_way(fake: FakeComfy, route: str, tmp_path: Path) -> None:
    """Closing ends what is under way at once, as a ComfyError, and leaves nothing behind."""
    fake.faults.fail("*", route, "hang")
    async with fake.session() as comfy:
        work: Coroutine[Any, Any, Any] = WORK[route](comfy, tmp_path)
        task = asyncio.ensure_future(work)
        await fake.wait_for(lambda books: any(path == route for _, path in books.requests))
    with pytest.raises(ComfyError):
        await task
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
