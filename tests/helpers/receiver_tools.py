"""A receiver of webhooks, which answers as it is told to."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web


@dataclasses.dataclass
class Receiver:
    """What has come, and what is answered.

    Attributes:
        url: Where it listens, with a token in the path as many receivers have it.
        answers: Statuses for the next requests, or "hang"; 200 for all further ones.
        came: Headers and body of each request.
        path: Where each went.
    """

    url: str = ""
    answers: list[int | str] = dataclasses.field(default_factory=list)
    extra: dict[str, str] = dataclasses.field(default_factory=dict)
    came: list[tuple[Mapping[str, str], bytes]] = dataclasses.field(default_factory=list)
    paths: list[str] = dataclasses.field(default_factory=list)
    changed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    async def count(self, count: int) -> None:
        """Wait for so many requests."""
        while len(self.came) < count:
            self.changed.clear()
            await self.changed.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep a request, and answer it."""
        self.came.append((dict(request.headers), await request.read()))
        self.paths.append(request.path)
        self.changed.set()
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, str):
            await asyncio.Event().wait()
            raise AssertionError
        return web.Response(status=answer, headers=self.extra)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", receiver.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hook/T0KEN-0123456789?key=QUERY-0123456789"
    try:
        yield receiver
    finally:
        await runner.cleanup()
