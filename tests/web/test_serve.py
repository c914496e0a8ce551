"""`comfy-async serve`: its words, its end, and what it says when something is missing."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import httpx
from cli_tools import Cli

from comfy_async._base.own_addresses import own_addresses
from comfy_async.testing import FakeComfy

WORKFLOWS = Path(__file__).parents[2] / "examples" / "workflows"


async def test_it_serves_until_ctrl_c(cli: Cli, fake: FakeComfy) -> None:
    """It says where and for whom; a reader of events does not hold its end up, and the job goes on."""
    fake.hold()
    child = await cli.start("serve", WORKFLOWS, "--port", "0", "--json")
    url = (await child.until("listening"))["url"]
    assert url.startswith("http://127.0.0.1:")
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        job = (await http.post("/apps/sd15-text2image-api", json={"prompt": "a fox"})).json()
        async with http.stream("GET", job["links"]["events"]) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines)
            child.interrupt()
            rest = "\n".join([line async for line in lines])
            assert "event: end" not in rest
    done = await child.done()
    assert done.code == 0, done.err
    assert "this machine only" in done.err
    assert "proxy" in done.err
    assert "Traceback" not in done.err
    assert fake.core.queue.remaining == 1


async def test_fake_needs_nothing_else(cli: Cli) -> None:
    """--fake brings a server along, and takes it away again."""
    child = await cli.start(
        "serve", WORKFLOWS / "sd15_text2image_api.json", "--fake", "--port", "0", "--json"
    )
    url = (await child.until("listening"))["url"]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert len((await http.get("/apps")).json()["apps"]) == 1
    child.interrupt()
    assert (await child.done()).code == 0


async def test_a_comfyui_that_is_not_there_yet(cli: Cli, free_port: int) -> None:
    """It starts all the same, and says so; open to everybody it warns."""
    address = f"http://127.0.0.1:{free_port}"
    child = await cli.start(
        "serve", WORKFLOWS, "--server", address, "--port", "0", "--host", "0.0.0.0", "--json"
    )
    url = (await child.until("listening"))["url"]
    assert url.startswith("http://127.0.0.1:")
    port = url.rpartition(":")[2]
    for host in ("127.0.0.1", *own_addresses("0.0.0.0")):
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as http:
            assert (await http.get("/apps")).status_code == 503
    child.interrupt()
    done = await child.done()
    assert done.code == 0
    assert "no server answers" in done.err
    assert "no accounts and no TLS" in done.err
    for host in own_addresses("0.0.0.0"):
        assert f"for others: http://{host}:{port}" in done.err
    assert f"it takes --name {socket.gethostname()}" in done.err


async def test_what_makes_no_sense_is_told(cli: Cli, tmp_path: Path) -> None:
    """No such folder, an origin that is none, a port that is taken."""
    done = await cli("serve", tmp_path / "none")
    assert (done.code, "none" in done.err) == (2, True)
    done = await cli("serve", WORKFLOWS, "--origin", "example.com")
    assert (done.code, "an origin is like" in done.err) == (2, True)
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    done = await cli("serve", WORKFLOWS, "--port", port)
    assert done.code == 1
    taken.close()


async def test_without_the_extra_it_says_what_to_install() -> None:
    """On the command line and in Python, for each of the three packages; nothing of them is loaded before."""
    for name in ("starlette", "uvicorn", "python_multipart"):
        code = (
            f"import sys; sys.modules[{name!r}] = None; sys.argv = ['comfy-async', 'serve', '.'];"
            "from comfy_async.cli import main; main()"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE
        )
        _, err = await process.communicate()
        assert process.returncode == 1
        assert "pip install 'comfy-async[web]'" in err.decode(), err
        assert name in err.decode()
