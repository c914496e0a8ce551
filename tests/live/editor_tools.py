"""ComfyUI's editor in a headless Chromium: what it makes of a workflow file, and what it would post.

The editor comes out of a folder, everything else from a live ComfyUI behind a small server of our own.
That server answers the editor's posts itself: nothing is queued, and no setting of the ComfyUI changes.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, WSMsgType, web
from browser_tools import Page, browser

Graph = dict[str, Any]

STATIC = "comfyui_frontend_package/static"
"""Where the editor lies in the wheel of `comfyui-frontend-package`."""

LOADED = 100
"""Files after which the page is loaded anew: the editor keeps a tab for each."""

_OPEN_SECONDS = 300.0
_ANSWER_SECONDS = 120.0

_ASK = """
(async () => {
  const app = window.app ?? window.comfyAPI.app.app, said = {graph: null, error: null, warnings: []};
  const warn = console.warn;
  // Primitives and reroutes find their values and types over the next frames.
  const frame = () => new Promise(done => requestAnimationFrame(done));
  const pause = () => new Promise(done => setTimeout(done, 200));
  console.warn = (...words) => { said.warnings.push(words.map(String).join(" ").slice(0, 300)); };
  try {
    await app.loadGraphData(JSON.parse(TEXT), true, false);
    await frame(); await frame(); await pause();
    said.graph = (await app.graphToPrompt()).output;
    if (POST) await app.queuePrompt(0, 1);
  } catch (error) {
    said.error = String(error?.stack ?? error).slice(0, 1000);
  } finally {
    console.warn = warn;
  }
  return JSON.stringify(said);
})()
"""

# Drawing takes most of a processor, and nobody looks.
_SLOW_FRAMES = "window.requestAnimationFrame = draw => setTimeout(() => draw(performance.now()), 100);"

_READY = "Boolean(window.app?.graph && window.app.extensionManager?.workflow?.activeWorkflow)"
"""The editor opens a graph of its own when it starts, and would put it over ours."""


@dataclass(frozen=True)
class EditorAnswer:
    """What the editor said of one file."""

    graph: Graph | None
    """What `app.graphToPrompt()` answered; a class that the server lacks has no class_type in it."""
    posted: Graph | None
    """The prompt that was posted; some packs put their inputs in only then."""
    error: str | None
    warnings: list[str]


@dataclass
class EditorServer:
    """Serves an editor out of a folder and passes what it reads on to a ComfyUI.

    Args:
        comfy: The address of the live ComfyUI.
        static: The editor's folder, with its index.html.
        classes: Classes to add to the ComfyUI's object_info, as object_info has them.
    """

    comfy: str
    static: Path
    classes: Mapping[str, Any] = field(default_factory=dict)
    posted: list[Graph] = field(default_factory=list)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[str]:
        """Serve on a free port of this machine; gives the address."""
        timeout = ClientTimeout(total=_ANSWER_SECONDS)
        async with ClientSession(timeout=timeout) as http:
            self._http = http
            app = web.Application(client_max_size=1 << 30)
            app.router.add_route("*", "/{path:.*}", self._answer)
            runner = web.AppRunner(app, shutdown_timeout=1)
            await runner.setup()
            try:
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                port = runner.addresses[0][1]
                yield f"http://127.0.0.1:{port}"
            finally:
                await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of the editor."""
        path = request.path.removeprefix("/api")
        if path == "/ws":
            return await self._socket(request)
        if request.method != "GET":
            return await self._keep(path, request)
        file = (self.static / (request.path.lstrip("/") or "index.html")).resolve()
        if file.is_relative_to(self.static.resolve()) and file.is_file():
            return web.FileResponse(file)
        return await self._pass_on(request)

    async def _keep(self, path: str, request: web.Request) -> web.Response:
        """Take what the editor posts, and let none of it through."""
        if path != "/prompt":
            return web.json_response({})
        self.posted.append((await request.json())["prompt"])
        return web.json_response({"prompt_id": str(uuid.uuid4()), "number": 1, "node_errors": {}})

    async def _pass_on(self, request: web.Request) -> web.Response:
        """Give what the ComfyUI answers."""
        async with self._http.get(self.comfy + request.raw_path) as answer:
            content, status, kind = await answer.read(), answer.status, answer.content_type
        if self.classes and request.path.removeprefix("/api") == "/object_info":
            content = json.dumps({**json.loads(content), **self.classes}).encode()
        return web.Response(body=content, status=status, content_type=kind)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        """Be a socket that tells what the server can do, and then nothing."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        status = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": uuid.uuid4().hex}
        await socket.send_json({"type": "status", "data": status})
        async for message in socket:
            if message.type == WSMsgType.TEXT and message.json().get("type") == "feature_flags":
                async with self._http.get(f"{self.comfy}/features") as answer:
                    flags = await answer.json() if answer.status == 200 else {}
                await socket.send_json({"type": "feature_flags", "data": flags})
        return socket


class Editor:
    """An editor that is open in a browser; ask it about one file after another."""

    def __init__(self, page: Page, server: EditorServer, url: str) -> None:
        """Steer the editor that a server gives to a page."""
        self._page, self._server, self._url = page, server, url
        self._asked = 0

    async def ask(self, workflow: Mapping[str, Any], *, post: bool = True) -> EditorAnswer:
        """Return what the editor makes of a file in the editor's format.

        Raises:
            TimeoutError: The editor does not open, or does not come to an end with the file.
        """
        if self._asked % LOADED == 0:
            await self._open()
        self._asked += 1
        self._server.posted.clear()
        # JSON within JSON: a file's "__proto__" and NaN stay what they are in a file.
        text = json.dumps(json.dumps(workflow))
        script = _ASK.replace("POST", "true" if post else "false").replace("TEXT", text, 1)
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await self._page.call(
                "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
            )
        if "value" not in answer["result"]:
            return EditorAnswer(None, None, json.dumps(answer)[:1000], [])
        said = json.loads(answer["result"]["value"])
        posted = self._server.posted[-1] if self._server.posted else None
        return EditorAnswer(said["graph"], posted, said["error"], said["warnings"])

    async def _open(self) -> None:
        """Load the page, and wait until the editor has its first graph."""
        async with asyncio.timeout(_OPEN_SECONDS):
            if not self._asked:
                await self._page.call("Page.addScriptToEvaluateOnNewDocument", source=_SLOW_FRAMES)
            await self._page.call("Page.navigate", url=self._url)
            await self._page.until(_READY)


@asynccontextmanager
async def editor(
    comfy: str, static: Path, *, classes: Mapping[str, Any] | None = None
) -> AsyncIterator[Editor]:
    """Open an editor out of a folder on a live ComfyUI."""
    server = EditorServer(comfy.rstrip("/"), static, classes or {})
    async with server.run() as url, browser() as page:
        yield Editor(page, server, url)
