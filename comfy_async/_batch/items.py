"""One item of a batch: run it, pick it up where an earlier batch left it, or take its old result."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._base.backoff import Backoff
from .._job.job import Job
from .._protocol.plan import Plan
from .._protocol.reducer import JobState
from .._protocol.snapshot import history_events
from .._session.attach import attach
from .._session.submission import Submission, SubmitOptions
from ..errors import ComfyError, ConnectError, JobLostError, RateLimitError
from ..events import Failed
from ..workflow import Workflow
from .journal import Journal, Record, as_history, is_final, workflow_key

if TYPE_CHECKING:
    from .._client.session import ComfySession

__all__ = ["restored", "run_item"]

_log = logging.getLogger("comfy_async")


async def run_item(
    session: ComfySession, item: Any, journal: Journal | None, *, options: SubmitOptions, check: bool = False
) -> Job:
    """Return a job for one workflow of a batch: under way, or already ended.

    Whatever the submission fails of becomes the job's own end, so that it raises where the job
    is awaited. A server that nobody reaches is waited for, since nothing was sent.
    """
    backoff = Backoff(first=session.settings.reconnect_first, cap=session.settings.reconnect_cap)
    clock = session._clock
    since = clock.monotonic()
    while True:
        try:
            return await _try_item(session, item, journal, options=options, check=check)
        except (ConnectError, RateLimitError) as error:
            limit = session.settings.away_seconds
            if limit is not None and clock.monotonic() - since >= limit:
                return _failed(session, error, options)
            pause = backoff.next()
            if isinstance(error, RateLimitError) and error.retry_after is not None:
                pause = max(pause, error.retry_after)
            _log.info("workflow %s of the batch waits %.1f s: %s", options.index, pause, error)
            await clock.sleep(pause)
        except ComfyError as error:
            return _failed(session, error, options)


async def _try_item(
    session: ComfySession, item: Any, journal: Journal | None, *, options: SubmitOptions, check: bool
) -> Job:
    """Bring one workflow to a job, with the results file in mind."""
    session._check_loop()
    await session._known_server()
    workflow = await session._prepared(item, check=check)
    if journal is None:
        return await Submission(session, workflow, options).run()
    key = workflow_key(workflow)
    assert options.index is not None
    record = journal.find(options.index, key)
    job = None if record is None else await _from_record(session, record, workflow, options.index)
    if job is None:
        submission = Submission(session, workflow, options)
        submission.job._key = key
        # Before the post: a process that dies now leaves no job that nobody knows of.
        journal.posting(submission.job, key)
        job = await submission.run()
        if not session.server.can("client_prompt_id"):
            journal.posting(job, key)
    job._key = key
    return job


async def _from_record(session: ComfySession, record: Record, workflow: Workflow, index: int) -> Job | None:
    """Return the job that an earlier batch noted, or None when it has to run again."""
    ref = record.get("ref")
    if not isinstance(ref, Mapping):
        return None
    if is_final(record):
        return restored(session, record, workflow, index)
    if record.get("status") != "submitted":
        return None
    job = await attach(session, {"prompt_id": str(ref["prompt_id"]), "client_id": str(ref["client_id"])})
    job.index, job.workflow = index, workflow
    if not job.done and not job._seen:
        # In neither queue nor history: polling finds out whether that is the truth.
        try:
            await job.result()
        except JobLostError:
            return None
        except ComfyError:
            pass
    job._recalled = True
    # An interrupted batch cancels what it was submitting, and had no time to note that.
    return None if job.status == "cancelled" else job


def restored(session: ComfySession, record: Record, workflow: Workflow, index: int) -> Job:
    """Return a finished job made from its line: nothing is asked, its files are still on the server."""
    entry = as_history(record, workflow.to_api())
    plan = Plan(entry.prompt)
    job = Job(session, JobState(entry.prompt_id, plan), keep_frames=False, index=index)
    job.workflow = workflow
    job._client_id = str(record["ref"].get("client_id") or "")
    job._key = str(record["key"])
    job._restored = job._recalled = True
    for event in history_events(entry, session._clock.unix()):
        job._take(event)
    return job


def _failed(session: ComfySession, error: ComfyError, options: SubmitOptions) -> Job:
    """Return a job that never was on the server and ends with the error of its submission."""
    prompt_id = error.prompt_id or str(uuid.uuid4())
    job = Job(session, JobState(prompt_id, Plan({})), keep_frames=False, index=options.index)
    data = {"exception_type": type(error).__name__, "exception_message": str(error)}
    job._take(Failed(None, data, prompt_id, received_at=session._clock.unix()))
    job._error = error
    return job
