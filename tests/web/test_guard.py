"""Who may ask: pages of other sites, other names, and the headers of every answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from web_tools import PAINT

from comfy_async.testing import FakeComfy
from comfy_async.web import Site, routes


def client(site: Site, host: str = "127.0.0.1:8000") -> httpx.AsyncClient:
    """Return a client whose requests come in on an address, and call the site by it."""
    transport = httpx.ASGITransport(site)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


@pytest.fixture
async def site(fake: FakeComfy) -> AsyncIterator[Site]:
    """A site that was given the name of a proxy and a friend."""
    async with fake.session() as comfy:
        app = await comfy.app(PAINT, inputs={"prefix": "2.filename_prefix"})
        yield routes({"paint": app}, comfy, hosts=["apps.example.com"], origins=["https://friend.example"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),  # a program
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"}, 202),
        ({"Sec-Fetch-Site": "none"}, 202),
        ({"Origin": "http://127.0.0.1:8000"}, 202),
        ({"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, 202),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://friend.example.evil.example"}, 403),
    ],
)
async def test_a_page_of_another_site_starts_nothing(
    site: Site, fake: FakeComfy, headers: dict[str, str], status: int
) -> None:
    """Neither by JSON nor by a form, unless it was allowed; nothing reaches the ComfyUI."""
    async with client(site) as http:
        answers = [
            await http.post("/apps/paint", headers=headers, json={}),
            await http.post("/apps/paint", headers=headers, files={"prefix": (None, "form")}),
        ]
        assert [answer.status_code for answer in answers] == [status, status]
        assert fake.books.count("POST", "/prompt") == (0 if status == 403 else 2)


async def test_a_page_of_another_site_cancels_nothing(site: Site) -> None:
    """DELETE is refused before the job is looked for."""
    async with client(site) as http:
        answer = await http.delete("/jobs/x", headers={"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")


async def test_an_allowed_site_may_read_the_answers(site: Site) -> None:
    """With the headers that its browser wants, and their preflight; another site gets none of them."""
    async with client(site) as http:
        origin = {"Origin": "https://friend.example"}
        asked = {**origin, "Access-Control-Request-Method": "POST"}
        answer = await http.options("/apps/paint", headers=asked)
        assert answer.status_code == 204
        assert "POST" in answer.headers["access-control-allow-methods"]
        answer = await http.get("/apps", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert "Origin" in answer.headers["vary"]
        answer = await http.get("/apps", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("studio.localhost", 200),
        ("[::1]:8000", 200),
        ("apps.example.com", 200),
        ("APPS.example.com:443", 200),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
async def test_only_its_own_names_are_answered(site: Site, host: str, status: int) -> None:
    """A stranger's name that leads to this machine is refused, on every address of the site."""
    async with client(site) as http:
        for path in ("/", "/apps", "/jobs/x"):
            answer = await http.get(path, headers={"Host": host})
            assert (answer.status_code == 421) == (status == 421), answer.text


async def test_without_names_loopback_is_careful_and_other_addresses_are_not(fake: FakeComfy) -> None:
    """What came in on 127.0.0.1 by a stranger's name is refused; on a container's address it passes."""
    async with fake.session() as comfy:
        site = routes({"paint": await comfy.app(PAINT)}, comfy)
        async with client(site, "127.0.0.1:8000") as http:
            assert (await http.get("/apps", headers={"Host": "evil.example"})).status_code == 421
            assert (await http.get("/apps", headers={"Host": "localhost:8000"})).status_code == 200
        async with client(site, "10.0.0.7:8000") as http:
            assert (await http.get("/apps", headers={"Host": "apps.example.com"})).status_code == 200
        async with client(routes({"paint": await comfy.app(PAINT)}, comfy, hosts=["*"])) as http:
            assert (await http.get("/apps", headers={"Host": "any.example"})).status_code == 200


async def test_every_answer_has_safe_headers(site: Site) -> None:
    """Pages, JSON, refusals: no sniffing, no framing, no scripts but files of ours."""
    async with client(site) as http:
        for path in ("/", "/apps/paint/", "/apps", "/static/page.js", "/static/icon.svg", "/none"):
            answer = await http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "script-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_holds_no_script_and_escapes_names(fake: FakeComfy) -> None:
    """What a workflow is called stands in the page as text."""
    name = '<img src=x onerror="alert(1)">'
    async with fake.session() as comfy:
        site = routes({name: await comfy.app(PAINT)}, comfy)
        async with client(site) as http:
            page = await http.get("/apps/img-src-x-onerror-alert-1/")
            assert page.status_code == 200
            assert "<img src=x" not in page.text
            assert "&lt;img src=x" in page.text
            assert page.text.count("<script") == page.text.count('<script type="module" src="/static/')


def test_an_origin_is_one() -> None:
    """A path, a name alone and a star are refused when the site is made."""
    from comfy_async.web.guard import Guard

    for text in ("friend.example", "https://friend.example/path", "*", "ftp://friend.example"):
        with pytest.raises(ValueError, match="an origin is like"):
            Guard(None, hosts=None, origins=[text])  # type: ignore[arg-type]
