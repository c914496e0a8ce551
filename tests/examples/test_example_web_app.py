"""The web app among the examples: what it streams, what happens when the browser leaves, how it looks."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from browser_tools import CHROMIUM, browser

from comfy_async.testing import FakeComfy

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def web_app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("web_app")


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve the app on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def test_it_streams_what_happens(web_app: Any, fake: FakeComfy) -> None:
    """Progress and previews come as events, and at the end the address of the picture."""
    async with served(web_app.make_app(fake.url)) as url, httpx.AsyncClient(base_url=url) as http:
        told = (await http.get("/draw", params={"prompt": "a fox"})).text
        names = [line.removeprefix("event: ") for line in told.splitlines() if line.startswith("event")]
        assert {"progress", "preview"} <= set(names)
        assert names[-1] == "done"
        picture = await http.get(told.strip().splitlines()[-1].removeprefix("data: "))
        assert picture.content.startswith(b"\x89PNG")
        assert (await http.get("/picture/nothing.png")).status_code == 502


async def test_a_browser_that_leaves_cancels(web_app: Any, fake: FakeComfy) -> None:
    """When the connection is closed early, the job is interrupted on the server."""
    gate = fake.gate("KSampler", step=5)
    async with served(web_app.make_app(fake.url)) as url, httpx.AsyncClient(base_url=url) as http:
        async with http.stream("GET", "/draw", params={"prompt": "a fox"}) as response:
            async for line in response.aiter_lines():
                if "KSampler" in line:
                    break
        await fake.wait_for(lambda books: books.accepted[-1].interrupts)
        gate.open()
        await fake.ended(fake.books.accepted[-1].prompt_id)
    assert fake.books.accepted[-1].end == "interrupted"


async def test_failures_are_told(web_app: Any, fake: FakeComfy) -> None:
    """A node that fails, and a server that is away, are events as well."""
    fake.script("VAEDecode", outputs=["IMAGE"], error=("ValueError", "two\nlines"))
    async with served(web_app.make_app(fake.url)) as url, httpx.AsyncClient(base_url=url) as http:
        told = (await http.get("/draw", params={"prompt": "a fox"})).text
        assert "event: failed\ndata: " in told
        await fake.faults.go_down()
        told = (await http.get("/draw", params={"prompt": "a fox"})).text
        assert told.startswith("event: failed\ndata: not started")
        await fake.faults.come_up()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
async def test_its_page_in_a_real_browser(web_app: Any, fake: FakeComfy, tmp_path: Path) -> None:
    """Somebody types a prompt: the bar moves, a preview shows, and the picture stays."""
    gate = fake.gate("KSampler", step=15)
    async with served(web_app.make_app(fake.url)) as url, browser() as page:
        await page.call("Page.navigate", url=url)
        await page.until("document.readyState == 'complete' && !!document.forms.length")
        await page.evaluate("document.forms[0].prompt.value = 'a fox'; document.forms[0].requestSubmit()")
        await page.until("document.querySelector('img').src.startsWith('data:image/jpeg')")
        await page.until("document.querySelector('#words').textContent.includes('KSampler 14/20')")
        assert 0.3 < await page.evaluate("document.querySelector('progress').value") < 0.9
        await page.screenshot(tmp_path / "running.png")
        gate.open()
        await page.until("document.title == 'done'")
        await page.until("document.querySelector('img').complete")
        assert await page.evaluate("document.querySelector('img').naturalWidth") == 512
        await page.screenshot(tmp_path / "done.png")
    assert fake.books.accepted[-1].end == "success"
