"""What the end of a job means for who awaits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._protocol.rejection import failure
from ..errors import JobCancelledError, JobError, JobLostError
from ..events import Failed

if TYPE_CHECKING:
    from .job import Job

__all__ = ["final_error"]


def final_error(job: Job) -> JobError | None:
    """Return the error that a job's end stands for, None when it is a success."""
    server = job._session.base_url
    end = job._state.terminal
    prompt_id = job.prompt_id
    match job.status:
        case "failed":
            assert isinstance(end, Failed)
            return failure(end, prompt_id=prompt_id, server=server)
        case "cancelled":
            who = "" if job._cancel_wanted else " by somebody else"
            return JobCancelledError(
                f"job {prompt_id} was cancelled{who}", prompt_id=prompt_id, server=server
            )
        case "lost":
            reason = str(end.data.get("reason") or "it is in neither queue nor history") if end else ""
            return JobLostError(
                f"{server} does not know job {prompt_id} any more: {reason}",
                hint="The server was restarted, or its queue or history cleared: submit it again.",
                prompt_id=prompt_id,
                server=server,
            )
    return None
