"""`watch`, `wait`, `cancel`, `queue` and `history`: jobs that are on the server already."""

from __future__ import annotations

from typing import Annotated

import typer

from ._base import Work, command
from ._connection import Connection
from ._requests import Out

JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", help="An id or its beginning, a file of submit's, or -."),
]
JobsArgument = Annotated[
    list[str], typer.Argument(metavar="JOB", help="Ids or beginnings, files of submit's, or -.")
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=TEXT", help="Only jobs with this label. May be repeated."),
]


@command("watch")
def watch_command(job: JobArgument, out: Out = None, *, connection: Connection) -> Work:
    """Watch a job to its end; Ctrl-C leaves it running.

    With what submit printed the steps come live.
    With a bare id there is what polling finds; its events go to the submitter.

    [bold]Examples[/bold]

      comfy-async watch job.json --out out

      comfy-async watch 9e721e8c-948f-48d8-a684-409836d205e3 -s http://gpu:8188
    """
    from ._jobs import watch_job

    return Work(lambda report, interrupts: watch_job(job, connection, report, interrupts=interrupts, out=out))


@command()
def wait(
    jobs: JobsArgument,
    out: Out = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Wait no longer; the jobs go on.")
    ] = None,
    *,
    connection: Connection,
) -> Work:
    """Wait for jobs silently, then print their files; 0 only if all completed.

    [bold]Examples[/bold]

      comfy-async wait job.json --out out

      comfy-async wait ID1 ID2 ID3 --timeout 600 --json
    """
    from ._jobs import wait_jobs

    return Work(
        lambda report, _: wait_jobs(jobs, connection, report, out=out, seconds=timeout),
        quiet=True,
    )


@command()
def cancel(
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB", help="Ids or beginnings, files of submit's, or -."),
    ] = None,
    label: Label = None,
    *,
    connection: Connection,
) -> Work:
    """Stop exactly these jobs, waiting or running, and print how they truly ended.

    [bold]Examples[/bold]

      comfy-async cancel job.json

      comfy-async cancel 9e721e8c

      comfy-async cancel --label user=7

      comfy-async cancel 9e721e8c-948f-48d8-a684-409836d205e3
    """
    from ._jobs import cancel_jobs

    return Work(lambda report, _: cancel_jobs(jobs or (), connection, report, labels=label))


@command()
def queue(
    clear: Annotated[
        bool, typer.Option("--clear", help="Take every waiting job of everybody out of it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --clear: do not ask.")] = False,
    label: Label = None,
    *,
    connection: Connection,
) -> Work:
    """List what runs and what waits, in the order in which it will run.

    [bold]Examples[/bold]

      comfy-async queue

      comfy-async queue --json | jq -r .prompt_id

      comfy-async queue --label user=7

      comfy-async queue --clear
    """
    from ._listing import clear_queue, list_queue

    if not clear:
        return Work(lambda report, _: list_queue(connection, report, labels=label))
    if label:
        raise typer.BadParameter("--clear takes out every job; `cancel` those that `queue --label` lists")
    if not yes:
        typer.confirm("Take all waiting jobs of everybody out of the queue?", abort=True, err=True)
    return Work(lambda report, _: clear_queue(connection, report))


@command()
def history(
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Show this one with its files.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many, the latest first.")
    ] = 10,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="WHICH", help="Only these: completed, failed or cancelled."),
    ] = None,
    label: Label = None,
    *,
    connection: Connection,
) -> Work:
    """List finished jobs, or show one.

    [bold]Examples[/bold]

      comfy-async history -n 20

      comfy-async history --status failed --json

      comfy-async history --label user=7 --label order=12

      comfy-async history 9e721e8c-948f-48d8-a684-409836d205e3
    """
    from ._listing import list_history, show_history

    if job is not None:
        return Work(lambda report, _: show_history(job, connection, report))
    return Work(lambda report, _: list_history(connection, report, limit=limit, status=status, labels=label))
