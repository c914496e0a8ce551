"""The application, and what every command does around its work."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from ._connection import Connection
from ._interrupt import Interrupts, run_loop
from ._words import in_a_terminal

if TYPE_CHECKING:
    from ._report import Report

__all__ = ["EXIT_PIPE", "Work", "app", "command", "perform", "report_for"]

EXIT_PIPE: Final = 141
"""The exit code that a shell gives a process that SIGPIPE ended."""

# The help's renderer makes a line of each paragraph.
_EXAMPLES: Final = """[bold]Examples[/bold] (each command's --help has more)

comfy-async run WORKFLOW.json --fake --out out   [dim]first try, without a server[/dim]

comfy-async doctor                               [dim]is a ComfyUI there and well?[/dim]

comfy-async inputs WORKFLOW.json                 [dim]what can be set[/dim]

comfy-async run WORKFLOW.json --set 6.text="a red fox" --out out"""

VERBS_OF_BATCH: Final = ("pause", "resume", "priority", "status")
"""What comes right after `batch`, as in `batch pause FILE`; a workflow's file of that name is `./pause`."""


def _in_words(parameters: list[Any]) -> list[Any]:
    """Let help say what a parameter takes in this program's words, or nothing at all.

    Newer versions of typer show Python's types: `<bool>` at each flag, `<list[str]>` at arguments.
    """
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            # Its metavar is its name. Older versions never ask.
            parameter.display_type_rich = lambda ctx: None
    return parameters


class _Command(TyperCommand):
    """One command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters as help shows them, `--help` too."""
        return _in_words(super().get_params(ctx))


class _Commands(TyperGroup):
    """The commands, of which some have two words."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters as help shows them, `--help` too."""
        return _in_words(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take `batch pause` for one command."""
        if args[:1] == ["batch"] and args[1:2] and args[1] in VERBS_OF_BATCH:
            args = [" ".join(args[:2]), *args[2:]]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="comfy-async",
    cls=_Commands,
    help="Run ComfyUI workflows from the terminal, on any ComfyUI as it is installed.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TAKES_MORE: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

_Json = Annotated[
    bool, typer.Option("--json", help="One JSON object a line on stdout; text for people on stderr.")
]


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What a command does once its options are read.

    Attributes:
        run: The work; it returns the exit code.
        quiet: Print results and errors only.
        warn: Print the library's warnings too; False for what finds out the same by itself.
    """

    run: Callable[[Report, Interrupts], Coroutine[Any, Any, int]]
    quiet: bool = False
    warn: bool = True


Command: TypeAlias = Callable[..., Work]


def _version(wanted: bool) -> None:
    """Print the version."""
    if wanted:
        import comfy_async

        typer.echo(comfy_async.__version__)
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run ComfyUI workflows from the terminal, on any ComfyUI as it is installed."""


def command(name: str | None = None, *, takes_more: bool = False) -> Callable[[Command], Command]:
    """Make a command of a function that turns options into work.

    One that `takes_more` gets what it does not know, `--help` too, as the `args` of its context.

    Each dataclass among its parameters stands for its fields: a group of options, such as
    `Connection`, so stands in one place however many commands have it. `--json` comes by itself.
    """

    def register(function: Command) -> Command:
        hints = get_type_hints(function, include_extras=True)
        groups: dict[str, Any] = {
            key: hint for key, hint in hints.items() if dataclasses.is_dataclass(hint) and hint != Work
        }

        @functools.wraps(function)
        def run(**values: Any) -> None:
            as_json = values.pop("as_json")
            made = {
                key: group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
                for key, group in groups.items()
            }
            perform(function(**values, **made), as_json=as_json)

        # The renderer keeps the indent of examples only where other text is beside them: none has it.
        run.__doc__ = inspect.cleandoc(function.__doc__ or "").replace("\n  ", "\n")
        parameters = _parameters(function, hints, groups)
        # typer reads both: the signature for the defaults, the annotations for the types.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, cls=_Command, context_settings=_TAKES_MORE if takes_more else None)(run)
        return function

    return register


def _parameters(function: Command, hints: dict[str, Any], groups: dict[str, Any]) -> list[inspect.Parameter]:
    """Return all options of a command, those about the server last."""
    found: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if groups.get(name) is not Connection:
            given = _fields(groups[name]) if name in groups else [(name, parameter.default, hints[name])]
            found += [_option(*one) for one in given]
    found.append(_option("as_json", False, _Json))
    return found + [_option(*one) for one in _fields(Connection) if Connection in groups.values()]


def _fields(group: Any) -> list[tuple[str, Any, Any]]:
    """Return name, default and type of each field of a dataclass."""
    hints = get_type_hints(group, include_extras=True)
    return [
        (
            field.name,
            inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    """Return a parameter of a command."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def report_for(*, as_json: bool, quiet: bool = False) -> Report:
    """Return the report that suits the output."""
    if as_json:
        from ._report_json import JsonReport

        return JsonReport(quiet=quiet)
    from ._report import QuietReport, Report

    if quiet:
        return QuietReport()
    if sys.stderr.isatty():
        from ._report_live import LiveReport

        return LiveReport()
    return Report()


def perform(work: Work, *, as_json: bool = False) -> None:
    """Do a command's work, print its errors as what they are, and exit with its code.

    Raises:
        typer.Exit: Always; the code says how it went.
    """
    from ._failure import describe

    report = report_for(as_json=as_json, quiet=work.quiet)
    log = _Log(report) if work.warn else logging.NullHandler()

    async def guarded(interrupts: Interrupts) -> int:
        try:
            return await work.run(report, interrupts)
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
        code = run_loop(guarded)
    finally:
        logger.removeHandler(log)
    raise typer.Exit(code)


class _Log(logging.Handler):
    """Prints the library's warnings by the report, so that they do not break a live display."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        self._report.say(f"{record.levelname.lower()}: {in_a_terminal(record.getMessage())}")
