"""The asset routes, which are only there under /api; switched off they say so."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

from aiohttp import web

from ._assets import AssetStore, StoredAsset
from ._core import Core
from ._messages import text_frame

__all__ = ["AssetRoutes"]

_MOST_TAGS = 100


class AssetRoutes:
    """List, read, make, change and delete assets."""

    def __init__(self, core: Core) -> None:
        """Serve from these parts."""
        self._core = core

    def table(self) -> list[web.RouteDef]:
        """Return the routes, `/api` included."""
        if not self._core.capabilities.has("assets"):
            return []
        if self._core.assets is None:
            paths = ("/api/assets", "/api/assets/{tail:.*}", "/api/tags", "/api/tags/{tail:.*}")
            return [web.route("*", path, self._switched_off) for path in paths]
        return [
            web.get("/api/assets", self._page),
            web.post("/api/assets", self._upload),
            web.post("/api/assets/from-hash", self._from_hash),
            web.head("/api/assets/hash/{hash}", self._has),
            web.get("/api/assets/tags/refine", self._refine),
            web.post("/api/assets/seed", self._scan),
            web.get("/api/assets/seed/status", self._scan_status),
            web.post("/api/assets/seed/cancel", self._cancel_scan),
            web.post("/api/assets/prune", self._prune),
            web.get("/api/assets/{id}", self._one),
            web.put("/api/assets/{id}", self._change),
            web.delete("/api/assets/{id}", self._delete),
            web.get("/api/assets/{id}/content", self._content),
            web.post("/api/assets/{id}/tags", self._add_tags),
            web.delete("/api/assets/{id}/tags", self._remove_tags),
            web.get("/api/tags", self._tags),
        ]

    @property
    def _store(self) -> AssetStore:
        """The assets, on a server that has them."""
        assert self._core.assets is not None
        return self._core.assets

    def _asset(self, request: web.Request) -> StoredAsset:
        """Return the asset that a request names.

        Raises:
            HTTPNotFound: There is none.
        """
        asset = self._store.assets.get(request.match_info["id"])
        if asset is None:
            text = json.dumps(_error("ASSET_NOT_FOUND", "there is no such asset"))
            raise web.HTTPNotFound(text=text, content_type="application/json")
        return asset

    async def _switched_off(self, _request: web.Request) -> web.Response:
        message = "Assets system is disabled. Start the server with --enable-assets to use this feature."
        return web.json_response(_error("SERVICE_DISABLED", message), status=503)

    async def _page(self, request: web.Request) -> web.Response:
        query = request.query
        if "metadata_filter" in query:
            return web.json_response(
                _error("UNSUPPORTED_PARAM", "metadata_filter is not supported"), status=400
            )
        wanted, any_of, none_of = (set(query.getall(f"tags_{word}", ())) for word in ("all", "any", "none"))
        if len(wanted | any_of | none_of) > _MOST_TAGS:
            return web.json_response(_error("INVALID_QUERY", "at most 100 tags"), status=400)
        part = query.get("name_contains", "")
        found = [
            asset
            for asset in self._store.assets.values()
            if wanted <= set(asset.tags)
            and (not any_of or any_of & set(asset.tags))
            and not none_of & set(asset.tags)
            and part in asset.name
        ]
        start = int(query.get("after") or query.get("offset") or 0)
        end = start + int(query.get("limit", 20))
        more = {"has_more": True, "next_cursor": str(end)} if end < len(found) else {"has_more": False}
        records = [asset.record() for asset in found[start:end]]
        return web.json_response({"assets": records, "total": len(found), **more})

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        field = form["file"]
        if not isinstance(field, web.FileField):
            return web.json_response(_error("MISSING_FILE", "there is no file"), status=400)
        tags = json.loads(str(form.get("tags", "[]")))
        folder = self._core.folders.of_type(tags[0] if tags else "input") or self._core.folders.base
        name = os.path.basename(str(form.get("name") or field.filename).replace("\\", "/")) or "file"
        (folder / name).write_bytes(field.file.read())
        known = {asset.hash for asset in self._store.assets.values()}
        made = self._store.add(folder / name, name=name, tags=tags)
        made.user_metadata = json.loads(str(form.get("user_metadata", "{}")))
        fresh = made.hash not in known
        return web.json_response({**made.record(), "created_new": fresh}, status=201 if fresh else 200)

    async def _from_hash(self, request: web.Request) -> web.Response:
        body = await request.json()
        found = self._store.with_hash(body["hash"])
        if found is None:
            return web.json_response(_error("BLOB_NOT_FOUND", "there is no such content"), status=404)
        made = self._store.add(found.path, name=body["name"], tags=body.get("tags", ()))
        return web.json_response({**made.record(), "created_new": False}, status=201)

    async def _has(self, request: web.Request) -> web.Response:
        found = self._store.with_hash(request.match_info["hash"])
        return web.Response(status=404 if found is None else 200)

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(self._asset(request).record())

    async def _change(self, request: web.Request) -> web.Response:
        asset, body = self._asset(request), await request.json()
        asset.name = body.get("name", asset.name)
        asset.tags = body.get("tags", asset.tags)
        asset.user_metadata = body.get("user_metadata", asset.user_metadata)
        return web.json_response(asset.record())

    async def _delete(self, request: web.Request) -> web.Response:
        del self._store.assets[self._asset(request).id]
        return web.Response(status=204)

    async def _content(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self._asset(request).path)

    async def _add_tags(self, request: web.Request) -> web.Response:
        asset = self._asset(request)
        asset.tags += [tag for tag in (await request.json())["tags"] if tag not in asset.tags]
        return web.json_response({"total_tags": sorted(asset.tags)})

    async def _remove_tags(self, request: web.Request) -> web.Response:
        asset, gone = self._asset(request), (await request.json())["tags"]
        asset.tags = [tag for tag in asset.tags if tag not in gone]
        return web.json_response({"total_tags": sorted(asset.tags)})

    async def _tags(self, request: web.Request) -> web.Response:
        query = request.query
        counts = sorted(self._counts().items())
        found = [{"name": k, "count": n} for k, n in counts if k.startswith(query.get("prefix", ""))]
        start = int(query.get("offset", 0))
        end = start + int(query.get("limit", 100))
        return web.json_response(
            {"tags": found[start:end], "total": len(found), "has_more": end < len(found)}
        )

    async def _refine(self, _request: web.Request) -> web.Response:
        return web.json_response({"tag_counts": self._counts()})

    def _counts(self) -> dict[str, int]:
        """Return how many assets have each tag."""
        return dict(Counter(tag for asset in self._store.assets.values() for tag in asset.tags))

    async def _scan(self, _request: web.Request) -> web.Response:
        self._core.hub.post(text_frame("assets.seed.completed", {}), None)
        return web.json_response({"status": "started"}, status=202)

    async def _scan_status(self, _request: web.Request) -> web.Response:
        return web.json_response({"state": "IDLE", "errors": []})

    async def _cancel_scan(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "idle"})

    async def _prune(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "completed", "marked": 0})


def _error(code: str, message: str) -> dict[str, Any]:
    """Return an error as the asset routes shape it."""
    return {"error": {"code": code, "message": message, "details": {}}}
