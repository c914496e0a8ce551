"""The server, driven by the SDK's own client: as a process over stdio, and over HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from mcp import Client, MCPError
from mcp_tools import REPOSITORY, Heard, by_stdio, failed, input_folder, kinds_of, text_of, workflows

from comfy_async import ComfySession
from comfy_async.mcp import Limits, Toolbox, serve_http
from comfy_async.testing import FakeComfy

TOOLS = ["canvas", "portrait", "queue", "cancel", "check", "models", "upload"]
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
EACH_WAY = pytest.mark.parametrize(
    "way", ["stdio", "stdio, as hosts of 2025", "http", "http, as hosts of 2025"]
)
HEADERS = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two apps, and a file that is none."""
    return workflows(tmp_path / "apps")


@pytest.fixture
async def http_url(fake: FakeComfy, comfy: ComfySession, folder: Path) -> AsyncIterator[str]:
    """The address of a server in this process."""
    async with serve_http(Toolbox(folder, comfy, limits=Limits(upload_bytes=1000)), port=0) as url:
        yield url


@contextlib.asynccontextmanager
async def connected(way: str, fake: FakeComfy, folder: Path) -> AsyncIterator[Client]:
    """Connect the official client; no fixture, since it has to leave in the task that it entered in."""
    mode = "legacy" if "2025" in way else "auto"
    if way.startswith("stdio"):
        async with Client(by_stdio(folder, "--server", fake.url), mode=mode) as client:
            yield client
        return
    async with (
        fake.session() as comfy,
        serve_http(Toolbox(folder, comfy), port=0) as url,
        Client(url, mode=mode) as client,
    ):
        yield client


@EACH_WAY
async def test_list_and_call(way: str, fake: FakeComfy, folder: Path) -> None:
    """Tools with their schemas, a call with its progress and its picture, and errors that are answers."""
    async with connected(way, fake, folder) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == TOOLS
        heard = Heard()
        values = {"prompt": "a fox", "steps": 3}
        result = await client.call_tool("portrait", values, progress_callback=heard)
        assert kinds_of(result) == ["text", "image"]
        assert heard.rises
        assert heard.values[-1] == 100.0
        assert "nearest: 'prompt'" in failed(await client.call_tool("portrait", {"promt": "a fox"}))
        assert "nearest: queue" in failed(await client.call_tool("quue", {}))
        assert text_of(await client.call_tool("queue", {})) == "0 running, 0 waiting"
    assert len(fake.books.accepted) == 1


@EACH_WAY
async def test_cancelling_a_call_cancels_its_job(way: str, fake: FakeComfy, folder: Path) -> None:
    """On the server; the connection goes on."""
    async with connected(way, fake, folder) as client:
        with fake.gate("KSampler", step=1) as gate:
            calling = asyncio.create_task(client.call_tool("portrait", {"steps": 3}))
            await gate.reached()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await fake.wait_for(lambda books: books.accepted[0].interrupts)
            gate.open()
        await fake.wait_for(lambda books: books.accepted[0].end == "interrupted")
        assert text_of(await client.call_tool("queue", {})) == "0 running, 0 waiting"


async def test_a_file_goes_in(fake: FakeComfy, folder: Path) -> None:
    """One that is larger than the SDK's own limit for a request."""
    content = base64.b64encode(bytes(5_000_000)).decode()
    async with connected("http", fake, folder) as client:
        answer = await client.call_tool("upload", {"content": content, "name": "zeros.png"})
    assert "'zeros.png'" in text_of(answer)
    assert (input_folder(fake) / "zeros.png").stat().st_size == 5_000_000


async def test_a_client_that_goes_cancels_what_it_called(fake: FakeComfy, folder: Path) -> None:
    """Over stdio its going ends the process, which takes its job back first."""
    with fake.gate("KSampler", step=1) as gate:
        async with Client(by_stdio(folder, "--server", fake.url)) as client:
            calling = asyncio.create_task(client.call_tool("portrait", {"steps": 3}))
            await gate.reached()
        with pytest.raises(MCPError, match="closed"):
            await calling
        await fake.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()
    await fake.wait_for(lambda books: books.sockets_now == 0)


async def test_nothing_but_the_protocol_on_stdout(folder: Path) -> None:
    """Each line is a message, whatever comes in; what is said goes to stderr; the end of stdin ends it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfy_async", "mcp", str(folder), "--fake"),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "canvas", "arguments": {}}}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    for line in (json.dumps(HELLO), json.dumps(ready), "rubbish", json.dumps(call)):
        process.stdin.write(f"{line}\n".encode())
    answers: dict[object, dict[str, object]] = {}
    while 2 not in answers:
        answer = json.loads(await process.stdout.readline())
        answers[answer.get("id")] = answer
    process.stdin.close()
    rest, told = await process.communicate()
    assert rest == b""
    assert process.returncode == 0
    assert "as tools, run on http://127.0.0.1:" in told.decode()
    assert "notes.json is no app" in told.decode()
    result = answers[2]["result"]
    assert isinstance(result, dict)
    assert [block["type"] for block in result["content"]] == ["text", "image"]


async def test_no_website_reaches_it(http_url: str) -> None:
    """Another Host is a name that somebody's DNS has turned here; another Origin is somebody else's page."""
    async with httpx.AsyncClient(headers=HEADERS, trust_env=False) as browser:
        for headers, status in (
            ({}, 200),
            ({"Origin": "http://127.0.0.1:8000"}, 200),
            ({"Host": "evil.example"}, 421),
            ({"Host": "evil.example:8765"}, 421),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
        ):
            answer = await browser.post(http_url, json=HELLO, headers=headers)
            assert (headers, answer.status_code) == (headers, status)


async def test_too_large_a_request_is_refused(http_url: str) -> None:
    """Before it is read: nobody fills the memory."""
    async with httpx.AsyncClient(headers=HEADERS, trust_env=False) as browser:
        answer = await browser.post(
            http_url, content=bytes(3 << 20), headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 413


async def test_names_that_others_reach_it_by(comfy: ComfySession, folder: Path) -> None:
    """Whoever listens for others says by which names; everything else is refused as before."""
    async with (
        serve_http(Toolbox(folder, comfy), host="0.0.0.0", port=0, names=["tools.example"]) as url,
        httpx.AsyncClient(headers=HEADERS, trust_env=False) as browser,
    ):
        where = url.replace("0.0.0.0", "127.0.0.1")
        for host, status in (("tools.example", 200), ("tools.example:443", 200), ("0.0.0.0", 421)):
            assert (await browser.post(where, json=HELLO, headers={"Host": host})).status_code == status


async def test_the_end_of_a_server_ends_its_calls(fake: FakeComfy, comfy: ComfySession, folder: Path) -> None:
    """Whoever is being served is cut off, and the job is taken back."""
    with fake.gate("KSampler", step=1) as gate:
        async with contextlib.AsyncExitStack() as stack:
            url = await stack.enter_async_context(serve_http(Toolbox(folder, comfy), port=0))
            client = await stack.enter_async_context(Client(url))
            calling = asyncio.create_task(client.call_tool("portrait", {"steps": 3}))
            await gate.reached()
        with pytest.raises(MCPError, match="closed"):
            await calling
        await fake.wait_for(lambda books: books.accepted[0].interrupts)
        gate.open()


async def test_a_port_that_is_taken(http_url: str, comfy: ComfySession, folder: Path) -> None:
    """Is an OSError, as everywhere."""
    port = int(http_url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="in use"):
        async with serve_http(Toolbox(folder, comfy), port=port):
            pass
