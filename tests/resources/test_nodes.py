"""The node classes of a server: one of them, or all, fetched once however many ask."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawRequest, raw_server, reply

from comfy_async import (
    ComfySession,
    NodeCatalog,
    NotComfyUIError,
    NotFoundError,
    PromptRejectedError,
    UnsupportedError,
    Workflow,
)
from comfy_async._base.json import parse_large_json
from comfy_async._client.session import engine_of
from comfy_async.testing import FakeComfy


def files_in(folder: Path) -> list[Path]:
    """What lies in a folder."""
    return list(folder.iterdir())


async def test_info(comfy: ComfySession) -> None:
    """One class comes typed; an unknown one is an error that says so."""
    sampler = await comfy.nodes.info("KSampler")
    assert [spec.name for spec in sampler.inputs][:2] == ["model", "seed"]
    with pytest.raises(NotFoundError, match="no node class 'No/Such'"):
        await comfy.nodes.info("No/Such")


async def test_catalog_is_fetched_once(fake: FakeComfy, comfy: ComfySession) -> None:
    """However many ask at once, the server is asked once; one that gives up harms nobody."""
    fake.faults.delay("GET", "/object_info", 0.05)
    impatient = asyncio.create_task(comfy.nodes.catalog())
    others = [asyncio.create_task(comfy.nodes.catalog()) for _ in range(5)]
    await fake.wait_for(lambda books: books.count("GET", "/object_info"))
    impatient.cancel()
    catalogs = await asyncio.gather(*others)
    assert "KSampler" in catalogs[0]
    assert all(catalog is catalogs[0] for catalog in catalogs)
    assert await comfy.nodes.catalog() is catalogs[0]
    assert fake.books.count("GET", "/object_info") == 1
    assert await comfy.nodes.catalog(refresh=True) is not catalogs[0]
    assert fake.books.count("GET", "/object_info") == 2


async def test_catalog_after_a_failure(fake: FakeComfy, comfy: ComfySession) -> None:
    """A failed fetch is raised to those who wait, and the next one asks anew."""
    fake.faults.fail("GET", "/object_info", 500, count=1)
    with pytest.raises(Exception, match="500"):
        await comfy.nodes.catalog()
    assert len(await comfy.nodes.catalog()) > 10


async def test_catalog_on_disk(fake: FakeComfy, tmp_path: Path) -> None:
    """A cache on disk spares the next session the fetch, unless it is damaged or told to refresh."""
    for _ in range(2):
        async with fake.session() as comfy:
            assert "KSampler" in await comfy.nodes.catalog(cache=tmp_path)
    assert fake.books.count("GET", "/object_info") == 1
    (kept,) = files_in(tmp_path)
    assert "0.33.0" in kept.name
    kept.write_bytes(b"damage")
    async with fake.session() as comfy:
        assert "KSampler" in await comfy.nodes.catalog(cache=tmp_path)
        await comfy.nodes.catalog(cache=tmp_path, refresh=True)
    assert fake.books.count("GET", "/object_info") == 3
    assert files_in(tmp_path) == [kept]


async def test_cache_of_many_sessions_at_once(fake: FakeComfy, tmp_path: Path) -> None:
    """Sessions of one process write one file, and none is in another's way."""
    sessions = [fake.session() for _ in range(8)]
    try:
        for _ in range(4):
            await asyncio.gather(*(one.nodes.catalog(refresh=True, cache=tmp_path) for one in sessions))
    finally:
        for one in sessions:
            await one.aclose()
    (kept,) = files_in(tmp_path)
    assert "KSampler" in NodeCatalog.load(kept)


async def test_cache_is_by_version(tmp_path: Path) -> None:
    """Another version of the server, or another server, has a catalog of its own."""
    async with FakeComfy() as new, FakeComfy(version="0.3.64") as old:
        for server in (new, old):
            async with server.session() as comfy:
                await comfy.nodes.catalog(cache=tmp_path)
    assert len(files_in(tmp_path)) == 2


async def test_catalog_of_another_shape() -> None:
    """What is no object_info is not taken for an empty server."""

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(json.dumps(["KSampler"]).encode(), type_="application/json"))

    async with raw_server(answer) as server, ComfySession(server.url) as comfy:
        with pytest.raises(NotComfyUIError, match="object_info"):
            await comfy.nodes.catalog()
        with pytest.raises(NotFoundError):
            await comfy.nodes.info("KSampler")


async def test_large_catalogs_are_parsed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of object_info do not hold up the event loop."""
    threads: list[Any] = []
    to_thread = asyncio.to_thread

    async def noted(function: Any, *args: Any) -> Any:
        threads.append(function)
        return await to_thread(function, *args)

    async def answer(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        spec = {"input": {}, "output": [], "description": "x" * 1000}
        body = json.dumps({f"Node{n}": spec for n in range(1000)}).encode()
        writer.write(reply(body, type_="application/json"))

    monkeypatch.setattr(asyncio, "to_thread", noted)
    async with raw_server(answer) as server, ComfySession(server.url) as comfy:
        assert len(await comfy.nodes.catalog()) == 1000
    assert parse_large_json in threads


async def test_known_classes_serve_advice(comfy: ComfySession) -> None:
    """Once the catalog is known, a refused class comes with the nearest ones."""
    workflow = Workflow.load({"1": {"class_type": "KSamplr", "inputs": {}}})
    assert engine_of(comfy).resources.known_classes == ()
    await comfy.nodes.catalog()
    with pytest.raises(PromptRejectedError) as caught:
        await comfy.submit(workflow)
    assert "KSampler" in caught.value.problems[0].nearest


async def test_replacements_and_blueprints(fake: FakeComfy, comfy: ComfySession) -> None:
    """Node replacements and shared subgraphs can be read."""
    assert isinstance(await comfy.nodes.replacements(), dict)
    served = fake.core.served["global_subgraphs"]
    served["abc"] = {"source": "pack", "name": "Upscale", "info": {"node_pack": "p"}, "data": "{}"}
    found = (await comfy.nodes.blueprints())["abc"]
    assert (found.name, found.data) == ("Upscale", None)
    assert (await comfy.nodes.blueprint("abc")).data == "{}"
    with pytest.raises(NotFoundError):
        await comfy.nodes.blueprint("nope")


async def test_replacements_of_an_old_server() -> None:
    """A server that came before says which version has them."""
    async with FakeComfy(mode="old") as fake, fake.session() as comfy:
        with pytest.raises(UnsupportedError) as caught:
            await comfy.nodes.replacements()
        assert caught.value.needs == "0.14.0"
