"""FakeComfy: a ComfyUI to test against, over real HTTP and WebSockets on loopback."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from ._books import Books
from ._capabilities import CURRENT_VERSION, OLD_VERSION, Capabilities
from ._core import Core, Pace
from ._faults import Faults
from ._folders import Folders
from ._gates import Gate
from ._middleware import middlewares
from ._routes_files import FileRoutes
from ._routes_info import InfoRoutes
from ._routes_jobs import JobRoutes
from ._routes_run import RunRoutes
from ._routes_user import UserRoutes
from ._scripts import ScriptError, scripted
from ._worker import Worker

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["FakeComfy"]

_SHUTDOWN_SECONDS = 2.0


class FakeComfy:
    """A server that speaks ComfyUI 0.33.0's protocol, runs small graphs, and keeps books.

    It really executes EmptyImage, LoadImage, ImageScale, ImageInvert, ImageBatch, SaveImage,
    PreviewImage, SaveImageWebsocket, SaveAnimatedWEBP, PrimitiveString and PreviewAny. The
    nodes of an SD1.5 workflow are stand-ins: they take steps, send previews and paint a
    picture from seed and text, but nothing is diffused. `script()` adds classes.

    Attributes:
        faults: What can be made to go wrong.
        pace: Durations that may be changed while it runs.
        core: The parts of the server, for tests of this package itself.

    Example:
        >>> async with FakeComfy(step_seconds=0.01) as fake:
        ...     async with fake.session() as comfy:
        ...         result = await comfy.run(workflow)
        ...     assert fake.books.ends(prompt_id) == ["success"]
    """

    def __init__(
        self,
        *,
        # where it listens
        host: str = "127.0.0.1",
        port: int = 0,
        prefix: str = "",
        ssl_context: ssl.SSLContext | None = None,
        # which server it plays
        version: str | None = None,
        mode: Literal["local", "old"] = "local",
        without: Iterable[str] = (),
        models: Mapping[str, Iterable[str]] | None = None,
        max_upload_size: int | None = None,
        # how it behaves
        step_seconds: float = 0.0,
        history_delay: float = 0.0,
        preview_method: str = "none",
        output_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Prepare a server; it listens once it is entered or started.

        Args:
            host: The address to listen at.
            port: The port, 0 for a free one.
            prefix: A path before every route, such as `/comfy`.
            ssl_context: Serve https and wss.
            version: The ComfyUI version to play; features that came later are missing.
            mode: "old" plays a server without the jobs API, client-made ids, feature flags.
            without: Single features to leave out, see `Capabilities`.
            models: Names of models by folder, in place of the stand-ins.
            max_upload_size: Bytes that a request may have, 100 MiB when None.
            step_seconds: How long a step of a sampler takes.
            history_delay: Seconds from execution_success to the history entry.
            preview_method: The previews that are made when a prompt asks for "default".
            output_dir: Where outputs go; a temporary folder when None.

        Raises:
            ValueError: `without` names something that is no feature.
        """
        if version is None:
            version = OLD_VERSION if mode == "old" else CURRENT_VERSION
        self.host = host
        self.port = port
        self.prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self.pace = Pace(step_seconds, history_delay, preview_method)
        self.core = Core(
            capabilities=Capabilities.of(version, without=without),
            folders=Folders(output=output_dir, models=models),
            pace=self.pace,
            max_upload=max_upload_size,
        )
        self._ssl_context = ssl_context
        self._worker = Worker(self.core)
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.faults = Faults(self.core, go_down=self._go_down, come_up=self._come_up)

    @property
    def books(self) -> Books:
        """What happened on the server."""
        return self.core.books

    @property
    def folders(self) -> Folders:
        """Its folders of input, output and temp files, and the models it pretends to have."""
        return self.core.folders

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://{host}:{self.port}{self.prefix}"

    async def start(self) -> FakeComfy:
        """Listen and work; returns itself.

        Raises:
            RuntimeError: It runs already.
            OSError: The port is taken.
        """
        if self._runner is not None:
            raise RuntimeError("this FakeComfy runs already")
        self.core.folders.create()
        runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handle_signals=False
        )
        self._runner = runner
        await runner.setup()
        try:
            await self._come_up()
        except OSError:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """End every run, socket and request, and remove the temporary files."""
        self.core.rules.clear()
        await self._go_down(history=True)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.core.workshop.close()
        self.core.folders.remove()

    async def __aenter__(self) -> FakeComfy:
        """Start it."""
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        await self.stop()

    def session(self, **options: Any) -> ComfySession:
        """Return a session to this server, not yet connected; the options are ComfySession's."""
        from comfy_async import ComfySession

        return ComfySession(self.url, **options)

    async def wait_for(self, predicate: Callable[[Books], object]) -> None:
        """Wait until a condition on the books holds.

        Bound it with `asyncio.timeout` where it might never come true.

        Raises:
            Exception: Whatever the predicate raises.
        """
        await self.books.until(predicate)

    async def running(self, prompt_id: str | None = None) -> str:
        """Wait until a prompt runs, any when none is named, and return its id."""

        def found(_books: Books) -> bool:
            running = [item.prompt_id for item in self.core.queue.running]
            return bool(running) if prompt_id is None else prompt_id in running

        await self.books.until(found)
        return self.core.queue.running[0].prompt_id

    async def ended(self, prompt_id: str) -> None:
        """Wait until every accepted run of a prompt has ended, and its history is written."""
        await self.books.until(
            lambda books: bool(books.of(prompt_id)) and len(books.ends(prompt_id)) == len(books.of(prompt_id))
        )

    async def idle(self) -> None:
        """Wait until nothing runs and nothing is queued."""
        await self.books.until(lambda _books: self.core.queue.remaining == 0)

    def hold(self) -> None:
        """Start no more prompts, so that they stay pending; what runs goes on."""
        self.core.queue.hold()

    def release(self) -> None:
        """Start prompts again after `hold`."""
        self.core.queue.release()

    def gate(
        self,
        class_type: str | None = None,
        *,
        step: int | None = None,
        prompt_id: str | None = None,
        node: str | None = None,
    ) -> Gate:
        """Close a place in a run, where it will stand until the gate is opened.

        Args:
            class_type: The node's class, any when None. The word "history" stands for the
                place after the last event and before the history is written.
            step: Before which step of the node; before the node's work when None.
            prompt_id: Only in that run.
            node: Only at the node with that id.
        """
        return self.core.gates.close(class_type, step=step, prompt_id=prompt_id, node=node)

    def script(
        self,
        class_type: str,
        *,
        # what it is
        inputs: Mapping[str, Any] | None = None,
        optional: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        is_output: bool | None = None,
        cached: bool = False,
        # what it does
        steps: int = 0,
        delay: float = 0.0,
        text: str | Iterable[str] = (),
        messages: Iterable[tuple[str, Any]] = (),
        output: Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
        returns: Callable[[dict[str, Any]], Iterable[Any]] | None = None,
        error: ScriptError = None,
        error_at: int | None = None,
    ) -> None:
        """Define a node class.

        Args:
            class_type: Its name; one of a built-in class replaces it.
            inputs: Its required inputs as type, or as type and options: `{"image": "IMAGE",
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0})}`; a list is a choice.
            optional: Its optional inputs.
            outputs: The types of its outputs.
            is_output: Whether it is an output node; by default when it has no outputs.
            cached: Whether an unchanged node is taken from the cache, as real ones are.
            steps: How many steps it reports; each takes `step_seconds`.
            delay: Seconds that it takes before its first step.
            text: Lines of progress text (binary frames of type 3).
            messages: Messages of any type to send, as `(type, data)`.
            output: What it shows, as the `output` of its `executed` event, or how that is made
                from its inputs: `{"images": [{"filename": ..., "subfolder": "", "type": "temp"}]}`.
            returns: How its outputs are made from its inputs; None for each when not given.
            error: How it fails: an exception, `("RuntimeError", "message")`, "oom" for the
                out-of-memory error of torch, or "blocked" for outputs that block what follows.
            error_at: After which step it fails; after the last when None.
        """
        spec, function = scripted(
            class_type,
            inputs=inputs or {},
            optional=optional or {},
            outputs=tuple(outputs),
            is_output=is_output,
            steps=steps,
            delay=delay,
            text=[text] if isinstance(text, str) else list(text),
            messages=list(messages),
            output=output,
            returns=returns,
            error=error,
            error_at=error_at,
        )
        self.core.classes.add(spec, function, cached=cached)

    def _application(self) -> web.Application:
        """Return the application with all its routes, with and without /api."""
        core = self.core
        app = web.Application(client_max_size=core.max_upload, middlewares=middlewares(core, self.prefix))
        info = InfoRoutes(core)
        routes = [
            *RunRoutes(core, self._worker).table(),
            *FileRoutes(core).table(),
            *UserRoutes(core).table(),
            *info.table(),
        ]
        fixed = [*JobRoutes(core).table(), *info.internal(), *info.assets()]
        if core.capabilities.has("api_prefix"):
            fixed += [web.route(route.method, "/api" + route.path, route.handler) for route in routes]
        for route in (*fixed, *routes):
            app.router.add_route(route.method, self.prefix + route.path, route.handler)
        return app

    async def _come_up(self) -> None:
        """Open the port, the same one as before a restart, and work."""
        if self._server is not None:
            return
        if self._runner is None or self._runner.server is None:
            raise RuntimeError("this FakeComfy does not run")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._runner.server, self.host, self.port, ssl=self._ssl_context, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks = [
            self._spawn(self.core.hub.publish(), "publish"),
            self._spawn(self._worker.work(), "work"),
        ]

    async def _go_down(self, *, history: bool) -> None:
        """Close the port and every connection, and lose what was queued."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cancel_tasks()
        self._worker.free()
        self.core.die(history=history)
        if self._runner is not None and self._runner.server is not None:
            for connection in list(self._runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()

    def _spawn(self, work: Any, name: str) -> asyncio.Task[None]:
        """Start a background task."""
        return asyncio.get_running_loop().create_task(work, name=f"fake-comfy-{name}")

    async def _cancel_tasks(self) -> None:
        """End the background tasks."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
