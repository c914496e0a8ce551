"""`run`, `submit` and `batch`: from a workflow's file to a job, or to its results."""

from __future__ import annotations

from typing import Annotated

import typer

from ._base import Work, command
from ._connection import Connection
from ._requests import BatchRequest, RunRequest, SubmitRequest


@command()
def run(
    request: RunRequest,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.")] = False,
    *,
    connection: Connection,
) -> Work:
    """Run a workflow, watch it, and save what it makes.

    Values are JSON where no text stands now.
    A value @FILE is uploaded, or read when it is for a prompt; @@ is a plain @.
    Ctrl-C cancels the job on the server, twice leaves at once.

    [bold]Examples[/bold]

      comfy-async run portrait.json --out out

      comfy-async run portrait.json --set 6.text="a fox" --set 3.steps=30 --seed 7

      comfy-async run img2img.json --set "Load Image.image=@face.png" --out out

      comfy-async run portrait.png --ask 6.text --randomize --out out

      comfy-async run portrait.json --json --server http://gpu:8188 | jq -c .event
    """
    from ._run import run as work

    return Work(
        lambda report, interrupts: work(request, connection, report, interrupts=interrupts),
        quiet=quiet,
    )


@command()
def submit(request: SubmitRequest, *, connection: Connection) -> Work:
    """Queue a workflow and print the job's ref: what watch, wait and cancel take.

    [bold]Examples[/bold]

      comfy-async submit portrait.json --seed 7 > job.json

      comfy-async wait job.json --out out

      comfy-async submit portrait.json --set 6.text="a fox" | comfy-async watch -
    """
    from ._run import submit as work

    return Work(lambda report, interrupts: work(request, connection, report, interrupts=interrupts))


@command()
def batch(request: BatchRequest, *, connection: Connection) -> Work:
    """Run many variants, a few at a time; 0 only if all completed.

    With --results the same command goes on after an interruption.
    A job is recognized by its place and its content.
    The seeds that --seeds chooses are kept in that file.
    An empty cell of --rows leaves what the workflow has; "" is an empty text.
    `batch pause|resume|priority|status FILE` steer it from another terminal.

    [bold]Examples[/bold]

      comfy-async batch portrait.json --seeds 8 --out out

      comfy-async batch portrait.json --vary 6.text=@lines.txt --vary 3.cfg=4..8

      comfy-async batch portrait.json --rows a.csv --results a.jsonl --out out

      comfy-async batch portrait.json --seeds 8 --out 'out/{job:03d}_{seed}.png'

      comfy-async batch status a.jsonl
    """
    from ._batch import run_batch

    return Work(lambda report, interrupts: run_batch(request, connection, report, interrupts=interrupts))
