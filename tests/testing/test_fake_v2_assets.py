"""API v2's assets: uploads, references, links to another origin, and hashes that come late."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import httpx
import pytest
from v2_fake import client
from v2_scenarios import UNKNOWN, image_graph, load_graph, picture, reference

from comfy_async.testing import ApiV2, FakeComfy

ASSETS, JOBS = "/api/v2/assets", "/api/v2/jobs"
RED = picture((200, 10, 20))
ASSET_KEYS = (
    "id hash size_bytes content_type file_path created_at url url_expires_at expires_at created_new"
).split()
hashed = pytest.mark.skipif(importlib.util.find_spec("blake3") is None, reason="takes the package blake3")


async def upload(http: httpx.AsyncClient, data: bytes = RED, name: str = "red.png", **fields: str) -> Any:
    """Upload a file."""
    form = {"content_type": "image/png", "file_path": name, **fields}
    return await http.post(ASSETS, data=form, files={"file": ("x", data, "image/png")})


async def run(fake: FakeComfy, http: httpx.AsyncClient, graph: Any) -> dict[str, Any]:
    """Run a job and return how it ended."""
    job = (await http.post(JOBS, json={"workflow": graph})).json()
    await fake.ended(job["id"])
    found: dict[str, Any] = (await http.get(job["urls"]["self"])).json()
    return found


async def test_an_upload_is_used_by_reference() -> None:
    """It is loaded by the graph that refers to it, wherever it was placed."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        for name in ("red.png", "input/faces/red2.png"):
            answer = await upload(http, RED + name.encode(), name)
            assert answer.status_code == 201
            assert list(answer.json()) == ASSET_KEYS
            assert answer.json()["size_bytes"] == len(RED + name.encode())
            done = await run(fake, http, load_graph(reference(answer.json())))
            assert (done["status"], len(done["outputs"])) == ("succeeded", 1)
            # An output is an input of the next job.
            again = await run(fake, http, load_graph(reference(done["outputs"][0])))
            assert again["status"] == "succeeded"
        assert [found.name for found in fake.books.uploads] == ["red.png", "faces/red2.png"]


@pytest.mark.parametrize(
    "bad", [{"id": UNKNOWN}, {}, {"hash": "blake3:00"}, {"id": 5}], ids=["unknown", "empty", "hash", "number"]
)
async def test_a_reference_that_leads_nowhere(bad: Any) -> None:
    """It is refused before anything is queued."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        workflow = load_graph({"__type": "core/ASSET", "info": bad})
        answer = await http.post(JOBS, json={"workflow": workflow})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "missing_asset")
        assert fake.books.accepted == []


async def test_models_are_uploaded_too() -> None:
    """A model's place is its folder, and its loader offers it from then on."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        answer = await upload(http, b"weights", "models/loras/mine.safetensors")
        assert answer.status_code == 201
        assert "mine.safetensors" in fake.folders.models["loras"]
        for name in ("../x.png", "/x.png", "elsewhere/x.png", ""):
            assert (await upload(http, RED, name)).status_code == 422, name


async def test_the_bytes_lie_elsewhere() -> None:
    """The way leads to another origin, by a link without a key that ends; who brings a key is caught."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        asset = (await upload(http)).json()
        moved = await http.get(asset["url"])
        assert moved.status_code == 302
        link, storage = moved.headers["Location"], fake.storage
        assert storage is not None
        assert httpx.URL(link).port != fake.port
        async with httpx.AsyncClient(trust_env=False) as stranger:
            assert (await stranger.get(link)).content == RED
            part = await stranger.get(link, headers={"Range": "bytes=4-7"})
            assert (part.status_code, part.content) == (206, RED[4:8])
            beyond = await stranger.get(link, headers={"Range": "bytes=9999-"})
            assert beyond.status_code == 416
            assert storage.leaks == []
            for header in ("Authorization", "X-API-Key"):
                assert (await stranger.get(link, headers={header: "secret"})).status_code == 400
            assert [leak.credentials for leak in storage.leaks] == [("Authorization",), ("X-API-Key",)]
            assert fake.faults.expire_links() == 1
            assert (await stranger.get(link)).status_code == 403
            fresh = (await http.get(asset["url"])).headers["Location"]
            assert (await stranger.get(fresh)).status_code == 200


async def test_signed_urls_in_the_asset_itself() -> None:
    """An asset's own url may be the signed one; asking again gives a fresh one."""
    manners = ApiV2(links="signed", url_seconds=0.0)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        asset = (await upload(http)).json()
        assert httpx.URL(asset["url"]).port != fake.port
        async with httpx.AsyncClient(trust_env=False) as stranger:
            assert (await stranger.get(asset["url"])).status_code == 403
            manners.url_seconds = 60.0
            fresh = (await http.get(f"{ASSETS}/{asset['id']}")).json()
            assert (await stranger.get(fresh["url"])).content == RED


