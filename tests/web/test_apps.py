"""The apps of a folder: found, named, loaded anew, and kept apart from what is none."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from web_tools import PAINT, STEPS, served

from comfy_async import App, ComfySession
from comfy_async.testing import FakeComfy
from comfy_async.web import apps, routes

SD15 = Path(__file__).parents[2] / "examples" / "workflows" / "sd15_text2image_api.json"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the folder each time."""
    monkeypatch.setattr(apps, "_LOOK_S", 0.0)


@pytest.mark.usefixtures("always")
async def test_a_folder_is_looked_after(server: FakeComfy, tmp_path: Path) -> None:
    """New files become apps, changed ones are loaded again, deleted ones go, broken ones are named."""
    (tmp_path / "Süßes Bild!.json").write_text(json.dumps(PAINT))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / ".hidden.json").write_text(json.dumps(PAINT))
    (tmp_path / "notes.txt").write_text("notes")
    async with server.session() as comfy, served(routes(tmp_path, comfy)) as web:
        listed = (await web.http.get("/apps")).json()
        assert [(one["name"], one["title"]) for one in listed["apps"]] == [("sues-bild", "Süßes Bild!")]
        assert [one["file"] for one in listed["unavailable"]] == ["broken.json"]
        assert str(tmp_path) not in json.dumps(listed)
        (tmp_path / "broken.json").write_text(json.dumps(STEPS))
        (tmp_path / "Süßes Bild!.json").unlink()
        listed = (await web.http.get("/apps")).json()
        assert [one["name"] for one in listed["apps"]] == ["broken"]
        assert listed["unavailable"] == []


async def test_a_folder_waits_for_its_comfyui(tmp_path: Path, free_port: int) -> None:
    """503 until there is a catalog, and then the apps; a folder that is not there is told at once."""
    (tmp_path / "paint.json").write_text(json.dumps(PAINT))
    async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:
        async with served(routes(tmp_path, comfy)) as web:
            assert (await web.http.get("/apps")).status_code == 503
            async with FakeComfy(port=free_port):
                assert (await web.http.get("/apps")).json()["apps"][0]["name"] == "paint"
        with pytest.raises(FileNotFoundError):
            routes(tmp_path / "none", comfy)
        with pytest.raises(ValueError, match="needs an app"):
            routes([], comfy)


async def test_an_app_with_names_waits_for_its_comfyui(free_port: int) -> None:
    """A function makes it when it is first needed: 503 until the ComfyUI is there; a broken one is named."""
    made = []
    async with ComfySession(f"http://127.0.0.1:{free_port}", connect="lazy") as comfy:

        async def paint() -> App:
            made.append(1)
            return await comfy.app(PAINT, inputs={"tint": "1.color"})

        given: dict[str, Any] = {"Paint": paint, "lost": lambda: comfy.app("lost.json")}
        async with served(routes(given, comfy)) as web:
            answer = await web.http.post("/apps/paint", json={"tint": 1})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "comfyui_away")
            async with FakeComfy(port=free_port):
                answers = [web.http.post("/apps/paint", json={"tint": n}) for n in range(3)]
                assert [one.status_code for one in await asyncio.gather(*answers)] == [202] * 3
                listed = (await web.http.get("/apps")).json()
            assert [(one["name"], one["title"]) for one in listed["apps"]] == [("paint", "Paint")]
            assert [one["file"] for one in listed["unavailable"]] == ["lost"]
            assert len(made) == 2


async def test_a_name_that_is_nearly_right(fake: FakeComfy) -> None:
    """404 with the nearest."""
    async with fake.session() as comfy, served(routes({"portrait": await comfy.app(PAINT)}, comfy)) as web:
        error = (await web.http.post("/apps/portrat", json={})).json()["error"]
        assert (error["code"], error["hint"]) == ("no_app", "Nearest: portrait.")


async def test_one_file_is_a_site_too(fake: FakeComfy) -> None:
    """With inputs that have names, types, ranges and choices."""
    async with fake.session() as comfy, served(routes(SD15, comfy)) as web:
        about = (await web.http.get("/apps/sd15-text2image-api")).json()
        inputs = {one["name"]: one for one in about["inputs"]}
        assert inputs["prompt"]["multiline"]
        assert inputs["seed"]["seed"]


async def test_alike_names_are_told_apart(fake: FakeComfy) -> None:
    """Two apps of one name have two addresses."""
    async with fake.session() as comfy:
        app = await comfy.app(PAINT)
        async with served(routes([app, app], comfy)) as web:
            listed = (await web.http.get("/apps")).json()["apps"]
            assert [one["name"] for one in listed] == ["app", "app-2"]


async def test_choices_that_are_new_on_the_server(fake: FakeComfy) -> None:
    """A model that came after the app was made can be chosen."""
    async with fake.session() as comfy:
        app = await comfy.app(SD15, inputs={"model": "4.ckpt_name"})
        async with served(routes({"paint": app}, comfy)) as web:
            fake.folders.models["checkpoints"].append("new.safetensors")
            answer = await web.http.post("/apps/paint", json={"model": "new.safetensors"})
            assert answer.status_code == 202, answer.text
            answer = await web.http.post("/apps/paint", json={"model": "none.safetensors"})
            assert answer.status_code == 422
            assert "new.safetensors" in (await web.http.get("/apps/paint")).text


def test_names_for_addresses() -> None:
    """Small letters, digits and hyphens, whatever a file is called."""
    assert apps.slug_of("../Ä b__C.(1)") == "a-b-c-1"
    assert apps.slug_of("日本") == "app"
    assert len(apps.slug_of("x" * 500)) <= 80
    assert os.sep not in apps.slug_of("a/b")
