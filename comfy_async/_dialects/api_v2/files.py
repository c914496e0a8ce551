"""Files in API v2: assets by their id, sent as multipart, fetched from links that expire."""

from __future__ import annotations

import asyncio
import contextlib
import math
import mimetypes
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import quote

from ..._base.latest import Latest
from ..._transport.http import HttpClient, Stream
from ..._transport.multipart import Multipart
from ...errors import NotComfyUIError, UnsupportedError
from ..dialect import FilePlace, Upload

__all__ = ["AssetFiles"]

_ASSETS: Final = "/api/v2/assets"
# What stores answer to a link whose time is over: S3 and GCS 403 and 400, others 401, 404 or 410.
_EXPIRED: Final = (400, 401, 403, 404, 410)
_LINKS_KEPT: Final = 10_000


class AssetFiles:
    """Uploads that become assets, and the bytes of those that jobs have made."""

    def __init__(self, http: HttpClient) -> None:
        """Use the session's HTTP client."""
        self._http = http
        # The link of each asset as the server said last.
        self._fresh = Latest[str, str](_LINKS_KEPT)

    async def upload(self, file: Upload) -> Mapping[str, Any]:
        """Make an asset of a file: of bytes that the server has already, where its hash is known.

        Raises:
            UnsupportedError: It is a mask, or no input.
            ComfyError: The server refuses or cannot be reached.
        """
        if file.original is not None:
            raise UnsupportedError(
                "Comfy API v2 cannot join a mask with a picture",
                hint="Send a picture whose alpha channel is the mask.",
                server=self._http.address.base,
            )
        if file.type != "input":
            raise UnsupportedError(
                f"Comfy API v2 takes inputs alone, not files of type {file.type!r}",
                server=self._http.address.base,
            )
        # comfy-api-proxy takes bare names, and folders only below one of ComfyUI's own.
        path = f"input/{file.subfolder}/{file.filename}" if file.subfolder else file.filename
        content_hash = await asyncio.to_thread(file.content_hash)
        asset = None if content_hash is None else await self._from_hash(content_hash, path)
        asset = asset or await self._sent(file, path, content_hash)
        found = asset.get("id")
        if not isinstance(found, str) or not found:
            raise NotComfyUIError("the answer to an upload is no asset", server=self._http.address.base)
        return {
            "name": file.filename,
            "subfolder": file.subfolder,
            "type": "input",
            "asset": asset,
            "reference": _reference(found, asset, path),
        }

    async def _from_hash(self, content_hash: str, path: str) -> Mapping[str, Any] | None:
        """Make an asset over bytes that the server has; None when it has none."""
        body = {"hash": content_hash, "file_path": path, "tags": ["input"]}
        answer = await self._http.request(
            "POST", f"{_ASSETS}/from-hash", json=body, root=True, expect=(404, 405, 501), retry=True
        )
        return answer.json_object() if answer.status in (200, 201) else None

    async def _sent(self, file: Upload, path: str, content_hash: str | None) -> Mapping[str, Any]:
        """Send the bytes, as they are read."""
        kind = mimetypes.guess_type(file.filename)[0] or "application/octet-stream"
        fields = {"content_type": kind, "file_path": path, "tags": "input"}
        if content_hash is not None:
            fields["expected_hash"] = content_hash
        body = Multipart(fields, field="file", filename=file.filename, size=file.size, chunks=file.chunks)
        answer = await self._http.request(
            "POST",
            _ASSETS,
            content=body,
            headers=body.headers,
            seconds=math.inf,
            root=True,
            # The same bytes are one blob; a second asset over them does no harm.
            retry=True,
        )
        return answer.json_object()

    async def has_file(self, place: FilePlace) -> bool | None:
        """Request the asset; None without one: then it is unknown."""
        if place.asset is None:
            return None
        answer = await self._http.request(
            "GET", self._asset(place.asset), root=True, expect=(404,), retry=True
        )
        return answer.status != 404

    def file_url(self, place: FilePlace) -> str:
        """Return the address of a file's content, without credentials."""
        asset = self._demand_asset(place)
        return self._http.address.http(f"{self._asset(asset)}/content")

    def open_file(
        self, place: FilePlace, *, headers: Mapping[str, str], expect: Sequence[int] = ()
    ) -> AbstractAsyncContextManager[Stream]:
        """Ask for an asset's bytes, by a new link when that at hand has expired."""
        return self._opened(place, headers=headers, expect=expect)

    @contextlib.asynccontextmanager
    async def _opened(
        self, place: FilePlace, *, headers: Mapping[str, str], expect: Sequence[int]
    ) -> AsyncIterator[Stream]:
        asset = self._demand_asset(place)
        told = {"filename": place.filename, "subfolder": place.subfolder, "type": place.type}
        async with contextlib.AsyncExitStack() as stack:
            link = self._fresh.get(asset)
            if link is not None:
                known = self._http.stream(
                    link, root="anywhere", headers=headers, expect=(*expect, *_EXPIRED), file=told
                )
                stream = await stack.enter_async_context(known)
                if stream.answer.status not in _EXPIRED:
                    yield stream
                    return
                # Only the server itself knows whether the file is gone, or just the link to it.
                await stack.aclose()
            link = await self._renewed(asset)
            opened = self._http.stream(link, root="anywhere", headers=headers, expect=expect, file=told)
            yield await stack.enter_async_context(opened)

    async def _renewed(self, asset: str) -> str:
        """Ask for a link that holds now.

        Raises:
            NotFoundError: There is no such asset any more.
            ComfyError: The server refuses or cannot be reached.
        """
        answer = await self._http.request("GET", self._asset(asset), root=True, retry=True)
        link = answer.json_object().get("url")
        if not isinstance(link, str) or not link:
            raise answer.not_comfyui("the asset has no link to its content")
        self._keep_file_link(asset, link)
        return link

    def _keep_file_links(self, outputs: object) -> None:
        """Remember where the files of a job are."""
        for row in outputs if isinstance(outputs, list) else ():
            asset, link = (row.get("id"), row.get("url")) if isinstance(row, Mapping) else (None, None)
            if isinstance(asset, str) and isinstance(link, str) and link:
                self._keep_file_link(asset, link)

    def _keep_file_link(self, asset: str, link: str) -> None:
        """Remember where an asset's bytes are."""
        self._fresh[asset] = link

    def _asset(self, asset: str) -> str:
        """Return the route of an asset."""
        return f"{_ASSETS}/{quote(asset, safe='')}"

    def _demand_asset(self, place: FilePlace) -> str:
        """Return the id of a file's asset.

        Raises:
            UnsupportedError: It has none, or a smaller form of it is asked for.
        """
        if place.preview is not None or place.channel is not None:
            what = "make smaller forms of pictures (`preview`, `channel`)"
        elif place.asset is None:
            what = f"find a file by its name ({place.filename!r}): it knows assets, by their id"
        else:
            return place.asset
        raise UnsupportedError(f"Comfy API v2 cannot {what}", server=self._http.address.base)


def _reference(asset_id: str, asset: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Return what stands for a file in a workflow (schema AssetReference)."""
    info = {"id": asset_id, "file_path": asset.get("file_path") or path}
    if isinstance(asset.get("hash"), str):
        info["hash"] = asset["hash"]
    return {"__type": "core/ASSET", "info": info}
