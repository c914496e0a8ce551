"""Files that the server knows by their content, where its asset system is switched on."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from .._transport.multipart import Multipart
from ..errors import NotFoundError
from ._downloads import Download
from ._resource import Resource
from ._schema_assets import Asset, AssetsPage, TagsPage, TagUse
from ._sources import UploadSource, prepared
from ._transfer import Meter, Transfer
from ._uploads import counted

__all__ = ["Asset", "Assets", "TagUse"]

_PAGE = 100


class Assets(Resource):
    """`comfy.assets`: files by their content, with tags.

    ComfyUI 0.16.4 with `--enable-assets`, and Comfy Cloud. Where it is switched off every
    method raises `UnsupportedError`.

    Example:
        >>> face = await comfy.assets.upload("face.png", tags=["input"])
        >>> async for page in comfy.assets.page(tags_all=["input"]):
        ...     print([asset.name for asset in page])
        ['face-...png']
    """

    async def page(
        self,
        *,
        # Which.
        tags_all: Iterable[str] = (),
        tags_any: Iterable[str] = (),
        tags_none: Iterable[str] = (),
        name_contains: str | None = None,
        # In which order.
        sort: Literal["name", "created_at", "updated_at", "size", "last_access_time"] = "created_at",
        newest_first: bool = True,
        size: int = _PAGE,
    ) -> AsyncIterator[tuple[Asset, ...]]:
        """Yield the assets in pages of at most 500.

        Raises:
            UnsupportedError: The asset system is switched off.
            ComfyError: The request failed.
        """
        params: dict[str, Any] = {"limit": size, "sort": sort, "order": "desc" if newest_first else "asc"}
        params |= _filters(tags_all, tags_any, tags_none, name_contains)
        offset = 0
        while True:
            page = self._read(AssetsPage, await self._fetched("", params=params), "GET /api/assets")
            if page.assets:
                yield page.assets
            offset += len(page.assets)
            if not page.assets or not page.has_more:
                return
            params |= {"after": page.next_cursor} if page.next_cursor else {"offset": offset}

    async def get(self, asset_id: str) -> Asset:
        """Return an asset.

        Raises:
            NotFoundError: There is no such asset.
            ComfyError: As `page`.
        """
        return self._read(Asset, await self._fetched(f"/{_quoted(asset_id)}"), "GET /api/assets/{id}")

    def upload(
        self,
        source: UploadSource,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        user_metadata: Mapping[str, Any] | None = None,
    ) -> Transfer[Asset]:
        """Send a file; `source` is what `files.upload` takes.

        Args:
            source: What to send.
            name: Its name, made from its content unless given.
            tags: The first one says where it goes: "input", "output" or "models".
            user_metadata: What else to keep with it.

        Raises:
            UploadTooLargeError: It is larger than the server takes.
            OSError: The file cannot be read.
            ComfyError: As `page`.
        """
        fields = {"tags": json.dumps(list(tags))}
        if user_metadata is not None:
            fields["user_metadata"] = json.dumps(dict(user_metadata))

        async def work(meter: Meter) -> Asset:
            payload = await prepared(source)
            with contextlib.closing(payload):
                filename = name or payload.name
                body = Multipart(
                    {"name": filename, **fields},
                    field="file",
                    filename=filename,
                    size=payload.size,
                    chunks=lambda: counted(payload, meter),
                )
                answer = await self._send(
                    "POST", "/api/assets", content=body, headers=body.headers, seconds=math.inf, root=True
                )
            return self._read(Asset, answer.json(), "POST /api/assets")

        return Transfer(work, name=name or type(source).__name__)

    async def from_hash(self, hash: str, *, name: str, tags: Iterable[str] = ()) -> Asset:
        """Make an asset of content that the server has already, by its hash (`blake3:...`).

        Raises:
            NotFoundError: The server has no such content.
            ComfyError: As `page`.

        Example:
            >>> face = await comfy.assets.upload("face.png", tags=["input"])
            >>> copy = await comfy.assets.from_hash(face.hash, name="copy.png", tags=["input"])
            >>> copy.id == face.id, copy.hash == face.hash
            (False, True)
        """
        body = {"hash": hash, "name": name, "tags": list(tags)}
        answer = await self._send("POST", "/api/assets/from-hash", json=body, root=True)
        return self._read(Asset, answer.json(), "POST /api/assets/from-hash")

    async def has(self, hash: str) -> bool:
        """Say whether the server has content of this hash (`blake3:...`).

        Raises:
            ComfyError: As `page`.
        """
        try:
            await self._send("HEAD", f"/api/assets/hash/{_quoted(hash)}", root=True, retry=True)
        except NotFoundError:
            return False
        return True

    async def update(
        self, asset_id: str, *, name: str | None = None, user_metadata: Mapping[str, Any] | None = None
    ) -> Asset:
        """Rename an asset, or replace what is kept with it.

        Raises:
            NotFoundError: There is no such asset.
            ComfyError: As `page`.
        """
        body: dict[str, Any] = {} if name is None else {"name": name}
        if user_metadata is not None:
            body["user_metadata"] = dict(user_metadata)
        path = f"/api/assets/{_quoted(asset_id)}"
        answer = await self._send("PUT", path, json=body, root=True, retry=True)
        return self._read(Asset, answer.json(), "PUT /api/assets/{id}")

    async def delete(self, asset_id: str) -> None:
        """Delete an asset; its content stays for others that share it.

        Raises:
            NotFoundError: There is no such asset.
            ComfyError: As `page`.
        """
        await self._send("DELETE", f"/api/assets/{_quoted(asset_id)}", root=True)

    def save(self, asset_id: str, path: str | os.PathLike[str]) -> Transfer[Path]:
        """Write an asset's content to disk, as `files.save`.

        Raises:
            NotFoundError: There is no such asset.
            OSError: The disk would not take it.
            ComfyError: As `page`.
        """
        host, target = self._host, Path(path)

        async def work(meter: Meter) -> Path:
            await host.known_server()
            route = f"/api/assets/{_quoted(asset_id)}/content"
            ask = functools.partial(host.http.stream, route, root=True, file={})
            return await Download(ask, meter, clock=host.settings.clock, what=asset_id).run(target)

        return Transfer(work, name=asset_id)

    # Tags.

    async def tags(self, prefix: str | None = None) -> tuple[TagUse, ...]:
        """Return all tags, or those that begin with a prefix, the most used first.

        Raises:
            ComfyError: As `page`.
        """
        params: dict[str, Any] = {"limit": 1000, "offset": 0}
        if prefix:
            params["prefix"] = prefix
        found: list[TagUse] = []
        while True:
            body = await self._get("/api/tags", params=params, root=True)
            page = self._read(TagsPage, body, "GET /api/tags")
            found += page.tags
            if not page.tags or not page.has_more:
                return tuple(found)
            params["offset"] = len(found)

    async def tag_counts(
        self,
        *,
        tags_all: Iterable[str] = (),
        tags_any: Iterable[str] = (),
        tags_none: Iterable[str] = (),
        name_contains: str | None = None,
    ) -> dict[str, int]:
        """Return which tags the assets of a filter have, and how many have each.

        Raises:
            ComfyError: As `page`.
        """
        params = _filters(tags_all, tags_any, tags_none, name_contains)
        body = await self._fetched("/tags/refine", params=params)
        return self._read(dict[str, dict[str, int]], body, "GET /api/assets/tags/refine").get(
            "tag_counts", {}
        )

    async def add_tags(self, asset_id: str, *tags: str) -> tuple[str, ...]:
        """Add tags to an asset and return all that it has.

        Raises:
            NotFoundError: There is no such asset.
            ComfyError: As `page`.
        """
        return await self._tagged("POST", asset_id, tags)

    async def remove_tags(self, asset_id: str, *tags: str) -> tuple[str, ...]:
        """Remove tags from an asset and return all that are left.

        Raises:
            NotFoundError: There is no such asset.
            ComfyError: As `page`.
        """
        return await self._tagged("DELETE", asset_id, tags)

    # The scan of the server's folders.

    async def scan(self, *, roots: Iterable[str] = ("models", "input", "output")) -> str:
        """Start to look for new files in the server's folders: "started" or "already_running".

        Raises:
            ComfyError: As `page`.
        """
        answer = await self._send(
            "POST", "/api/assets/seed", json={"roots": list(roots)}, root=True, expect=(409,)
        )
        return str(answer.json_object().get("status"))

    async def scan_status(self) -> dict[str, Any]:
        """Return how far the scan is.

        Raises:
            ComfyError: As `page`.
        """
        return self._read(dict[str, Any], await self._fetched("/seed/status"), "GET /api/assets/seed/status")

    async def cancel_scan(self) -> str:
        """Stop the scan: "cancelling" or "idle".

        Raises:
            ComfyError: As `page`.
        """
        answer = await self._send("POST", "/api/assets/seed/cancel", root=True)
        return str(answer.json_object().get("status"))

    async def prune(self) -> dict[str, Any]:
        """Mark the assets whose files are gone.

        Raises:
            ComfyError: As `page`.
        """
        return (await self._send("POST", "/api/assets/prune", root=True, expect=(409,))).json_object()

    async def _fetched(self, tail: str, **options: Any) -> Any:
        """GET a route of the asset system."""
        return await self._get(f"/api/assets{tail}", root=True, **options)

    async def _tagged(self, method: str, asset_id: str, tags: Iterable[str]) -> tuple[str, ...]:
        """Change an asset's tags."""
        path = f"/api/assets/{_quoted(asset_id)}/tags"
        answer = await self._send(method, path, json={"tags": list(tags)}, root=True, retry=True)
        return self._read(tuple[str, ...], answer.json_object().get("total_tags", ()), f"{method} tags")


def _quoted(text: str) -> str:
    """Return a part of a path."""
    return quote(text, safe=":")


def _filters(
    tags_all: Iterable[str], tags_any: Iterable[str], tags_none: Iterable[str], name_contains: str | None
) -> dict[str, Any]:
    """Return the filters as a query."""
    lists = {"tags_all": list(tags_all), "tags_any": list(tags_any), "tags_none": list(tags_none)}
    params: dict[str, Any] = {name: values for name, values in lists.items() if values}
    if name_contains:
        params["name_contains"] = name_contains
    return params
