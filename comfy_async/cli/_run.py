"""`comfy-async run` and `submit`: a workflow brought to the server, and watched to its end."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._job.job import core_of
from ._connection import Connection, MissingExtraError, UsageError, opened
from ._failure import Failure, describe
from ._fake import embedded
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._json_events import queued_fields
from ._labels import read_key, read_labels
from ._later import cancel_command, withheld
from ._out import demand_names, demand_place
from ._prepare import asked, keep, load, partner_options, place_to_keep, prepared
from ._watch import Outcome, saved, tell, watch

if TYPE_CHECKING:
    from PIL.Image import Image

    from comfy_async import ComfySession, ConnectError, Job, Workflow

    from ._report import Report
    from ._requests import AppRequest, RunRequest, SubmitRequest

__all__ = ["brought_home", "demand_output", "run", "submit"]

_PREVIEWS: Final = ("auto", "latent2rgb", "taesd", "none", "default")
_MOST_PICTURES: Final = 8
_NEEDS_CATALOG: Final = (
    "An editor file is converted with the server's nodes; with --catalog object_info.json "
    "(from `comfy-async nodes --save`) the prompt is kept for later."
)


async def run(request: RunRequest, connection: Connection, report: Report, *, interrupts: Interrupts) -> int:
    """Run a workflow and return the exit code.

    Raises:
        ComfyError: It could not be brought to the server.
        UsageError: An option is invalid.
        OSError: A file cannot be read or written.
    """
    from comfy_async import ConnectError

    await _demand(request, report)
    workflow = load(request)
    fake = embedded(request, report, interrupts)
    submitted = False
    try:
        request = asked(workflow, request, interrupts)
        async with report.watching(), opened(connection, fake=fake) as comfy:
            job = await _submitted(comfy, workflow, request, report=report, interrupts=interrupts)
            submitted = True
            outcome = await brought_home(
                comfy, job, request, connection, report=report, interrupts=interrupts
            )
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        report.interrupted()
        return EXIT_INTERRUPTED
    except ConnectError as error:
        if submitted:
            raise
        return _unreached(
            error, workflow, request, connection=connection, report=report, interrupts=interrupts
        )
    return tell(outcome, report)


async def brought_home(
    comfy: ComfySession,
    job: Job,
    request: RunRequest | AppRequest,
    connection: Connection,
    *,
    report: Report,
    interrupts: Interrupts,
) -> Outcome:
    """Watch a job to its end, and fetch what it makes."""
    if not request.fake:
        # Said last of all: these are called in reverse.
        interrupts.last_words.insert(0, partial(_left, job, connection, report))
    outcome = await _followed(comfy, job, report=report, interrupts=interrupts)
    return await _fetched(outcome, request, connection, report=report)


def _left(job: Job, connection: Connection, report: Report) -> None:
    """Print at a hasty exit how to stop what may still run."""
    report.left(job, cancel_command(job.prompt_id, connection))


async def _demand(request: RunRequest, report: Report) -> None:
    """Check before the run that what follows it can be done.

    Raises:
        UsageError: An option makes no sense, or nothing can be written where it says.
        MissingExtraError: Pictures cannot be shown.
    """
    if request.previews not in _PREVIEWS:
        raise UsageError(f"--previews takes {', '.join(_PREVIEWS)}")
    if request.previews != "none" and not report.has_events:
        raise UsageError("--previews goes with --json: a terminal shows no previews (guide: terminal.md)")
    demand_words(request)
    await demand_output(request)


async def demand_output(request: RunRequest | AppRequest) -> None:
    """Check before the run that its files can be shown and written.

    Raises:
        UsageError: Nothing can be written there.
        MissingExtraError: Pictures cannot be shown.
    """
    if request.show:
        demand_pictures()
    await demand_place(request.out)


def demand_words(request: SubmitRequest) -> None:
    """Check labels and key before anything is sent.

    Raises:
        UsageError: One of them is not.
    """
    read_labels(request.labels)
    read_key(request.key)


def demand_pictures() -> None:
    """Check before the run that its pictures can be shown after it.

    Raises:
        MissingExtraError: textual-image is not installed.
    """
    if importlib.util.find_spec("textual_image") is None:
        raise MissingExtraError("--show needs textual-image: pip install 'comfy-async[pictures]'")


async def _submitted(
    comfy: ComfySession, workflow: Workflow, request: SubmitRequest, *, report: Report, interrupts: Interrupts
) -> Job:
    """Prepare the workflow and queue it."""
    with report.paused():
        made = await prepared(comfy, workflow, request, interrupts=interrupts)
    demand_names(getattr(request, "out", None), made)
    options = {"previews": "none", **request.options, **await partner_options(comfy, made)}
    return await comfy.submit(made, **options)


async def _followed(comfy: ComfySession, job: Job, *, report: Report, interrupts: Interrupts) -> Outcome:
    """Watch the job to its end; whatever happens, it does not outlive this."""
    try:
        report.submitted(job)
        return await watch(job, report, interrupts)
    except BaseException:
        # Nobody sees what it makes any more. (Ctrl-C is dealt with in `watch`.)
        await core_of(job).owner.abandon(core_of(job))
        raise


async def _fetched(
    outcome: Outcome, request: RunRequest | AppRequest, connection: Connection, *, report: Report
) -> Outcome:
    """Save what the job made, and fetch its pictures; what fails here takes nothing that there is."""
    from comfy_async import ComfyError

    later = None if request.fake else connection
    outcome = await saved(outcome, report, request.out, later=later)
    if request.show and outcome.unsaved is None:
        try:
            return dataclasses.replace(outcome, pictures=await fetched(outcome))
        except (ComfyError, OSError) as error:
            report.say(f"the pictures cannot be shown: {error}")
    return outcome


async def fetched(outcome: Outcome) -> dict[int, Image]:
    """Return the first pictures of a result by their place among its files, decoded.

    Raises:
        ComfyError: The server does not give them.
    """
    found: dict[int, Image] = {}
    for place, (file, _) in enumerate(outcome.files):
        if file.kind == "image" and len(found) < _MOST_PICTURES:
            found[place] = await file.image()
    return found


async def submit(
    request: SubmitRequest, connection: Connection, report: Report, *, interrupts: Interrupts
) -> int:
    """Queue a workflow, print the job's ref, and return the exit code.

    Raises:
        ComfyError: It could not be brought to the server.
        UsageError: An option is invalid.
        OSError: A file cannot be read or written.
    """
    from comfy_async import ConnectError

    demand_words(request)
    workflow = load(request)
    request = asked(workflow, request, interrupts)
    try:
        # Nobody listens after this: the poller's answer to the POST is all that is needed.
        async with opened(connection, transport="poll") as comfy:
            job = await _submitted(comfy, workflow, request, report=report, interrupts=interrupts)
            # `detached` tells `watch` that nobody listens under this client_id any more.
            report.item({**queued_fields(job), "detached": True}, json.dumps({**job.ref, "detached": True}))
    except ConnectError as error:
        return _unreached(
            error, workflow, request, connection=connection, report=report, interrupts=interrupts
        )
    return 0


def _unreached(
    error: ConnectError,
    workflow: Workflow,
    request: SubmitRequest,
    *,
    connection: Connection,
    report: Report,
    interrupts: Interrupts,
) -> int:
    """Print that no server answers, keep the prepared prompt if that is wanted, and print how to go on.

    Raises:
        CancelledError: Ctrl-C was pressed at the question.
    """
    failure = describe(error)
    assert failure is not None
    details = dict(failure.details)
    if workflow.format == "editor":
        later = _NEEDS_CATALOG
    elif not _wants_to_keep(path := place_to_keep(request), request, failure, report, interrupts):
        later = "Nothing was kept; --keep FILE keeps the prepared prompt."
    else:
        details |= {"kept": str(path), "command": keep(workflow, request, connection, path)}
        without = withheld(connection)
        later = f"The prompt is kept as {path}; to submit it later{f', {without}' if without else ''}:"
    failure = dataclasses.replace(failure, hint=f"{failure.hint}\n{later}".strip(), details=details)
    report.failed(failure)
    return failure.exit_code


def _wants_to_keep(
    path: Path, request: SubmitRequest, failure: Failure, report: Report, interrupts: Interrupts
) -> bool:
    """Say whether the prompt is to be kept: a mistyped port should not fill a folder unasked.

    A named place means yes; on a terminal the user is asked; elsewhere it means no.

    Raises:
        CancelledError: Ctrl-C was pressed at the question.
    """
    if request.keep is not None or request.project is not None:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    answer = interrupts.ask(f"{failure.message}\nKeep the prepared prompt as {path}? [y/N] ")
    return answer.strip().lower() in {"y", "yes"}
