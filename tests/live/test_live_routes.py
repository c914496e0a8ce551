"""Every verb on a real server: COMFY_LIVE_URL, or FakeComfy where there is none."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import route_tour
from session_tools import picture

from comfy_async import ComfySession, LogEntries, NotFoundError, Settings, UnsupportedError
from comfy_async._resources.routes import ROUTES
from comfy_async.testing import FakeComfy

# What depends on what lies in the server's folders.
_BY_CONTENT = {
    "/view_metadata/{folder}",
    "/experiment/models/preview/{folder}/{index}/{name}",
    "/global_subgraphs/{id}",
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The server's URL."""
    found = os.environ.get("COMFY_LIVE_URL")
    if found:
        yield found
        return
    async with FakeComfy() as fake:
        yield fake.url


@pytest.fixture
async def comfy(url: str) -> AsyncIterator[ComfySession]:
    """A session with it."""
    async with ComfySession(url, headers=await route_tour.user_headers(url)) as session:
        yield session


async def test_every_route(url: str, tmp_path: Path) -> None:
    """Every route that the table gives this version answers, and no route beside the table is taken."""
    recorder = route_tour.Recorder()
    headers = await route_tour.user_headers(url)
    async with ComfySession(url, headers=headers, settings=Settings(http_transport=recorder)) as comfy:
        await route_tour.take(comfy, tmp_path)
        number = tuple(map(int, comfy.server.version.split(".")))
        targeted = comfy.server.can("targeted_interrupt")
        told_whole = comfy.server.can("jobs_cancelled")
    missed = {
        f"{route.method} {route.path}"
        for route in ROUTES
        if route not in recorder.routes
        and route.cloud != "only"
        and tuple(map(int, (route.since or "0").split("."))) <= number
        and route.path not in _BY_CONTENT
        and not route.path.startswith(("/api/assets", "/api/tags", "/ws"))
        and (route.path != "/interrupt" or targeted)
        # Before they tell cancelled jobs from failed ones, the history is read instead.
        and (route.path != "/api/jobs/{prompt_id}" or told_whole)
    }
    assert not missed
    assert not recorder.unknown


async def test_assets(comfy: ComfySession, tmp_path: Path) -> None:
    """The asset system where it is switched on; where it is off, the error says how."""
    if not (await comfy.system.features()).get("assets"):
        with pytest.raises((UnsupportedError, NotFoundError)):
            await anext(comfy.assets.page())
        pytest.skip("this server has no assets")
    await route_tour.take_assets(comfy, tmp_path)


def plain(outputs: Any) -> Any:
    """Return outputs without what newer servers tell of files in jobs alone (0.34 and later)."""
    if isinstance(outputs, Mapping):
        return {key: plain(value) for key, value in outputs.items() if key not in ("display_name", "hash")}
    return [plain(value) for value in outputs] if isinstance(outputs, list) else outputs


async def test_history_and_jobs_agree(comfy: ComfySession) -> None:
    """A finished job is found in history and jobs, with the same outputs, and on a page of each."""
    result = await comfy.run(picture(uuid.uuid4().int % 0xFFFFFF))
    record = await route_tour.record_of(comfy, result.prompt_id)
    job = await comfy.jobs.get(result.prompt_id)
    assert (job.status, record.status) == ("completed", "completed")
    assert plain(job.outputs) == plain(record.outputs) == plain(result.outputs)
    assert record.outputs == result.outputs
    assert (job.execution_end_time or 0) >= (job.execution_start_time or 0) > 0
    assert result.prompt_id in {job.id for job in await anext(comfy.jobs.page(size=20))}
    assert result.prompt_id in {
        found.prompt_id async for page in comfy.history.page(size=50) for found in page
    }
    await comfy.history.delete(result.prompt_id)
    with pytest.raises(NotFoundError):
        await comfy.history.get(result.prompt_id)


async def test_live_logs(comfy: ComfySession) -> None:
    """What the server logs comes as events while it is followed."""
    events = comfy.events()
    await comfy.system.subscribe_logs()
    await comfy.run(picture(uuid.uuid4().int % 0xFFFFFF))
    async for event in events:
        if isinstance(event, LogEntries) and any("got prompt" in line["m"] for line in event.entries):
            break
    await comfy.system.subscribe_logs(enabled=False)
    await events.aclose()


async def test_unknown_things(comfy: ComfySession) -> None:
    """What a real server does not know is a NotFoundError everywhere."""
    with pytest.raises(NotFoundError):
        await comfy.jobs.get(str(uuid.uuid4()))
    with pytest.raises(NotFoundError):
        await comfy.history.get(str(uuid.uuid4()))
    with pytest.raises(NotFoundError):
        await comfy.nodes.info("NoSuchNode")
    with pytest.raises(NotFoundError, match="Nearest: checkpoints"):
        await comfy.models.list("checkpoint")
    with pytest.raises(NotFoundError):
        await comfy.userdata.get("tour/none.txt")
    with pytest.raises(NotFoundError):
        await comfy.files.read("none.png")
