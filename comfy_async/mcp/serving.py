"""The protocol, by the official SDK: over stdin and stdout, or over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

import uvicorn
from mcp import types
from mcp.server import NotificationOptions, Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

from .. import __version__
from .._base.own_addresses import here, literal, own_addresses
from .._base.tasks import to_the_end
from .toolbox import Toolbox

__all__ = ["serve_http", "serve_stdio"]

_INSTRUCTIONS: Final = (
    "Each tool but queue, cancel, check, models and upload runs a workflow on a ComfyUI server and returns "
    "pictures or other files. A run may take minutes, and reports its progress. Inputs that take a file take "
    "the name that `upload` returns, or a data: URI. Cancelling a call cancels its job."
)
_PATH: Final = "/mcp"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_GRACE_S: Final = 2
# Around the base64 of the largest file.
_ENVELOPE_BYTES: Final = 1 << 20


def server_of(tools: Toolbox) -> Server[Any]:
    """Return the SDK's server of these tools."""

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=await tools.tools())

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        answer = await tools.call(params.name, params.arguments or {}, context.session.report_progress)
        if await tools.has_news():
            await context.session.send_tool_list_changed()
        return answer

    return Server(
        "comfy-async",
        version=__version__,
        title="ComfyUI",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(tools: Toolbox) -> None:
    """Serve the process that started this one, by stdin and stdout, until stdin ends.

    Nothing but the protocol goes to stdout meanwhile: everything that is printed goes to stderr.

    Example:
        >>> await serve_stdio(Toolbox("examples/workflows", comfy))
    """
    server = server_of(tools)
    options = server.create_initialization_options(NotificationOptions(tools_changed=True))
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, options)


@contextlib.asynccontextmanager
async def serve_http(
    tools: Toolbox, *, host: str = "127.0.0.1", port: int = 8765, names: Collection[str] = ()
) -> AsyncIterator[str]:
    """Serve by streamable HTTP as long as the block lasts, and give the address.

    On this machine alone by default: there are no accounts and no TLS. Requests for another `Host` than
    this machine's addresses and `names`, and from pages of another `Origin`, are refused, so that no
    website reaches it through somebody's browser.

    Args:
        tools: What is offered.
        host: Where it listens.
        port: 0 picks a free one.
        names: The names that others reach it by.

    Raises:
        OSError: The address is taken, or not available.

    Example:
        >>> async with serve_http(Toolbox("examples/workflows", comfy), port=0) as url:
        ...     print(url)
        http://127.0.0.1:.../mcp
    """
    app = server_of(tools).streamable_http_app(
        streamable_http_path=_PATH,
        host=host,
        max_request_body_size=tools.limits.upload_bytes * 4 // 3 + _ENVELOPE_BYTES,
        transport_security=_security([*_LOOPBACK, *names, *map(literal, own_addresses(host))]),
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="comfy_async mcp server")
    started = asyncio.create_task(server.ready.wait(), name="comfy_async mcp start")
    try:
        await asyncio.wait([serving, started], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            raise OSError("the HTTP server did not begin")
        yield f"http://{here(listening)}{_PATH}"
    finally:
        started.cancel()
        server.should_exit = True
        await to_the_end([serving])
        listening.close()


class _Server(uvicorn.Server):
    """A server that leaves the signals to others, and says when it has begun."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        # Ctrl-C is for whoever runs this.
        return contextlib.nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _security(names: Collection[str]) -> TransportSecuritySettings:
    """Return which hosts and origins are accepted: this server by one of these names, and pages of it."""
    hosts = [each for name in names for each in (name, f"{name}:*")]
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
    )
