"""Record what a real server and a client say to each other, and replay it without the server.

Example:
    >>> async with Recorder("http://127.0.0.1:8188", "portrait.jsonl") as recorder:
    ...     async with recorder.session() as comfy:
    ...         result = await comfy.run("portrait.json")
    >>> async with Replay("portrait.jsonl") as replay, replay.session() as comfy:
    ...     again = await comfy.run("portrait.json")  # without a server
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import WSMsgType, web

from ._recording import RecordingWriter, masked, masked_path, route_of
from ._replay import Replay

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["Recorder", "Replay"]

_HOP_BY_HOP: Final = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade host "
    "content-length content-encoding accept-encoding origin".split()
)
_SECRET_HEADERS: Final = ("authorization", "x-api-key", "cookie")
_NO_LIMIT: Final = 1 << 40


class Recorder:
    """A proxy in front of a server, which writes down everything that passes through it.

    Any client can be recorded: point it at `url`. Keys are not written: no headers, no values
    under names such as `api_key_comfy_org`, and nothing that was seen in a credential header.

    Args:
        server: The address of the server.
        path: The file to write, in the format that `Replay` reads; it is replaced.
        files: Write the bytes of outputs (`/view`) too.

    Example:
        >>> async with Recorder("http://127.0.0.1:8188", "portrait.jsonl") as recorder:
        ...     async with recorder.session() as comfy:
        ...         result = await comfy.run("portrait.json")
        >>> async with Replay("portrait.jsonl") as replay, replay.session() as comfy:
        ...     again = await comfy.run("portrait.json")  # without a server
    """

    def __init__(self, server: str, path: str | os.PathLike[str], *, files: bool = True) -> None:
        """Prepare; nothing is opened yet."""
        self._server = server.rstrip("/")
        self._path = path
        self._files = files
        self._writer: RecordingWriter | None = None
        self._client: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Recorder:
        """Listen on a free port of the loopback.

        Raises:
            OSError: The file cannot be written.
        """
        self._writer = await asyncio.to_thread(RecordingWriter, self._path)
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        application = web.Application(client_max_size=_NO_LIMIT)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and close the file."""
        assert self._runner is not None
        assert self._client is not None
        await self._runner.cleanup()
        await self._client.close()
        self._log.close()

    def session(self, **options: Any) -> ComfySession:
        """Return a session through the recorder, not yet connected; the options are ComfySession's."""
        from comfy_async import ComfySession

        return ComfySession(self.url, **options)

    @property
    def _log(self) -> RecordingWriter:
        """The file, once it is open."""
        assert self._writer is not None
        return self._writer

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Pass on a request."""
        for name in _SECRET_HEADERS:
            value = request.headers.get(name, "")
            self._log.hide(value)
            self._log.hide(value.partition(" ")[2])
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._socket(request)
        return await self._request(request)

    async def _request(self, request: web.Request) -> web.Response:
        """Pass on an HTTP request, and write it down with its answer."""
        assert self._client is not None
        t, content = self._log.now(), await request.read()
        try:
            async with self._client.request(
                request.method,
                f"{self._server}{request.rel_url}",
                data=content or None,
                headers=_passed(request.headers.items()),
                allow_redirects=False,
            ) as answer:
                body, status = await answer.read(), answer.status
                headers = _passed(answer.headers.items())
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"{self._server} does not answer: {error}")
        kind = answer.content_type if answer.headers.get("content-type") else ""
        asked = {
            "method": request.method,
            "path": masked_path(str(request.rel_url)),
            **_asked(request, content),
        }
        if request.path_qs and route_of(request.path).startswith("/view") and not self._files:
            body_fields: dict[str, Any] = {"body": ""}
        else:
            body_fields = _body(kind, body)
        self._log.write(t, http=asked, status=status, content_type=kind, **body_fields)
        return web.Response(status=status, body=body, headers=headers)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        """Pass on a WebSocket in both directions until one side closes it."""
        assert self._client is not None
        client = web.WebSocketResponse(max_msg_size=0, compress=False)
        address = f"{self._server}{request.rel_url}"
        headers = [
            (name, value)
            for name, value in _passed(request.headers.items())
            if not name.lower().startswith("sec-websocket")
        ]
        async with self._client.ws_connect(address, headers=headers, max_msg_size=0) as server:
            await client.prepare(request)
            pumps = [
                asyncio.create_task(self._pump(client, server, "sent"), name="comfy_async recorder sent"),
                asyncio.create_task(self._pump(server, client, "text"), name="comfy_async recorder heard"),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        await client.close()
        return client

    async def _pump(self, source: Any, target: Any, key: str) -> None:
        """Pass on the frames of one direction, and write them down."""
        async for message in source:
            t = self._log.now()
            if message.type is WSMsgType.TEXT:
                self._log.write(t, **{key: message.data})
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                if key == "text":
                    self._log.write(t, binary=base64.b64encode(message.data).decode("ascii"))
                await target.send_bytes(message.data)


def _passed(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that a proxy passes on."""
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


def _asked(request: web.Request, content: bytes) -> dict[str, Any]:
    """Return what to write of a request's body: JSON without keys, of others only the size."""
    if not content:
        return {"json": None}
    if "json" in request.content_type or content[:1] in (b"{", b"["):
        try:
            return {"json": masked(json.loads(content))}
        except ValueError:
            pass
    return {"json": None, "bytes": len(content)}


def _body(kind: str, body: bytes) -> dict[str, Any]:
    """Return what to write of an answer's body."""
    if "json" in kind:
        try:
            return {"body": masked(json.loads(body))}
        except ValueError:
            pass
    if not body or kind.startswith("text/"):
        return {"body": body.decode("utf-8", "replace")}
    return {"body_base64": base64.b64encode(body).decode("ascii")}
