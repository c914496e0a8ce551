"""Rows of a Ray dataset through ComfyUI: a callable class for `dataset.map_batches`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import anyio

from .._base.places import on_this_machine
from .._job.job import Job, core_of
from .._job.result import JobResult, OutputFile
from .._session.prepare import WorkflowLike, as_workflow
from ..errors import ComfyError
from ..workflow import Workflow
from ._fleet import ComfyFleet, Servers

__all__ = ["ComfyMapper"]

T = TypeVar("T")


class ComfyMapper:
    """Runs a workflow for each row; give it to `Dataset.map_batches` with its arguments.

    Ray Data makes as many of these as `compute` says, and holds the dataset back while they
    are busy. All may share one fleet, or each opens one of its own over the servers.

    Args:
        servers: An open `ComfyFleet`, or what one is made of.
        workflow: The workflow; every row gets a copy with its own inputs.
        inputs: Which column goes into which input: `{"prompt": "6.text", "seed": "KSampler.seed"}`.
            Bytes and arrays of pictures are uploaded first.
        outputs: Which column gets what a node made: `{"image": "9"}`, by id, title or class. A
            file where the node made one, else its first text; None when it made nothing.
        returns: "bytes" are the files as they are, "arrays" decoded pictures (Pillow and numpy),
            "paths" names of files below `folder`, "urls" where they stay on their server.
        every: Give lists of all files of a node instead of its first.
        folder: For "paths": a folder that every machine of the cluster sees.
        limit: Rows of one batch in ComfyUI at once; None is what the fleet takes.
        errors: "raise" ends the dataset's run with the first failure, "column" notes it.
        error_column: The column of "column"; None in rows that went well.
        results: A folder that every machine of the cluster sees. There each batch keeps a results
            file, from which it goes on when Ray Data runs it again because its process died.

    Example:
        >>> import ray.data
        >>> rows = ray.data.from_items([{"prompt": "a fox"}, {"prompt": "a hare"}])
        >>> made = rows.map_batches(
        ...     ComfyMapper,
        ...     fn_constructor_args=("http://10.0.0.7:8188", flow),
        ...     fn_constructor_kwargs={"inputs": {"prompt": "6.text"}, "outputs": {"image": "9"}},
        ...     batch_size=16, num_cpus=0.5, compute=ray.data.ActorPoolStrategy(size=1))
        >>> for row in await asyncio.to_thread(made.take_all):
        ...     print(row["prompt"], len(row["image"]) > 1000)
        a fox True
        a hare True
    """

    def __init__(
        self,
        servers: ComfyFleet | Servers,
        workflow: WorkflowLike,
        *,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        returns: Literal["bytes", "arrays", "paths", "urls"] = "bytes",
        every: bool = False,
        folder: str | os.PathLike[str] | None = None,
        limit: int | None = None,
        errors: Literal["raise", "column"] = "raise",
        error_column: str = "error",
        results: str | os.PathLike[str] | None = None,
    ) -> None:
        """Open the fleet in a thread of its own; Ray Data calls from another one.

        Raises:
            ValueError: `returns`, `errors`, `folder` or `results` is invalid.
            ConnectError: No server answers.
        """
        if returns not in ("bytes", "arrays", "paths", "urls") or errors not in ("raise", "column"):
            raise ValueError(f"no such way to return or to fail: {returns!r}, {errors!r}")
        if returns == "paths" and folder is None:
            raise ValueError('returns="paths" takes a folder')
        self._workflow = as_workflow(workflow)
        self._inputs = dict(inputs)
        self._outputs = dict(outputs)
        self._returns = returns
        self._every = every
        self._folder = None if folder is None else Path(folder)
        self._limit = limit
        self._errors = errors
        self._error_column = error_column
        self._results = None if results is None else on_this_machine(results, "results=")
        self._fleet = servers if isinstance(servers, ComfyFleet) else ComfyFleet(servers)
        self._loop = asyncio.new_event_loop()
        # A daemon: a thread that the interpreter waits for would keep Ray's process alive for ever.
        self._thread = threading.Thread(target=self._loop.run_forever, name="comfy_async mapper", daemon=True)
        self._thread.start()
        try:
            self._wait_for(self._fleet.connect())
        except BaseException:
            self.close()
            raise

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with the new columns.

        Raises:
            ComfyError: A row failed, with `errors="raise"`.
        """
        return self._wait_for(self._run(batch))

    def close(self) -> None:
        """Close the fleet; needed only where Ray Data does not end the process."""
        if not self._loop.is_closed():
            self._wait_for(self._fleet.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the fleet's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Take every row to its end, in order."""
        rows = list(self._rows(batch))
        results = None if self._results is None else self._results / f"{self._mark(batch)}.jsonl"
        async with self._fleet.map(rows, limit=self._limit, ordered=True, results=results) as finished:
            made = [await self._row(job) async for job in finished]
        columns = [*self._outputs, *([self._error_column] if self._errors == "column" else [])]
        return {**batch, **{column: _column([row[column] for row in made]) for column in columns}}

    def _mark(self, batch: Mapping[str, Any]) -> str:
        """Return the hash of what goes into the workflow, by which batches are compared."""
        found = hashlib.sha256()
        for column in self._inputs:
            for value in batch[column]:
                plain = _plain(value)
                data = plain.tobytes() if hasattr(plain, "tobytes") else plain
                found.update(data if isinstance(data, bytes) else repr(data).encode())
                found.update(b"\0")
        return found.hexdigest()[:32]

    def _rows(self, batch: Mapping[str, Any]) -> Iterator[Workflow]:
        """Yield each row's workflow."""
        columns = [batch[column] for column in self._inputs]
        for values in zip(*columns, strict=True):
            changes = {
                place: _plain(value) for place, value in zip(self._inputs.values(), values, strict=True)
            }
            yield self._workflow.with_inputs(changes)

    async def _row(self, job: Job) -> dict[str, Any]:
        """Return a row's new columns.

        Raises:
            ComfyError: It failed, and failures are raised.
        """
        row: dict[str, Any] = dict.fromkeys((*self._outputs, self._error_column))
        try:
            result = await job
            for column, node in self._outputs.items():
                row[column] = await self._output(job, result, node)
        except ComfyError as error:
            if self._errors == "raise":
                raise
            row[self._error_column] = f"{type(error).__name__}: {error}"
        return row

    async def _output(self, job: Job, result: JobResult, node: str) -> Any:
        """Return what one node made."""
        known = core_of(job).state.nodes.values()
        nodes = {node, *(each.id for each in known if node in (each.id, each.title, each.class_type))}
        files = [file for file in result.files if file.node in nodes]
        values: list[Any] = [await self._file(file, result) for file in (files if self._every else files[:1])]
        if not files:
            shown = [value for name in sorted(nodes) for value in result.values.get(name, {}).values()]
            values = [text for value in shown for text in (value if isinstance(value, list) else [value])]
        return values if self._every else (values[0] if values else None)

    async def _file(self, file: OutputFile, result: JobResult) -> Any:
        """Return a file in the way that was asked for."""
        if self._returns == "urls":
            return file.url
        if self._returns == "arrays":
            import numpy

            return numpy.asarray(await file.image())
        if self._folder is not None:
            await anyio.Path(self._folder).mkdir(parents=True, exist_ok=True)
            # By the job's id, since servers give the same names, and many write into this folder.
            name = f"{result.prompt_id}_{Path(file.filename.replace(os.sep, '_')).name}"
            return str(await file.write_to(self._folder / name))
        return await file.read()


def _plain(value: Any) -> Any:
    """Return a cell as the workflow takes it: numpy's numbers and texts become Python's."""
    is_scalar = hasattr(value, "item") and not getattr(value, "shape", ())
    return value.item() if is_scalar else value


def _column(values: list[Any]) -> Any:
    """Return a column that Ray Data takes: each cell by itself, for nothing else keeps bytes whole."""
    import numpy

    column = numpy.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        column[number] = value
    return column
