"""The asyncio client for ComfyUI: live progress by WebSocket, results that are never lost.

Example:
    >>> from comfy_async import ComfySession
    >>> async with ComfySession("http://127.0.0.1:8188") as comfy:
    ...     result = await comfy.run("portrait.json")
    ...     await result.save("out")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._base.settings import Settings
    from ._batch.batch import Batch
    from ._batch.progress import BatchProgress
    from ._client.app import App
    from ._client.pool import ComfyPool
    from ._client.session import ComfySession
    from ._dialects.server import ServerInfo
    from ._job.job import Job
    from ._job.result import JobResult, OutputFile
    from ._pool.member import PoolServer
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
    from .events import (
        AgentStatus,
        AssetScan,
        AssetTransfer,
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
        QueuePosition,
        Reconnected,
        Started,
        StatusChanged,
        UnknownEvent,
    )
    from .types import Connection, JobProgress, NodeInfo, Problem
    from .workflow import NodeCatalog, Workflow
    from .workflow.apps import AppInput

__version__ = "0.2.0"

__all__ = [
    # What you hold.
    "App",
    "AppInput",
    "Auth",
    "Batch",
    "BatchProgress",
    "ComfyPool",
    "ComfySession",
    "Connection",
    "Job",
    "JobProgress",
    "JobResult",
    "OutputFile",
    "PoolServer",
    "ServerInfo",
    "Settings",
    # What you send.
    "NodeCatalog",
    "NodeInfo",
    "Problem",
    "Workflow",
    # What happens.
    "AgentStatus",
    "AssetScan",
    "AssetTransfer",
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
    "QueuePosition",
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
    "SaveError",
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

# Where the names live, the plain ones first. Nothing of it is loaded before a name is asked for: pytest
# finds the plugin of comfy_async.testing in every run of whoever has it installed, and loads this file.
_ROOMS = (
    "types",
    "errors",
    "events",
    "workflow",
    "_base.settings",
    "_dialects.server",
    "_transport.auth",
    "_job.job",
    "_client.session",
    "_job.result",
    "_batch.progress",
    "_batch.batch",
    "_pool.member",
    "_client.pool",
    "_client.app",
    "workflow.apps",
)


def _open(room: str) -> None:
    """Load a module, and put its public names into this one."""
    module = importlib.import_module(f".{room}", __name__)
    for name in module.__all__:
        if name in __all__:
            value = globals()[name] = getattr(module, name)
            if isinstance(value, type):
                # Users know the library by its face, not by its rooms.
                value.__module__ = __name__


if not TYPE_CHECKING:  # a checker would take every misspelled name for an Any

    def __getattr__(name: str) -> object:
        """Load as many modules as it takes to find the name: a session does not need the pool.

        Raises:
            AttributeError: There is no such name.
        """
        for room in _ROOMS if name in __all__ else ():
            _open(room)
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Return the public names, loaded or not."""
        return sorted({*globals(), *__all__})
