"""A server that says exactly the bytes that a test wants, for all that no honest server says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

STATS = {"system": {"comfyui_version": "0.33.0"}, "devices": []}


@dataclasses.dataclass
class RawRequest:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.target.partition("?")[0]


class RawServer:
    """Reads requests, and lets `answer(request, writer)` write whatever it wants; then closes."""

    def __init__(self, answer: Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.requests: list[RawRequest] = []
        self._answer = answer
        self.url = ""

    def of(self, path: str) -> list[RawRequest]:
        """The requests for a path."""
        return [request for request in self.requests if request.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request on one connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = RawRequest(method, target, headers, body)
            self.requests.append(request)
            if request.path.endswith("/system_stats"):
                writer.write(reply(json.dumps(STATS).encode(), type_="application/json"))
            else:
                await self._answer(request, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


def reply(body: bytes, *, status: int = 200, type_: str = "text/plain", **headers: Any) -> bytes:
    """A whole answer; `content_length=None` leaves the length out, `x_y=` makes the header X-Y."""
    fields = {"content-type": type_, "content-length": len(body), "connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def raw_server(
    answer: Callable[[RawRequest, asyncio.StreamWriter], Awaitable[None]],
    *,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[RawServer]:
    """Run such a server."""
    raw = RawServer(answer)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=ssl_context, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    raw.url = f"{'https' if ssl_context else 'http'}://127.0.0.1:{port}"
    try:
        yield raw
    finally:
        server.close()
