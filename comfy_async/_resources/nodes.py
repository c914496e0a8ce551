"""What the server can run."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ..errors import NotComfyUIError, NotFoundError, WorkflowFormatError
from ..workflow.catalog import NodeCatalog, NodeClass

if TYPE_CHECKING:
    from .._session import ComfySession

__all__ = ["Nodes"]

# The server calls every node's INPUT_TYPES, which list folders and import: minutes with many packs.
_CATALOG_SECONDS: Final = 300.0


class Nodes:
    """`comfy.nodes`: the node classes of the server.

    Example:
        >>> sampler = await comfy.nodes.info("KSampler")
        >>> sampler.input("sampler_name").choices
        ('euler', ...)
    """

    def __init__(self, session: ComfySession) -> None:
        """Use the session's HTTP client."""
        self._session = session
        self._catalog: NodeCatalog | None = None
        self._version = ""
        self._fetching: asyncio.Task[NodeCatalog] | None = None

    async def info(self, class_type: str) -> NodeClass:
        """Return one class, fresh from the server: inputs with types, limits and choices.

        Raises:
            NotFoundError: The server has no such class.
            ComfyError: It cannot be asked.
        """
        self._session._check_loop()
        await self._session._known_server()
        route = f"/object_info/{quote(class_type, safe='')}"
        body = await self._session._http.get_json(route)
        entry = body.get(class_type) if isinstance(body, dict) else None
        if not isinstance(entry, dict):
            raise NotFoundError(
                f"{self._session.base_url} has no node class {class_type!r}",
                hint="It belongs to a node pack that is not installed there, or was renamed.",
                status=404,
                method="GET",
                path=route,
                server=self._session.base_url,
            )
        return NodeClass(class_type, entry)

    async def catalog(
        self, *, refresh: bool = False, cache: str | os.PathLike[str] | None = None
    ) -> NodeCatalog:
        """Return all classes: fetched once per session, however many ask at once.

        Args:
            refresh: Fetch anew: models or node packs have changed.
            cache: A folder to keep it in, by server and version, for the next session.

        Raises:
            ComfyError: The server cannot be asked.
            OSError: The cache cannot be written.
        """
        self._session._check_loop()
        server = await self._session._known_server()
        if refresh or self._version != server.version:
            self._catalog = None
        if self._catalog is None and cache is not None and not refresh:
            self._keep(await asyncio.to_thread(_load, self._place(cache)))
        if self._catalog is None:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch(), name="comfy_async catalog")
                self._fetching.add_done_callback(_look_at)
            self._keep(await asyncio.shield(self._fetching))
            if cache is not None and self._catalog is not None:
                await asyncio.to_thread(_store, self._catalog, self._place(cache))
        assert self._catalog is not None
        return self._catalog

    @property
    def known_classes(self) -> tuple[str, ...]:
        """The class names of a catalog that was fetched already, () before."""
        return tuple(self._catalog or ())

    def _keep(self, catalog: NodeCatalog | None) -> None:
        """Remember a catalog, and of which version it is."""
        if catalog is not None:
            self._catalog = catalog
            self._version = self._session.server.version

    async def _fetch(self) -> NodeCatalog:
        """Ask the server for all classes; the answer is parsed in a thread when it is large."""
        body = await self._session._http.get_json("/object_info", seconds=_CATALOG_SECONDS)
        try:
            return NodeCatalog(body)
        except WorkflowFormatError as error:
            raise NotComfyUIError(
                f"GET /object_info: {error.args[0]}", server=self._session.base_url
            ) from None

    def _place(self, folder: str | os.PathLike[str]) -> Path:
        """Return where the catalog of this server and version is kept."""
        scheme, host, port = self._session._http.address.origin
        prefix = self._session._http.address.base.split("/", 3)[3:]
        name = "-".join([scheme, host, str(port), *prefix, self._session.server.version or "unknown"])
        return Path(folder) / f"{''.join(c if c.isalnum() or c in '.-' else '_' for c in name)}.json.gz"


def _look_at(task: asyncio.Task[NodeCatalog]) -> None:
    """Take note of an error that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _load(path: Path) -> NodeCatalog | None:
    """Read a kept catalog; a damaged one is as good as none."""
    try:
        return NodeCatalog.load(path)
    except (OSError, WorkflowFormatError):
        return None


def _store(catalog: NodeCatalog, path: Path) -> None:
    """Keep a catalog for later, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        catalog.save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
