"""Uploads, masks, downloads and userdata of FakeComfy."""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from bare_client import Bare, bare, image_graph
from PIL import Image, PngImagePlugin

from comfy_async import PromptRejectedError
from comfy_async.testing import FakeComfy


def png(mode: str, colour: Any, **texts: str) -> bytes:
    """Return a small PNG with text chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.new(mode, (8, 6), colour).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


async def upload(client: Bare, name: str, content: bytes, **data: str) -> Any:
    """Upload an image and return the answer's JSON, or its status."""
    answer = await client.http.post("/upload/image", files={"image": (name, content)}, data=data)
    return answer.json() if answer.status_code == 200 else answer.status_code


async def test_a_taken_name_is_changed_unless_the_content_is_the_same() -> None:
    """Another content under a name gets a number; `overwrite` replaces what is there."""
    async with bare() as client:
        assert (await upload(client, "a.png", b"1"))["name"] == "a.png"
        assert (await upload(client, "a.png", b"1"))["name"] == "a.png"
        assert (await upload(client, "a.png", b"2"))["name"] == "a (1).png"
        assert (await upload(client, "a.png", b"3"))["name"] == "a (2).png"
        assert (await upload(client, "a.png", b"4", overwrite="1"))["name"] == "a.png"
        assert (await client.http.get("/view?filename=a.png&type=input")).content == b"4"
        assert [entry.written for entry in client.fake.books.uploads] == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", {"type": "nope"}),
        ("../a.png", {}),
        ("a.png", {"subfolder": "../x"}),
        ("a.png", {"subfolder": "/etc"}),
    ],
)
async def test_uploads_stay_inside(name: str, data: dict[str, str]) -> None:
    """What leads out of the folder, or to none, is a 400."""
    async with bare() as client:
        assert await upload(client, name, b"1", **data) == 400


@pytest.mark.parametrize("version", ["0.3.10", "0.33.0"])
async def test_a_node_opens_no_file_outside(tmp_path: Path, version: str) -> None:
    """As 0.33.0: a path is answered as a file that is not there, and so is a link that leads out."""
    await asyncio.to_thread(Image.new("RGB", (8, 8)).save, tmp_path / "me.png")
    async with FakeComfy(version=version) as fake, fake.session() as comfy:
        folder = fake.folders.of_type("input")
        assert folder is not None
        (folder / "link.png").symlink_to(tmp_path / "me.png")
        up = f"{'../' * len(folder.parents)}{tmp_path / 'me.png'}".replace("//", "/")
        for name in (str(tmp_path / "me.png"), up, f"{up} [input]", "link.png", "x\0.png"):
            graph = {
                "1": {"class_type": "LoadImage", "inputs": {"image": name}},
                "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
            }
            with pytest.raises(PromptRejectedError, match="Invalid image file"):
                await comfy.submit(graph)


async def test_an_asset_stays_inside(tmp_path: Path) -> None:
    """Its name is a name, whatever the client says."""
    async with bare(version="0.45.2") as client:
        data = {"tags": '["input"]', "name": str(tmp_path / "a.png")}
        answer = await client.http.post("/api/assets", files={"file": ("a.png", b"1")}, data=data)
        assert answer.json()["name"] == "a.png"
    assert not os.listdir(tmp_path)


async def test_an_upload_without_a_file() -> None:
    """A form without an image is a 400, for masks too."""
    async with bare() as client:
        for route in ("image", "mask"):
            assert (await client.http.post(f"/upload/{route}", data={"type": "input"})).status_code == 400


async def test_an_upload_that_is_too_large() -> None:
    """More than `max_upload_size` is a 413, which /features announces."""
    async with bare(max_upload_size=1000) as client:
        assert (await client.get("/features"))["max_upload_size"] == 1000
        assert await upload(client, "a.png", b"x" * 2000) == 413


async def test_a_mask_becomes_the_alpha_of_its_picture() -> None:
    """The masked picture keeps pixels and text chunks of the original."""
    reference = json.dumps({"filename": "a.png", "type": "input", "subfolder": ""})
    mask = {"image": ("masked.png", png("RGBA", (0, 0, 0, 77)))}
    async with bare() as client:
        await upload(client, "a.png", png("RGB", (1, 2, 3), workflow="w"))
        answer = await client.http.post("/upload/mask", files=mask, data={"original_ref": reference})
        assert answer.json() == {"name": "masked.png", "subfolder": "", "type": "input"}
        content = (await client.http.get("/view?filename=masked.png&type=input")).content
        for wrong, status in (
            (("type", "nope"), 400),
            (("filename", "../a"), 400),
            (("subfolder", "../x"), 403),
        ):
            bad = json.dumps({"filename": "a.png", "type": "input"} | {wrong[0]: wrong[1]})
            refused = await client.http.post("/upload/mask", files=mask, data={"original_ref": bad})
            assert refused.status_code == status
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.getpixel((0, 0)) == (1, 2, 3, 77)
        assert picture.info["workflow"] == "w"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("filename=", 400),
        ("filename=/etc/passwd", 400),
        ("filename=a..png", 400),
        ("filename=a.png&type=nope", 400),
        ("filename=a.png&subfolder=../..", 403),
        ("filename=a.png", 404),
        ("filename=blake3:00", 404),
    ],
)
async def test_views_that_are_refused(query: str, status: int) -> None:
    """Every bad query gets ComfyUI's status, with nothing in the body."""
    async with bare() as client:
        answer = await client.http.get(f"/view?{query}")
    assert (answer.status_code, answer.content) == (status, b"")


