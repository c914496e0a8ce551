"""The web app among the examples: routes, limits, a browser that leaves, how it looks."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser_tools import CHROMIUM, browser
from PIL import Image

from comfy_async import Job, Workflow
from comfy_async.testing import FakeComfy

uvicorn = pytest.importorskip("uvicorn", reason="the web app among the examples needs uvicorn")
fastapi = pytest.importorskip("fastapi", reason="the web app among the examples needs FastAPI")

EXAMPLES = Path(__file__).parents[2] / "examples"
REFUSAL = {
    "error": {"type": "prompt_outputs_failed_validation", "message": "no", "details": "", "extra_info": {}},
    "node_errors": {
        "3": {
            "errors": [
                {
                    "type": "value_not_in_list",
                    "message": "Value not in list",
                    "details": "sampler_name: 'eulr' not in ['euler']",
                    "extra_info": {"input_name": "sampler_name", "received_value": "eulr"},
                }
            ],
            "dependent_outputs": ["9"],
            "class_type": "KSampler",
        }
    },
}


@pytest.fixture
def web_app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("web_app")


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[str]:
    """Serve the app on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none", **options))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the app, and give a client of it."""
    async with served(app) as url, httpx.AsyncClient(base_url=url) as http:
        yield http


async def posted(http: httpx.AsyncClient, **order: Any) -> dict[str, Any]:
    """Post an order that is taken on."""
    answer = await http.post("/jobs", json={"prompt": "a fox", **order})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == job["links"]["self"]
    return job


def parsed(text: str) -> list[tuple[str, str]]:
    """Return the names and the data of server-sent events."""
    events = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in events]


async def leave_at(http: httpx.AsyncClient, path: str, word: str) -> None:
    """Read events until one has a word, and close the connection in the middle."""
    async with http.stream("GET", path) as response:
        async for line in response.aiter_lines():
            if word in line:
                break


async def test_it_streams_what_happens(web_app: Any, fake: FakeComfy) -> None:
    """The state comes first, then progress and previews, and at the end the address of the picture."""
    async with client(web_app.make_app(fake.url)) as http:
        gate = fake.gate("KSampler", step=1)
        job = await posted(http, previews=True)
        reading = asyncio.create_task(http.get(job["links"]["events"]))
        await gate.reached()
        gate.open()
        told = parsed((await reading).text)
        names = [name for name, _ in told]
        assert names[0] == "state"
        assert "preview" in names
        assert names[-1] == "end"
        states = [json.loads(data) for name, data in told if name == "state"]
        assert any("KSampler" in state["progress"]["text"] for state in states)
        end = json.loads(told[-1][1])
        assert end["status"] == "completed"
        assert end["progress"]["fraction"] == 1.0
        picture = await http.get(end["outputs"][0]["href"])
        assert picture.content.startswith(b"\x89PNG")
        assert picture.headers["content-type"] == "image/png"
        assert (await http.get(job["links"]["self"] + "/outputs/7")).status_code == 404
        # A reader that comes back after the end.
        again = parsed((await http.get(job["links"]["events"])).text)
        assert [name for name, _ in again] == ["state", "end"]
        assert (await http.get(job["links"]["self"])).json() == end


async def test_it_tells_the_place_in_the_queue(web_app: Any, fake: FakeComfy) -> None:
    """The second of two jobs waits behind the first, and moves up."""
    gate = fake.gate("KSampler", step=1)
    async with client(web_app.make_app(fake.url)) as http:
        await posted(http)
        await fake.wait_for(lambda books: bool(fake.core.queue.running))
        second = await posted(http)
        assert (await http.get(second["links"]["self"] + "/outputs/0")).status_code == 409
        async with http.stream("GET", second["links"]["events"]) as response:
            places: list[int | None] = []
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    places.append(json.loads(line.removeprefix("data: "))["place"])
                if places and places[-1] == 1:
                    gate.open()
        assert 1 in places


async def test_a_browser_that_leaves_cancels_if_asked(web_app: Any, fake: FakeComfy) -> None:
    """When the connection is closed early, the job is interrupted on the server; else it goes on."""
    gate = fake.gate("KSampler", step=5)
    async with client(web_app.make_app(fake.url)) as http:
        job = await posted(http)
        await leave_at(http, job["links"]["events"], "KSampler")
        await leave_at(http, job["links"]["events"] + "?on_leave=cancel", "KSampler")
        await fake.wait_for(lambda books: books.accepted[-1].interrupts)
        gate.open()
        await fake.ended(job["id"])
        assert fake.books.accepted[0].end == "interrupted"
        assert (await http.get(job["links"]["self"])).json()["status"] == "cancelled"
        job = await posted(http)
        await leave_at(http, job["links"]["events"], "KSampler")
        await fake.ended(job["id"])
        assert fake.books.accepted[1].end == "success"


