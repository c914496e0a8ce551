"""The application, and what every command does around its work."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ._interrupt import Interrupts, run_loop

if TYPE_CHECKING:
    from ._report import Report

__all__ = ["EXIT_PIPE", "Json", "Work", "app", "perform"]

EXIT_PIPE: Final = 141
"""What a shell says of a process that SIGPIPE ended."""

# The help's renderer makes a line of each paragraph.
_EXAMPLES: Final = """[bold]Examples[/bold] (each command's --help has more)

comfy-async run WORKFLOW.json --fake --out out            [dim]a first try, without any server[/dim]

comfy-async doctor                                        [dim]is a ComfyUI there, and well?[/dim]

comfy-async inputs WORKFLOW.json                          [dim]what can be set[/dim]

comfy-async run WORKFLOW.json --set 6.text="a red fox" --out out"""

app = typer.Typer(
    name="comfy-async",
    help="Run ComfyUI workflows from the terminal, on any ComfyUI as it is installed.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    """Print the version."""
    if wanted:
        import comfy_async

        typer.echo(comfy_async.__version__)
        raise typer.Exit


Json = Annotated[
    bool, typer.Option("--json", help="One JSON object a line on stdout; text for people on stderr.")
]
Work = Callable[["Report", Interrupts], Coroutine[Any, Any, int]]


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run ComfyUI workflows from the terminal, on any ComfyUI as it is installed."""


def perform(work: Work, *, as_json: bool = False, quiet: bool = False, warn: bool = True) -> None:
    """Run a command's work, print its errors as what they are, and exit with its code.

    Args:
        work: What to do.
        as_json: Speak JSON.
        quiet: Say results and errors only.
        warn: Say the library's warnings too; False for what finds out the same by itself.

    Raises:
        typer.Exit: Always; the code says how it went.
    """
    from ._failure import describe
    from ._report import Report

    report = Report.make(as_json=as_json, quiet=quiet)
    log = _Log(report) if warn else logging.NullHandler()

    async def told(interrupts: Interrupts) -> int:
        try:
            return await work(report, interrupts)
        except BrokenPipeError:
            # Whoever read the output has seen enough (`| head`); nothing may be flushed at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_PIPE
        except Exception as error:
            failure = describe(error)
            if failure is None:
                raise
            report.failed(failure)
            return failure.exit_code

    logger = logging.getLogger("comfy_async")
    logger.addHandler(log)
    try:
        code = run_loop(told)
    finally:
        logger.removeHandler(log)
    raise typer.Exit(code)


class _Log(logging.Handler):
    """Says the library's warnings where everything else is said, so that no display is torn."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Say one."""
        self._report.say(f"{record.levelname.lower()}: {record.getMessage()}")
