"""What the server can run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from .._base.tasks import look_at
from ..errors import NotComfyUIError, NotFoundError, UnsupportedError, WorkflowFormatError
from ..workflow.catalog import NodeCatalog, NodeClass
from ._resource import Resource
from ._schema_server import Blueprint
from .host import Host

__all__ = ["Blueprint", "Nodes"]

# The server calls every node's INPUT_TYPES, which list folders and import: minutes with many packs.
_CATALOG_SECONDS: Final = 300.0
# More classes than these are faster read with all others.
_MOST_CLASSES: Final = 64


class Nodes(Resource):
    """`comfy.nodes`: the node classes of the server.

    Example:
        >>> sampler = await comfy.nodes.info("KSampler")
        >>> sampler.input("sampler_name").choices
        ('euler', ...)
        >>> catalog = await comfy.nodes.catalog()
        >>> [node.name for node in catalog.search("invert")]
        ['ImageInvert']
    """

    def __init__(self, host: Host) -> None:
        """Use the session's HTTP client."""
        super().__init__(host)
        self._catalog: NodeCatalog | None = None
        self._version = ""
        self._fetching: asyncio.Task[NodeCatalog] | None = None

    async def info(self, class_type: str) -> NodeClass:
        """Return one class, fresh from the server: inputs with types, limits and choices.

        Raises:
            NotFoundError: The server has no such class.
            ComfyError: The request failed.
        """
        route = f"/object_info/{quote(class_type, safe='')}"
        body = await self._get(route)
        entry = body.get(class_type) if isinstance(body, dict) else None
        if isinstance(body, dict) and body and not isinstance(entry, dict):
            raise self._no_classes(route)
        if not isinstance(entry, dict):
            raise NotFoundError(
                f"{self._host.base_url} has no node class {class_type!r}",
                hint="It belongs to a node pack that is not installed there, or was renamed.",
                status=404,
                method="GET",
                path=route,
                server=self._host.base_url,
            )
        return NodeClass(class_type, entry)

    def use(self, catalog: NodeCatalog) -> None:
        """Take this catalog for the server's: one that was saved, for a server that shows none (API v2).

        `check`, conversion and apps use it, and with it `submit` finds what such a server would leave
        out without saying so.

        Example:
            >>> (await comfy.nodes.catalog()).save("catalog.json")
            PosixPath('catalog.json')
            >>> comfy.nodes.use(NodeCatalog.load("catalog.json"))
        """
        self._keep(catalog)

    async def catalog(
        self, *, refresh: bool = False, cache: str | os.PathLike[str] | None = None
    ) -> NodeCatalog:
        """Return all classes: fetched once per session, however many calls wait for them.

        Args:
            refresh: Fetch again: models or node packs have changed.
            cache: A folder to keep it in, by server and version, for the next session.

        Raises:
            ComfyError: The request failed.
            OSError: The cache cannot be written.

        Example:
            >>> catalog = await comfy.nodes.catalog(cache="catalogs")  # the next session reads it from there
        """
        server = await self._host.known_server()
        if (refresh and self._host.api.has_routes) or self._version != server.version:
            self._catalog = None
        if self._catalog is None and not self._host.api.has_routes:
            # It raises, and says what to do instead.
            await self._host.api.object_info("")
        if self._catalog is None and cache is not None and not refresh:
            self._keep(await asyncio.to_thread(_load, self._place(cache), server.editor))
        if self._catalog is None:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch(), name="comfy_async catalog")
                self._fetching.add_done_callback(look_at)
            self._keep(await asyncio.shield(self._fetching))
            if cache is not None and self._catalog is not None:
                await asyncio.to_thread(self._catalog.save, self._place(cache))
        assert self._catalog is not None
        return self._catalog

    async def read_again(self, names: Collection[str]) -> NodeCatalog:
        """Return the catalog with some classes as the server has them at this moment.

        Raises:
            ComfyError: The request failed.
        """
        if len(names) > _MOST_CLASSES or not self._host.api.tells_single_classes:
            return await self.catalog(refresh=True)
        catalog = await self.catalog()
        entries = await asyncio.gather(*map(self._host.api.object_info, names))
        self._keep(catalog.updated(dict(zip(names, entries, strict=True))))
        return await self.catalog()

    async def replacements(self) -> dict[str, Any]:
        """Return which classes were replaced by which, by the old class.

        Raises:
            UnsupportedError: The server is older than 0.14.0, or has none all the same.
            ComfyError: The request failed.
        """
        try:
            body = await self._get("/node_replacements")
        except NotFoundError as error:
            self._host.api.prove("node_replacements", False)
            what = "say which nodes replace others"
            raise self._server.unsupported(what, needs="0.14.0", server=self._host.base_url) from error
        return self._read(dict[str, Any], body, "GET /node_replacements")

    async def known_replacements(self) -> dict[str, Any] | None:
        """Return the same, None where the server has no such list.

        Raises:
            ComfyError: The request failed.
        """
        if not (await self._host.known_server()).can("node_replacements"):
            return None
        try:
            return await self.replacements()
        except UnsupportedError:
            return None

    async def blueprints(self) -> dict[str, Blueprint]:
        """Return the subgraphs that packs and ComfyUI itself share, by id, without their contents.

        Raises:
            UnsupportedError: The server is older than 0.3.67.
            ComfyError: The request failed.
        """
        path = "/global_subgraphs"
        return self._read(dict[str, Blueprint], await self._get(path), f"GET {path}")

    async def blueprint(self, blueprint_id: str) -> Blueprint:
        """Return one of the subgraphs, with its editor JSON in `data`.

        Raises:
            NotFoundError: There is no such subgraph.
            UnsupportedError: The server is older than 0.3.67.
            ComfyError: The request failed.
        """
        path = f"/global_subgraphs/{quote(blueprint_id, safe='')}"
        body = await self._get(path)
        if body is None:
            raise NotFoundError(
                f"{self._host.base_url} has no blueprint {blueprint_id!r}",
                hint="`await comfy.nodes.blueprints()` lists those that there are.",
                status=404,
                method="GET",
                path=path,
                server=self._host.base_url,
            )
        return self._read(Blueprint, body, f"GET {path}")

    @property
    def known_classes(self) -> tuple[str, ...]:
        """The class names of a catalog that was fetched already, () before."""
        return tuple(self._catalog or ())

    def _keep(self, catalog: NodeCatalog | None) -> None:
        """Remember a catalog, and of which version it is."""
        if catalog is not None:
            self._catalog = catalog
            self._version = self._host.server.version

    async def _fetch(self) -> NodeCatalog:
        """Request all classes; the answer is parsed in a thread when it is large."""
        body = await self._host.http.get_json("/object_info", seconds=_CATALOG_SECONDS, retry=True)
        # Every release tells the inputs of every class; what has none anywhere is a gateway's own answer.
        if isinstance(body, dict) and body and not any(map(_tells_inputs, body.values())):
            raise self._no_classes("/object_info")
        try:
            return NodeCatalog(body, editor=self._host.server.editor or None)
        except WorkflowFormatError as error:
            raise NotComfyUIError(f"GET /object_info: {error.args[0]}", server=self._host.base_url) from None

    def _no_classes(self, route: str) -> NotComfyUIError:
        """Return the error for an answer of another shape, which has no classes."""
        return NotComfyUIError(
            f"GET {route} at {self._host.base_url}: the answer lists no node classes",
            hint="Check the address: a proxy or another program may answer there.",
            server=self._host.base_url,
        )

    def _place(self, folder: str | os.PathLike[str]) -> Path:
        """Return where the catalog of this server and version is kept."""
        scheme, host, port = self._host.http.address.origin
        prefix = self._host.http.address.base.split("/", 3)[3:]
        name = "-".join([scheme, host, str(port), *prefix, self._host.server.version or "unknown"])
        return Path(folder) / f"{''.join(c if c.isalnum() or c in '.-' else '_' for c in name)}.json.gz"


def _tells_inputs(entry: object) -> bool:
    """Return whether something is a server's description of a node class."""
    return isinstance(entry, dict) and ("input" in entry or "input_order" in entry or "output" in entry)


def _load(path: Path, editor: str) -> NodeCatalog | None:
    """Read a kept catalog, of a server with this editor; a damaged one is as good as none."""
    try:
        return NodeCatalog(NodeCatalog.load(path).raw, editor=editor or None)
    except (OSError, WorkflowFormatError):
        return None
