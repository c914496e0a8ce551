"""`comfy-async mcp`: what is told before and while it serves; the serving itself is in tests/mcp."""

from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from comfy_async._base.own_addresses import own_addresses


async def test_over_http_until_a_signal(cli: Any, small: Path, tmp_path: Path) -> None:
    """The address goes to stdout, the rest to stderr, and Ctrl-C ends it well."""
    child = await cli.start("mcp", small, "--http", "--port", 0, "--out", tmp_path / "out")
    url = (await child.line()).strip()
    assert url, await child.done()
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.post(url, json=body, headers={"Host": "evil.example"})
    child.process.send_signal(signal.SIGTERM)
    done = await child.done()
    assert (done.code, done.out, answer.status_code) == (0, "", 421)
    assert "for this machine only" in done.err


async def test_for_others_it_says_what_is_missing(cli: Any, small: Path) -> None:
    """No accounts, no TLS, no name to be called by."""
    child = await cli.start("mcp", small, "--http", "--host", "0.0.0.0", "--port", 0, "--json")
    told = json.loads(await child.line())
    assert (told["event"], told["url"].rpartition(":")[0]) == ("listening", "http://127.0.0.1")
    port = urlsplit(told["url"]).port
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with httpx.AsyncClient(trust_env=False) as client:
        for address in own_addresses("0.0.0.0"):
            answer = await client.post(f"http://{address}:{port}/mcp", json=body)
            assert answer.status_code != 421
    child.interrupt()
    done = await child.done()
    assert done.code == 0
    assert "no accounts and no TLS" in done.err
    for address in own_addresses("0.0.0.0"):
        assert f"for others: http://{address}:{port}/mcp" in done.err
    assert f"it takes --name {socket.gethostname()}" in done.err


async def test_what_is_not_there_is_told_at_once(cli: Any, tmp_path: Path) -> None:
    """A folder, or the folder for files."""
    done = await cli("mcp", tmp_path / "no")
    assert done.code == 2
    assert "no such file or folder" in done.err
    done = await cli("mcp", tmp_path, "--files", tmp_path / "no")
    assert done.code == 2
    assert "no such folder" in done.err


async def test_without_the_sdk(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that installs it is told."""
    for name in [name for name in sys.modules if name.startswith("comfy_async.mcp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(sys.modules["comfy_async"], "mcp", raising=False)
    monkeypatch.setitem(sys.modules, "mcp", None)
    done = await cli("mcp", tmp_path)
    assert done.code == 1
    assert "pip install 'comfy-async[mcp]'" in done.err
