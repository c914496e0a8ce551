"""FakeComfy's API v2 is held to its public description: every route, every answer, every event."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from v2_fake import FakeStage, bearer
from v2_scenarios import SCENARIOS, Tape, image_graph, picture, reference, upload
from v2_spec import Description, description

from comfy_async.testing import ApiV2, FakeComfy

_UNSEEN_BY_THE_DESCRIPTION = {
    # What is wrong with the form of a request has no answer of its own there.
    "POST /api/v2/jobs: 400 is not described",
    "GET /api/v2/assets/{id}/content: 502 is not described",
    "POST /api/v2/assets/from-hash: 422 is not described",
    # The list is the proxy's own.
    "GET /api/v2/jobs: no such route",
}


@asynccontextmanager
async def watched(fake: FakeComfy, spec: Description) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose every answer is held to the description."""
    options: Any = {"base_url": fake.url, "headers": bearer(fake), "trust_env": False}
    async with httpx.AsyncClient(event_hooks={"response": [spec.hold]}, **options) as http:
        yield http


@pytest.mark.parametrize(
    "manners",
    [
        ApiV2(),
        ApiV2(links="served", request_ids=False, relative_urls=True, hash_after=1),
        ApiV2(links="signed", max_queue=5, multiline=True, newline="\r\n", piece_bytes=5),
        ApiV2.proxy(),
    ],
    ids=["cloud", "served", "signed", "proxy"],
)
async def test_every_scenario_keeps_to_the_description(manners: ApiV2) -> None:
    """Whatever is asked and in whatever manners, the answers and events are as described."""
    spec = description()
    proxy = manners.style == "proxy"
    for name, scenario in SCENARIOS.items():
        if name == "listed" and not proxy:
            continue
        async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, watched(fake, spec) as http:
            tape = Tape(http)
            async with FakeStage(fake) as stage:
                await scenario(tape, stage)
            for line in tape.lines:
                if "event" in line:
                    spec.hold_event(line["event"], json.dumps(line["data"]))
    allowed = _UNSEEN_BY_THE_DESCRIPTION if proxy else set()
    assert set(spec.broken) - allowed == set()
    assert {("event", name) for name in ("status", "progress", "output")} <= set(spec.checked)


async def test_every_refusal_keeps_to_the_description() -> None:
    """Each answer that the description knows can be had, and has its form."""
    spec = description()
    manners = ApiV2(max_streams=0)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, watched(fake, spec) as http:
        job = (await http.post("/api/v2/jobs", json={"workflow": image_graph()})).json()
        data = picture((1, 2, 3))
        asset = await upload(Tape(http), data, "a.png")
        await fake.idle()
        output = (await http.get(job["urls"]["self"])).json()["outputs"][0]
        await http.get(output["url"])
        await http.get(job["urls"]["events"])
        manners.streams = False
        await http.get(output["url"])
        await http.get(job["urls"]["events"])
        manners.max_queue = 0
        await http.post("/api/v2/jobs", json={"workflow": image_graph()})
        await http.delete(f"/api/v2/assets/{output['id']}")
        paths = [
            ("POST", "/api/v2/assets"),
            ("POST", "/api/v2/assets/from-hash"),
            ("HEAD", "/api/v2/assets/by-hash/x"),
            ("GET", f"/api/v2/assets/{asset['id']}"),
            ("DELETE", f"/api/v2/assets/{asset['id']}"),
            ("GET", f"/api/v2/assets/{asset['id']}/content"),
            ("POST", "/api/v2/jobs"),
            ("GET", f"/api/v2/jobs/{job['id']}"),
            ("GET", f"/api/v2/jobs/{job['id']}/workflow"),
            ("GET", f"/api/v2/jobs/{job['id']}/events"),
            ("POST", f"/api/v2/jobs/{job['id']}/cancel"),
        ]
        for method, path in paths:
            for reason in ("unauthorized", "forbidden", "rate_limited", "upstream_error"):
                if method == "HEAD" and reason == "forbidden":
                    continue
                if reason == "rate_limited" and ("/assets" in path):
                    continue
                fake.faults.refuse_jobs(reason, count=1, method=method, path=path)
                await http.request(method, path)
        for reason in ("queue_full", "insufficient_credits", "deployment_not_ready", "deployment_stopped"):
            fake.faults.refuse_jobs(reason, count=1)  # type: ignore[arg-type]
            await http.post("/api/v2/jobs", json={"workflow": image_graph()})
    assert spec.broken == []
    seen = set(spec.checked)
    async with FakeComfy(dialect="api-v2", api_v2=ApiV2(links="served")) as fake:
        async with watched(fake, spec) as http:
            for name in ("normal", "assets", "bad_uploads", "rejected", "unknown", "canceled_queued"):
                async with FakeStage(fake) as stage:
                    await SCENARIOS[name](Tape(http), stage)
            asset = await upload(Tape(http), data, "b.png")
            await http.post("/api/v2/jobs", json={"workflow": {"1": reference(asset)}})
            body = {"hash": asset["hash"], "file_path": "b.png"}
            await http.post("/api/v2/assets/from-hash", json=body)
    assert spec.broken == []
    missing = set(spec.expected()) - seen - set(spec.checked)
    assert missing == set()
