"""The options of `run`, `submit` and `batch`: each once, with its help."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .._base.places import on_this_machine
from ._labels import read_key, read_labels
from ._out import OutPlace

__all__ = [
    "AppRequest",
    "BatchRequest",
    "CatalogFile",
    "Out",
    "Prefer",
    "RunRequest",
    "Seed",
    "Settings",
    "SubmitRequest",
    "WorkflowArgument",
    "out_place",
    "results_file",
]

_LABEL: Final = "A label of the job; queue and history show it. May be repeated."
_UNREACHED: Final = "When no server answers"
_TRYING: Final = "Trying out"


def out_place(text: str) -> OutPlace:
    """Return what --out says.

    Raises:
        BadParameter: It is the address of another machine's files.
    """
    try:
        return OutPlace(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def results_file(text: str) -> Path:
    """Return what --results says.

    Raises:
        BadParameter: It is no file on this machine.
    """
    try:
        return on_this_machine(text, "it")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def complete_setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete `--set` by what the workflow has: the keys that people change."""
    return [f"{key}=" for key in _keys(ctx) if key.startswith(incomplete)]


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete `--ask` in the same way."""
    return [key for key in _keys(ctx) if key.startswith(incomplete)]


def _keys(ctx: typer.Context) -> list[str]:
    """Return the keys of the workflow on the command line, [] when it has none that can be read."""
    from comfy_async import ComfyError, Workflow

    # An option that lacks its value so far leaves the words before it unread.
    given = [ctx.params.get("workflow"), *(ctx.params.get("workflows") or ()), *ctx.args]
    for path in (Path(str(word)) for word in given if word):
        try:
            return [item.key for item in Workflow.load(path).inputs(every=True)]
        except (ComfyError, OSError):
            continue
    return []


WorkflowArgument = Annotated[
    str, typer.Argument(metavar="WORKFLOW", help="API or editor JSON, or a picture that carries one.")
]
CatalogFile = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", help="object_info JSON, in place of the server's."),
]
Out = Annotated[
    OutPlace | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        parser=out_place,
        help="Save every file here, or as DIR/{seed}.png; s3://... goes to a store.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NODE.INPUT=VALUE",
        help="Change a value; @FILE uploads a file. May be repeated.",
        autocompletion=complete_setting,
    ),
]
Prefer = Annotated[
    str, typer.Option("--prefer", metavar="WHICH", help="Of a file that carries both: workflow or prompt.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Put this number into every seed.")]
_Fake = Annotated[
    bool,
    typer.Option("--fake", help="Run on an embedded FakeComfy; nothing diffuses.", rich_help_panel=_TRYING),
]
_StepSeconds = Annotated[
    float,
    typer.Option(
        "--step-seconds", metavar="SECONDS", help="With --fake: a step's time.", rich_help_panel=_TRYING
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """The options of `submit`, and of `run` too."""

    workflow: WorkflowArgument
    settings: Settings = None
    ask: Annotated[
        list[str] | None,
        typer.Option(
            "--ask",
            metavar="NODE.INPUT",
            help="Ask for a value on the terminal. May be repeated.",
            autocompletion=complete_key,
        ),
    ] = None
    seed: Seed = None
    randomize: Annotated[bool, typer.Option("--randomize", help="Put a random number into every seed.")] = (
        False
    )
    front: Annotated[bool, typer.Option("--front", help="Before all others in the queue.")] = False
    labels: Annotated[list[str] | None, typer.Option("--label", metavar="NAME=TEXT", help=_LABEL)] = None
    key: Annotated[
        str | None, typer.Option("--key", metavar="TEXT", help="What it is for: one job for each key.")
    ] = None
    partial: Annotated[
        bool, typer.Option("--partial", help="Run what can be run when outputs are refused.")
    ] = False
    catalog: CatalogFile = None
    prefer: Prefer = "workflow"
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            metavar="NAME",
            help="Keep the prepared prompt under projects/NAME/workflows.",
            rich_help_panel=_UNREACHED,
        ),
    ] = None
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="FILE",
            help="Keep the prepared prompt as this file.",
            rich_help_panel=_UNREACHED,
        ),
    ] = None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `ComfySession.submit`."""
        return {
            "front": self.front,
            "on_partial": "keep" if self.partial else "raise",
            "labels": read_labels(self.labels),
            "key": read_key(self.key),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRequest(SubmitRequest):
    """The options of `run`."""

    out: Out = None
    show: Annotated[
        bool, typer.Option("--show", help="Draw the pictures in a terminal that can (kitty, sixel).")
    ] = False
    previews: Annotated[
        str,
        typer.Option(
            "--previews", metavar="WHICH", help="For --json: auto, latent2rgb, taesd, none or default."
        ),
    ] = "none"
    fake: _Fake = False
    step_seconds: _StepSeconds = 0.05

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `ComfySession.submit`."""
        return {**super().options, "previews": self.previews}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AppRequest:
    """The options of `app`, except the values."""

    workflow: Annotated[
        str | None,
        typer.Argument(metavar="WORKFLOW", help="API or editor JSON, or a picture that carries one."),
    ] = None
    action: Annotated[
        str | None, typer.Argument(metavar="run", help="Run it, with an option for each input.")
    ] = None
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME=NODE.INPUT",
            help="Name inputs yourself; only those. May be repeated.",
        ),
    ] = None
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", metavar="NAME=NODE", help="Name outputs. May be repeated."),
    ] = None
    catalog: CatalogFile = None
    prefer: Prefer = "workflow"
    out: Out = None
    show: Annotated[
        bool, typer.Option("--show", help="Draw the pictures in a terminal that can (kitty, sixel).")
    ] = False
    fake: _Fake = False
    step_seconds: _StepSeconds = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """The options of `batch`."""

    workflows: Annotated[list[str], typer.Argument(metavar="WORKFLOW", help="One or more workflows.")]
    settings: Settings = None
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NODE.INPUT=VALUES",
            help='1..8, ["a", "b"], or @FILE with one a line. May be repeated: combined.',
        ),
    ] = None
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows",
            metavar="FILE",
            help="CSV or JSON lines; columns are NODE.INPUT, or inputs as `app` names them.",
        ),
    ] = None
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, metavar="N", help="Each so many times, with seeds that count up."),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", help="Put this number into every seed; --seeds counts up from it."
        ),
    ] = None
    limit: Annotated[
        int, typer.Option("--limit", "-j", min=1, metavar="N", help="Jobs on the server at once.")
    ] = 4
    out: Annotated[
        OutPlace | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            parser=out_place,
            help="A folder for each, DIR/000 and so on, or names: DIR/{job:03d}_{seed}.png.",
        ),
    ] = None
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="FILE",
            parser=results_file,
            help="Keep what is done in this file, and go on from it.",
        ),
    ] = None
    elsewhere: Annotated[
        str,
        typer.Option(
            "--results-elsewhere",
            metavar="WHICH",
            help="Jobs of another server in that file: raise, rerun, or keep (the same server).",
        ),
    ] = "raise"
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run jobs again that failed, as that file says.")
    ] = False
    retry_missing: Annotated[
        bool, typer.Option("--retry-missing", help="Run jobs again whose files the server no longer has.")
    ] = False
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on although the results file was left paused.")
    ] = False
    stop: Annotated[bool, typer.Option("--stop", help="Stop at the first failure.")] = False
    labels: Annotated[list[str] | None, typer.Option("--label", metavar="NAME=TEXT", help=_LABEL)] = None
    prefer: Prefer = "workflow"
    fake: _Fake = False
    step_seconds: _StepSeconds = 0.05
