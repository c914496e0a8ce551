"""One submitted workflow: await it for the result, iterate it for what happens."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ..types import JobProgress, JobStatus, Problem, Shown, renderer_of
from ..workflow import Workflow
from .core import JobCore
from .mailbox import EventStream

if TYPE_CHECKING:
    from .result import JobResult

__all__ = ["Job", "MapJob", "core_of", "handle", "map_handle"]


class Job(Shown):
    """A handle on one prompt. `await job` gives the result, `async for event in job` the events.

    Both work together, in any number and order, and again after the end. The first to iterate over
    a job of `submit` or `stream` gets every event from the beginning; all others, and who comes
    after the end, every event that is not `lossy`, and before each the last `Progress`. Iterating ends
    when the job ends and never raises for how it ended; awaiting does. Dropping a job, or
    stopping to wait, does not stop it.

    Attributes:
        prompt_id: The job's id on the server.
        node_errors: Why some outputs will not run, with `on_partial="keep"`.
        index: The place in a `map`, else None.
        workflow: What was submitted, converted and with its files uploaded: `job.workflow.get("3", "seed")`
            is the seed that it had. None for a job that was attached to.

    Example:
        >>> job = await comfy.submit(flow)
        >>> async for event in job:
        ...     print(job.progress)
        >>> result = await job
    """

    __slots__ = ("__weakref__", "_core")

    def __init__(self, core: JobCore) -> None:
        """Jobs are made by `submit`, `stream`, `map` and `attach`."""
        self._core = core

    # What it is.

    @property
    def prompt_id(self) -> str:
        """The job's id on the server."""
        return self._core.state.prompt_id

    @property
    def status(self) -> JobStatus:
        """Where it stands; "completed", "failed", "cancelled" and "lost" are final."""
        return self._core.state.status

    @property
    def done(self) -> bool:
        """True when the status is final."""
        return self._core.done

    @property
    def index(self) -> int | None:
        """The place in a `map`, else None."""
        return self._core.index

    @property
    def workflow(self) -> Workflow | None:
        """What was submitted, None for a job that was attached to."""
        return self._core.workflow

    @property
    def node_errors(self) -> tuple[Problem, ...]:
        """Why some outputs will not run, with `on_partial="keep"`."""
        return self._core.node_errors

    @property
    def error(self) -> Exception | None:
        """What `await job` raises, None while it is open and when it completed.

        Example:
            >>> job = await comfy.submit(flow)
            >>> result = await job
            >>> print(job.error)
            None
        """
        return self._core.error

    @property
    def progress(self) -> JobProgress:
        """How far it is, over the whole graph: a frozen snapshot that prints as one line."""
        return self._core.state.progress(self._core.owner.clock.unix())

    @property
    def queue_position(self) -> int | None:
        """How many jobs come first: 0 when it runs or is the next; None when unknown or when it has ended.

        As of the latest request for the queue. The first access sends one, since the socket says
        nothing about places: read it again a moment later. Without any access no request is sent.
        """
        return self._core.read_place()

    @property
    def labels(self) -> dict[str, str]:
        """What it was labelled with, after `attach` too: the server keeps it.

        A server before 0.34 has no route for one waiting job. Where more than 16 wait, a
        job that was attached to by its bare id has its labels when it has ended; by its `ref`, at once.
        """
        return dict(self._core.labels)

    @property
    def ref(self) -> dict[str, Any]:
        """What `attach` needs to pick the job up from elsewhere: a small JSON value, no secret in it."""
        return self._core.ref

    @property
    def dropped(self) -> int:
        """How many progress and preview events were dropped for newer ones, or came too early to be kept.

        A first consumer sees all others, whenever it comes: what it saw and `dropped` add up to
        what was sent. Later consumers get what `events()` promises, and count only what they
        themselves were too slow for.
        """
        return self._core.dropped

    # What it gives.

    def __await__(self) -> Generator[Any, None, JobResult]:
        """Wait for the end and return the result, as `result()`."""
        return self.result().__await__()

    async def result(self) -> JobResult:
        """Wait for the end and return the result; the same value every time.

        A time limit is the standard library's, and stops the waiting, never the job.

        Raises:
            JobFailedError: A node raised; `OutOfMemoryError` and `PartnerNodeError` are kinds of it.
            JobCancelledError: It was cancelled or interrupted.
            JobLostError: The server does not know it any more.
            SessionClosedError: The session was closed before the end.
            WrongLoopError: The session belongs to another event loop.

        Example:
            >>> try:
            ...     async with asyncio.timeout(60):
            ...         result = await job
            ... except TimeoutError:
            ...     print("it goes on:", job.progress)
        """
        core = self._core
        if not core.ended.is_set():
            core.owner.check_loop()
            core.want()
            await core.ended.wait()
        if core.error is not None:
            # A copy for each: one error raised in many places tangles their tracebacks.
            raise copy.copy(core.error)
        return core.result

    def __aiter__(self) -> EventStream:
        """Iterate over the events from the beginning, as `events()`."""
        return self.events()

    def events(self) -> EventStream:
        """Return the events from the beginning until the job ends, as an async iterator.

        A consumer that comes late gets every lifecycle event and the last progress. One that
        is slow loses no lifecycle event and no output; see `dropped`. Iterating raises
        `SessionClosedError` when the session was closed before the job's end.

        Raises:
            WrongLoopError: The session belongs to another event loop.

        Example:
            >>> types = [event.type async for event in job.events()]  # each time from the beginning
        """
        return self._core.read()

    async def cancel(self) -> JobStatus:
        """Stop the job on the server, and only this one; return how it truly ended.

        A pending job is removed from the queue, a running one interrupted, again while it goes
        on. A job that had just completed stays completed. When the server will not stop it
        within `Settings.cancel_seconds` the status is returned as it is.

        Raises:
            TransportError: The server cannot be reached.
            AuthError: The server does not allow it.
            SessionClosedError: The session was closed before the end.

        Example:
            >>> fake.hold()  # keeps it in the queue
            >>> job = await comfy.submit(flow)
            >>> await job.cancel()
            'cancelled'
        """
        return self.status if self.done else await self._core.owner.cancel(self._core)

    async def __aenter__(self) -> Job:
        """Hold the job for a block: when that is left before the job's end, the job is cancelled.

        Example:
            >>> job = await comfy.submit(flow)
            >>> async with job:  # as `comfy.stream(flow)` does from the beginning
            ...     result = await job
        """
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the job on the server unless it has ended; bounded, and never swallows a cancellation."""
        await self._core.owner.abandon(self._core)

    async def show(
        self,
        *,
        on_interrupt: Literal["cancel", "leave"] = "cancel",
        previews: bool = True,
        every: float = 0.2,
    ) -> None:
        """Show the job live, then what it made; in a notebook with its pictures (extra `notebook`).

        In a terminal it is a bar (extra `cli`), without one plain lines. A failure is shown, not
        raised: `await job` raises it.

        Args:
            on_interrupt: What becomes of the job when the cell is interrupted: "cancel" stops it
                on the server, "leave" lets it run. The session lives on in both cases.
            previews: Show the latest preview.
            every: Seconds between two frames.

        Raises:
            SessionClosedError: The session was closed before the end.
        """
        await renderer_of(self, "show")(self, on_interrupt=on_interrupt, previews=previews, every=every)

    def __repr__(self) -> str:
        """Return id, status and progress."""
        where = f" {self.progress}" if self.status == "running" else ""
        return f"<Job {self.prompt_id} {self.status}{where}>"


class MapJob(Job):
    """A job of a `map`: its `index` is its place there."""

    __slots__ = ()

    @property
    def index(self) -> int:
        """The place in the `map`."""
        assert self._core.index is not None
        return self._core.index


def core_of(job: Job) -> JobCore:
    """Return the machinery behind a job that a user holds."""
    return job._core


def handle(core: JobCore) -> Job:
    """Return a job as its user sees it: the same object for as long as it is referenced."""
    job = None if core.seen_as is None else core.seen_as()
    if job is None:
        job = Job(core) if core.index is None else MapJob(core)
        core.seen_as = weakref.ref(job)
    return job


def map_handle(core: JobCore) -> MapJob:
    """Return a job of a `map` as its user sees it."""
    job = handle(core)
    if not isinstance(job, MapJob):
        # It was held before anybody knew that it belongs to a batch: it was attached to.
        job = MapJob(core)
        core.seen_as = weakref.ref(job)
    return job
