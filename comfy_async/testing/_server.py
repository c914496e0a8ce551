"""FakeComfy: a ComfyUI to test against, over real HTTP and WebSockets on loopback."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from ._app import cloud_application, local_application, v2_application
from ._auth import Gatekeeper, Keeper
from ._capabilities import CURRENT_VERSION, OLD_VERSION, Capabilities
from ._chaos import Faults
from ._cloud import ACCOUNT, CloudRoutes
from ._core import Core, Pace
from ._folders import Folders
from ._listener import Listener
from ._steering import Steering
from ._storage import Storage
from ._v2_board import Board
from ._v2_manners import ApiV2
from ._worker import Worker

if TYPE_CHECKING:
    from comfy_async import ComfySession

__all__ = ["FakeComfy"]


class FakeComfy(Steering):
    """A server with ComfyUI 0.33.0's protocol, which runs small graphs and records what it ran.

    It really executes EmptyImage, LoadImage, LoadImageMask, ImageToMask, MaskToImage, ImageScale,
    ImageInvert, ImageBatch, SaveImage, PreviewImage, SaveImageWebsocket, SaveAnimatedWEBP,
    PrimitiveString and PreviewAny. The nodes of an SD1.5 workflow, of image to image and of
    inpainting are stand-ins: they take steps, send previews and paint a picture from seed, text
    and what else goes in, but nothing is diffused. `script()` adds classes.

    With `dialect="api-v2"` it plays a server of Comfy API v2 alone, with `api_v2=True` one that
    serves it beside its own protocol; `ApiV2` sets how it behaves.

    With `version=` it plays another release, from "0.3.10" to "0.45.2", with what that one lacks or
    has more. What it sends as 0.33.0 is compared with recordings of one; older ones are played by what
    their sources do, and 0.45.2 by its documentation: assets switched on, files with ids, activities.

    Attributes:
        faults: What can be made to go wrong.
        storage: The other origin that files of a cloud come from, None else; its
            `leaks` are the requests that carried a credential there.
        v2: How it serves API v2, None when it does not; may be changed while it runs.
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
        dialect: Literal["comfyui", "cloud-v1", "api-v2"] | None = None,
        api_v2: bool | ApiV2 = False,
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
            dialect: Its API, as a session names it: "cloud-v1" is the mode "cloud", "api-v2"
                serves nothing but API v2, to those who bring `api_key` as a bearer token.
            api_v2: Serve API v2 too: True as comfy-api-proxy does, or as an `ApiV2` says.
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
            ValueError: `without` names something that is no feature; mode and dialect exclude each other.
        """
        mode = _mode(mode, dialect)
        if mode == "cloud" and api_v2:
            raise ValueError("api_v2 goes with a local server or with dialect='api-v2'")
        self.v2 = _manners(dialect, api_v2)
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
        self.core.gatekeeper = Gatekeeper(bearer=api_key) if auth is None and dialect == "api-v2" else auth
        self.core.users = {"default": "default"} if multi_user else None
        self.api_key = api_key
        self.dialect = "cloud-v1" if mode == "cloud" else dialect or "comfyui"
        elsewhere = self.v2 is not None and self.v2.links != "served"
        self.storage = Storage(host, strict=mode != "cloud") if mode == "cloud" or elsewhere else None
        self.core.speaks_plain = dialect != "api-v2"
        if self.v2 is not None:
            self.core.v2 = Board(self.core, self.v2, self.storage)
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

        if self.dialect == "cloud-v1":
            options = {"api_key": self.api_key, "base_url": self.url, "dialect": "cloud-v1", **options}
            return ComfySession.cloud(**options)
        if self.dialect == "api-v2":
            options = {"api_key": self.api_key, "dialect": "api-v2", **options}
        return ComfySession(self.url, **options)

    def _application(self) -> web.Application:
        """Return the routes of the kind of server that it plays."""
        if self.dialect == "api-v2":
            return v2_application(self.core, self.prefix)
        if self.dialect == "comfyui" or self.storage is None:
            return local_application(self.core, self._worker, self.prefix)
        cloud = CloudRoutes(self.core, self.storage, api_key=self.api_key, prefix=self.prefix)
        self.core.account = ACCOUNT
        self.core.hub.broadcasting = True
        if self.core.gatekeeper is None:
            self.core.gatekeeper = cloud
        return cloud_application(self.core, cloud, self.prefix)


def _mode(mode: Any, dialect: str | None) -> Literal["local", "old", "cloud"]:
    """Return the mode that a dialect means.

    Raises:
        ValueError: The dialect is unknown, or another mode was asked for.
    """
    if dialect not in (None, "comfyui", "cloud-v1", "api-v2"):
        raise ValueError(f"no such dialect: {dialect!r}; there are comfyui, cloud-v1, api-v2")
    if mode == "cloud" and dialect in ("comfyui", "api-v2"):
        raise ValueError(f"mode='cloud' is cloud-v1, not {dialect}")
    found: Literal["local", "old", "cloud"] = "cloud" if dialect == "cloud-v1" else mode
    return found


def _manners(dialect: str | None, api_v2: bool | ApiV2) -> ApiV2 | None:
    """Return how API v2 is served, None where it is not."""
    if isinstance(api_v2, ApiV2):
        return api_v2
    if dialect == "api-v2":
        return ApiV2()
    # ComfyUI itself would need no socket of its own for a stream.
    return ApiV2.proxy(lists_jobs=False, lingering=False, deafening=False) if api_v2 else None
