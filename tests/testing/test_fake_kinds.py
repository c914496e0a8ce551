"""The servers that FakeComfy can play: old ones, gateways, the cloud, odd addresses."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import websockets
from bare_client import Graph, bare, image_graph, sampler_graph, text_graph

from comfy_async import testing
from comfy_async.testing import FakeComfy, Gatekeeper, serve
from comfy_async.testing._capabilities import Capabilities


async def test_an_old_server() -> None:
    """No jobs API, no ids of the client's, no flags, and an empty list for no errors."""
    prompt_id = str(uuid.uuid4())
    async with bare(mode="old") as client, client.socket(negotiates=False) as socket:
        answer = (await client.post(text_graph(), prompt_id=prompt_id, client_id="me")).json()
        assert answer["prompt_id"] != prompt_id
        assert answer["node_errors"] == []
        frames = await socket.until("end")
        for path in ("/api/jobs", "/features", "/node_replacements", "/api/assets"):
            assert (await client.http.get(path)).status_code == 404
        assert (await client.get("/system_stats"))["system"]["comfyui_version"] == "0.3.26"
        history = (await client.get("/history?max_items=1&offset=5"))[answer["prompt_id"]]
    assert "progress_state" not in {frame["type"] for frame in frames}
    assert history["prompt"][3] == {"client_id": "me"}


async def test_an_old_server_interrupts_whatever_runs() -> None:
    """Without targeted interrupts the id in the body means nothing."""
    async with bare(version="0.3.56") as client:
        with client.fake.gate("KSampler", step=1) as gate:
            running = await client.submit(sampler_graph(), prompt_id=str(uuid.uuid4()))
            await gate.reached()
            await client.http.post("/interrupt", json={"prompt_id": "another"})
        await client.fake.ended(running)
        assert client.fake.books.ends(running) == ["interrupted"]


