"""What the end of a job raises for those who wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._protocol.reducer import JobState
from .._protocol.rejection import failure
from ..errors import JobCancelledError, JobError, JobLostError
from ..events import Failed

__all__ = ["error_of_end"]


def error_of_end(state: JobState, *, server: str, was_ours: bool) -> JobError | None:
    """Return the error that a job's end stands for, None when it is a success.

    Args:
        state: What is known of the job.
        server: The server's address.
        was_ours: Somebody of this process wanted it stopped.
    """
    end, prompt_id = state.terminal, state.prompt_id
    match state.status:
        case "failed":
            assert isinstance(end, Failed)
            return failure(end, prompt_id=prompt_id, server=server)
        case "cancelled":
            who = "" if was_ours else " by somebody else"
            return JobCancelledError(
                f"job {prompt_id} was cancelled{who}", prompt_id=prompt_id, server=server
            )
        case "lost":
            return _loss(end.data if end else {}, prompt_id=prompt_id, server=server)
    return None


def _loss(why: Mapping[str, Any], *, prompt_id: str, server: str) -> JobLostError:
    """Return the error for a lost job: one that is gone is safe to submit again, others may not be.

    Args:
        why: What was found: a `reason`, and `silent` where the server did not say what became of the job,
            `ended` where it has ended in a way that cannot be read.
        prompt_id: The job.
        server: The server's address.
    """
    reason, retryable = str(why.get("reason") or "it is in neither queue nor history"), None
    if why.get("silent"):
        message = f"it is unknown what became of job {prompt_id} at {server}: {reason}"
        hint = (
            "It may still run there: `attach(error.prompt_id)` when the server answers, "
            "and submit it again only if that finds nothing."
        )
        retryable = False
    elif why.get("ended"):
        message = f"job {prompt_id} at {server} has ended, and how is unknown: {reason}"
        hint = "It has run: look at the server's history and its output folder before it is submitted again."
        retryable = False
    else:
        message = f"{server} does not know job {prompt_id} any more: {reason}"
        hint = "The server was restarted, or its queue or history cleared: submit it again."
    return JobLostError(message, hint=hint, prompt_id=prompt_id, server=server, retryable=retryable)
