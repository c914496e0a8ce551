"""The table of routes and what the library really asks for are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import route_tour

from comfy_async import ComfySession, Settings
from comfy_async._dialects.server import ServerInfo
from comfy_async._resources.routes import ROUTES, Route, route_of
from comfy_async.testing import FakeComfy

# Beyond what a stand-in serves: its assets are switched off, its models have no pictures.
REAL_ONLY = {"/experiment/models/preview/{folder}/{index}/{name}"}


def expected(server: ServerInfo) -> set[Route]:
    """The routes that such a server has, by the table."""
    if server.cloud:
        return {route for route in ROUTES if route.cloud != "no"}
    number = tuple(map(int, server.version.split(".")))
    return {
        route
        for route in ROUTES
        if route.cloud != "only" and tuple(map(int, (route.since or "0").split("."))) <= number
    }


def served_by_fake(route: Route) -> bool:
    """What FakeComfy can show."""
    return not route.path.startswith(("/api/assets", "/api/tags", "/ws")) and route.path not in REAL_ONLY


@pytest.mark.parametrize("options", [{}, {"version": "0.3.64"}, {"mode": "old"}, {"mode": "cloud"}])
async def test_every_route_is_taken(options: dict[str, str], tmp_path: Path) -> None:
    """On each kind of server the tour takes every route of the table, and none beside it."""
    async with FakeComfy(**options) as fake:  # type: ignore[arg-type]
        fake.core.served["global_subgraphs"]["x"] = {"source": "s", "name": "n", "info": {}, "data": "{}"}
        fake.folders.model_metadata["loras", "tour.safetensors"] = {"a": "b"}
        recorder = route_tour.Recorder()
        async with fake.session(settings=Settings(http_transport=recorder)) as comfy:
            await route_tour.take(comfy, tmp_path)
            if not comfy.server.can("targeted_interrupt") or comfy.server.cloud:
                # Where it might hit others the tour leaves it out; here there are none.
                await comfy.queue.interrupt()
            wanted = {route for route in expected(comfy.server) if served_by_fake(route)}
        missed = {f"{route.method} {route.path}" for route in wanted - recorder.routes}
        assert not missed
        # The cloud's files come from elsewhere.
        assert not {pair for pair in recorder.unknown if not pair[1].startswith("/bucket/")}


def test_table_is_sound() -> None:
    """No route stands in the table twice, and every verb in it exists."""
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    session = ComfySession("http://127.0.0.1:1")
    for route in ROUTES:
        for verb in route.verb.split(", "):
            target: object = session
            if verb == "job.cancel":
                continue
            for name in verb.split("."):
                target = getattr(target, name)
            assert callable(target), verb


def test_route_of() -> None:
    """A request finds its route, a fixed path before one with a part in braces."""
    tags = route_of("GET", "/api/assets/tags/refine")
    assert tags is not None
    assert tags.verb == "assets.tag_counts"
    assert route_of("GET", "/history/x/y") is None
    assert route_of("DELETE", "/history") is None
