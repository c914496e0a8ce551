"""Mounted in other people's apps: below a prefix, without a lifespan, behind a proxy that takes it off."""

from __future__ import annotations

from typing import Any

import pytest
from web_tools import PAINT, served

from comfy_async.testing import FakeComfy
from comfy_async.web import Site, routes, serve


def in_starlette(site: Site) -> Any:
    """Return a Starlette app with the site in it."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/a", routes=[Mount("/studio", app=site)])])


def in_fastapi(site: Site) -> Any:
    """Return a FastAPI app with a route of its own, and the site in it."""
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    async def own() -> dict[str, bool]:
        return {"own": True}

    app.get("/own")(own)
    app.mount("/a/studio", site)
    return app


def in_plain_asgi(site: Site) -> Any:
    """Return an ASGI app of nobody's that passes on what is below a prefix."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await site({**scope, "root_path": "/a/studio"}, receive, send)

    return app


@pytest.mark.parametrize("mount", [in_starlette, in_fastapi, in_plain_asgi])
async def test_links_lead_below_the_prefix(fake: FakeComfy, mount: Any) -> None:
    """In JSON, in events, in the page and in the document; each of them is followed."""
    async with fake.session() as comfy:
        site = routes({"paint": await comfy.app(PAINT)}, comfy)
        async with served(mount(site)) as web:
            about = (await web.http.get("/a/studio/apps")).json()["apps"][0]
            assert about["links"]["run"] == "/a/studio/apps/paint"
            job = (await web.http.post(about["links"]["run"], json={})).json()
            end = await web.ended(job)
            assert end["links"]["page"].startswith("/a/studio/apps/paint/#")
            picture = await web.http.get(end["outputs"][0]["href"])
            assert picture.headers["content-type"] == "image/png"
            page = (await web.http.get("/a/studio/apps/paint/")).text
            script = page.partition('src="')[2].partition('"')[0]
            assert script.startswith("/a/studio/static/page.js?")
            assert (await web.http.get(script)).status_code == 200
            document = (await web.http.get("/a/studio/openapi.json")).json()
            assert document["servers"] == [{"url": "/a/studio"}]
            if mount is in_fastapi:
                assert (await web.http.get("/own")).json() == {"own": True}


async def test_behind_a_proxy_that_takes_the_prefix_off(fake: FakeComfy) -> None:
    """With `root_path` links have what the proxy has taken away."""
    import httpx

    async with fake.session() as comfy:
        site = routes({"paint": await comfy.app(PAINT)}, comfy)
        async with (
            serve(site, port=0, root_path="/studio") as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as http,
        ):
            about = (await http.get("/apps")).json()["apps"][0]
            assert about["links"]["page"] == "/studio/apps/paint/"


async def test_the_session_stays_the_callers(fake: FakeComfy) -> None:
    """When a site is closed its readers go, and the session goes on."""
    async with fake.session() as comfy:
        site = routes({"paint": await comfy.app(PAINT)}, comfy)
        async with served(site) as web:
            await web.ended((await web.http.post("/apps/paint", json={})).json())
        await site.aclose()
        assert (await comfy.run(PAINT)).images
