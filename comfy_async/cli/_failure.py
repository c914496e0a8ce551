"""What went wrong, for scripts (a stable code) and for people (what it is, where, what to do)."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ._connection import MissingExtraError, UsageError
from ._words import in_a_terminal

if TYPE_CHECKING:
    from comfy_async import ComfyError, Problem

__all__ = ["EXIT_FAILED", "EXIT_USAGE", "Failure", "describe", "problem_fields"]

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

# The official CLI's names where it has one (PROTOCOL 6), by class, the nearest ancestor wins.
_CODES: Final = {
    "ConnectError": "server_not_running",
    "NotComfyUIError": "invalid_response",
    "RequestTimeoutError": "request_timeout",
    "TransportError": "connection_error",
    "AuthError": "unauthorized",
    "NotFoundError": "not_found",
    "RateLimitError": "rate_limited",
    "UploadTooLargeError": "upload_failed",
    "InsufficientCreditsError": "payment_required",
    "PartialPromptError": "prompt_partly_rejected",
    "PromptRejectedError": "prompt_rejected",
    "SubmitUnknownError": "submit_unknown",
    "UnsupportedError": "unsupported",
    "ConversionError": "conversion_error",
    "UnknownInputError": "unknown_input",
    "WorkflowFormatError": "workflow_invalid",
    "WorkflowError": "workflow_invalid",
    "OutOfMemoryError": "out_of_memory",
    "PartnerNodeError": "partner_node_error",
    "JobFailedError": "execution_error",
    "JobCancelledError": "cancelled",
    "JobLostError": "job_lost",
    "SessionClosedError": "session_closed",
    "UsageError": "usage",
    "MissingExtraError": "missing_extra",
    "FileNotFoundError": "file_not_found",
    "OSError": "os_error",
}


# What helps here more than the library's own hint.
_HINTS: Final = {
    "unknown_input": "`comfy-async inputs WORKFLOW` lists what can be set.",
    "prompt_partly_rejected": "--partial runs what can be run.",
    "execution_error": "The server's traceback: with --json, or in its log: comfy-async logs.",
    "out_of_memory": "Use a smaller size or batch, or free the models first: comfy-async free.",
}

_TAKEN: Final = "Something else listens there; --port names another port, and --port 0 picks a free one."


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """An error as the command line shows it.

    Attributes:
        code: The kind, one word that stays the same in later versions.
        message: What is wrong, without the hint.
        hint: What to do, "" when nothing is known.
        details: Further fields of the JSON object.
        problems: Each finding with its place.
        exit_code: 1, or 2 when the call itself was wrong.
    """

    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    exit_code: int = EXIT_FAILED

    def fields(self) -> dict[str, Any]:
        """Return the JSON object."""
        found: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            **self.details,
        }
        if self.problems:
            found["problems"] = [problem_fields(problem) for problem in self.problems]
        return found


def describe(error: Exception) -> Failure | None:
    """Return what is known of an error, None when it is a fault of this program."""
    from comfy_async import ComfyError

    if isinstance(error, ComfyError):
        return _of_library(error)
    if isinstance(error, UsageError):
        rows = getattr(error, "rows", None)
        return Failure(_code(error), str(error), details={"rows": rows} if rows else {}, exit_code=EXIT_USAGE)
    if isinstance(error, MissingExtraError):
        return Failure(_code(error), str(error))
    if isinstance(error, OSError):
        return _of_system(error)
    return None


def problem_fields(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON can hold it; values that JSON cannot express as text."""
    found = dataclasses.asdict(problem)
    found["nearest"] = list(problem.nearest)
    found["advice"] = in_a_terminal(problem.advice)
    return found


def _of_library(error: ComfyError) -> Failure:
    """Return what one of the library's errors says."""
    from comfy_async import UnknownInputError

    code = _code(error)
    # Of the values of an app each has its own advice.
    own = isinstance(error, UnknownInputError) and bool(error.problems)
    return Failure(
        code,
        in_a_terminal(str(error.args[0])) if error.args else type(error).__name__,
        hint=(not own and _HINTS.get(code)) or in_a_terminal(error.hint),
        details=_details(error),
        problems=tuple(getattr(error, "problems", ())),
        exit_code=EXIT_USAGE if isinstance(error, UnknownInputError) else EXIT_FAILED,
    )


def _of_system(error: OSError) -> Failure:
    """Return what the operating system says; a file that is not there is a wrong argument."""
    where = f"{error.filename}: " if error.filename else ""
    missing = isinstance(error, FileNotFoundError)
    return Failure(
        _code(error),
        # asyncio's own begins so, behind our "error:".
        f"{where}{(error.strerror or str(error)).removeprefix('error while ')}",
        hint=_TAKEN if error.errno == errno.EADDRINUSE else "",
        exit_code=EXIT_USAGE if missing else EXIT_FAILED,
    )


_FIELDS: Final[Sequence[str]] = (
    *("prompt_id", "server", "status", "place", "candidates", "needs", "retry_after", "limit", "size"),
    *("node", "title", "class_type", "exception_type", "exception_message", "traceback", "reason", "body"),
)


def _details(error: ComfyError) -> dict[str, Any]:
    """Return the error's own fields that are set."""
    found: dict[str, Any] = {"retryable": error.retryable}
    for name in _FIELDS:
        value = getattr(error, name, None)
        if value not in (None, "", ()):
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _code(error: Exception) -> str:
    """Return the code of the nearest class that has one."""
    for kind in type(error).__mro__:
        if kind.__name__ in _CODES:
            return _CODES[kind.__name__]
    return "error"