async def test_old_words_for_errors() -> None:
    """A missing class was once an `invalid_prompt`, and a cycle a recursion too deep."""
    cycle: Graph = {
        "1": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    async with bare(version="0.11.0") as client:
        body = (await client.post({"1": {"class_type": "Nope", "inputs": {}}})).json()
        assert body["error"]["type"] == "invalid_prompt"
        body = (await client.post(cycle)).json()
        assert body["node_errors"]["1"]["errors"][0]["extra_info"]["exception_type"] == "RecursionError"
        assert await client.submit(text_graph(), prompt_id="any id") == "any id"


async def test_very_old_servers_have_no_api_prefix() -> None:
    """Before /api there was none, and no execution_success either."""
    async with bare(version="0.0.0") as client, client.socket(negotiates=False) as socket:
        entry = await client.run(text_graph(), client_id="me")
        frames = await socket.until("end")
        assert (await client.http.get("/api/prompt")).status_code == 404
    assert "execution_success" not in {frame["type"] for frame in frames}
    assert [name for name, _ in entry["status"]["messages"]] == ["execution_start", "execution_cached"]


async def test_single_features_can_be_left_out() -> None:
    """`without` takes one feature away from a new server."""
    async with bare(without=["jobs_cancel"]) as client:
        prompt_id = await client.submit(text_graph())
        assert (await client.http.post(f"/api/jobs/{prompt_id}/cancel")).status_code == 404
        assert (await client.http.get("/api/jobs")).status_code == 200
    with pytest.raises(ValueError, match="no such feature: teleport"):
        FakeComfy(without=["teleport"])


@pytest.mark.parametrize(
    ("version", "feature", "has"),
    [
        ("0.3.45", "feature_flags", True),
        ("v0.3.44", "feature_flags", False),
        ("1.0.0-dev", "jobs_cancel", True),
    ],
)
def test_versions(version: str, feature: str, has: bool) -> None:
    """Versions compare by number, whatever is written around them."""
    assert Capabilities.of(version).has(feature) == has


@pytest.mark.parametrize(
    ("keeper", "options"),
    [
        (Gatekeeper(bearer="b"), {"headers": {"Authorization": "Bearer b"}}),
        (Gatekeeper(basic=("u", "p")), {"auth": httpx.BasicAuth("u", "p")}),
        (Gatekeeper(headers={"X-Key": "k"}), {"headers": {"x-key": "k"}}),
        (Gatekeeper(token="t"), {"params": {"token": "t"}}),
        (Gatekeeper(cookies={"c": "1"}), {"headers": {"Cookie": "c=1"}}),
    ],
)
async def test_gatekeepers(keeper: Gatekeeper, options: Any) -> None:
    """Each kind of key lets in, and nothing else does, by HTTP or WebSocket."""
    async with bare(auth=keeper) as client:
        assert (await client.http.get("/prompt")).status_code == 401
        assert (await client.http.get("/prompt", **options)).status_code == 200
        with pytest.raises(websockets.InvalidStatus):
            async with client.socket():
                pass
        client.fake.auth = renewed = Gatekeeper(bearer="renewed", status=403)
        assert "renewed" not in repr(renewed)
        assert (await client.http.get("/prompt", **options)).status_code == 403
        client.fake.auth = None
        assert (await client.http.get("/prompt")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://127.0.0.1:1"}],
)
async def test_foreign_pages_are_refused(headers: dict[str, str]) -> None:
    """A browser's page of another origin gets a 403, as on loopback; the own origin does not."""
    async with bare() as client:
        assert (await client.http.get("/prompt", headers=headers)).status_code == 403
        own = {"Origin": client.fake.url}
        assert (await client.http.get("/prompt", headers=own)).status_code == 200


async def test_a_path_prefix() -> None:
    """Everything is under the prefix, with /api and without, and the books leave it out."""
    async with bare(prefix="/a/b/") as client, client.socket() as socket:
        assert client.fake.url.endswith("/a/b")
        await client.run(text_graph(), client_id="me")
        await socket.until("end")
        assert (await client.http.get("/api/jobs")).status_code == 200
        assert client.fake.books.count("POST", "/prompt") == 1
        assert client.fake.books.count("GET", "/api/jobs") == 1
        root = client.fake.url.removesuffix("/a/b")
        assert (await client.http.get(f"{root}/prompt")).status_code == 404
        assert client.fake.books.log[-1] == ("GET", "/prompt", 404)


async def test_tls_and_ipv6() -> None:
    """https with wss, on an IPv6 address."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("::1").configure_cert(server)
    authority.configure_trust(client)
    async with FakeComfy(host="::1", ssl_context=server) as fake:
        assert fake.url == f"https://[::1]:{fake.port}"
        async with httpx.AsyncClient(base_url=fake.url, verify=client) as http:
            assert (await http.get("/prompt")).status_code == 200
        async with websockets.connect(f"wss://[::1]:{fake.port}/ws", ssl=client) as socket:
            assert '"sid"' in str(await socket.recv())


async def test_logs_and_the_rest() -> None:
    """Subscribed clients get log lines at once; the other routes answer what they are given."""
    async with bare() as client, client.socket() as socket:
        subscription = {"clientId": "me", "enabled": True}
        await client.http.patch("/internal/logs/subscribe", json=subscription)
        await client.http.post("/prompt", json={})
        frame = (await socket.until("logs"))[-1]
        assert frame["data"]["size"] == {"cols": 80, "rows": 24}
        assert "got prompt" in frame["data"]["entries"][0]["m"]
        await client.http.post("/prompt", json={})
        assert (await socket.next())["data"]["size"] is None
        await client.http.patch("/internal/logs/subscribe", json=subscription | {"enabled": False})
        await client.http.post("/prompt", json={})
        assert await socket.hears_nothing()
        assert "got prompt" in await client.get("/internal/logs")
        client.fake.served["global_subgraphs"]["x"] = {"source": "s", "name": "n", "info": {}, "data": "{}"}
        assert (await client.get("/global_subgraphs"))["x"]["data"] is None
        assert (await client.get("/global_subgraphs/x"))["data"] == "{}"
        assert await client.get("/global_subgraphs/y") is None
        client.fake.folders.models["embeddings"] = ["bad.pt"]
        client.fake.folders.model_metadata["vae", "v.safetensors"] = {"a": "b"}
        assert await client.get("/embeddings") == ["bad"]
        assert await client.get("/view_metadata/vae?filename=v.safetensors") == {"a": "b"}
        assert (await client.get("/experiment/models/embeddings"))[0]["name"] == "bad.pt"
        assert (await client.http.get("/experiment/models/nope")).status_code == 404
        assert {entry["name"] for entry in await client.get("/experiment/models")} >= {"vae", "loras"}
        assert await client.get("/extensions") == []
        assert await client.get("/workflow_templates") == await client.get("/api/i18n") == {}
        assert "KSampler" in await client.get("/object_info")
        assert "vae" in await client.get("/internal/folder_paths")
        assert "<title>ComfyUI</title>" in (await client.http.get("/")).text


async def test_only_an_object_is_a_first_message() -> None:
    """Noise before the feature flags does no harm, another message ends the negotiation."""
    flags = '{"type": "feature_flags", "data": {}}'
    async with bare() as client:
        async with client.socket(negotiates=False) as socket:
            for text in ("no json", "[]", flags):
                await socket.connection.send(text)
            assert (await socket.next())["type"] == "feature_flags"
        async with client.socket(negotiates=False) as socket:
            for text in ('{"type": "hello"}', flags):
                await socket.connection.send(text)
            assert await socket.hears_nothing()


async def test_head_and_options() -> None:
    """A GET may be asked for as HEAD, and a pre-flight request is answered."""
    async with bare() as client:
        assert (await client.http.head("/prompt")).status_code == 200
        assert (await client.http.options("/prompt")).status_code == 200


async def test_own_models() -> None:
    """`models` replaces the stand-ins, in lists and in validation."""
    async with bare(models={"checkpoints": ["mine.safetensors"]}) as client:
        assert await client.get("/models/checkpoints") == ["mine.safetensors"]
        body = (await client.post(sampler_graph())).json()
    assert body["node_errors"]["4"]["errors"][0]["type"] == "value_not_in_list"


async def test_starting_twice_and_a_taken_port(tmp_path: Path) -> None:
    """A second start says so, a taken port is the system's error, and only own outputs stay behind."""
    async with FakeComfy(output_dir=tmp_path / "out") as fake:
        with pytest.raises(RuntimeError, match="runs already"):
            await fake.start()
        second = FakeComfy(port=fake.port)
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        base = fake.folders.base
    assert not base.exists()
    assert os.listdir(tmp_path) == ["out"]
    await fake.start()
    await fake.stop()


async def test_stopping_in_the_middle_of_everything() -> None:
    """A run, a gate, open sockets and clients that wait: all end with the server, at once."""
    async with bare() as client:
        client.fake.gate("KSampler", step=2)
        async with client.socket() as socket:
            prompt_id = await client.submit(sampler_graph(steps=9), client_id="me")
            await socket.until("progress")
            await client.fake.stop()
            with pytest.raises(websockets.ConnectionClosed):
                await socket.until("end")
        assert client.fake.books.ends(prompt_id) == ["lost"]


async def test_serve() -> None:
    """`serve` runs until it is cancelled, and says when it listens."""
    ready: asyncio.Future[FakeComfy] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(port=0, ready=ready.set_result, step_seconds=0.5))
    fake = await ready
    async with httpx.AsyncClient(verify=False) as http:
        assert (await http.get(f"{fake.url}/prompt")).status_code == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert fake.pace.step_seconds == 0.5


