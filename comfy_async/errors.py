"""The errors of comfy_async: fields first, and a last sentence with the way out.

::

    ComfyError
    ├── TransportError              no answer came
    │   ├── ConnectError            nobody listens there, or TLS failed
    │   ├── HandshakeError          the WebSocket upgrade was refused
    │   ├── RequestTimeoutError     a request took too long (no builtin TimeoutError)
    │   └── NotComfyUIError         somebody answers, but it is not a ComfyUI
    ├── ResponseError               the server answered with an error status
    │   ├── AuthError               401, 403
    │   ├── NotFoundError           404
    │   ├── RateLimitError          429
    │   ├── UploadTooLargeError     413, or known to be before sending
    │   └── InsufficientCreditsError    402
    ├── PromptRejectedError         the server refused the whole prompt
    │   └── PartialPromptError      it dropped some outputs of it
    ├── SubmitUnknownError          the POST may or may not have arrived
    ├── UnsupportedError            this server is too old, or of another kind
    ├── WorkflowError
    │   ├── WorkflowFormatError     the file is not a workflow, or damaged
    │   ├── ConversionError         the editor format cannot be converted
    │   └── UnknownInputError       no such node or input, or more than one
    ├── JobError
    │   ├── JobFailedError          a node raised
    │   │   ├── OutOfMemoryError
    │   │   └── PartnerNodeError
    │   ├── JobCancelledError
    │   └── JobLostError            the server does not know the job any more
    ├── SessionClosedError
    └── WrongLoopError
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .types import Problem

__all__ = [
    "AuthError",
    "ComfyError",
    "ConnectError",
    "ConversionError",
    "HandshakeError",
    "InsufficientCreditsError",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobLostError",
    "NotComfyUIError",
    "NotFoundError",
    "OutOfMemoryError",
    "PartialPromptError",
    "PartnerNodeError",
    "PromptRejectedError",
    "RateLimitError",
    "RequestTimeoutError",
    "ResponseError",
    "SessionClosedError",
    "SubmitUnknownError",
    "TransportError",
    "UnknownInputError",
    "UnsupportedError",
    "UploadTooLargeError",
    "WorkflowError",
    "WorkflowFormatError",
    "WrongLoopError",
]


def _rebuild(cls: type[ComfyError], args: tuple[Any, ...], state: dict[str, Any]) -> ComfyError:
    """Make an error anew from its pickled parts, past its keyword-only constructor."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ComfyError(Exception):
    """Something went wrong between you and ComfyUI; the base of every error raised here.

    Attributes:
        hint: What to do about it, one sentence, "" when nothing is known.
        prompt_id: The job that it is about, or None.
        server: The server's base URL without credentials, or None.
        retryable: True when the same call may succeed later or on another server
            without anybody changing anything.

    Example:
        >>> try:
        ...     raise ComfyError("the disk is full", hint="Empty it.")
        ... except ComfyError as error:
        ...     print(error)
        the disk is full. Empty it.
    """

    retryable: bool = False

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        prompt_id: str | None = None,
        server: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        """Keep the fields; `retryable=None` means what the class says."""
        super().__init__(message)
        self.hint = hint
        self.prompt_id = prompt_id
        self.server = server
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        """Return the message, then the hint."""
        message = str(self.args[0]) if self.args else ""
        if not self.hint or not message:
            return message or self.hint
        return f"{message.rstrip()}{'' if message.rstrip().endswith(('.', '!', '?')) else '.'} {self.hint}"

    def _repr_html_(self) -> str:
        """Return a card for notebooks: what, where, and the way out."""
        from ._notebook_cards import error_card

        return error_card(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by parts, so that errors cross process borders whole."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class TransportError(ComfyError):
    """No answer came: the connection failed, broke or took too long."""

    retryable = True


class ConnectError(TransportError):
    """Nobody answers at the address, or TLS could not be set up."""


class HandshakeError(TransportError):
    """The server refused the WebSocket.

    Attributes:
        status: The HTTP status of the refusal, or None when there was none.
    """

    def __init__(self, message: str = "", *, status: int | None = None, **fields: Any) -> None:
        """Keep the status."""
        super().__init__(message, **fields)
        self.status = status


class RequestTimeoutError(TransportError):
    """A request took longer than it may; not a builtin TimeoutError, which is your own.

    A plain `except TimeoutError` around `asyncio.timeout()` therefore never swallows it.
    """


class NotComfyUIError(TransportError):
    """Somebody answers at the address, but it is not a ComfyUI."""

    retryable = False


class ResponseError(ComfyError):
    """The server answered with an error status.

    Attributes:
        status: The HTTP status.
        method: The request's method.
        path: The request's path, without the query.
        code: The server's own word for the error, "" when it has none.
        body: The beginning of the answer's body as text.
        retry_after: Seconds to wait before the next try as the server said, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        method: str = "",
        path: str = "",
        code: str = "",
        body: str = "",
        retry_after: float | None = None,
        **fields: Any,
    ) -> None:
        """Keep the fields; a 5xx is retryable unless told otherwise."""
        super().__init__(message, **fields)
        self.status = status
        self.method = method
        self.path = path
        self.code = code
        self.body = body
        self.retry_after = retry_after
        if fields.get("retryable") is None and status in {502, 503, 504}:
            self.retryable = True


class AuthError(ResponseError):
    """The server, or a gateway before it, wants other credentials (401, 403)."""


class NotFoundError(ResponseError):
    """The server has no such thing (404)."""


class RateLimitError(ResponseError):
    """Too many requests or jobs (429); `retry_after` says for how long, when the server does."""

    retryable = True


class UploadTooLargeError(ResponseError):
    """The upload is larger than the server, or a proxy before it, takes (413).

    Attributes:
        limit: The limit in bytes, or None when unknown.
        size: The upload's size in bytes, or None when unknown.
    """

    def __init__(
        self, message: str = "", *, limit: int | None = None, size: int | None = None, **fields: Any
    ) -> None:
        """Keep both sizes."""
        super().__init__(message, **fields)
        self.limit = limit
        self.size = size


class InsufficientCreditsError(ResponseError):
    """The account has no credits or no plan for this (402, and the 429s that mean it)."""


class PromptRejectedError(ComfyError):
    """The server refused the prompt before running anything.

    Attributes:
        problems: What is wrong, each with node, input, value and nearest valid values.
        type: The server's word for the whole, for example `prompt_outputs_failed_validation`.
        node_errors: The server's `node_errors` as they came.
    """

    def __init__(
        self,
        message: str = "",
        *,
        problems: Sequence[Problem] = (),
        type: str = "",
        node_errors: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Keep the problems."""
        super().__init__(message, **fields)
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.type = type
        self.node_errors: Mapping[str, Any] = node_errors or {}

    def __str__(self) -> str:
        """Return the message, one line for each problem, then the hint."""
        message = str(self.args[0]) if self.args else ""
        lines = [message, *(f"  - {problem}" for problem in self.problems)]
        return "\n".join([*lines, self.hint] if self.hint else lines)


class PartialPromptError(PromptRejectedError):
    """The server took the prompt but dropped some of its outputs; the job was cancelled.

    `submit(on_partial="keep")` keeps such a job and leaves `job.node_errors`.
    """


class SubmitUnknownError(ComfyError):
    """Whether the prompt arrived could not be found out; it was not sent a second time.

    `attach(error.prompt_id)` finds the job should it turn up later.
    """


class UnsupportedError(ComfyError):
    """This server cannot do that.

    Attributes:
        needs: The ComfyUI version that can, for example "0.5.1", "" when no version does.
        version: The server's version, "" when unknown.
    """

    def __init__(self, message: str = "", *, needs: str = "", version: str = "", **fields: Any) -> None:
        """Keep both versions."""
        super().__init__(message, **fields)
        self.needs = needs
        self.version = version


class WorkflowError(ComfyError):
    """Something is wrong with the workflow itself; nothing was sent.

    Attributes:
        problems: Each finding with its place, may be empty.
    """

    def __init__(self, message: str = "", *, problems: Sequence[Problem] = (), **fields: Any) -> None:
        """Keep the problems."""
        super().__init__(message, **fields)
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        """Return the message, one line for each problem, then the hint."""
        if not self.problems:
            return super().__str__()
        message = str(self.args[0]) if self.args else ""
        lines = [message, *(f"  - {problem}" for problem in self.problems)]
        return "\n".join([*lines, self.hint] if self.hint else lines)


class WorkflowFormatError(WorkflowError):
    """This is not a workflow, or a damaged one.

    Attributes:
        place: Where the damage is, for example `nodes[3].inputs`, "" when it is the whole.
    """

    def __init__(self, message: str = "", *, place: str = "", **fields: Any) -> None:
        """Keep the place."""
        super().__init__(message, **fields)
        self.place = place


class ConversionError(WorkflowError):
    """The editor format cannot be turned into the API format; `problems` says why, node by node."""


class UnknownInputError(WorkflowError):
    """No node or input has that name, or more than one node has.

    Attributes:
        candidates: The names that were meant perhaps, or the nodes that all match.
    """

    def __init__(self, message: str = "", *, candidates: Sequence[str] = (), **fields: Any) -> None:
        """Keep the candidates."""
        super().__init__(message, **fields)
        self.candidates: tuple[str, ...] = tuple(candidates)


class JobError(ComfyError):
    """The job did not complete."""


class JobFailedError(JobError):
    """A node raised while the job ran.

    Attributes:
        node: The node's id, or None when the server did not say.
        title: Its title in the editor.
        class_type: Its class.
        exception_type: The server-side exception's name, for example `RuntimeError`.
        exception_message: The server-side exception's text.
        traceback: The server's traceback, one string with line ends.
    """

    def __init__(
        self,
        message: str = "",
        *,
        node: str | None = None,
        title: str = "",
        class_type: str = "",
        exception_type: str = "",
        exception_message: str = "",
        traceback: str = "",
        **fields: Any,
    ) -> None:
        """Keep the place and the server's own words."""
        super().__init__(message, **fields)
        self.node = node
        self.title = title
        self.class_type = class_type
        self.exception_type = exception_type
        self.exception_message = exception_message
        self.traceback = traceback


class OutOfMemoryError(JobFailedError):
    """The server ran out of memory (CUDA, HIP, MPS or the host's)."""


class PartnerNodeError(JobFailedError):
    """A partner node was refused by its service: no login, no credits, or too many calls.

    Attributes:
        reason: "login", "credits", "rate_limit", "account" or "api".
    """

    def __init__(self, message: str = "", *, reason: str = "api", **fields: Any) -> None:
        """Keep the reason."""
        super().__init__(message, **fields)
        self.reason = reason


class JobCancelledError(JobError):
    """The job was cancelled or interrupted, by you or by somebody else."""


class JobLostError(JobError):
    """The server does not know the job any more, and it never ended: a restart, mostly."""

    retryable = True


class SessionClosedError(ComfyError):
    """The session was closed; what its jobs do on the server goes on."""


class WrongLoopError(ComfyError):
    """The session belongs to another event loop."""
