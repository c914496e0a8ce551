"""`mcp`: workflows for agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._base import Work, command
from ._connection import Connection

_HTTP = "With --http"


@command()
def mcp(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Workflows, or one; each is a tool.")],
    files: Annotated[
        Path | None,
        typer.Option("--files", metavar="DIR", help="The folder that `upload` may take files from."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Save results here; else they stay on the server."),
    ] = None,
    picture_kb: Annotated[
        int,
        typer.Option(
            "--picture-kb", min=1, metavar="KB", help="The largest picture that is shown; larger ones shrink."
        ),
    ] = 700,
    http: Annotated[
        bool, typer.Option("--http", help="Streamable HTTP in place of stdin and stdout.")
    ] = False,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="The address to listen at.", rich_help_panel=_HTTP),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", metavar="PORT", help="0 picks a free one.", rich_help_panel=_HTTP)
    ] = 8765,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="HOST",
            help="A name that others reach it by. May be repeated.",
            rich_help_panel=_HTTP,
        ),
    ] = None,
    fake: Annotated[
        bool, typer.Option("--fake", help="On an embedded FakeComfy, which paints, not diffuses.")
    ] = False,
    *,
    connection: Connection,
) -> Work:
    """Serve workflows as tools for language models, by MCP. Needs the extra `mcp`.

    An agent's host starts it and uses it by stdin and stdout.
    --http serves many.

    [bold]Examples[/bold]

      comfy-async mcp examples/workflows --fake

      comfy-async mcp apps --files ~/Pictures --out pictures

      comfy-async mcp apps --http --port 8765
    """
    from ._mcp import McpRequest, serve_tools

    request = McpRequest(
        folder=folder,
        files=files,
        out=out,
        picture_bytes=picture_kb * 1000,
        http=http,
        host=host,
        port=port,
        names=name or [],
        fake=fake,
    )
    return Work(lambda report, interrupts: serve_tools(request, connection, report, interrupts))
