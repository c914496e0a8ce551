"""`async with comfy.stream(...)`: a job that does not outlive its block."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from .._session.cancel import patience
from ..errors import ComfyError
from .job import Job

if TYPE_CHECKING:
    from .._batch.batch import BatchRunner
    from .._client.session import ComfySession

__all__ = ["JobStream", "abandon", "abandon_all"]

_log = logging.getLogger("comfy_async")


class JobStream:
    """Submits on entering; cancels on the server when the block is left before the job's end.

    However the block is left: by `break`, `return`, an error, a cancelled task, Ctrl-C or a
    time limit around it. The cancelling is bounded and never swallows a cancellation.
    """

    def __init__(self, session: ComfySession, workflow: Any, options: Mapping[str, Any]) -> None:
        """Prepare; nothing is sent."""
        self._session = session
        self._workflow = workflow
        self._options = options
        self._job: Job | None = None

    async def __aenter__(self) -> Job:
        """Submit.

        Raises:
            ComfyError: As `ComfySession.submit`.
        """
        self._job = await self._session.submit(self._workflow, **self._options)
        return self._job

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
            await abandon(self._session, job)


async def abandon(session: ComfySession, job: Job) -> None:
    """Cancel a job that nobody will wait for, in bounded time, whatever happens around."""
    if job.done or session._closed:
        return
    problem: object = "it took too long"
    with anyio.move_on_after(patience(session, job), shield=True):
        try:
            await session._cancel(job)
        except ComfyError as error:
            problem = error
    if not job.done:
        _log.warning("job %s could not be cancelled and may still run: %s", job.prompt_id, problem)


async def abandon_all(
    runner: BatchRunner, jobs: Iterable[Job], workers: Iterable[asyncio.Task[None]]
) -> None:
    """Wait for cancelled workers, which take back what they were posting, then cancel every job."""
    with anyio.CancelScope(shield=True):
        waiting = list(workers)
        if waiting:
            await asyncio.wait(waiting)
        await asyncio.gather(*(runner._abandon_job(job) for job in jobs))
