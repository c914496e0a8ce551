"""A folder of workflows as apps: loaded when asked for, and again when a file changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from session_tools import picture

from comfy_async import ComfySession, ConnectError
from comfy_async._client.folder import AppFolder
from comfy_async.testing import FakeComfy


def put(folder: Path, name: str, **values: object) -> Path:
    """Write a workflow with other values."""
    graph = picture()
    graph["1"]["inputs"] |= values
    path = folder / name
    path.write_text(json.dumps(graph))
    return path


async def test_files_become_apps(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """By the names of their files; what is no workflow is named with the reason, the rest is left alone."""
    put(tmp_path, "canvas.json")
    put(tmp_path, ".hidden.json")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "folder.json").mkdir()
    folder = AppFolder(tmp_path, comfy)
    apps = await folder.apps()
    assert list(apps) == ["canvas"]
    assert list(folder.broken) == ["broken.json"]
    assert len((await apps["canvas"](width=32)).images) == 1


async def test_changes_are_seen(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """A changed file is loaded anew, one that is gone is gone, and all others stay the same object."""
    put(tmp_path, "a.json", width=16)
    path = put(tmp_path, "b.json", width=16)
    folder = AppFolder(tmp_path, comfy)
    before = await folder.apps()
    put(tmp_path, "b.json", width=64)
    os.utime(path, ns=(1, 1))
    after = await folder.apps()
    assert after["a"] is before["a"]
    assert after["b"].inputs["width"].default == 64
    path.unlink()
    put(tmp_path, "c.json")
    assert list(await folder.apps()) == ["a", "c"]


async def test_names(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """Letters that everybody takes, each once, and none that is taken already."""
    for name in ("queue.json", "a b.json", "a_b.json", "猫.json"):
        put(tmp_path, name)
    names = list(await AppFolder(tmp_path, comfy, reserved={"queue"}).apps())
    assert names == ["a_b", "a_b_2", "queue_2", "app"]


async def test_one_file(fake: FakeComfy, comfy: ComfySession, tmp_path: Path) -> None:
    """Is a folder of one."""
    assert list(await AppFolder(put(tmp_path, "one.json"), comfy).apps()) == ["one"]
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        AppFolder(tmp_path / "none", comfy)


async def test_a_server_that_is_away(free_port: int, tmp_path: Path) -> None:
    """Is nothing that is wrong with a file: it is asked again the next time."""
    put(tmp_path, "one.json")
    async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
        folder = AppFolder(tmp_path, comfy)
        with pytest.raises(ConnectError):
            await folder.apps()
        assert not folder.broken
        async with FakeComfy(port=free_port):
            assert list(await folder.apps()) == ["one"]
