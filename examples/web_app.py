"""A web app: progress streamed to the browser by server-sent events, cancelled when it leaves.

python examples/web_app.py, then open the address that it prints.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from example_server import PORTRAIT, parser, server_url
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from comfy_async import (
    ComfyError,
    ComfySession,
    Job,
    JobError,
    NodeStarted,
    Preview,
    Progress,
    Workflow,
)

PAGE = """<!doctype html><meta charset="utf-8"><title>Draw</title>
<style>
html{scrollbar-gutter:stable}
body{font:16px/1.5 system-ui,sans-serif;max-width:560px;margin:48px auto;padding:0 16px;color:#1e293b}
form{display:flex;gap:8px}input{flex:1;font:inherit;padding:8px 12px;border:1px solid #cbd5e1;border-radius:8px}
button{font:inherit;padding:8px 16px;border:0;border-radius:8px;background:#2563eb;color:#fff}
progress{width:100%;height:10px;margin:18px 0 4px;accent-color:#2563eb}
img{width:100%;border-radius:12px;background:#f1f5f9;aspect-ratio:1;object-fit:cover;margin-top:12px}
#words{color:#64748b;min-height:1.5em}
.failed #words{color:#b91c1c}.failed progress{accent-color:#b91c1c}.failed img{opacity:.35}
</style>
<h1>Draw something</h1>
<form><input name="prompt" value="a lighthouse at dawn"><button>Draw</button></form>
<progress max="1" value="0"></progress><div id="words"></div><img alt="" hidden>
<script>
const [form, bar, words, img] = ["form", "progress", "#words", "img"].map(s => document.querySelector(s));
let source;
function draw(prompt) {
  source?.close();                       // leaving a job cancels it on the server
  document.body.className = ""; document.title = "Draw";
  source = new EventSource("/draw?prompt=" + encodeURIComponent(prompt));
  source.addEventListener("progress", e => { const p = JSON.parse(e.data); bar.value = p.fraction; words.textContent = p.text; });
  source.addEventListener("preview", e => { img.hidden = false; img.src = e.data; });
  source.addEventListener("done", e => { source.close(); bar.value = 1; words.textContent = "done"; img.hidden = false; img.src = e.data; document.title = "done"; });
  source.addEventListener("failed", e => { source.close(); words.textContent = e.data; document.body.className = document.title = "failed"; });
}
form.addEventListener("submit", e => { e.preventDefault(); draw(form.prompt.value); });
const asked = new URLSearchParams(location.search).get("prompt");
if (asked) { form.prompt.value = asked; draw(asked); }
</script>
"""  # noqa: E501


def make_app(url: str) -> FastAPI:
    """Return an app with one session for its whole life."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Lazy: the app starts while ComfyUI still does, and answers 502 until it is there.
        async with ComfySession(url, previews="latent2rgb", connect="lazy") as comfy:
            app.state.comfy = comfy
            yield

    app = FastAPI(lifespan=lifespan)
    workflow = Workflow.load(PORTRAIT)

    @app.get("/")
    async def page() -> HTMLResponse:
        """Return the page."""
        return HTMLResponse(PAGE)

    @app.get("/draw")
    async def draw(prompt: str) -> StreamingResponse:
        """Run the workflow and stream what happens."""
        variant = workflow.randomized().with_inputs({"6.text": prompt})
        return StreamingResponse(told(app.state.comfy, variant), media_type="text/event-stream")

    @app.get("/picture/{name}")
    async def picture(name: str) -> Response:
        """Pass a picture on: the browser never sees the ComfyUI."""
        try:
            content = await app.state.comfy.files.read(name)
        except ComfyError as error:
            raise HTTPException(502, str(error)) from None
        return Response(content, media_type="image/png")

    return app


async def told(comfy: ComfySession, workflow: Workflow) -> AsyncIterator[str]:
    """Yield a job as server-sent events.

    When the browser goes away, the response is cancelled, the block is left early, and
    `stream()` cancels the job on the server.
    """
    try:
        async with comfy.stream(workflow) as job:
            async for event in job:
                message = sent(job, event)
                if message:
                    yield message
            result = await job
            yield packed("done", f"/picture/{result.images[0].filename}")
    except JobError as error:
        yield packed("failed", str(error))
    except ComfyError as error:
        yield packed("failed", f"not started: {error}")


def sent(job: Job, event: Any) -> str:
    """Return an event as the browser gets it, "" for those that it has no use for."""
    match event:
        case Preview(image=image):
            content = base64.b64encode(image).decode("ascii")
            return packed("preview", f"data:{event.mime};base64,{content}")
        case Progress() | NodeStarted():
            progress = job.progress
            return packed("progress", json.dumps({"fraction": progress.fraction, "text": str(progress)}))
    return ""


def packed(name: str, data: str) -> str:
    """Return one server-sent event; a line end in the data would end it early."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


async def main() -> None:
    """Serve until Ctrl-C."""
    arguments = parser(__doc__)
    arguments.add_argument("--port", type=int, default=8000)
    options = arguments.parse_args()
    async with server_url(options.server, step_seconds=0.2) as url:
        config = uvicorn.Config(make_app(url), port=options.port, log_level="warning")
        print(f"open http://127.0.0.1:{options.port}")
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main())