async def test_bytes_that_are_served_here() -> None:
    """Whole, in part, and beyond the end."""
    async with FakeComfy(dialect="api-v2", api_v2=ApiV2(links="served")) as fake, client(fake) as http:
        asset = (await upload(http)).json()
        assert fake.storage is None
        whole = await http.get(asset["url"])
        assert (whole.content, whole.headers["Content-Type"]) == (RED, "image/png")
        part = await http.get(asset["url"], headers={"Range": "bytes=8-"})
        assert (part.status_code, part.content) == (206, RED[8:])
        assert (await http.get(asset["url"], headers={"Range": "bytes=9999-"})).status_code == 416


@hashed
async def test_one_content_is_known_by_its_hash() -> None:
    """It is found without bytes; the same bytes again are a record of their own over one blob."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        wrong = await upload(http, expected_hash="blake3:" + "0" * 64)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (409, "hash_mismatch")
        first = (await upload(http)).json()
        assert (await http.head(f"{ASSETS}/by-hash/{first['hash']}")).status_code == 200
        assert (await http.head(f"{ASSETS}/by-hash/blake3:{'0' * 64}")).status_code == 404
        again = await upload(http, name="other.png", expected_hash=first["hash"])
        assert (again.status_code, again.json()["created_new"]) == (200, False)
        assert (again.json()["id"] != first["id"], again.json()["file_path"]) == (True, "other.png")
        body = {"hash": first["hash"], "file_path": "third.png"}
        minted = await http.post(f"{ASSETS}/from-hash", json=body)
        assert (minted.status_code, minted.json()["created_new"]) == (201, False)
        done = await run(fake, http, load_graph(reference(minted.json())))
        assert done["status"] == "succeeded"
        assert len(fake.books.uploads) == 1


@hashed
async def test_hashes_come_late() -> None:
    """At first an asset has none, then it has."""
    manners = ApiV2(hash_after=2)
    async with FakeComfy(dialect="api-v2", api_v2=manners) as fake, client(fake) as http:
        asset = (await upload(http)).json()
        told = [(await http.get(f"{ASSETS}/{asset['id']}")).json()["hash"] for _ in range(2)]
        assert [asset["hash"], told[0]] == [None, None]
        assert told[1].startswith("blake3:")


async def test_without_blake3_there_are_no_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made up: hashes stay null, nothing is found by one, and none is held against the bytes."""
    monkeypatch.setitem(sys.modules, "blake3", None)
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        answer = await upload(http, expected_hash="blake3:" + "0" * 64)
        assert (answer.status_code, answer.json()["hash"]) == (201, None)
        assert (await http.head(f"{ASSETS}/by-hash/blake3:{'0' * 64}")).status_code == 404


async def test_deleting() -> None:
    """What a job made or still reads is in use; the rest goes once."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        asset = (await upload(http)).json()
        path = f"{ASSETS}/{asset['id']}"
        fake.hold()
        job = (await http.post(JOBS, json={"workflow": load_graph(reference(asset))})).json()
        assert (await http.delete(path)).status_code == 409
        fake.release()
        await fake.ended(job["id"])
        output = (await http.get(job["urls"]["self"])).json()["outputs"][0]
        refused = await http.delete(f"{ASSETS}/{output['id']}")
        assert refused.json()["error"]["code"] == "asset_in_use"
        assert [(await http.delete(path)).status_code for _ in range(2)] == [204, 404]
        assert (await http.get(asset["url"])).status_code == 404


async def test_uploads_that_are_refused() -> None:
    """A field that is missing, a time out of bounds, too many bytes, a key that was used."""
    async with FakeComfy(dialect="api-v2", max_upload_size=1000) as fake, client(fake) as http:
        file = {"file": ("x", RED, "image/png")}
        for data in ({"content_type": "image/png"}, {"file_path": "x.png"}):
            assert (await http.post(ASSETS, data=data, files=file)).status_code == 422
        assert (await upload(http, expires_in="59")).status_code == 422
        assert (await upload(http, bytes(2000))).status_code == 413
        headers = {"Idempotency-Key": "k"}
        form = {"content_type": "image/png", "file_path": "x.png"}
        statuses = [
            (await http.post(ASSETS, data=form, files=file, headers=headers)).status_code for _ in range(2)
        ]
        assert statuses == [201, 422]


async def test_an_upload_expires() -> None:
    """It has an end when one was asked for, and none else."""
    async with FakeComfy(dialect="api-v2") as fake, client(fake) as http:
        assert (await upload(http)).json()["expires_at"] is None
        asset = (await upload(http, expires_in="60")).json()
        assert asset["expires_at"] > asset["created_at"]
        assert fake.core.v2 is not None
        fake.core.v2.shelf.assets[asset["id"]].expires_at = 0.0
        assert (await http.get(f"{ASSETS}/{asset['id']}")).status_code == 404


async def test_a_proxy_knows_little_of_outputs() -> None:
    """Neither size nor hash, and a name that leads into the input folder."""
    async with FakeComfy(dialect="api-v2", api_v2=ApiV2.proxy()) as fake, client(fake) as http:
        output = (await run(fake, http, image_graph()))["outputs"][0]
        assert (output["size_bytes"], output["hash"]) == (0, None)
        answer = await http.post(JOBS, json={"workflow": load_graph(reference(output))})
        assert answer.json()["error"]["code"] == "invalid_workflow"
        (fake.folders.base / "output" / "v2" / output["name"]).unlink()
        gone = await http.get(output["url"])
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "output_unavailable")
