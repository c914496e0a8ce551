"""Models, system, users and settings of a server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from session_tools import picture

from comfy_async import (
    ComfySession,
    LogEntries,
    NotComfyUIError,
    NotFoundError,
    ResponseError,
    UnsupportedError,
)
from comfy_async._resources.system import SystemStats
from comfy_async._resources.userdata import UserData
from comfy_async.testing import FakeComfy

SUBSCRIBE = "/internal/logs/subscribe"
SAMPLES = Path(__file__).parent.parent / "data" / "rest_samples.jsonl"


async def test_models() -> None:
    """Kinds of models, the models of a kind, and their names with either slash."""
    models = {"loras": ["anime\\lines.safetensors", "detail.safetensors"], "embeddings": ["bad.pt"]}
    async with FakeComfy(models=models) as fake, fake.session() as comfy:
        assert {"loras", "embeddings"} <= set(await comfy.models.folders())
        assert await comfy.models.list("loras") == ("anime\\lines.safetensors", "detail.safetensors")
        assert await comfy.models.embeddings() == ("bad",)
        for name in ("anime/lines.safetensors", "anime\\lines.safetensors"):
            assert await comfy.models.resolve("loras", name) == "anime\\lines.safetensors"
        with pytest.raises(NotFoundError, match=r"detail\.safetensors"):
            await comfy.models.resolve("loras", "detial.safetensors")
        with pytest.raises(NotFoundError, match="Nearest: loras"):
            await comfy.models.list("lora")
        assert (await comfy.models.details("loras"))[1].name == "detail.safetensors"
        assert "loras" in {place.name for place in await comfy.models.places()}


async def test_model_metadata(fake: FakeComfy, comfy: ComfySession) -> None:
    """The header of a safetensors file, or an error for what has none."""
    fake.folders.model_metadata["loras", "a/b.safetensors"] = {"ss_steps": "7"}
    assert await comfy.models.metadata("loras", "a/b.safetensors") == {"ss_steps": "7"}
    with pytest.raises(NotFoundError):
        await comfy.models.metadata("loras", "no.safetensors")


async def test_cloud_models() -> None:
    """Comfy Cloud lists its models by another route."""
    async with FakeComfy(mode="cloud", models={"loras": ["x.safetensors"]}) as fake, fake.session() as comfy:
        assert "loras" in await comfy.models.folders()
        assert await comfy.models.list("loras") == ("x.safetensors",)


async def test_stats_and_features(comfy: ComfySession) -> None:
    """What the machine is, and what the server announces."""
    stats = await comfy.system.stats()
    assert stats.system.comfyui_version == comfy.server.version
    assert stats.devices[0].name == "cpu"
    features = await comfy.system.features()
    assert comfy.server.max_upload_size == features["max_upload_size"]


async def test_features_of_an_old_server() -> None:
    """A server that came before `features` says which version has them."""
    async with FakeComfy(mode="old") as fake, fake.session() as comfy:
        with pytest.raises(UnsupportedError) as caught:
            await comfy.system.features()
        assert caught.value.needs == "0.3.45"


async def test_free(fake: FakeComfy, comfy: ComfySession) -> None:
    """The server is told to let go of its models."""
    await comfy.system.free()
    assert fake.books.count("POST", "/free") == 1


async def test_what_packs_bring(comfy: ComfySession) -> None:
    """Extensions, translations and templates come as the server lists them."""
    assert isinstance(await comfy.system.extensions(), tuple)
    assert isinstance(await comfy.system.translations(), dict)
    assert isinstance(await comfy.system.workflow_templates(), dict)


async def test_logs(comfy: ComfySession) -> None:
    """The log can be read in lines or as a text."""
    await comfy.run(picture())
    logs = await comfy.system.logs()
    assert any("got prompt" in line.text for line in logs.entries)
    assert logs.entries[0].time
    assert "got prompt" in str(logs)
    assert "got prompt" in await comfy.system.log_text()


async def test_logs_live(fake: FakeComfy, comfy: ComfySession) -> None:
    """After a subscription log lines come as events, and again after the socket was lost."""
    seen: asyncio.Queue[LogEntries] = asyncio.Queue()

    async def read() -> None:
        async for event in comfy.system.follow_logs():
            seen.put_nowait(event)

    reader = asyncio.create_task(read())
    await fake.wait_for(lambda books: books.count("PATCH", SUBSCRIBE) == 1)
    await comfy.run(picture(1))
    assert (await seen.get()).entries
    fake.core.log_listeners.clear()
    fake.faults.drop_sockets("reset")
    await fake.wait_for(lambda books: books.count("PATCH", SUBSCRIBE) == 2)
    while not seen.empty():
        seen.get_nowait()
    await comfy.run(picture(2))
    assert "m" in (await seen.get()).entries[0]
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


async def test_logs_come_by_events(fake: FakeComfy, comfy: ComfySession) -> None:
    """Whoever reads `events()` sees the log lines too, until they are unsubscribed."""
    events = comfy.events()
    await comfy.system.subscribe_logs()
    await comfy.run(picture(1))
    async for event in events:
        if isinstance(event, LogEntries):
            break
    await comfy.system.subscribe_logs(enabled=False)
    assert not fake.core.log_listeners


async def test_logs_where_there_are_none(fake: FakeComfy) -> None:
    """Without a socket, or behind a gateway that closes /internal, the error says so."""
    async with fake.session(transport="poll") as comfy:
        with pytest.raises(UnsupportedError, match="WebSocket"):
            await comfy.system.subscribe_logs()
    async with FakeComfy(mode="cloud") as cloud, cloud.session() as comfy:
        for call in (comfy.system.logs, comfy.system.log_text, comfy.system.folders, comfy.system.files):
            with pytest.raises(UnsupportedError, match="internal"):
                await call()


async def test_folders_and_files(comfy: ComfySession) -> None:
    """The server's folders, and the files in them without their mark."""
    await comfy.run(picture(prefix="shown"))
    assert "checkpoints" in await comfy.system.folders()
    assert (await comfy.system.files("output"))[0] == "shown_00001_.png"
    await comfy.files.upload(b"x", name="x.bin")
    assert await comfy.system.files("input") == ("x.bin", "example.png")