async def test_the_module_as_a_program() -> None:
    """`python -m comfy_async.testing` listens, tells where, and ends with Ctrl-C."""
    command = [sys.executable, "-m", "comfy_async.testing", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    async with httpx.AsyncClient(verify=False) as http:
        assert (await http.get(f"{line.split()[3]}/prompt")).status_code == 200
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


def test_what_is_missing_is_named() -> None:
    """Without aiohttp or Pillow the error says what to install; the package itself loads without."""
    program = (
        "import sys; sys.modules[{!r}] = None\n"
        "import comfy_async.testing\n"
        "try: comfy_async.testing.FakeComfy\n"
        "except ImportError as error: print(error)\n"
    )
    for name in ("aiohttp", "PIL"):
        ran = subprocess.run(
            [sys.executable, "-c", program.format(name)], capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip().endswith("pip install 'comfy-async[testing]'")


def test_exports() -> None:
    """Every name of the package can be had, and no other."""
    for name in testing.__all__:
        assert getattr(testing, name).__doc__ or name in ("RunEnd",)
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        _ = testing.Nope


async def test_the_session_of_a_server() -> None:
    """`session()` talks to this server, the cloud's with its key."""
    async with bare() as client:
        async with client.fake.session() as comfy:
            result = await comfy.run(image_graph())
        assert len(result.files) == 1
