"""`serve`: workflows for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._base import Work, command
from ._connection import Connection

_LIMITS = "Limits"


@command()
def serve(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Workflows, or one; each is an app.")],
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="The address to listen at.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", metavar="PORT", help="0 picks a free one.")] = 8000,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="HOST",
            help="A name that the site is called by, behind a proxy. May be repeated.",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="Another site whose pages may use it. May be repeated."),
    ] = None,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="The prefix that a proxy removes.")
    ] = "",
    cancel_on_leave: Annotated[
        bool, typer.Option("--cancel-on-leave", help="Cancel a job when nobody watches it any more.")
    ] = False,
    open_jobs: Annotated[
        int,
        typer.Option(
            "--open-jobs",
            min=1,
            metavar="N",
            help="Jobs that wait or run at once.",
            rich_help_panel=_LIMITS,
        ),
    ] = 100,
    per_client: Annotated[
        int,
        typer.Option(
            "--per-client", min=1, metavar="N", help="The same for one caller.", rich_help_panel=_LIMITS
        ),
    ] = 10,
    max_upload: Annotated[
        int,
        typer.Option(
            "--max-upload", min=1, metavar="MB", help="The largest request.", rich_help_panel=_LIMITS
        ),
    ] = 64,
    fake: Annotated[
        bool, typer.Option("--fake", help="On an embedded FakeComfy, which paints, not diffuses.")
    ] = False,
    *,
    connection: Connection,
) -> Work:
    """Serve workflows as web apps, with pages and endpoints. Needs the extra `web`.

    [bold]Examples[/bold]

      comfy-async serve examples/workflows --fake

      comfy-async serve apps --server http://127.0.0.1:8188 --port 8000

      comfy-async serve apps --name apps.example.com --root-path /studio
    """
    from ._serve import ServeRequest, serve_apps

    limits = {
        "open_jobs": open_jobs,
        "open_jobs_per_client": per_client,
        "body_bytes": max_upload * 1024 * 1024,
    }
    request = ServeRequest(
        folder=folder,
        host=host,
        port=port,
        root_path=root_path,
        fake=fake,
        names=name or [],
        origins=origin or [],
        cancel_on_leave=cancel_on_leave,
        limits=limits,
    )
    return Work(lambda report, interrupts: serve_apps(request, connection, report, interrupts))
