"""The asset system against a small stand-in; tests/live holds the same tour to a real server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
import route_tour
from asset_store import Store
from raw_server import raw_server

from comfy_async import ComfySession, NotFoundError
from comfy_async._base.settings import Settings
from comfy_async._resources.routes import ROUTES


async def test_every_asset_route(tmp_path: Path) -> None:
    """The tour through the asset system takes every asset route of the table."""
    recorder = route_tour.Recorder()
    async with raw_server(Store()) as server:
        async with ComfySession(server.url, settings=Settings(http_transport=recorder)) as comfy:
            await route_tour.take_assets(comfy, tmp_path)
    missed = {
        f"{route.method} {route.path}"
        for route in ROUTES
        if route.path.startswith(("/api/assets", "/api/tags")) and route not in recorder.routes
    }
    # A scan that runs answers with 409, which is told and not raised.
    assert missed == {"POST /api/assets/prune"}


@pytest.mark.parametrize("by_cursor", [True, False])
async def test_pages_and_filters(by_cursor: bool) -> None:
    """Pages neither repeat nor leave out an asset, by cursor or by offset; filters reach the server."""
    store = Store()
    store.by_cursor = by_cursor
    async with raw_server(store) as server, ComfySession(server.url) as comfy:
        for n in range(5):
            tags = ["input", f"t{n}"]
            made = await comfy.assets.upload(bytes([n]), name=f"{n}.bin", tags=tags, user_metadata={"n": n})
            assert made.created_new
            assert made.user_metadata == {"n": n}
        names = [a.name async for page in comfy.assets.page(size=2) for a in page]
        assert names == [f"{n}.bin" for n in range(5)]
        found = [a.name async for page in comfy.assets.page(tags_all=["input", "t3"]) for a in page]
        assert found == ["3.bin"]
        assert [a.name async for page in comfy.assets.page(name_contains="4") for a in page] == ["4.bin"]
        assert len(await comfy.assets.tags()) == 6
        assert [tag.name for tag in await comfy.assets.tags("in")] == ["input"]
        with pytest.raises(NotFoundError):
            await comfy.assets.get(str(uuid.uuid4()))
