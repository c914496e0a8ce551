"""`comfy-async run` and `submit`: a workflow brought to the server, and watched to its end."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING

from .._stream import abandon
from ._connection import Connection, fake_server, opened
from ._failure import describe
from ._interrupt import EXIT_INTERRUPTED, Interrupts
from ._json_events import queued_fields
from ._pictures import demand_pictures, fetched
from ._prepare import RunRequest, asked, kept, load, partner_options, prepared
from ._watch import Outcome, saved, tell, watch

if TYPE_CHECKING:
    from comfy_async import ComfySession, ConnectError, Job, Workflow

    from ._report import Report

__all__ = ["run", "submit"]


async def run(request: RunRequest, connection: Connection, report: Report, *, interrupts: Interrupts) -> int:
    """Run a workflow and return the exit code.

    Raises:
        ComfyError: It could not be brought to the server.
        UsageError: An option makes no sense.
        OSError: A file cannot be read or written.
    """
    from comfy_async import ConnectError

    if request.show:
        demand_pictures()
    workflow = load(request)
    fake = fake_server(step_seconds=request.step_seconds) if request.fake else None
    if fake is not None:
        interrupts.last_words.append(fake.folders.remove)
    interrupts.last_words.append(report.restore)
    interrupts.on_ask = lambda: report.note("cancelling; Ctrl-C again leaves at once")
    submitted = False
    try:
        request = asked(workflow, request, interrupts)
        async with report.watching(), opened(connection, fake=fake) as comfy:
            job = await _submitted(comfy, workflow, request, report=report, interrupts=interrupts)
            submitted = True
            outcome = await _followed(comfy, job, request, report=report, interrupts=interrupts)
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        report.interrupted()
        return EXIT_INTERRUPTED
    except ConnectError as error:
        if submitted:
            raise
        return _keep(error, workflow, request, report=report)
    return tell(outcome, report)


async def _submitted(
    comfy: ComfySession, workflow: Workflow, request: RunRequest, *, report: Report, interrupts: Interrupts
) -> Job:
    """Prepare the workflow and queue it."""
    with report.paused():
        made = await prepared(comfy, workflow, request, interrupts=interrupts)
    return await comfy.submit(made, **request.options, **await partner_options(comfy, made))


async def _followed(
    comfy: ComfySession, job: Job, request: RunRequest, *, report: Report, interrupts: Interrupts
) -> Outcome:
    """Watch the job to its end, and fetch what it made; whatever happens, it does not outlive this."""
    try:
        report.submitted(job)
        outcome = await watch(job, report, interrupts)
    except BaseException:
        # Nobody sees what it makes any more. (Ctrl-C is dealt with in `watch`.)
        await abandon(comfy, job)
        raise
    outcome = await saved(outcome, report, request.out)
    return dataclasses.replace(outcome, pictures=await fetched(outcome)) if request.show else outcome


async def submit(
    request: RunRequest, connection: Connection, report: Report, *, interrupts: Interrupts
) -> int:
    """Queue a workflow, print the job's ref, and return the exit code.

    Raises:
        ComfyError: It could not be brought to the server.
        UsageError: An option makes no sense.
        OSError: A file cannot be read or written.
    """
    from comfy_async import ConnectError

    workflow = load(request)
    request = asked(workflow, request, interrupts)
    try:
        # Nobody listens after this: the poller's answer to the POST is all that is needed.
        async with opened(connection, transport="poll") as comfy:
            made = await prepared(comfy, workflow, request, interrupts=interrupts)
            options = {"previews": "none", **request.options, **await partner_options(comfy, made)}
            job = await comfy.submit(made, **options)
            # `detached` tells `watch` that nobody listens under this client_id any more.
            report.item({**queued_fields(job), "detached": True}, json.dumps({**job.ref, "detached": True}))
    except ConnectError as error:
        return _keep(error, workflow, request, report=report)
    return 0


def _keep(error: ConnectError, workflow: Workflow, request: RunRequest, *, report: Report) -> int:
    """Nobody answers: keep the prepared prompt, and say where and how to go on."""
    failure = describe(error)
    assert failure is not None
    found = kept(workflow, request)
    if found is not None:
        path, command = found
        failure.details["kept"] = str(path)
        failure.details["command"] = command
    report.failed(failure)
    if found is not None:
        report.say(f"The prompt is kept as {found[0]}; later: {found[1]}")
    return failure.exit_code