async def test_userdata(comfy: ComfySession) -> None:
    """Files are written, listed, read, moved and deleted; their slashes are part of the name."""
    store = comfy.userdata
    with pytest.raises(NotFoundError):
        await store.list("workflows")
    written = await store.put("workflows/a b/x.json", {"nodes": []})
    assert written.path.endswith("x.json")
    assert json.loads(await store.get("workflows/a b/x.json")) == {"nodes": []}
    with pytest.raises(ResponseError, match="overwrite=True") as caught:
        await store.put("workflows/a b/x.json", b"other", overwrite=False)
    assert caught.value.status == 409
    assert [file.path for file in await store.list()] == ["a b/x.json"]
    assert await store.list(recursive=False) == ()
    assert "workflows" in {entry.path for entry in await store.tree() if entry.type == "directory"}
    assert (await store.move("workflows/a b/x.json", "workflows/y.json")).path == "workflows/y.json"
    await store.put("workflows/z.json", "text")
    with pytest.raises(ResponseError):
        await store.move("workflows/z.json", "workflows/y.json")
    await store.move("workflows/z.json", "workflows/y.json", overwrite=True)
    assert await store.get("workflows/y.json") == b"text"
    await store.delete("workflows/y.json")
    with pytest.raises(NotFoundError):
        await store.get("workflows/y.json")


async def test_settings(comfy: ComfySession) -> None:
    """Settings are read and changed one by one or together, null included."""
    store = comfy.settings_store
    await store.set("Comfy.Test", {"a": [1]})
    await store.update({"Comfy.Other": 7, "Comfy.Third": True})
    await store.set("Comfy.Other", None)
    assert await store.get("Comfy.Test") == {"a": [1]}
    assert await store.get("Comfy.Nope") is None
    everything = await store.all()
    assert everything["Comfy.Other"] is None
    assert everything["Comfy.Third"] is True


