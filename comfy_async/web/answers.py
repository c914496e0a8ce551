"""Every refusal as JSON, with a status that says who can do something about it; no internal details."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from .._client.words import advice_without_python, plain_title, problem_without_python
from ..errors import (
    ComfyError,
    InsufficientCreditsError,
    JobCancelledError,
    JobFailedError,
    JobLostError,
    NotFoundError,
    OutOfMemoryError,
    PartnerNodeError,
    PromptRejectedError,
    RateLimitError,
    ResponseError,
    SessionClosedError,
    SubmitUnknownError,
    TransportError,
    UploadTooLargeError,
    WorkflowError,
)
from ..types import Problem, clipped

__all__ = ["RefusedError", "answer_of", "fault_of_job", "problem_fields", "refusal_of"]

_log = logging.getLogger("comfy_async")

_SHOWN: Final = 200

# The library's advice is for programmers: what stands for it here. Other sentences about Python are left out.
_SEND: Final = "Send the bytes: a file of a form, or in JSON a data: URI"
_WORDS: Final[Mapping[str, str]] = {
    "Give True or False": "Give true or false",
    "Give the name of a file that the server has, or a data: URI": _SEND,
    "Give a path (pathlib.Path), bytes, an open file, a Pillow image, or an array": _SEND,
    "Give a path, bytes or an open file": _SEND,
    "Download it, and give the bytes or a path": _SEND,
}


class RefusedError(Exception):
    """A request that is refused, and the answer to the caller.

    Attributes:
        status: The HTTP status.
        code: The kind, one word that stays the same in later versions.
        problems: What is wrong, input by input.
        hint: What to do.
        retry_after: Seconds to wait before the next try.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        problems: Iterable[Mapping[str, Any]] = (),
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        """Keep what the answer says."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.problems = [dict(problem) for problem in problems]
        self.hint = hint
        self.retry_after = retry_after

    def response(self) -> Response:
        """Return the answer."""
        body = {
            "code": self.code,
            "message": str(self),
            "hint": self.hint,
            "problems": self.problems,
            "retryable": self.retry_after is not None,
        }
        headers = {"Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(self.retry_after))
        return JSONResponse({"error": body}, self.status, headers=headers)


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """What an error of the library becomes: a status, a code, and a message for callers."""

    status: int
    code: str
    told: str = ""
    retry: bool = False


# By class, the nearest ancestor wins. With `told` the error's own words stay in our log: they have
# addresses, and what a gateway answers.
_KINDS: Final[Mapping[type[Exception], _Kind]] = {
    PromptRejectedError: _Kind(422, "refused"),
    WorkflowError: _Kind(422, "invalid_inputs"),
    UploadTooLargeError: _Kind(413, "too_large", "the ComfyUI takes no file of that size"),
    InsufficientCreditsError: _Kind(402, "no_credits", "the account of this service has no credits left"),
    RateLimitError: _Kind(429, "too_many_jobs", "the ComfyUI has too much to do", retry=True),
    NotFoundError: _Kind(404, "not_found", "the ComfyUI does not have it any more"),
    SubmitUnknownError: _Kind(503, "submit_unknown", "it is unknown whether the job arrived"),
    TransportError: _Kind(503, "comfyui_away", "the ComfyUI does not answer", retry=True),
    SessionClosedError: _Kind(503, "closing", "this service is being closed", retry=True),
    ComfyError: _Kind(502, "comfyui_error", "the ComfyUI answered with an error"),
}


def refusal_of(error: ComfyError, *, retry_seconds: float) -> RefusedError:
    """Return the answer to a caller for an error of the library."""
    kind = next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)
    if isinstance(error, ResponseError) and error.status in (502, 503, 504):
        kind = _KINDS[TransportError]
    if kind.status >= 500:
        _log.log(logging.INFO if kind.retry else logging.WARNING, "web: %s", error)
    retry = getattr(error, "retry_after", None) or retry_seconds
    return RefusedError(
        kind.status,
        kind.code,
        kind.told or _own_words(error),
        problems=[problem_fields(problem) for problem in getattr(error, "problems", ())],
        hint=_hint(error, kind),
        retry_after=retry if kind.retry else None,
    )


def _hint(error: ComfyError, kind: _Kind) -> str:
    """Return what the caller can do."""
    if isinstance(error, SubmitUnknownError) and error.prompt_id:
        return f"If it did, it is job {error.prompt_id}: look there before you send it again."
    return "" if kind.told else advice_without_python(error.hint, _WORDS)


def answer_of(error: ComfyError, *, retry_seconds: float) -> Response:
    """Return the response to an error of the library."""
    return refusal_of(error, retry_seconds=retry_seconds).response()


def _own_words(error: ComfyError) -> str:
    """Return what an error says, without the address of the server."""
    return _without_address(str(error.args[0]) if error.args else "the workflow cannot be run", error)


def _without_address(message: str, error: ComfyError) -> str:
    """Return a text, without the address of the server."""
    return message.replace(error.server, "the ComfyUI") if error.server else message


def problem_fields(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON: what was received only as a short text, since it may be anything."""
    problem = problem_without_python(problem, _WORDS)
    return {
        "input": problem.input,
        "node": problem.node,
        "title": plain_title(problem.title),
        "type": problem.type,
        "message": problem.message,
        "received": None if problem.received is None else clipped(problem.received, most=_SHOWN),
        "nearest": [str(one) for one in problem.nearest],
        "advice": problem.advice,
    }


def fault_of_job(error: ComfyError) -> dict[str, Any]:
    """Return why a job did not complete, for its submitter: no traceback, no address."""
    code, advice = next(_FAULTS[cls] for cls in type(error).__mro__ if cls in _FAULTS)
    message, node, title = _own_words(error), None, ""
    if isinstance(error, JobFailedError):
        words = f"{error.exception_type}: {error.exception_message}".strip(": \n")
        message = _without_address(words, error) or message
        node, title = error.node, plain_title(error.title) or error.class_type
    elif isinstance(error, JobCancelledError):
        message = "the job was cancelled"
    elif isinstance(error, JobLostError):
        message = "the ComfyUI does not know the job any more"
    return {"code": code, "message": message, "hint": advice, "node": node, "title": title}


# The library's own hints are for programmers.
_FAULTS: Final[Mapping[type[Exception], tuple[str, str]]] = {
    OutOfMemoryError: (
        "out_of_memory",
        "Try a smaller size or fewer at once, or again when less is running.",
    ),
    PartnerNodeError: (
        "partner_node",
        "The service that this node asks has refused it: whoever runs this site can see to its account.",
    ),
    JobFailedError: ("failed", "Whoever runs this site finds the traceback in the ComfyUI's log."),
    JobCancelledError: ("cancelled", ""),
    JobLostError: ("lost", "It was restarted, or its queue was cleared: submit it again."),
    ComfyError: ("failed", ""),
}
