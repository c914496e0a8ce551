"""`batch pause`, `resume`, `priority` and `status`: a batch of another process, by its results file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._base import Work, command

ResultsFile = Annotated[Path, typer.Argument(metavar="FILE", help="The results file of the batch.")]


@command("batch pause")
def batch_pause(
    results: ResultsFile,
    now: Annotated[
        bool, typer.Option("--now", help="Take back what still waits in the server's queue.")
    ] = False,
) -> Work:
    """Stop a batch from submitting further jobs; its jobs on the server go on.

    It holds until `batch resume`, also when the batch is started again.
    What --now takes back runs when the batch goes on.

    [bold]Examples[/bold]

      comfy-async batch portrait.json --seeds 100 --results run.jsonl &

      comfy-async batch pause run.jsonl

      comfy-async batch resume run.jsonl
    """
    from ._steer import pause

    return Work(lambda report, interrupts: pause(results, report, now=now))


@command("batch resume")
def batch_resume(results: ResultsFile) -> Work:
    """Resume a paused batch, within a second or so.

    [bold]Examples[/bold]

      comfy-async batch resume run.jsonl
    """
    from ._steer import resume

    return Work(lambda report, interrupts: resume(results, report))


@command("batch priority")
def batch_priority(
    results: ResultsFile,
    items: Annotated[
        list[str] | None, typer.Argument(metavar="ITEM", help="Places in the batch, from 0: 7, or 20..29.")
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="And before all others in the server's queue.")
    ] = False,
    number: Annotated[
        float | None,
        typer.Option("--number", metavar="NUMBER", help="And with this number there; lower runs first."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all priorities.")] = False,
) -> Work:
    """Submit these items of a batch first, in this order, unless already submitted.

    [bold]Examples[/bold]

      comfy-async batch priority run.jsonl 7 20..29

      comfy-async batch priority run.jsonl 99 --front
    """
    from ._steer import prioritize

    chosen = tuple(items or ())
    return Work(
        lambda report, interrupts: prioritize(
            results, chosen, report, front=front, number=number, clear=clear
        )
    )


@command("batch status")
def batch_status(results: ResultsFile) -> Work:
    """Print how far a batch is by its results file, whether it runs or not.

    [bold]Examples[/bold]

      comfy-async batch status run.jsonl

      comfy-async batch status run.jsonl --json
    """
    from ._steer import status

    return Work(lambda report, interrupts: status(results, report))
