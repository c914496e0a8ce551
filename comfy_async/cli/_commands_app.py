"""`app`: a workflow as a command of its own, with an option for each of its inputs."""

from __future__ import annotations

from typing import Annotated

import typer

from ._base import Work, command
from ._connection import Connection
from ._requests import AppRequest


@command("app", takes_more=True)
def app_command(
    ctx: typer.Context,
    request: AppRequest,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")] = False,
    *,
    connection: Connection,
) -> Work:
    """Show a workflow's inputs and outputs by name, or run it by them.

    Names come from titles ($photo), the editor's App mode, or its own inputs.
    `app FILE run --help` lists the options of that workflow.
    A file is a path; a text @FILE is read from there; a seed may be `random`.

    [bold]Examples[/bold]

      comfy-async app portrait.json

      comfy-async app portrait.json run --help

      comfy-async app portrait.json run --prompt "a fox" --photo me.jpg --out out

      comfy-async app api.json run --name prompt=6.text --prompt "a fox"
    """
    from ._apps import run_app, show_app

    words = [request.workflow, request.action, *ctx.args]
    if request.workflow is None or (request.action != "run" and not _HELP.isdisjoint(words)):
        typer.echo(ctx.get_help())
        raise typer.Exit(0 if request.workflow is not None else 2)
    if request.action == "run":
        return Work(
            lambda report, interrupts: run_app(
                request, ctx.args, connection, report=report, interrupts=interrupts
            ),
            quiet=quiet,
        )
    return Work(lambda report, _: show_app(request, ctx.args, connection, report), quiet=quiet)


_HELP = frozenset({"--help", "-h"})
