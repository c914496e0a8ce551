"""`run` and `submit`: from a workflow's file to a job, or to its results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._base import Json, app, perform
from ._connection import Connection, connected

WorkflowArgument = Annotated[
    str, typer.Argument(metavar="WORKFLOW", help="API or editor JSON, or a picture that carries one.")
]


def complete_setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete `--set` by what the workflow has: the keys that people change, with their values."""
    from comfy_async import ComfyError, Workflow

    try:
        found = Workflow.load(Path(str(ctx.params.get("workflow")))).inputs(every=True)
    except (ComfyError, OSError):
        return []
    return [f"{item.key}=" for item in found if item.key.startswith(incomplete)]


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NODE.INPUT=VALUE",
        help="Change a value; @FILE uploads a file.",
        autocompletion=complete_setting,
    ),
]
Ask = Annotated[
    list[str] | None, typer.Option("--ask", metavar="NODE.INPUT", help="Ask for a value on the terminal.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Put this number into every seed.")]
Randomize = Annotated[bool, typer.Option("--randomize", help="Draw every seed anew.")]
Front = Annotated[bool, typer.Option("--front", help="Before all others in the queue.")]
Partial = Annotated[bool, typer.Option("--partial", help="Run what can be run when outputs are refused.")]
CatalogFile = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", help="object_info JSON, in place of the server's."),
]
Project = Annotated[
    str,
    typer.Option(
        "--project", metavar="NAME", help="Where a prompt is kept that reached no server: projects/NAME."
    ),
]
Keep = Annotated[
    Path | None, typer.Option("--keep", metavar="FILE", help="The same, as a file of this name.")
]


@app.command()
@connected
def run(
    workflow: WorkflowArgument,
    settings: Settings = None,
    ask: Ask = None,
    seed: Seed = None,
    randomize: Randomize = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Save every file here.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Draw the pictures in a terminal that can (kitty, sixel).")
    ] = False,
    previews: Annotated[
        str, typer.Option("--previews", help="For --json: auto, latent2rgb, taesd, none or default.")
    ] = "none",
    front: Front = False,
    partial: Partial = False,
    fake: Annotated[
        bool, typer.Option("--fake", help="Run on an embedded FakeComfy; nothing diffuses.")
    ] = False,
    step_seconds: Annotated[float, typer.Option("--step-seconds", help="With --fake: a step's time.")] = 0.05,
    catalog: CatalogFile = None,
    project: Project = "default",
    keep: Keep = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")] = False,
    as_json: Json = False,
    *,
    connection: Connection,
) -> None:
    """Run a workflow, watch it, and save what it makes.

    Values are JSON where no text stands now. A value @FILE is uploaded, or read when it is for
    a prompt; @@ is a plain @. Ctrl-C cancels the job on the server, twice leaves at once.

    [bold]Examples[/bold]

      comfy-async run portrait.json --out out

      comfy-async run portrait.json --set 6.text="a red fox" --set 3.steps=30 --seed 7

      comfy-async run img2img.json --set "Load Image.image=@face.png" --out out

      comfy-async run portrait.png --ask 6.text --randomize --out out

      comfy-async run portrait.json --json --server http://gpu:8188 | jq -c .event
    """
    from ._prepare import RunRequest
    from ._run import run as work

    request = RunRequest(
        workflow=workflow,
        settings=tuple(settings or ()),
        ask=tuple(ask or ()),
        seed=seed,
        randomize=randomize,
        catalog=catalog,
        project=project,
        keep=keep,
        out=out,
        show=show,
        fake=fake,
        step_seconds=step_seconds,
        options={"front": front, "on_partial": "keep" if partial else "raise", "previews": previews},
    )
    perform(
        lambda report, interrupts: work(request, connection, report, interrupts=interrupts),
        as_json=as_json,
        quiet=quiet,
    )


@app.command()
@connected
def submit(
    workflow: WorkflowArgument,
    settings: Settings = None,
    ask: Ask = None,
    seed: Seed = None,
    randomize: Randomize = False,
    front: Front = False,
    partial: Partial = False,
    catalog: CatalogFile = None,
    project: Project = "default",
    keep: Keep = None,
    as_json: Json = False,
    *,
    connection: Connection,
) -> None:
    """Queue a workflow and print the job's ref: what watch, wait and cancel take.

    [bold]Examples[/bold]

      comfy-async submit portrait.json --seed 7 > job.json

      comfy-async wait job.json --out out

      comfy-async submit portrait.json --set 6.text="a red fox" | comfy-async watch -
    """
    from ._prepare import RunRequest
    from ._run import submit as work

    request = RunRequest(
        workflow=workflow,
        settings=tuple(settings or ()),
        ask=tuple(ask or ()),
        seed=seed,
        randomize=randomize,
        catalog=catalog,
        project=project,
        keep=keep,
        options={"front": front, "on_partial": "keep" if partial else "raise"},
    )
    perform(
        lambda report, interrupts: work(request, connection, report, interrupts=interrupts), as_json=as_json
    )


@app.command()
@connected
def batch(
    workflows: Annotated[list[str], typer.Argument(metavar="WORKFLOW...", help="One or more workflows.")],
    settings: Settings = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NODE.INPUT=VALUES",
            help='1..8, ["a", "b"], or @FILE with one a line; several are combined.',
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option("--rows", metavar="FILE", help="CSV or JSON lines; a column for each NODE.INPUT."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, metavar="N", help="Each so many times, with other seeds.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="With --seeds: draw the same ones each time.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-j", min=1, help="Jobs on the server at once.")] = 4,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="A folder for each: DIR/000 and so on.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="FILE", help="Go on from here when it was interrupted."),
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="The first failure ends it.")] = False,
    fake: Annotated[
        bool, typer.Option("--fake", help="Run on an embedded FakeComfy; nothing diffuses.")
    ] = False,
    step_seconds: Annotated[float, typer.Option("--step-seconds", help="With --fake: a step's time.")] = 0.05,
    as_json: Json = False,
    *,
    connection: Connection,
) -> None:
    """Run many variants, a few at a time; 0 only if all completed.

    [bold]Examples[/bold]

      comfy-async batch portrait.json --seeds 8 --out out

      comfy-async batch portrait.json --vary 6.text=@prompts.txt --vary 3.cfg=4..8 --out out

      comfy-async batch portrait.json --rows shots.csv --out out --results shots.jsonl
    """
    from ._batch import BatchRequest, run_batch

    request = BatchRequest(
        workflows=tuple(workflows),
        settings=tuple(settings or ()),
        vary=tuple(vary or ()),
        rows=rows,
        seeds=seeds,
        seed=seed,
        limit=limit,
        out=out,
        results=results,
        stop=stop,
        fake=fake,
        step_seconds=step_seconds,
    )
    perform(
        lambda report, interrupts: run_batch(request, connection, report, interrupts=interrupts),
        as_json=as_json,
    )