async def test_several_users() -> None:
    """With --multi-user each has files and settings of their own."""
    async with FakeComfy(multi_user=True) as fake, fake.session() as comfy:
        anna = await comfy.userdata.add_user("Anna")
        assert (await comfy.userdata.users()).users == {"default": "default", anna: "Anna"}
        with pytest.raises(ResponseError, match="Duplicate"):
            await comfy.userdata.add_user("Anna")
        hers: UserData = comfy.userdata.as_user(anna)
        await hers.put("notes.txt", "mine")
        await comfy.settings_store.as_user(anna).set("x", 1)
        assert await comfy.settings_store.get("x") is None
        with pytest.raises(NotFoundError):
            await comfy.userdata.get("notes.txt")
        async with fake.session(headers={"comfy-user": anna}) as session:
            assert await session.userdata.get("notes.txt") == b"mine"
            assert (await session.settings_store.all())["x"] == 1


async def test_one_user(comfy: ComfySession) -> None:
    """A server with one user names none."""
    users = await comfy.userdata.users()
    assert (users.storage, users.users) == ("server", None)


async def test_assets_switched_off(comfy: ComfySession) -> None:
    """Where the asset system is off, the error says how to switch it on; nothing is tried again."""
    with pytest.raises(UnsupportedError, match="--enable-assets"):
        await anext(comfy.assets.page())
    with pytest.raises(UnsupportedError):
        await comfy.assets.upload(b"x", tags=["input"])
    with pytest.raises(UnsupportedError):
        await comfy.assets.tags()


def recorded(method: str, path: str) -> object:
    """The body that a real 0.33.0 answered."""
    for line in SAMPLES.read_text().splitlines():
        sample = json.loads(line)
        if (sample["http"]["method"], sample["http"]["path"]) == (method, path):
            return sample["body"]
    raise LookupError(path)


async def test_recordings_fit_the_models(comfy: ComfySession) -> None:
    """What a real server answered is read without loss, fields that no model names included."""
    from comfy_async._resources._schema_runs import HistoryRecord, JobsPage
    from comfy_async._resources._schema_server import LogSnapshot, TreeEntry, UserFile, Users

    stats = SystemStats.model_validate(recorded("GET", "/system_stats"))
    assert stats.model_dump(mode="json", exclude_unset=True) == recorded("GET", "/system_stats")
    page = JobsPage.model_validate(recorded("GET", "/api/jobs?limit=2"))
    assert page.model_dump(mode="json", exclude_unset=True) == recorded("GET", "/api/jobs?limit=2")
    logs = LogSnapshot.model_validate(recorded("GET", "/internal/logs/raw"))
    assert logs.entries
    assert Users.model_validate(recorded("GET", "/users")).migrated
    tree = recorded("GET", "/v2/userdata")
    assert isinstance(tree, list)
    assert [TreeEntry.model_validate(entry).type for entry in tree] == ["file"]
    files = recorded("GET", "/userdata?dir=workflows&recurse=true&full_info=true")
    assert isinstance(files, list)
    assert UserFile.model_validate(files[0]).size == 2
    history = recorded("GET", "/history?max_items=1")
    assert isinstance(history, dict)
    ((prompt_id, entry),) = history.items()
    record = HistoryRecord.model_validate(HistoryRecord.of_entry(prompt_id, entry))
    assert (record.status, record.outputs) == ("completed", entry["outputs"])


def test_new_fields_are_kept() -> None:
    """A field that a later version adds can be read, and fields that it drops are no error."""
    stats = SystemStats.model_validate({"system": {"os": "linux", "npu": 1}, "cluster": "a"})
    assert stats.model_extra == {"cluster": "a"}
    assert stats.system.model_extra == {"npu": 1}


@pytest.mark.parametrize("body", ["[]", '{"system": 5}', '{"devices": [3]}'])
async def test_another_shape(fake: FakeComfy, comfy: ComfySession, body: str) -> None:
    """An answer of another shape is told with the place, and is no validation error of pydantic's."""
    fake.faults.fail("GET", "/system_stats", 200, json=json.loads(body), count=1)
    with pytest.raises(NotComfyUIError, match="another shape"):
        await comfy.system.stats()
