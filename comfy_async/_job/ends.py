"""What the end of a job raises for those who wait for it."""

from __future__ import annotations

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
            reason = str(end.data.get("reason") or "it is in neither queue nor history") if end else ""
            return JobLostError(
                f"{server} does not know job {prompt_id} any more: {reason}",
                hint="The server was restarted, or its queue or history cleared: submit it again.",
                prompt_id=prompt_id,
                server=server,
            )
    return None