async def test_views_of_parts_and_kinds() -> None:
    """Ranges, previews, channels and annotated names."""
    async with bare() as client:
        await upload(client, "a.png", png("RGBA", (10, 20, 30, 40)))
        view = "/view?filename=a.png&type=input"
        whole = await client.http.get(view)
        part = await client.http.get("/view?filename=a.png [input]", headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, b"PNG")
        assert whole.headers["Content-Type"] == "image/png"
        assert whole.headers["Content-Disposition"] == 'filename="a.png"'
        kinds = {}
        for query in ("preview=webp;50", "preview=jpeg", "preview=gif", "channel=rgb", "channel=a"):
            answer = await client.http.get(f"{view}&{query}")
            with Image.open(io.BytesIO(answer.content)) as picture:
                kinds[query] = (answer.headers["Content-Type"], picture.mode, picture.size)
    assert kinds == {
        "preview=webp;50": ("image/webp", "RGBA", (8, 6)),
        "preview=jpeg": ("image/jpeg", "RGB", (8, 6)),
        "preview=gif": ("image/webp", "RGBA", (8, 6)),
        "channel=rgb": ("image/png", "RGB", (8, 6)),
        "channel=a": ("image/png", "RGBA", (8, 6)),
    }


async def test_files_of_a_folder() -> None:
    """/internal/files lists names with their type, and refuses other words."""
    async with bare() as client:
        await client.run(image_graph())
        assert await client.get("/internal/files/output") == ["small_00001_.png [output]"]
        assert (await client.http.get("/internal/files/secret")).status_code == 400


async def test_userdata() -> None:
    """Files are written, read, listed in three forms, moved and deleted, and stay inside."""
    async with bare() as client:
        http = client.http
        await http.post("/userdata/a%2Fb%2Fc.json", content=b"[1]")
        await http.post("/userdata/a%2Fd.json", content=b"[2]")
        assert (await http.get("/userdata/a%2Fb%2Fc.json")).json() == [1]
        assert sorted(await client.get("/userdata?dir=a&recurse=true")) == ["b/c.json", "d.json"]
        assert await client.get("/userdata?dir=a") == ["d.json"]
        assert await client.get("/userdata?dir=a%2Fb&split=true") == [["c.json", "c.json"]]
        info = (await http.post("/userdata/a%2Fd.json?full_info=true", content=b"[22]")).json()
        assert (info["path"], info["size"]) == ("a/d.json", 4)
        assert [entry["path"] for entry in await client.get("/v2/userdata?path=a")] == [
            "a/b",
            "a/b/c.json",
            "a/d.json",
        ]
        moved = "/userdata/a%2Fd.json/move/a%2Fe.json?overwrite=false"
        assert (await http.post(moved)).json() == "a/e.json"
        assert (await http.post(moved)).status_code == 404
        assert (
            await http.post("/userdata/a%2Fe.json/move/a%2Fb%2Fc.json?overwrite=false")
        ).status_code == 409
        assert (await http.delete("/userdata/a%2Fe.json")).status_code == 204
        statuses = {
            path: (await http.get(path)).status_code
            for path in (
                "/userdata",
                "/userdata?dir=..%2F..",
                "/userdata/a%2Fe.json",
                "/userdata/..%2F..%2Fx",
            )
        }
        assert list(statuses.values()) == [400, 403, 404, 403]
        for path, status in (("..%2F..", 400), ("nope", 404), ("a%2Fb%2Fc.json", 400)):
            assert (await http.get(f"/v2/userdata?path={path}")).status_code == status
        for method, path in (("POST", ""), ("DELETE", ""), ("POST", "/move/x")):
            assert (await http.request(method, f"/userdata/..%2F..%2Fx{path}")).status_code == 403
        assert (await http.delete("/userdata/a%2Fe.json")).status_code == 404


async def test_settings() -> None:
    """Settings are changed one by one or several at once; an unknown one is null."""
    async with bare() as client:
        await client.http.post("/settings", json={"a": 1, "b": [2]})
        await client.http.post("/settings/c", json="three")
        assert [await client.get(f"/settings/{name}") for name in "abcd"] == [1, [2], "three", None]


async def test_several_users() -> None:
    """With `multi_user` the header decides whose data it is; nobody's is a 500."""
    async with bare(multi_user=True) as client:
        user = (await client.http.post("/users", json={"username": "Zoë"})).json()
        assert (await client.http.post("/users", json={"username": "Zoë"})).status_code == 400
        assert (await client.http.post("/users", json={"username": " "})).status_code == 400
        assert (await client.get("/users"))["users"] == {"default": "default", user: "Zoë"}
        headers = {"comfy-user": user}
        await client.http.post("/settings/a", json=1, headers=headers)
        assert (await client.http.get("/settings/a", headers=headers)).json() == 1
        assert await client.get("/settings/a") is None
        assert (await client.http.get("/settings", headers={"comfy-user": "x"})).status_code == 500
