"""`async with comfy.stream(...)`: a job that does not outlive its block."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn, Protocol

from .core import JobCore
from .job import Job, handle

__all__ = ["JobStream", "StreamRunner"]


class StreamRunner(Protocol):
    """What a stream needs of a session, a pool or a fleet."""

    async def submit(self, workflow: Any, options: Mapping[str, Any]) -> JobCore:
        """Put a workflow into a queue."""
        ...

    async def abandon(self, job: JobCore) -> None:
        """Cancel a job that is not waited for, in bounded time, whatever happens to the caller."""
        ...


class JobStream:
    """Submits on entering; cancels on the server when the block is left before the job's end.

    However the block is left: by `break`, `return`, an error, a cancelled task, Ctrl-C or a
    time limit around it. The cancelling is bounded and never swallows a cancellation.
    """

    def __init__(self, runner: StreamRunner, workflow: Any, options: Mapping[str, Any]) -> None:
        """Prepare; nothing is sent."""
        self._runner = runner
        self._workflow = workflow
        self._options = options
        self._job: JobCore | None = None

    async def __aenter__(self) -> Job:
        """Submit.

        Raises:
            ComfyError: As `ComfySession.submit`.
        """
        self._job = await self._runner.submit(self._workflow, self._options)
        return handle(self._job)

    def __aiter__(self) -> NoReturn:
        """Say that it must be entered first.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "a stream runs inside its block: `async with comfy.stream(...) as job: async for event in job`"
        )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the job unless it has ended."""
        job, self._job = self._job, None
        if job is not None:
            await self._runner.abandon(job)
