"""Which dialect a server is spoken to in."""

from __future__ import annotations

from typing import Any

import pytest
from session_tools import picture

from comfy_async import AuthError, ComfyPool, ComfySession, NotComfyUIError, UnsupportedError
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy, Gatekeeper

KEY = "comfyui-k3y-of-v2"


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("https://cloud.comfy.org", "api-v2"),
        ("https://dep-1234.run.comfy.app", "api-v2"),
        ("https://run.comfy.app.evil.example", "comfyui"),
        ("http://127.0.0.1:8188", "comfyui"),
    ],
)
def test_by_the_address(url: str, dialect: str) -> None:
    """Comfy Cloud and its deployments speak API v2."""
    assert engine_of(ComfySession(url, api_key=KEY)).api.name == dialect


def test_an_unknown_word() -> None:
    """A dialect that there is not names those that there are."""
    wrong: Any = "esperanto"
    with pytest.raises(ValueError, match="'api-v2'"):
        ComfySession("http://127.0.0.1:8188", dialect=wrong)


async def test_by_what_answers() -> None:
    """A server without ComfyUI's routes is tried in API v2; its key goes as a bearer token."""
    async with (
        FakeComfy(dialect="api-v2", api_key=KEY) as fake,
        ComfySession(fake.url, api_key=KEY) as comfy,
    ):
        assert comfy.server.dialect == "api-v2"
        assert (await comfy.run(picture())).images
        assert comfy.connection.state in {"idle", "streaming"}


async def test_a_plain_server_is_asked_once() -> None:
    """A ComfyUI that also speaks API v2 is spoken to as ever, and asked nothing more."""
    async with FakeComfy(api_v2=True) as fake, fake.session() as comfy:
        await comfy.connect()
        assert comfy.server.dialect == "comfyui"
        assert [path for _, path, _ in fake.books.log] == ["/api/system_stats"]


async def test_a_wrong_key() -> None:
    """It is an error of the credentials, not of the dialect."""
    async with FakeComfy(dialect="api-v2", api_key=KEY) as fake:
        with pytest.raises(AuthError):
            async with ComfySession(fake.url, api_key="wrong"):
                pass


@pytest.mark.parametrize(
    "route", ["prompt", "ws", "history", "view", "object_info", "queue", "api/prompt", "system_stats/"]
)
async def test_an_address_that_ends_in_a_route(route: str) -> None:
    """As scripts have it in a constant: the error says which part to leave away."""
    async with FakeComfy() as fake:
        says = f"ends in /{route.rstrip('/')}, which is a route: give only {fake.url}"
        with pytest.raises(NotComfyUIError, match=f"{says}.$"):
            async with ComfySession(f"{fake.url}/{route}"):
                pass


async def test_an_address_that_ends_in_api(caplog: pytest.LogCaptureFixture) -> None:
    """It works in part: a warning says so."""
    async with FakeComfy() as fake, ComfySession(f"{fake.url}/api"):
        assert f"ends in /api, which is a route: give only {fake.url}" in caplog.text


async def test_a_wrong_password_of_a_plain_server() -> None:
    """The refusal of the first request is the error, with the server's name, not that of our own guess."""
    async with FakeComfy() as fake:
        fake.auth = Gatekeeper(basic=("anna", "s3cret"))
        with pytest.raises(AuthError, match=f"GET /api/system_stats at {fake.url} answered 401") as caught:
            async with ComfySession(fake.url, auth=("anna", "wrong")):
                pass
        assert caught.value.path == "/api/system_stats"


async def test_a_gateway_that_was_in_the_way() -> None:
    """A page of a gateway decides nothing: the next call finds the ComfyUI, with the key as it wants it."""
    async with FakeComfy() as fake:
        rule = fake.faults.fail("GET", "*", 404, json={"detail": "no such page"})
        comfy = ComfySession(fake.url, api_key=KEY)
        with pytest.raises(NotComfyUIError):
            await comfy.connect()
        assert rule.hits
        fake.faults.clear()
        await comfy.connect()
        assert comfy.server.dialect == "comfyui"
        assert engine_of(comfy).http.auth.headers == {"X-API-Key": KEY}
        await comfy.aclose()


async def test_a_pool_over_several() -> None:
    """Servers of different dialects share the work."""
    async with FakeComfy(dialect="api-v2", api_key=KEY) as deployment, FakeComfy() as plain:
        sessions = [deployment.session(), plain.session()]
        async with ComfyPool(sessions) as pool:
            async with pool.map([picture(number) for number in range(12)], limit=6) as finished:
                results = [await job async for job in finished]
        assert len(results) == 12
        assert len(deployment.books.accepted) + len(plain.books.accepted) == 12
        assert deployment.books.accepted
        assert plain.books.accepted


@pytest.mark.parametrize(
    "call",
    [
        lambda comfy: comfy.queue.snapshot(),
        lambda comfy: comfy.queue.remaining(),
        lambda comfy: comfy.queue.clear(),
        lambda comfy: comfy.queue.interrupt(),
        lambda comfy: comfy.history.get("x"),
        lambda comfy: comfy.history.clear(),
        lambda comfy: comfy.models.folders(),
        lambda comfy: comfy.nodes.catalog(),
        lambda comfy: comfy.nodes.info("KSampler"),
        lambda comfy: comfy.system.free(),
        lambda comfy: comfy.system.stats(),
        lambda comfy: comfy.userdata.list(),
        lambda comfy: comfy.settings_store.all(),
        lambda comfy: comfy.assets.get("x"),
        lambda comfy: comfy.check(picture()),
        lambda comfy: comfy.submit({"nodes": [], "links": [], "version": 0.4}),
    ],
)
async def test_what_api_v2_does_not_have(call: Any) -> None:
    """It says so, and names itself."""
    async with FakeComfy(dialect="api-v2", api_key=KEY) as fake, fake.session() as comfy:
        with pytest.raises(UnsupportedError, match="API v2"):
            await call(comfy)


async def test_any_route_of_api_v2() -> None:
    """What this library has no method for can be asked for."""
    async with FakeComfy(dialect="api-v2", api_key=KEY) as fake, fake.session() as comfy:
        job = await comfy.submit(picture())
        await job
        answer = await comfy.request("GET", f"/api/v2/jobs/{job.prompt_id}/workflow")
        assert answer.json()["format"] == "api"
