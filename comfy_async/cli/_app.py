"""The commands and their options; what they do is loaded when one is called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._connection import Connection, connected
from ._interrupt import Interrupts, run_loop

if TYPE_CHECKING:
    from ._report import Report

__all__ = ["app"]

app = typer.Typer(
    name="comfy-async",
    help="Run ComfyUI workflows from the terminal, on any ComfyUI as it is installed.",
    epilog="A first try without any server:  comfy-async run WORKFLOW.json --fake --out out",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object a line on stdout; text for people on stderr.")
]
Work = Callable[["Report", Interrupts], Coroutine[Any, Any, int]]


def perform(work: Work, *, as_json: bool = False) -> None:
    """Run a command's work, print its errors as what they are, and exit with its code."""
    from ._failure import describe
    from ._report import Report

    report = Report.make(as_json=as_json)

    async def told(interrupts: Interrupts) -> int:
        try:
            return await work(report, interrupts)
        except Exception as error:
            failure = describe(error)
            if failure is None:
                raise
            report.failed(failure)
            return failure.exit_code

    raise typer.Exit(run_loop(told))


@app.command()
@connected
def run(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="API or editor JSON, or a picture that carries one.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE.INPUT=VALUE", help="Change a value; @FILE uploads a file."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Put this number into every seed.")] = None,
    randomize: Annotated[bool, typer.Option("--randomize", help="Draw every seed anew.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Save every file here.")
    ] = None,
    fake: Annotated[
        bool, typer.Option("--fake", help="Run on an embedded FakeComfy; nothing diffuses.")
    ] = False,
    step_seconds: Annotated[float, typer.Option("--step-seconds", help="With --fake: a step's time.")] = 0.05,
    as_json: Json = False,
    *,
    connection: Connection,
) -> None:
    """Run a workflow, watch it, and save what it makes.

    [bold]Examples[/bold]

      comfy-async run portrait.json --out out

      comfy-async run portrait.json --set 6.text="a red fox" --set 3.steps=30 --seed 7

      comfy-async run img2img.json --set "Load Image.image=@face.png" --out out

      comfy-async run portrait.json --json --server http://gpu:8188 | jq -c .event
    """
    from ._run import RunRequest
    from ._run import run as work

    request = RunRequest(
        workflow=workflow,
        settings=tuple(settings or ()),
        seed=seed,
        randomize=randomize,
        out=out,
        fake=fake,
        step_seconds=step_seconds,
    )
    perform(lambda report, interrupts: work(request, connection, report, interrupts), as_json=as_json)


@app.command("fake-server")
def fake_server(
    port: Annotated[int, typer.Option("--port", "-p", help="0 picks a free one.")] = 8188,
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    step_seconds: Annotated[float, typer.Option("--step-seconds", help="How long a step takes.")] = 0.05,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="Where outputs go; else a folder that ends with it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve a FakeComfy: a ComfyUI to try things on, which paints instead of diffusing.

    [bold]Examples[/bold]

      comfy-async fake-server --port 8188

      comfy-async fake-server --port 0 --json --step-seconds 0.5
    """
    from ._fake import serve

    options = {"host": host, "port": port, "step_seconds": step_seconds, "output_dir": output_dir}
    perform(lambda report, interrupts: serve(options, report, interrupts), as_json=as_json)


if sys.platform == "win32":  # pragma: no cover
    # Consoles there may not know UTF-8; a title that cannot be shown must not end a run.
    for _stream in (sys.stdout, sys.stderr):
        if hasattr(_stream, "reconfigure"):
            _stream.reconfigure(errors="replace")