async def test_a_browser_that_leaves_before_the_first_byte(web_app: Any, fake: FakeComfy) -> None:
    """It has asked for the events and gone: the generator never begins, and the job is cancelled."""
    gate = fake.gate("KSampler", step=5)
    async with client(web_app.make_app(fake.url)) as http:
        job = await posted(http)
        reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        writer.write(f"GET {job['links']['events']}?on_leave=cancel HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writer.transport.abort()
        await fake.wait_for(lambda books: books.accepted[-1].interrupts or books.accepted[-1].end)
        gate.open()
        await fake.ended(job["id"])
    assert fake.books.accepted[-1].end in ("interrupted", "deleted")


async def test_the_app_that_stops_cancels_too(web_app: Any, fake: FakeComfy) -> None:
    """The server cancels the task of a reader that stays: the request goes out under the cancellation."""
    gate = fake.gate("KSampler", step=5)
    http = httpx.AsyncClient()
    async with served(web_app.make_app(fake.url), timeout_graceful_shutdown=1) as url:
        job = (await http.post(f"{url}/jobs", json={"prompt": "a fox"})).json()
        request = http.build_request("GET", f"{url}{job['links']['events']}?on_leave=cancel")
        response = await http.send(request, stream=True)
        await fake.wait_for(lambda books: bool(fake.core.queue.running))
    await response.aclose()
    await http.aclose()
    gate.open()
    await fake.ended(job["id"])
    assert fake.books.accepted[-1].end == "interrupted"


@pytest.mark.parametrize("how", ["finally", "async with", "task group"])
async def test_the_generator_that_a_team_writes(fake: FakeComfy, how: str) -> None:
    """`job.cancel()` in its `finally`, or `async with job`: the server hears of it (A10)."""
    gate = fake.gate("KSampler", step=5)
    flow = Workflow.load(EXAMPLES / "workflows" / "sd15_text2image_api.json")

    async def told(job: Job) -> AsyncIterator[str]:
        if how == "async with":
            async with job:
                async for event in job:
                    yield f"{event}\n"
            return
        try:
            async for event in job:
                if how == "task group":
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.sleep(0))
                yield f"{event}\n"
        finally:
            await job.cancel()

    app = fastapi.FastAPI()
    async with fake.session() as comfy:

        async def draw() -> Any:
            """Stream a job."""
            return fastapi.responses.StreamingResponse(
                told(await comfy.submit(flow)), media_type="text/event-stream"
            )

        app.add_api_route("/draw", draw)
        async with client(app) as http:
            await leave_at(http, "/draw", "Progress")
            await fake.wait_for(lambda books: books.accepted[-1].interrupts)
            gate.open()
            await fake.ended(fake.books.accepted[-1].prompt_id)
    assert fake.books.accepted[-1].end == "interrupted"


async def test_delete_cancels(web_app: Any, fake: FakeComfy) -> None:
    """It answers with the true end; what is not known is 404."""
    fake.hold()
    async with client(web_app.make_app(fake.url)) as http:
        job = await posted(http)
        assert (await http.delete(job["links"]["self"])).json()["status"] == "cancelled"
        assert (await http.delete("/jobs/nothing")).status_code == 404
        assert (await http.get(job["links"]["self"] + "/outputs/0")).status_code == 409


async def test_failures_are_told(web_app: Any, fake: FakeComfy) -> None:
    """A node that fails is an end; a refusal 422 or 429; a server away 503, without its address."""
    fake.script("VAEDecode", outputs=["IMAGE"], error=("ValueError", "two\nlines"))
    async with client(web_app.make_app(fake.url)) as http:
        job = await posted(http)
        name, data = parsed((await http.get(job["links"]["events"])).text)[-1]
        assert name == "end"
        assert json.loads(data)["error"]["type"] == "JobFailedError"
        assert "two\nlines" in json.loads(data)["error"]["message"]
        assert (await http.get(job["links"]["self"] + "/outputs/0")).status_code == 409
        rule = fake.faults.refuse_prompts("queue_limit", retry_after="7")
        refused = await http.post("/jobs", json={"prompt": "a fox"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
        rule.cancel()
        rule = fake.faults.fail("POST", "/prompt", 400, json=REFUSAL)
        refused = await http.post("/jobs", json={"prompt": "a fox"})
        assert refused.status_code == 422
        assert "'eulr'" in refused.json()["message"]
        assert fake.url.rpartition(":")[2] not in refused.text
        rule.cancel()
        await fake.faults.go_down()
        away = await http.post("/jobs", json={"prompt": "a fox"})
        assert away.status_code == 503
        assert fake.url.rpartition(":")[2] not in away.text
        await fake.faults.come_up()


async def test_no_more_jobs_than_it_takes(
    web_app: Any, fake: FakeComfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound it answers 429, also to who comes at the same moment, and forgets what ended first."""
    monkeypatch.setattr(web_app, "MOST_OPEN", 2)
    monkeypatch.setattr(web_app, "MOST_KEPT", 2)
    fake.hold()
    async with client(web_app.make_app(fake.url)) as http:
        answers = await asyncio.gather(*(http.post("/jobs", json={"prompt": "a fox"}) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [202, 202, 429, 429]
        assert {answer.headers.get("retry-after") for answer in answers} == {None, "10"}
        first, second = (answer.json() for answer in answers if answer.status_code == 202)
        await http.delete(first["links"]["self"])
        await posted(http)
        assert (await http.get(first["links"]["self"])).status_code == 404
        assert (await http.get(second["links"]["self"])).status_code == 200


async def test_pictures(web_app: Any, fake: FakeComfy, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is uploaded and inverted; too large a one is 413, another type 415, an unknown name 422."""
    monkeypatch.setattr(web_app, "LARGEST_PICTURE", 10_000)
    red = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(red, "PNG")
    png = {"content-type": "image/png"}
    async with client(web_app.make_app(fake.url)) as http:
        kept = await http.post("/pictures", content=red.getvalue(), headers=png)
        assert kept.status_code == 201
        job = await posted(http, **kept.json())
        end = json.loads(parsed((await http.get(job["links"]["events"])).text)[-1][1])
        made = Image.open(io.BytesIO((await http.get(end["outputs"][0]["href"])).content))
        assert made.convert("RGB").getpixel((128, 128)) == (0, 255, 255)
        assert (await http.post("/pictures", content=b"x" * 20_000, headers=png)).status_code == 413
        assert (await http.post("/pictures", content=b"x")).status_code == 415
        assert (await http.post("/jobs", json={"picture": "../x.png"})).status_code == 422


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
