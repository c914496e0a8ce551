"""Workflows as web apps beside routes of one's own: a page for people, endpoints for programs.

Needs `pip install 'comfy-async[web,testing]' fastapi uvicorn`, and a ComfyUI (`--server URL`) or its
stand-in.

    python examples/web_apps.py       # then open the address that it prints

    GET  /hello                       a route of one's own
    GET  /studio/                     the page: a form for each workflow, progress, pictures
    POST /studio/apps/{name}          202 with the job's id and links
    GET  /studio/openapi.json         the rest, with a schema for each app

`comfy-async serve examples/workflows` is the same without a line of Python. Who may use it at all is up to
your own login: a dependency around `/studio`, or a proxy before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from example_needs import needs
from example_server import PORTRAIT, parser, server_url

from comfy_async import ComfySession

with needs(__doc__):
    import uvicorn
    from fastapi import FastAPI

    from comfy_async.web import Limits, routes


def make_app(url: str) -> FastAPI:
    """Return an app with one session for as long as it runs, and the apps of a workflow below /studio."""
    # Lazy: the app starts while ComfyUI still does, and answers 503 until it is there.
    comfy = ComfySession(url, connect="lazy", previews="latent2rgb")
    limits = Limits(open_jobs=50, open_jobs_per_client=5)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with comfy:
            yield
            # Jobs that were to end with their readers; all others go on.
            await site.aclose()

    app = FastAPI(lifespan=lifespan)
    site = routes(PORTRAIT, comfy, limits=limits)
    app.mount("/studio", site)

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "a route of one's own"}

    return app


async def main() -> None:
    """Serve until Ctrl-C."""
    arguments = parser(__doc__)
    arguments.add_argument("--port", type=int, default=8000)
    options = arguments.parse_args()
    async with server_url(options.server, step_seconds=0.2) as url:
        config = uvicorn.Config(make_app(url), port=options.port, log_level="warning")
        print(f"open http://127.0.0.1:{options.port}/studio/")
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main())
