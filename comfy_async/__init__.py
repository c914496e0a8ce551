"""The asyncio client for ComfyUI: live progress by WebSocket, results that are never lost.

Example:
    >>> from comfy_async import ComfySession
    >>> async with ComfySession("http://127.0.0.1:8188") as comfy:
    ...     result = await comfy.run("portrait.json")
    ...     await result.save("out")
"""

from __future__ import annotations

from ._batch import Batch, BatchProgress
from ._job import Job
from ._result import JobResult, OutputFile
from ._server import ServerInfo
from ._session import ComfySession
from ._settings import Settings
from ._transport.auth import Auth
from .errors import (
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
    PromptRejectedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
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
from .events import (
    Cancelled,
    Completed,
    Disconnected,
    Event,
    Failed,
    FeatureFlags,
    LogEntries,
    Lost,
    MalformedFrame,
    NodeBlocked,
    NodeFinished,
    NodesCached,
    NodeStarted,
    PollingStarted,
    Preview,
    Progress,
    ProgressState,
    ProgressText,
    Queued,
    Reconnected,
    Started,
    StatusChanged,
    UnknownEvent,
)
from .types import Connection, JobProgress, NodeInfo, Problem
from .workflow import NodeCatalog, Workflow

__version__ = "0.1.0"

__all__ = [
    # What you hold.
    "Auth",
    "Batch",
    "BatchProgress",
    "ComfySession",
    "Connection",
    "Job",
    "JobProgress",
    "JobResult",
    "OutputFile",
    "ServerInfo",
    "Settings",
    # What you send.
    "NodeCatalog",
    "NodeInfo",
    "Problem",
    "Workflow",
    # What happens.
    "Cancelled",
    "Completed",
    "Disconnected",
    "Event",
    "Failed",
    "FeatureFlags",
    "LogEntries",
    "Lost",
    "MalformedFrame",
    "NodeBlocked",
    "NodeFinished",
    "NodeStarted",
    "NodesCached",
    "PollingStarted",
    "Preview",
    "Progress",
    "ProgressState",
    "ProgressText",
    "Queued",
    "Reconnected",
    "Started",
    "StatusChanged",
    "UnknownEvent",
    # What goes wrong.
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

for _name in __all__:
    _value = globals()[_name]
    if isinstance(_value, type):
        # Users know the library by its face, not by its rooms.
        _value.__module__ = __name__
del _name, _value
