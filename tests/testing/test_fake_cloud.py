"""The cloud's v1 dialect, as its documentation has it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets
from bare_client import Bare, image_graph, sampler_graph, text_graph
from PIL import Image

from comfy_async.testing import FakeComfy

KEY = "comfyui-secret"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def cloud() -> AsyncIterator[Bare]:
    """A cloud and a client with the key, under /api."""
    async with FakeComfy(mode="cloud", api_key=KEY) as fake:
        options: Any = {"base_url": f"{fake.url}/api", "headers": {"X-API-Key": KEY}, "verify": False}
        async with httpx.AsyncClient(**options) as http:
            yield Bare(fake, http)


async def test_who_is_let_in(cloud: Bare) -> None:
    """The key is wanted everywhere but on the public routes; a bearer token does as well."""
    async with httpx.AsyncClient(base_url=cloud.fake.url, verify=False) as http:
        refused = await http.get("/api/queue")
        assert (refused.status_code, set(refused.json())) == (401, {"code", "message"})
        for path in ("/health", "/api/system_stats", "/api/features"):
            assert (await http.get(path)).status_code == 200
        assert (await http.get("/api/user", headers={"Authorization": f"Bearer {KEY}"})).json()[
            "status"
        ] == "active"
        for path in ("/queue", "/api/history", "/api/internal/logs"):
            assert (await http.get(path, headers={"X-API-Key": KEY})).status_code in (404, 405)


async def test_sockets_hear_everything_of_the_account(cloud: Bare) -> None:
    """The client id means nothing, the token is needed, and every socket gets every event."""
    address = cloud.fake.url.replace("http", "ws", 1)
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"{address}/ws?clientId=a")
    async with websockets.connect(f"{address}/ws?clientId=a&token={KEY}") as one:
        async with websockets.connect(f"{address}/ws?clientId=a&token={KEY}") as two:
            prompt_id = await cloud.submit(text_graph(), client_id="b", prompt_id=UNKNOWN)
            assert prompt_id != UNKNOWN
            for socket in (one, two):
                frame = ""
                while "execution_success" not in frame:
                    frame = str(await socket.recv())
                assert prompt_id in frame


async def test_history_v2(cloud: Bare) -> None:
    """A history entry is a 404 until it exists, and the list has another shape."""
    assert (await cloud.http.get("/history_v2/x")).status_code == 404
    prompt_id = await cloud.submit(text_graph())
    await cloud.fake.ended(prompt_id)
    assert list(await cloud.get(f"/history_v2/{prompt_id}")) == [prompt_id]
    assert [entry["prompt_id"] for entry in (await cloud.get("/history_v2"))["history"]] == [prompt_id]
    assert (await cloud.get(f"/job/{prompt_id}/status"))["status"] == "completed"
    assert (await cloud.http.get("/job/x/status")).status_code == 404
    assert (await cloud.http.post("/history", json={"clear": True})).status_code == 200


async def test_jobs_come_in_pages(cloud: Bare) -> None:
    """A cursor leads from page to page, and a job in detail has its outputs."""
    ids = [await cloud.submit(text_graph(str(number))) for number in range(5)]
    await cloud.fake.idle()
    seen: list[str] = []
    query = "/jobs?limit=2&sort_order=asc&status=completed&sort_by=execution_time"
    cursor = ""
    while True:
        page = await cloud.get(query + cursor)
        seen += [job["id"] for job in page["jobs"]]
        if not page["pagination"]["has_more"]:
            break
        cursor = f"&after={page['pagination']['next_cursor']}"
    assert sorted(seen) == sorted(ids)
    assert (await cloud.get(f"/jobs/{ids[0]}"))["outputs"] == {"2": {"text": ["0"]}}
    assert (await cloud.http.get(f"/jobs/{UNKNOWN}")).status_code == 404
    assert (await cloud.http.get("/jobs?limit=x")).status_code == 400


async def test_cancelling(cloud: Bare) -> None:
    """Running and pending jobs are cancelled by id; one unknown id in a batch, and none is."""
    with cloud.fake.gate("KSampler", step=1) as gate:
        running = await cloud.submit(sampler_graph())
        await gate.reached()
        pending = [await cloud.submit(text_graph(str(number))) for number in range(4)]
        queue = await cloud.get("/queue")
        assert queue["queue_running"][0][3] == ["9"]
        assert list(queue["queue_pending"][0][4]) == ["create_time"]
        refused = await cloud.http.post("/jobs/cancel", json={"job_ids": [pending[0], UNKNOWN]})
        assert refused.status_code == 404
        assert cloud.fake.books.ends(pending[0]) == []
        cancelled = await cloud.http.post("/jobs/cancel", json={"job_ids": pending[:2]})
        assert cancelled.json() == {"cancelled": pending[:2]}
        assert (await cloud.http.post("/jobs/cancel", content=b"no")).status_code == 400
        assert (await cloud.http.post(f"/jobs/{UNKNOWN}/cancel")).status_code == 404
        answer = await cloud.http.post("/queue", json={"delete": [running], "clear": True})
        assert answer.json() == {"deleted": [running], "cleared": True}
        assert await cloud.get("/prompt") == {"exec_info": {"queue_remaining": 1}}
    await cloud.fake.idle()
    assert cloud.fake.books.ends(running) == ["interrupted"]
    assert (await cloud.http.post(f"/jobs/{running}/cancel")).json() == {"cancelled": False}
    assert (await cloud.get(f"/jobs/{running}"))["status"] == "cancelled"
    assert (await cloud.http.post("/interrupt")).status_code == 200


async def test_a_file_comes_from_another_origin(cloud: Bare) -> None:
    """/view redirects to a signed link, and the other side notes who brings a key along."""
    await cloud.fake.ended(await cloud.submit(image_graph()))
    view = "/view?filename=small_00001_.png&type=output"
    answer = await cloud.http.get(view)
    assert answer.status_code == 302
    location = answer.headers["Location"]
    assert httpx.URL(location).port != cloud.fake.port
    storage = cloud.fake.storage
    assert storage is not None
    async with httpx.AsyncClient(verify=False) as http:
        assert (await http.get(location)).content.startswith(b"\x89PNG")
        assert (await http.get(location.replace("signature=", "signature=x"))).status_code == 403
        assert storage.leaks == []
        await http.get(location, headers={"X-API-Key": KEY})
    assert [leak.credentials for leak in storage.leaks] == [("X-API-Key",)]
    thumbnail = await cloud.http.get(f"{view}&res=64")
    with Image.open(io.BytesIO(thumbnail.content)) as picture:
        assert picture.format == "JPEG"
    assert (await cloud.http.get(f"{view}&channel=rgb")).status_code == 200
    assert (await cloud.http.get("/view?filename=nope.png")).status_code == 404


async def test_uploads_are_named_by_their_content(cloud: Bare) -> None:
    """The same content gets the same name, whatever it was called."""
    names = set()
    for name in ("a.png", "b.png"):
        answer = await cloud.http.post(
            "/upload/image", files={"image": (name, b"1")}, data={"subfolder": "x"}
        )
        assert answer.json()["subfolder"] == ""
        names.add(answer.json()["name"])
    assert len(names) == 1
    assert (await cloud.http.post("/upload/image", data={"type": "input"})).status_code == 400
    bad = await cloud.http.post("/upload/image", files={"image": ("a", b"1")}, data={"type": "x"})
    assert bad.status_code == 400


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("insufficient_credits", 402),
        ("partner_disabled", 403),
        ("too_large", 413),
        ("payment_required", 429),
        ("queue_limit", 429),
    ],
)
async def test_refusals(cloud: Bare, reason: Any, status: int) -> None:
    """Each refusal of the cloud can be had, and the next prompt is taken."""
    cloud.fake.faults.refuse_prompts(reason, count=1)
    answer = await cloud.post(text_graph())
    assert answer.status_code == status
    assert answer.json()["error"]["type"].isupper()
    assert ("Retry-After" in answer.headers) == (reason == "queue_limit")
    await cloud.submit(text_graph())


async def test_bad_prompts(cloud: Bare) -> None:
    """A prompt that cannot run is refused as by a local server."""
    assert (await cloud.http.post("/prompt", json={})).status_code == 400
    body = (await cloud.post({"1": {"class_type": "Nope", "inputs": {}}})).json()
    assert body["error"]["type"] == "missing_node_type"
