"""A headless Chromium that is steered over its debugging socket."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import websockets

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0 --window-size=720,960"
).split()


class Page:
    """One page of the browser."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        """Steer the page behind a socket."""
        self._socket = socket
        self._count = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the debugging protocol and return its result."""
        self._count += 1
        await self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            message = json.loads(await self._socket.recv())
            if message.get("id") == self._count:
                result: dict[str, Any] = message["result"]
                return result

    async def evaluate(self, script: str) -> Any:
        """Return what a script gives."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until a script gives something true."""
        while not await self.evaluate(script):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def screenshot(self, path: Path) -> None:
        """Keep what the page looks like."""
        answer = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """Run a browser with one empty page."""
    assert CHROMIUM is not None
    profile = Path(tempfile.mkdtemp(prefix="comfy_async_browser"))
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *_FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        address = profile / "DevToolsActivePort"
        while not address.exists() or "\n" not in address.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        port = address.read_text().split("\n")[0]
        async with httpx.AsyncClient(trust_env=False) as http:
            pages = (await http.get(f"http://127.0.0.1:{port}/json/list")).json()
        target = next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"]
        async with websockets.connect(target, max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        await process.wait()
        await asyncio.to_thread(shutil.rmtree, profile, ignore_errors=True)
