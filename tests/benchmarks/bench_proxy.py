"""A comfy-api-proxy in a process of its own, which counts what it is asked for; run by its own interpreter.

python tests/benchmarks/bench_proxy.py http://127.0.0.1:8188    # prints its URL
"""

from __future__ import annotations

import asyncio
import collections
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from comfy_api_proxy.app import make_app

COUNTED: collections.Counter[str] = collections.Counter()


@web.middleware
async def counted(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Count a request by its route."""
    resource = request.match_info.route.resource
    COUNTED[f"{request.method} {resource.canonical if resource else request.path}"] += 1
    return await handler(request)


async def main() -> None:
    """Serve until stdin closes."""
    app: Any = make_app(sys.argv[1], middlewares=[counted])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer = {"requests": COUNTED.total(), "by_route": dict(COUNTED)}
        if json.loads(line)["do"] == "clear":
            COUNTED.clear()
        print(json.dumps(answer), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
