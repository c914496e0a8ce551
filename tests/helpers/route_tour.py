"""A tour through every verb of a session's resources, and a record of the routes that it took.

It harms nobody else on a shared server: it clears nothing and stops only what it has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from comfy_async import ComfySession, NotFoundError, UnsupportedError
from comfy_async._resources._pictures import png_of_array
from comfy_async._resources._schema_runs import HistoryRecord
from comfy_async._resources.routes import Route, route_of

PNG = png_of_array(np.full((4, 4, 4), 200, dtype=np.uint8))


class Recorder(httpx.AsyncBaseTransport):
    """Sends requests as they are, and notes the routes of those that were answered with success."""

    def __init__(self, prefix: str = "") -> None:
        self.routes: set[Route] = set()
        self.unknown: set[tuple[str, str]] = set()
        self._prefix = prefix
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and note."""
        response = await self._inner.handle_async_request(request)
        path = request.url.raw_path.decode().partition("?")[0].removeprefix(self._prefix)
        route = route_of(request.method, path) or route_of(request.method, path.removeprefix("/api"))
        if route is None:
            self.unknown.add((request.method, path))
        elif response.status_code < 400:
            self.routes.add(route)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def graph(color: int) -> dict[str, Any]:
    """A small graph that every server can run."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "tour"}},
    }


async def take(comfy: ComfySession, folder: Path) -> None:
    """Go everywhere that this server can be gone to."""
    await _runs(comfy)
    await _files(comfy, folder)
    await _info(comfy)
    await _users(comfy)


async def take_assets(comfy: ComfySession, folder: Path) -> None:
    """Go through the asset system of a server that has it switched on."""
    assets = comfy.assets
    made = await assets.upload(uuid.uuid4().bytes * 9, name="tour.bin", tags=["input"])
    again = await assets.get(made.id)
    assert again.size == 144
    content_hash = again.hash or again.asset_hash
    assert content_hash is not None
    assert await assets.has(content_hash)
    assert not await assets.has("blake3:" + "0" * 64)
    other = await assets.from_hash(content_hash, name="other.bin", tags=["input"])
    assert (await assets.update(other.id, name="renamed.bin", user_metadata={"a": 1})).name == "renamed.bin"
    assert "tour" in await assets.add_tags(other.id, "tour")
    assert "tour" not in await assets.remove_tags(other.id, "tour")
    assert made.id in {found.id async for page in assets.page(size=2) for found in page}
    assert "input" in {tag.name for tag in await assets.tags()}
    assert (await assets.tag_counts(tags_all=["input"]))["input"] >= 1
    path = await assets.save(made.id, folder / "tour.bin")
    assert path.stat().st_size == 144
    assert await assets.scan(roots=["input"]) in {"started", "already_running"}
    await assets.scan_status()
    await assets.cancel_scan()
    await assets.prune()
    for asset in (made, other):
        await assets.delete(asset.id)


async def _runs(comfy: ComfySession) -> None:
    result = await comfy.run(graph(uuid.uuid4().int % 0xFFFFFF))
    await comfy.queue.remaining()
    await comfy.queue.snapshot()
    nobody = str(uuid.uuid4())
    await comfy.queue.delete(nobody)
    await comfy.queue.interrupt(nobody)
    with contextlib.suppress(NotFoundError):
        await comfy.history.get(result.prompt_id)
    await anext(comfy.history.page(size=1), None)
    await comfy.history.delete(nobody)
    with contextlib.suppress(NotFoundError):
        await comfy.jobs.get(result.prompt_id)
    await anext(comfy.jobs.page(size=1), None)
    await comfy.jobs.cancel(nobody)
    await comfy.jobs.cancel(result.prompt_id)
    await comfy.jobs.cancel(result.prompt_id, result.prompt_id)
    await result.files[0].read()


async def _files(comfy: ComfySession, folder: Path) -> None:
    face = await comfy.files.upload(PNG, subfolder="tour")
    mask = await comfy.files.upload_mask(io.BytesIO(PNG), face, subfolder="tour", name="tour-mask.png")
    assert await comfy.files.read(face.name, subfolder=face.subfolder, type="input") == PNG
    path = await comfy.files.save(mask.name, folder / "mask.png", subfolder=mask.subfolder, type="input")
    assert path.stat().st_size > 0


async def _info(comfy: ComfySession) -> None:
    await comfy.nodes.catalog()
    nodes, models, system = comfy.nodes, comfy.models, comfy.system
    calls: list[Any] = [
        nodes.info("SaveImage"),
        nodes.replacements(),
        nodes.blueprints(),
        models.folders(),
        models.list("vae"),
        models.places(),
        models.details("vae"),
        models.embeddings(),
        system.stats(),
        system.features(),
        system.free(unload_models=False, free_memory=False),
        system.extensions(),
        system.translations(),
        system.workflow_templates(),
        system.logs(),
        system.log_text(),
        system.folders(),
        system.files("output"),
        system.subscribe_logs(),
        system.subscribe_logs(enabled=False),
    ]
    for call in calls:
        # What this server has not is told by the table that the tests compare with.
        with contextlib.suppress(Exception):
            await call
    with contextlib.suppress(Exception):
        shared = await nodes.blueprints()
        await nodes.blueprint(next(iter(shared)))
    for folder, name in (("checkpoints", "tour.safetensors"), ("loras", "tour.safetensors")):
        with contextlib.suppress(Exception):
            await models.metadata(folder, name)
        with contextlib.suppress(Exception):
            await models.preview(folder, name)


async def _users(comfy: ComfySession) -> None:
    name = f"tour/{uuid.uuid4()}.txt"
    store, settings = comfy.userdata, comfy.settings_store
    await store.users()
    await store.put(name, "text")
    assert await store.get(name) == b"text"
    await store.list("tour")
    with contextlib.suppress(NotFoundError, UnsupportedError):
        await store.tree()
    await store.move(name, f"{name}.moved")
    await store.delete(f"{name}.moved")
    with contextlib.suppress(Exception):
        await store.add_user(f"tour {uuid.uuid4()}")
    await settings.set("comfy_async.tour", 1)
    await settings.update({"comfy_async.tour": None})
    assert await settings.get("comfy_async.tour") is None
    await settings.all()


async def record_of(comfy: ComfySession, prompt_id: str) -> HistoryRecord:
    """The history of a job that has just ended: it is written a moment after the last event."""
    while True:
        with contextlib.suppress(NotFoundError):
            return await comfy.history.get(prompt_id)
        await asyncio.sleep(0.02)


async def user_headers(url: str) -> dict[str, str]:
    """The header that a server with --multi-user wants, for a user made for this; else none."""
    async with ComfySession(url) as comfy:
        if (await comfy.userdata.users()).users is None:
            return {}
        return {"comfy-user": await comfy.userdata.add_user(f"tour {uuid.uuid4()}")}
