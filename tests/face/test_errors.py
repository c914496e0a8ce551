"""The error tree: fields first, a way out last, and whole across process borders."""

from __future__ import annotations

import copy
import pickle

import pytest

import comfy_async
from comfy_async import (
    AuthError,
    ComfyError,
    ConnectError,
    ConversionError,
    HandshakeError,
    InsufficientCreditsError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobLostError,
    NotComfyUIError,
    NotFoundError,
    OutOfMemoryError,
    PartialPromptError,
    PartnerNodeError,
    Problem,
    PromptRejectedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    SaveError,
    SessionClosedError,
    SubmitUnknownError,
    TransportError,
    UnknownInputError,
    UnsupportedError,
    UploadTooLargeError,
    WorkflowError,
    WorkflowFormatError,
    WrongLoopError,
)
from comfy_async.types import Shown

TREE: dict[type[ComfyError], type[Exception]] = {
    ComfyError: Exception,
    TransportError: ComfyError,
    ConnectError: TransportError,
    HandshakeError: TransportError,
    RequestTimeoutError: TransportError,
    NotComfyUIError: TransportError,
    ResponseError: ComfyError,
    AuthError: ResponseError,
    NotFoundError: ResponseError,
    RateLimitError: ResponseError,
    UploadTooLargeError: ResponseError,
    InsufficientCreditsError: ResponseError,
    PromptRejectedError: ComfyError,
    PartialPromptError: PromptRejectedError,
    SubmitUnknownError: ComfyError,
    UnsupportedError: ComfyError,
    WorkflowError: ComfyError,
    WorkflowFormatError: WorkflowError,
    ConversionError: WorkflowError,
    UnknownInputError: WorkflowError,
    JobError: ComfyError,
    JobFailedError: JobError,
    OutOfMemoryError: JobFailedError,
    PartnerNodeError: JobFailedError,
    JobCancelledError: JobError,
    JobLostError: JobError,
    SaveError: ComfyError,
    SessionClosedError: ComfyError,
    WrongLoopError: ComfyError,
}
PROBLEM = Problem(node="3", class_type="KSampler", message="bad")
EXAMPLES: list[ComfyError] = [
    ComfyError("m", hint="Do it.", prompt_id="p", server="s", retryable=True),
    HandshakeError("m", status=403, server="s"),
    ResponseError("m", status=500, method="GET", path="/x", code="c", body="b"),
    RateLimitError("m", retry_after=3.5, status=429),
    UploadTooLargeError("m", limit=1, size=2, status=413),
    PromptRejectedError("m", problems=[PROBLEM], type="t", node_errors={"3": {"errors": []}}, hint="h"),
    PartialPromptError("m", problems=[PROBLEM], prompt_id="p"),
    SubmitUnknownError("m", prompt_id="p"),
    UnsupportedError("m", needs="0.5.1", version="0.3.0"),
    WorkflowFormatError("m", place="nodes[3]", problems=[PROBLEM]),
    UnknownInputError("m", candidates=["a", "b"]),
    JobFailedError("m", node="3", title="t", class_type="c", exception_type="e", traceback="tb"),
    PartnerNodeError("m", reason="credits", node="3"),
    JobLostError("m", prompt_id="p"),
]


@pytest.mark.parametrize("error", TREE)
def test_the_tree(error: type[ComfyError]) -> None:
    """Each error is the kind of error that DESIGN 3 says, and public."""
    assert [base for base in error.__bases__ if base is not Shown] == [TREE[error]]
    assert error.__name__ in comfy_async.__all__
    assert error.__doc__


def test_no_error_is_forgotten() -> None:
    """Every public error is in the tree above."""
    public = {getattr(comfy_async, name) for name in comfy_async.__all__}
    assert {e for e in public if isinstance(e, type) and issubclass(e, ComfyError)} == set(TREE)


@pytest.mark.parametrize("error", TREE)
def test_every_error_has_the_common_fields(error: type[ComfyError]) -> None:
    """Message, hint, prompt_id, server and retryable, whatever the class."""
    made = error("It broke", hint="Mend it.", prompt_id="p", server="http://x", retryable=True)
    assert (made.hint, made.prompt_id, made.server, made.retryable) == ("Mend it.", "p", "http://x", True)
    assert str(made).startswith("It broke")
    assert str(made).endswith("Mend it.")
    bare = error()
    assert (bare.hint, bare.prompt_id, bare.server, str(bare)) == ("", None, None, "")
    assert isinstance(bare.retryable, bool)


def test_what_is_retryable() -> None:
    """Where the same call may succeed later, and nowhere else."""
    retryable = {error for error in TREE if error().retryable}
    assert retryable == {
        TransportError,
        ConnectError,
        HandshakeError,
        RequestTimeoutError,
        RateLimitError,
        JobLostError,
    }
    assert [ResponseError(status=status).retryable for status in (400, 500, 502, 503, 504)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert not ResponseError(status=503, retryable=False).retryable


def test_no_builtin_timeout() -> None:
    """`except TimeoutError` around a limit of your own never swallows the library's."""
    assert not issubclass(RequestTimeoutError, TimeoutError)
    assert not issubclass(RequestTimeoutError, OSError)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_errors_are_whole_elsewhere(error: ComfyError, way: object) -> None:
    """Pickled or copied, an error has all its fields and the same text."""
    assert callable(way)
    twin = way(error)
    assert type(twin) is type(error)
    assert twin is not error
    assert (twin.args, str(twin), vars(twin)) == (error.args, str(error), vars(error))


@pytest.mark.parametrize(
    ("message", "text"),
    [("m", "m. Hint."), ("m.", "m. Hint."), ("why?", "why? Hint."), ("no! ", "no! Hint."), ("", "Hint.")],
)
def test_the_hint_comes_last(message: str, text: str) -> None:
    """One sentence after the other."""
    assert str(ComfyError(message, hint="Hint.")) == text


def test_problems_have_a_line_each() -> None:
    """Rejections and workflow errors list what is wrong."""
    for cls in (PromptRejectedError, WorkflowError):
        assert str(cls("m", problems=[PROBLEM, PROBLEM])) == "m\n  - 3 (KSampler): bad\n  - 3 (KSampler): bad"
        assert str(cls("m", problems=[PROBLEM], hint="h")) == "m\n  - 3 (KSampler): bad\nh"
    assert str(WorkflowError("m", hint="h")) == "m. h"
