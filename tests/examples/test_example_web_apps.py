"""The example that mounts the library's own site beside routes of one's own."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from web_tools import events_in, hosted

from comfy_async.testing import FakeComfy

pytest.importorskip("fastapi", reason="the example needs FastAPI")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def web_apps(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("web_apps")


async def test_it_offers_the_portrait_below_its_prefix(web_apps: Any, fake: FakeComfy) -> None:
    """A route of one's own answers, a job runs, and its picture comes."""
    async with hosted(web_apps.make_app(fake.url)) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/hello")).status_code == 200
        about = (await http.get("/studio/apps")).json()["apps"][0]
        job = (await http.post(about["links"]["run"], json={"prompt": "a fox", "steps": 3})).json()
        told = events_in((await http.get(job["links"]["events"])).text)
        assert told[-1][0] == "end"
        picture = await http.get(told[-1][2]["outputs"][0]["href"])
        assert picture.headers["content-type"] == "image/png"
