"""What sessions, pools and fleets have in common: their methods, for one server or many."""

from __future__ import annotations

import abc
import os
from collections.abc import Collection, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, Unpack

from .._base.labels import checked_key, checked_labels
from .._base.secrets import sealed
from .._job.job import Job, handle
from .._job.stream import JobStream, StreamRunner
from .._session.options import Previews
from .._session.prepare import WorkflowLike
from .options import RunArguments, SubmitArguments

if TYPE_CHECKING:
    from .._batch.batch import Batch, BatchRunner
    from .._batch.source import Workflows
    from .._job.result import JobResult
    from .._resources.nodes import Blueprint
    from ..workflow import NodeCatalog
    from .app import App

__all__ = ["Client", "Runner", "SubmitArguments"]


class Runner(StreamRunner, Protocol):
    """What stands behind a client: a session's engine, a pool's, a fleet's."""

    def check_loop(self) -> None:
        """Raise in another event loop, and when it is closed."""
        ...


class Client(abc.ABC):
    """The methods that `ComfySession`, `ComfyPool` and `ComfyFleet` share."""

    @property
    @abc.abstractmethod
    def _runner(self) -> Runner:
        """What does the work."""

    @abc.abstractmethod
    def _items(self) -> BatchRunner:
        """Return what runs the items of one batch."""

    @property
    def _map_limit(self) -> int:
        """How many jobs a `map` has in hand at once by default."""
        return 4

    @abc.abstractmethod
    async def connect(self) -> Self:
        """Make sure that a server answers."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Close everything."""

    async def __aenter__(self) -> Self:
        """Connect, as `connect()`."""
        try:
            return await self.connect()
        except BaseException:
            await self.aclose()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, as `aclose()`."""
        await self.aclose()

    @abc.abstractmethod
    async def node_catalog(self, *, again: Collection[str] = ()) -> NodeCatalog:
        """Return what can be run there; the classes `again` are read anew.

        Raises:
            ComfyError: Every request failed.
        """

    async def app(
        self,
        workflow: WorkflowLike | Blueprint,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> App:
        """Return a workflow as a function with named, typed inputs and outputs; see `App.load`.

        Raises:
            UnknownInputError: A mapping names what is not there.
            WorkflowError: It is no workflow, or cannot be converted.
            OSError: Its file cannot be read.
            ComfyError: The request failed.

        Example:
            >>> app = await comfy.app(flow, inputs={"prompt": "6.text"}, outputs={"picture": "9"})
            >>> result = await app(prompt="a fox")
        """
        from .app import App

        catalog = await self.node_catalog()
        return App.load(workflow, catalog, inputs=inputs, outputs=outputs).on(self)

    async def run(self, workflow: WorkflowLike, **options: Unpack[RunArguments]) -> JobResult:
        """Submit a workflow and wait for its result; takes what `submit` takes.

        The caller has no handle on the job: when the wait is cancelled, so is the job on the server.

        Raises:
            JobError: It failed, was cancelled, or lost.
            PromptRejectedError: The server refused it.
            ComfyError: As `submit`.
            OSError: As `submit`.
        """
        chosen = _checked({"previews": "none", **options, "keep_frames": False})
        async with JobStream(self._runner, workflow, chosen) as job:
            return await job

    async def submit(
        self,
        workflow: WorkflowLike,
        *,
        # Before it is sent.
        check: bool = False,
        on_partial: Literal["raise", "keep"] = "raise",
        # What is sent along.
        previews: Previews | None = None,
        extra_data: Mapping[str, Any] | None = None,
        partner_api_key: str | None = None,
        # Where in the queue, and how much of the graph.
        front: bool = False,
        number: float | None = None,
        targets: Iterable[str] | None = None,
        # How it is found again.
        labels: Mapping[str, str] | None = None,
        key: str | None = None,
        keep_frames: bool = True,
    ) -> Job:
        """Put a workflow into the server's queue, exactly once, and return its job.

        Args:
            workflow: A `Workflow`, a path, a dict, or text, in API or editor format. Files
                among its input values are uploaded first.
            check: Compare it with the server's nodes and models first.
            on_partial: "keep" runs what can be run when some outputs are refused.
            previews: For this job; None means the session's.
            extra_data: Further `extra_data` of POST /prompt.
            partner_api_key: The key for partner nodes of this job; beats the session's.
            front: Put it before all others.
            number: Its place by number, lower runs first; beats `front`.
            targets: The output nodes to run, None for all.
            labels: Texts by name, such as `{"user": "7"}`. The server keeps them (`comfy_async_labels` in
                `extra_data`), shows them to everybody, and `comfy.jobs.find` finds them.
            key: What the job is for, such as `"order-12"`: a job that has the key already, of this or
                another process, is returned instead of a new one, however it ended, and what else
                is given here is ignored. It runs again when the server does not know it any more.
            keep_frames: False keeps no progress for a consumer that has not come yet, only counts it.

        Raises:
            PromptRejectedError: The server refused it; `problems` says why.
            PartialPromptError: It refused some outputs.
            WorkflowError: It is no workflow, or cannot be converted, or the job that has the key runs another
                one; nothing was sent.
            OSError: Its file, or one to be uploaded, cannot be read.
            ValueError: `previews` or `on_partial` has an unknown value, or a label is no text, too long, or
                one of more than 32, or the key is no text; nothing was sent.
            UnsupportedError: This server cannot do what is asked for, such as `key`.
            SubmitUnknownError: It could not be found out whether the prompt arrived.
            ConnectError: No server answers; nothing was sent.
            ComfyError: The server refused or failed otherwise.
            SessionClosedError: The session is closed.

        Example:
            >>> job = await comfy.submit(flow.with_inputs({"6.text": "a fox"}), front=True, targets=["9"])
        """
        keys = sealed({"partner_api_key": partner_api_key, "extra_data": sealed(extra_data or {})})
        # Some show the locals of every frame of a traceback.
        del partner_api_key, extra_data
        options = {
            "check": check,
            "on_partial": on_partial,
            "previews": previews,
            **keys,
            "front": front,
            "number": number,
            "targets": targets,
            "labels": checked_labels(labels),
            "key": None if key is None else checked_key(key),
            "keep_frames": keep_frames,
        }
        return handle(await self._runner.submit(workflow, options))

    def stream(self, workflow: WorkflowLike, **options: Unpack[RunArguments]) -> JobStream:
        """Return `async with` a job that is cancelled on the server when the block is left early.

        Takes what `submit` takes.

        Example:
            >>> async with comfy.stream(flow) as job:
            ...     async for event in job:
            ...         print(job.progress)
        """
        return JobStream(self._runner, workflow, _checked({**options}))

    def map(
        self,
        workflows: Workflows,
        *,
        # How many at once, and in which order they come back.
        limit: int | None = None,
        total: int | None = None,
        ordered: bool = False,
        on_error: Literal["continue", "stop"] = "continue",
        # Where it goes on from.
        results: str | os.PathLike[str] | None = None,
        results_busy: Literal["raise", "wait"] = "raise",
        results_damaged: Literal["raise", "rerun"] = "raise",
        results_elsewhere: Literal["raise", "rerun", "keep"] = "raise",
        results_failed: Literal["keep", "rerun"] = "keep",
        results_missing: Literal["raise", "rerun"] = "raise",
        # What `submit` takes, for each of them.
        **options: Unpack[SubmitArguments],
    ) -> Batch:
        """Return `async with` the jobs of many workflows, as they end.

        Args:
            workflows: Any iterable or async iterable of what `submit` takes; read lazily.
            limit: Jobs in hand at once: 4 for a session; 32 for a pool, which limits itself how many
                are on each server; as many as all workers together may have for a fleet.
            total: How many there are, where the iterable has no length: for progress alone.
            ordered: Yield the jobs in the order of the workflows, not of their ends.
            on_error: "continue" raises each failure where that job is awaited; "stop"
                cancels the others and raises it here.
            results: A file of JSON lines, by which an interrupted batch goes on: nothing runs twice,
                what had finished comes from the file, what still runs is attached to. A job is
                recognized by its place and its content: give `randomized(n)`, since a new random
                seed makes another job; a warning says when the file has none of them.
                `comfy-async batch pause FILE` and its other subcommands control the batch from outside.
            results_busy: "wait" waits for a results file that another batch, of whichever process,
                uses; else entering raises BlockingIOError, which names the process.
            results_damaged: "rerun" runs what a damaged line is about again; else entering raises
                ValueError, which names the line.
            results_elsewhere: What becomes of jobs in it that were on another server, where their files
                are: entering raises ValueError, "rerun" runs them on this one, "keep" says that it is
                the same server under another address. A pool and a fleet ask the server itself.
            results_failed: "rerun" runs jobs again that had failed; else they fail as they did.
            results_missing: "rerun" looks at once whether the files of finished jobs are still on the server
                and carry their prompts, and runs those again whose are not; else reading them raises.
            options: What `submit` takes; previews are off unless asked for.

        Raises:
            ValueError: `limit` or an option has an invalid value, or `results` is a place in a store.
            SessionClosedError: The session is closed.
            WrongLoopError: The session belongs to another event loop.

        Example:
            >>> async with comfy.map([flow, flow.randomized(7)], results="results.jsonl") as finished:
            ...     async for job in finished:
            ...         await (await job).save(f"out/{job.index:03d}")
        """
        from .._batch.batch import Batch
        from .._batch.results import Results

        self._runner.check_loop()
        if "key" in options:
            raise ValueError("each job has a key of its own: a map resumes by `results=`, and takes no `key`")
        return Batch(
            self._items(),
            workflows,
            limit=self._map_limit if limit is None else limit,
            total=total,
            ordered=ordered,
            on_error=on_error,
            results=Results.of(
                results,
                busy=results_busy,
                damaged=results_damaged,
                elsewhere=results_elsewhere,
                failed=results_failed,
                missing=results_missing,
            ),
            options=_checked({**options}),
        )


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return what `submit` takes, its secrets held as `Secret`s; labels and key are checked before that.

    Raises:
        ValueError: A label is no text, too long, or one of too many; or the key is none.
    """
    if "labels" in options:
        options["labels"] = checked_labels(options["labels"])
    if options.get("key") is not None:
        checked_key(options["key"])
    return sealed(options)
