"""The app: a workflow as a function with named, typed inputs and outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Mapping,
    Sequence,
)
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast

from .._base.secrets import sealed
from .._session.prepare import WorkflowLike, as_workflow
from ..errors import WorkflowError
from ..types import Problem, renderer_of
from ..workflow import NodeCatalog, Workflow
from ..workflow.apps import (
    AppInput,
    AppOutput,
    AppReading,
    Unresolved,
    json_schema,
    name_of,
    read_app,
    sentence_of,
    tool,
)
from .app_values import check_rows, flow_of, flows_of
from .form import Form

if TYPE_CHECKING:
    from pydantic import BaseModel

    from .._batch.batch import Batch
    from .._job.job import Job
    from .._job.result import JobResult
    from .._resources.nodes import Blueprint
    from .app_client import AppClient
    from .options import SubmitArguments

__all__ = ["App"]


class App:
    """A workflow as a function: `await app(prompt="a fox", photo=Path("me.jpg"))`.

    Its inputs have names and types. They come from a mapping of your own, from titles of nodes
    (`$photo`, `$seed.seed`), from what the authors chose in the editor's App mode, or else from
    the workflow itself: its texts, files, seeds and sizes. What is not given is as in the workflow.
    Files go in as paths, bytes, open files, Pillow images or arrays.

    `await comfy.app(workflow)` makes one that runs; one of `App.load` can do all but that, until
    `on(comfy)` gives it a server.

    Attributes:
        name: Its name, a Python identifier.
        description: What it does, in a sentence or more.

    Example:
        >>> names = {"prompt": "6.text", "seed": "3.seed"}
        >>> app = await comfy.app(flow, inputs=names, outputs={"picture": "9"})
        >>> result = await app(prompt="a fox", seed=7)
        >>> await result["picture"].read()
        b'...'
    """

    __slots__ = ("_client", "_options", "_reading", "description", "name")

    def __init__(
        self,
        reading: AppReading,
        *,
        name: str = "app",
        description: str = "",
        client: AppClient | None = None,
        options: SubmitArguments | None = None,
    ) -> None:
        """Apps are made by `load` and by `comfy.app`."""
        self._reading = reading
        self._client = client
        self._options: SubmitArguments = cast("SubmitArguments", sealed(options or {}))
        self.name = name
        self.description = description

    @classmethod
    def load(
        cls,
        workflow: WorkflowLike | Blueprint,
        catalog: NodeCatalog,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        name: str | None = None,
        description: str | None = None,
    ) -> App:
        """Read an app, without a server.

        Args:
            workflow: What `Workflow.load` takes, in API or editor format; or a blueprint, whose
                inputs are then loaded and whose outputs saved.
            catalog: What the server can run.
            inputs: Names of your own: `{"prompt": "6.text", "photo": "Load Image.image"}`; a list
                of places gives one value to all of them.
            outputs: The same for what comes out: `{"picture": "9"}`, by id, title or class.
            name: Its name; after the file unless given.
            description: What it does.

        Raises:
            UnknownInputError: A mapping names what is not there, or an input that takes only links.
            ConversionError: It is an editor file that cannot be converted.
            WorkflowFormatError: It is no workflow, or damaged.
            OSError: Its file cannot be read.

        Example:
            >>> app = App.load("examples/workflows/sd15_text2image_api.json", await comfy.nodes.catalog())
            >>> list(app.inputs)[:3]
            ['prompt', 'negative_prompt', 'seed']
        """
        shared = getattr(workflow, "data", None)
        source = workflow if shared is None else shared
        reading = read_app(as_workflow(source), catalog, inputs=inputs, outputs=outputs)
        called = name or name_of(workflow if shared is None else getattr(workflow, "name", ""))
        return cls(reading, name=called, description=description or sentence_of(called, reading))

    # What it is.

    @property
    def inputs(self) -> Mapping[str, AppInput]:
        """The inputs by name, in their order."""
        return MappingProxyType(self._reading.inputs)

    @property
    def outputs(self) -> Mapping[str, AppOutput]:
        """The outputs by name."""
        return MappingProxyType(self._reading.outputs)

    @property
    def unresolved(self) -> tuple[Unresolved, ...]:
        """What the workflow names as an input or output and does not have, with the reason.

        Example:
            >>> app.unresolved  # or 4.prompt: there is no node 4
            ()
        """
        return self._reading.unresolved

    @property
    def catalog(self) -> NodeCatalog:
        """What its types, ranges and choices were read from."""
        return self._reading.catalog

    @property
    def client(self) -> AppClient | None:
        """Where it runs, None before it was given a server."""
        return self._client

    @property
    def reading(self) -> AppReading:
        """What it was read as: the workflow, and where its inputs go."""
        return self._reading

    # Where it runs.

    def on(self, comfy: AppClient, **options: Unpack[SubmitArguments]) -> App:
        """Return the same app on a session, a pool or a fleet; `options` are what `submit` takes.

        Example:
            >>> app = App.load(flow, await comfy.nodes.catalog()).on(comfy, front=True)
        """
        return self._like(self._reading, client=comfy, options=options)

    async def refreshed(self) -> Self:
        """Return the same app with the choices that the server has now.

        Raises:
            WorkflowError: It has no session.
            ComfyError: The request failed.
        """
        classes = {node.class_type for node in self._reading.flow.graph.values()}
        catalog = await self._runner.node_catalog(again=classes)
        return self._like(self._reading.renewed(catalog))

    # Running it.

    async def __call__(self, /, **values: Any) -> JobResult:
        """Run it with these values and return the result; what is not given is as in the workflow.

        Raises:
            UnknownInputError: A name or a value is wrong, or one is missing; nothing was sent.
            WorkflowError: It has no session.
            ComfyError: As `ComfySession.run`.
            OSError: A file cannot be read.
        """
        flow = await flow_of(self._reading, self._runner, values)
        return await self._runner.run(flow, **self._options)

    async def submit(self, /, **values: Any) -> Job:
        """Put it into the server's queue and return its job, as `ComfySession.submit`.

        Raises:
            UnknownInputError: A name or a value is wrong, or one is missing; nothing was sent.
            WorkflowError: It has no session.
            ComfyError: As `ComfySession.submit`.
            OSError: A file cannot be read.

        Example:
            >>> job = await app.submit(prompt="a fox")
            >>> async for event in job:
            ...     print(job.progress)
            >>> result = await job
        """
        flow = await flow_of(self._reading, self._runner, values)
        return await self._runner.submit(flow, **self._options)

    @contextlib.asynccontextmanager
    async def stream(self, /, **values: Any) -> AsyncIterator[Job]:
        """Return `async with` its job, which is cancelled when the block is left early.

        Raises:
            UnknownInputError: On entering: a name or a value is wrong, or one is missing.
            WorkflowError: It has no session.
            ComfyError: As `ComfySession.stream`.

        Example:
            >>> async with app.stream(prompt="a fox") as job:
            ...     async for event in job:
            ...         print(job.progress)
        """
        flow = await flow_of(self._reading, self._runner, values)
        async with self._runner.stream(flow, **self._options) as job:
            yield job

    def map(
        self,
        rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        /,
        *,
        limit: int | None = None,
        total: int | None = None,
        ordered: bool = False,
        on_error: Literal["continue", "stop"] = "continue",
        results: str | os.PathLike[str] | None = None,
    ) -> Batch:
        """Return `async with` the jobs of many rows of values, as they end; as `ComfySession.map`.

        All rows of a list are checked before anything is sent, those of an iterator as they come.

        Raises:
            UnknownInputError: Values of rows are wrong; it says of which, counted from 1.
            WorkflowError: It has no session.
            ComfyError: As `ComfySession.map`.
            ValueError: As `ComfySession.map`.

        Example:
            >>> async with app.map([{"seed": seed} for seed in range(4)], limit=2) as finished:
            ...     async for job in finished:
            ...         print(job.index, (await job)["picture"].filename)
        """
        if isinstance(rows, Sequence):
            total = len(rows) if total is None else total
            check_rows(self._reading, rows)
        return self._runner.map(
            flows_of(self._reading, self._runner, rows),
            limit=limit,
            total=total,
            ordered=ordered,
            on_error=on_error,
            results=results,
            **self._options,
        )

    async def form(self) -> Form:
        """Show its inputs as widgets in a notebook, with a Run button and the job live below.

        It returns at once: a kernel handles a button only when no cell runs. In a later cell `form.values`
        is what was filled in, `form.job` the latest job, `await form.result()` what that gave. The
        lists of choices are those that the server has now.

        Raises:
            RuntimeError: This is no notebook.
            ImportError: ipywidgets is missing (extra `notebook`).
            WorkflowError: It has no session.
            ComfyError: The request failed.

        Example:
            >>> try:
            ...     form = await app.form()  # fill it in, press Run; in a later cell: await form.result()
            ... except RuntimeError as error:
            ...     print(error)
            a form needs a notebook: ...
        """
        form = Form(self)
        await renderer_of(form, "show")(form)
        return form

    def workflow(self, /, **values: Any) -> Workflow:
        """Return the workflow with these values, as it would be sent; files wait for their upload.

        Raises:
            UnknownInputError: A name or a value is wrong, or one is missing; `problems` has each.

        Example:
            >>> app.workflow(prompt="a fox", seed=7).get("3", "seed")
            7
        """
        return self._reading.filled(values)

    def check(self, /, **values: Any) -> list[Problem]:
        """Return what is wrong with these values, [] for nothing; nothing is sent.

        Example:
            >>> print(app.check(sed=7)[0])
            the app has no input 'sed'; nearest: 'seed'
        """
        return self._reading.problems(values)[1]

    # What it says of itself.

    def json_schema(self) -> dict[str, Any]:
        """Return what it takes as a JSON Schema (draft 2020-12).

        Example:
            >>> app.json_schema()["properties"]["seed"]["type"]
            'integer'
        """
        return json_schema(self.name, self.description, self._reading.inputs)

    def model(self) -> type[BaseModel]:
        """Return what it takes as a pydantic model, by the same rules: `app(**dict(values))`.

        Example:
            >>> values = app.model()(prompt="a fox", seed=7)
            >>> result = await app(**values.model_dump())
        """
        from ..workflow.apps.models import model_of

        return model_of(self.name, self.description, self._reading.inputs)

    def tool(self) -> dict[str, Any]:
        """Return it as a function tool for language models: `name`, `description`, `parameters`.

        Example:
            >>> app.tool()["name"]
            'app'
        """
        return tool(self.name, self.description, self._reading.inputs)

    def __repr__(self) -> str:
        """Return the name, inputs and outputs."""
        return f"<App {self.name}({', '.join(self.inputs)}) -> {', '.join(self.outputs) or 'nothing'}>"

    # What it does it with.

    @property
    def _runner(self) -> AppClient:
        if self._client is None:
            raise WorkflowError(
                f"the app {self.name!r} has no server to run on",
                hint="`app.on(comfy)` gives it one; `await comfy.app(workflow)` makes one that has it.",
            )
        return self._client

    def _like(
        self,
        reading: AppReading,
        *,
        client: AppClient | None = None,
        options: SubmitArguments | None = None,
    ) -> Self:
        return type(self)(
            reading,
            name=self.name,
            description=self.description,
            client=client or self._client,
            options={**self._options, **(options or {})},
        )
