"""FakeComfy: a ComfyUI to test against, over real HTTP and WebSockets on loopback."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from ._app import cloud_application, local_application
from ._auth import Keeper
from ._books import Books
from ._capabilities import CURRENT_VERSION, OLD_VERSION, Capabilities
from ._chaos import Faults
from ._cloud import ACCOUNT, CloudRoutes
from ._core import Core, Pace
from ._folders import Folders
from ._gates import Gate
from ._listener import Listener
from ._scripts import ScriptError, scripted
from ._storage import Storage
from ._worker import Worker

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["FakeComfy"]


class FakeComfy:
    """A server that speaks ComfyUI 0.33.0's protocol, runs small graphs, and keeps books.

    It really executes EmptyImage, LoadImage, ImageScale, ImageInvert, ImageBatch, SaveImage,
    PreviewImage, SaveImageWebsocket, SaveAnimatedWEBP, PrimitiveString and PreviewAny. The
    nodes of an SD1.5 workflow are stand-ins: they take steps, send previews and paint a
    picture from seed and text, but nothing is diffused. `script()` adds classes.

    With `version=` it plays another release, from "0.3.10" to "0.45.2", with what that one lacks or
    has more. What it says as 0.33.0 is held against recordings of one; older ones are played by what
    their sources do, and 0.45.2 by its documentation: assets switched on, files with ids, activities.

    Attributes:
        faults: What can be made to go wrong.
        storage: In the cloud mode, the other origin that files come from, None else; its
            `leaks` are the requests that carried a credential there.
        pace: Durations that may be changed while it runs.
        core: The parts of the server, for tests of this package itself.

    Example:
        >>> async with FakeComfy(step_seconds=0.01) as fake, fake.session() as comfy:
        ...     job = await comfy.submit(flow)
        ...     print((await job).images[0].filename)
        ...     print(fake.books.ends(job.prompt_id))
        ComfyUI_00001_.png
        ['success']
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
        mode: Literal["local", "old", "cloud"] = "local",
        without: Iterable[str] = (),
        auth: Keeper | None = None,
        api_key: str = "comfyui-fake-key",
        models: Mapping[str, Iterable[str]] | None = None,
        max_upload_size: int | None = None,
        multi_user: bool = False,
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
            mode: "old" plays a server without the jobs API, client-made ids, feature flags;
                "cloud" plays Comfy Cloud's v1 dialect, as its documentation has it.
            without: Single features to leave out, see `Capabilities`.
            auth: What a gateway in front of it accepts, a `Gatekeeper`; None lets anybody in.
            api_key: The key of the cloud account.
            models: Names of models by folder, in place of the stand-ins.
            max_upload_size: Bytes that a request may have, 100 MiB when None.
            multi_user: Keep userdata by the header `comfy-user`.
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
        self.prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self.pace = Pace(step_seconds, history_delay, preview_method)
        self.core = Core(
            capabilities=Capabilities.of(version, without=without),
            folders=Folders(output=output_dir, models=models),
            pace=self.pace,
            max_upload=max_upload_size,
        )
        self.core.gatekeeper = auth
        self.core.users = {"default": "default"} if multi_user else None
        self.api_key = api_key
        self.storage = Storage(host) if mode == "cloud" else None
        self._secure = ssl_context is not None
        self._worker = Worker(self.core)
        self._listener = Listener(self.core, self._worker, host=host, port=port, ssl_context=ssl_context)
        self.faults = Faults(self.core, go_down=self._listener.go_down, come_up=self._listener.come_up)

    @property
    def port(self) -> int:
        """The port it listens at, known once it is started."""
        return self._listener.port

    @property
    def auth(self) -> Keeper | None:
        """Who is let in; may be changed while it runs, to let a token expire."""
        return self.core.gatekeeper

    @auth.setter
    def auth(self, keeper: Keeper | None) -> None:
        self.core.gatekeeper = keeper

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
        scheme = "https" if self._secure else "http"
        return f"{scheme}://{host}:{self.port}{self.prefix}"

    async def start(self) -> FakeComfy:
        """Listen and work; returns itself.

        Raises:
            RuntimeError: It runs already.
            OSError: The port is taken.
        """
        if self._listener.started:
            raise RuntimeError("this FakeComfy runs already")
        self.core.folders.create()
        try:
            if self.storage is not None:
                await self.storage.start()
            await self._listener.start(self._application())
        except OSError:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """End every run, socket and request, and remove the temporary files."""
        self.core.rules.clear()
        try:
            await self._listener.stop()
        finally:
            if self.storage is not None:
                await self.storage.stop()
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

    @property
    def served(self) -> dict[str, dict[str, Any]]:
        """What `extensions`, `workflow_templates`, `i18n`, `global_subgraphs` and `node_replacements`
        answer with; all empty until a test fills them."""
        return self.core.served

    def session(self, **options: Any) -> ComfySession:
        """Return a session to this server, not yet connected; the options are ComfySession's."""
        from comfy_async import ComfySession

        if self.storage is not None:
            return ComfySession.cloud(**{"api_key": self.api_key, "base_url": self.url, **options})
        return ComfySession(self.url, **options)

    async def wait_for(self, predicate: Callable[[Books], object]) -> None:
        """Wait until a condition on the books holds.

        Bound it with `asyncio.timeout` where it might never come true.

        Raises:
            Exception: Whatever the predicate raises.

        Example:
            >>> job = await comfy.submit(flow)
            >>> async with asyncio.timeout(10):
            ...     await fake.wait_for(lambda books: books.ended == 2)
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
        """Start no more prompts, so that they stay pending; what runs goes on.

        Example:
            >>> fake.hold()
            >>> jobs = [await comfy.submit(flow.randomized(seed)) for seed in range(3)]
            >>> await comfy.queue.remaining()
            3
            >>> fake.release()
            >>> await fake.idle()
        """
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

        Example:
            >>> with fake.gate("VAEDecode") as gate:
            ...     job = await comfy.submit(flow)
            ...     prompt_id = await gate.reached()  # the sampler is done, nothing is decoded yet
            ...     print(fake.books.of(prompt_id)[0].executed[-1])
            3
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
        expands: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
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
            expands: How a graph is made from its inputs that runs in its place, under ids such as
                `12.0.0.1`; `returns` may then give links such as `["1", 0]` to its nodes.
            error: How it fails: an exception, `("RuntimeError", "message")`, "oom" for the
                out-of-memory error of torch, or "blocked" for outputs that block what follows.
            error_at: After which step it fails; after the last when None.

        Example:
            >>> def shout(given):
            ...     return {"text": [given["text"].upper()]}
            >>> fake.script("Shout", inputs={"text": "STRING"}, output=shout)
            >>> result = await comfy.run({"1": {"class_type": "Shout", "inputs": {"text": "hello"}}})
            >>> result.texts
            ('HELLO',)
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
            expands=expands,
            error=error,
            error_at=error_at,
        )
        self.core.classes.add(spec, function, cached=cached)

    def fail_node(
        self,
        class_type: str,
        error: ScriptError = ("RuntimeError", "it was asked to fail"),
        *,
        error_at: int | None = None,
        count: int | None = None,
    ) -> None:
        """Let a class that there is fail; its inputs, outputs and everything else stay as they are.

        Args:
            class_type: Its name.
            error: How it fails, as for `script`; "blocked" blocks what follows instead.
            error_at: After which of its steps; before it does anything when None.
            count: How many times, always when None; after that it does its work again.

        Raises:
            ValueError: There is no such class.

        Example:
            >>> fake.fail_node("VAEDecode", "oom", count=1)
            >>> try:
            ...     await comfy.run(flow)
            ... except OutOfMemoryError as error:
            ...     print(error.title)
            VAE Decode
            >>> result = await comfy.run(flow)
        """
        self.core.classes.fail(class_type, error=error, error_at=error_at, count=count)

    def _application(self) -> web.Application:
        """Return the routes of the kind of server that it plays."""
        if self.storage is None:
            return local_application(self.core, self._worker, self.prefix)
        cloud = CloudRoutes(self.core, self.storage, api_key=self.api_key, prefix=self.prefix)
        self.core.account = ACCOUNT
        self.core.hub.broadcasting = True
        if self.core.gatekeeper is None:
            self.core.gatekeeper = cloud
        return cloud_application(self.core, cloud, self.prefix)
