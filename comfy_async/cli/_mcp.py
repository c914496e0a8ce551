"""`mcp`: a folder of workflows as tools. Messages go to stderr: stdout belongs to the protocol."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path
from typing import Any

from .._base.own_addresses import is_everywhere
from ._connection import Connection, MissingExtraError, UsageError, opened
from ._fake import fake_server
from ._interrupt import Interrupts
from ._others import for_others
from ._report import Report

__all__ = ["McpRequest", "serve_tools"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class McpRequest:
    """The options of `mcp`.

    Attributes:
        folder: The workflows.
        files: The folder that files are taken from.
        out: Where results are saved.
        picture_bytes: The largest picture that is shown.
        http: HTTP in place of stdin and stdout.
        host: Where to listen.
        port: Where to listen, 0 for any.
        names: The names that others reach it by.
        fake: Run on an embedded FakeComfy.
    """

    folder: Path
    files: Path | None
    out: Path | None
    picture_bytes: int
    http: bool
    host: str
    port: int
    names: list[str]
    fake: bool


async def serve_tools(
    request: McpRequest, connection: Connection, report: Report, interrupts: Interrupts
) -> int:
    """Serve until the first signal, or until stdin ends, and return 0.

    Raises:
        MissingExtraError: The extra `mcp` (or `testing`, for --fake) is not installed.
        UsageError: An option is invalid.
        OSError: There is no such folder, or the port is taken.
    """
    # First of all: what is missing is told before anything is opened.
    mcp = _mcp()
    fake = fake_server(step_seconds=0.05) if request.fake else None
    if fake is not None:
        interrupts.last_words.append(fake.folders.remove)
    async with opened(connection, fake=fake, connect="lazy") as comfy:
        limits = mcp.Limits(picture_bytes=request.picture_bytes)
        tools = mcp.Toolbox(
            request.folder,
            comfy,
            files=request.files,
            out=request.out,
            partner_api_key=os.environ.get("COMFY_API_KEY") or None,
            limits=limits,
        )
        report.say(f"the workflows of {request.folder} as tools, run on {comfy.base_url}")
        try:
            if request.http:
                await _by_http(mcp, tools, request, report)
            else:
                await mcp.serve_stdio(tools)
        except asyncio.CancelledError:
            if not interrupts.asked:
                raise
    return 0


async def _by_http(mcp: Any, tools: Any, request: McpRequest, report: Report) -> None:
    """Serve by HTTP for ever, and say where and for whom."""
    async with mcp.serve_http(tools, host=request.host, port=request.port, names=request.names) as url:
        report.item({"event": "listening", "url": url}, url)
        if request.host in _LOOPBACK:
            report.say("for this machine only: there are no accounts here. Ctrl-C ends it")
        else:
            report.say(
                "warning: no accounts and no TLS: put a proxy before it, and keep the port to yourself"
            )
        if is_everywhere(request.host):
            report.say(for_others(request.host, url, named=bool(request.names)))
        elif request.host not in _LOOPBACK and not request.names:
            report.say("a client that calls it by a name or address other than that of --host needs --name")
        await asyncio.Event().wait()


def _mcp() -> Any:
    """Return the MCP part of the package.

    Raises:
        MissingExtraError: It is not installed.
        UsageError: An SDK is installed that it does not know.
    """
    try:
        from .. import mcp
    except ImportError as error:
        if error.name == "mcp":
            raise MissingExtraError("mcp needs the MCP SDK: pip install 'comfy-async[mcp]'") from error
        if (error.name or "").startswith("mcp"):
            raise UsageError("this takes another version of mcp: pip install 'comfy-async[mcp]'") from error
        raise
    return mcp
