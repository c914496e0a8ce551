"""What an app runs on: a session, a pool or a fleet, as far as it needs to know them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from typing import Literal, Protocol, Unpack

from .._batch.batch import Batch
from .._batch.source import Workflows
from .._job.job import Job
from .._job.result import JobResult
from .._job.stream import JobStream
from .._session.prepare import WorkflowLike
from ..workflow import NodeCatalog
from .options import RunArguments, SubmitArguments

__all__ = ["AppClient"]


class AppClient(Protocol):
    """What an app needs of a session, a pool or a fleet."""

    async def node_catalog(self, *, again: Collection[str] = ()) -> NodeCatalog:
        """Return what can be run there."""
        ...

    async def run(self, workflow: WorkflowLike, **options: Unpack[RunArguments]) -> JobResult:
        """Submit a workflow and wait for its result."""
        ...

    @property
    def submit(self) -> Callable[..., Awaitable[Job]]:
        """Put a workflow into a queue."""
        ...

    def stream(self, workflow: WorkflowLike, **options: Unpack[RunArguments]) -> JobStream:
        """Return `async with` a job."""
        ...

    def map(
        self,
        workflows: Workflows,
        *,
        limit: int | None = None,
        total: int | None = None,
        ordered: bool = False,
        on_error: Literal["continue", "stop"] = "continue",
        results: str | os.PathLike[str] | None = None,
        results_busy: Literal["raise", "wait"] = "raise",
        results_damaged: Literal["raise", "rerun"] = "raise",
        results_elsewhere: Literal["raise", "rerun", "keep"] = "raise",
        results_failed: Literal["keep", "rerun"] = "keep",
        results_missing: Literal["raise", "rerun"] = "raise",
        **options: Unpack[SubmitArguments],
    ) -> Batch:
        """Return `async with` the jobs of many workflows."""
        ...
