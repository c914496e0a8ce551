"""A stand-in for ComfyUI's asset routes, which FakeComfy does not serve."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from raw_server import RawRequest, reply


class Store:
    """Keeps assets in memory and answers as ComfyUI's asset routes do."""

    def __init__(self) -> None:
        self.assets: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.by_cursor = True

    async def __call__(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
        path = request.path.removeprefix("/api")
        query = parse_qs(urlsplit(request.target).query)
        status, body = self._answer(request, path, query)
        if isinstance(body, bytes):
            writer.write(reply(body, status=status))
        else:
            writer.write(reply(json.dumps(body).encode(), status=status, type_="application/json"))

    def _answer(self, request: RawRequest, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        fixed: dict[tuple[str, str], Callable[[], tuple[int, Any]]] = {
            ("GET", "/assets"): lambda: (200, self._page(query)),
            ("POST", "/assets"): lambda: self._upload(request),
            ("POST", "/assets/from-hash"): lambda: self._from_hash(json.loads(request.body)),
            ("GET", "/tags"): lambda: (200, self._tags(query)),
            ("GET", "/assets/tags/refine"): lambda: (200, {"tag_counts": self._counts()}),
            ("POST", "/assets/seed"): lambda: (202, {"status": "started"}),
            ("GET", "/assets/seed/status"): lambda: (200, {"state": "IDLE", "errors": []}),
            ("POST", "/assets/seed/cancel"): lambda: (200, {"status": "idle"}),
            ("POST", "/assets/prune"): lambda: (409, {"status": "scan_running", "marked": 0}),
            ("GET", "/users"): lambda: (200, {"storage": "server", "migrated": True}),
        }
        found = fixed.get((request.method, path))
        if found is not None:
            return found()
        parts = path.strip("/").split("/")
        if parts[1] == "hash":
            known = {asset["hash"] for asset in self.assets.values()}
            return (200 if parts[2] in known else 404), b""
        asset = self.assets.get(parts[1])
        if asset is None:
            return 404, {"error": {"code": "ASSET_NOT_FOUND", "message": "not found", "details": {}}}
        return self._of(asset, request, parts[2:])

    def _of(self, asset: dict[str, Any], request: RawRequest, rest: list[str]) -> tuple[int, Any]:
        if rest == ["content"]:
            return 200, self.contents[asset["hash"]]
        if rest == ["tags"]:
            tags = set(json.loads(request.body)["tags"])
            old = set(asset["tags"])
            asset["tags"] = sorted(old | tags if request.method == "POST" else old - tags)
            return 200, {"total_tags": asset["tags"]}
        if request.method == "DELETE":
            del self.assets[asset["id"]]
            return 204, b""
        if request.method == "PUT":
            asset |= json.loads(request.body)
        return 200, asset

    def _upload(self, request: RawRequest) -> tuple[int, Any]:
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        fields: dict[str, bytes] = {}
        for part in request.body.split(b"--" + boundary)[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            fields[head.decode().partition('name="')[2].partition('"')[0]] = content[:-2]
        content_hash = "blake3:" + hashlib.sha256(fields["file"]).hexdigest()
        new = content_hash not in self.contents
        self.contents[content_hash] = fields["file"]
        made = self._add(fields["name"].decode(), content_hash, json.loads(fields["tags"]))
        made["user_metadata"] = json.loads(fields.get("user_metadata", b"{}"))
        return 201, {**made, "created_new": new}

    def _from_hash(self, body: dict[str, Any]) -> tuple[int, Any]:
        return 201, {**self._add(body["name"], body["hash"], body["tags"]), "created_new": False}

    def _add(self, name: str, content_hash: str, tags: list[str]) -> dict[str, Any]:
        made: dict[str, Any] = {"id": str(uuid.uuid4()), "name": name, "hash": content_hash, "tags": tags}
        made["size"] = len(self.contents[content_hash])
        self.assets[made["id"]] = made
        return made

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = set(query.get("tags_all", []))
        part = query.get("name_contains", [""])[0]
        found = [a for a in self.assets.values() if wanted <= set(a["tags"]) and part in a["name"]]
        start = int((query.get("after") or query.get("offset") or ["0"])[0])
        end = start + int(query["limit"][0])
        more = end < len(found)
        cursor = {"next_cursor": str(end)} if more and self.by_cursor else {}
        return {"assets": found[start:end], "total": len(found), "has_more": more, **cursor}

    def _counts(self) -> dict[str, int]:
        tags = [tag for asset in self.assets.values() for tag in asset["tags"]]
        return {tag: tags.count(tag) for tag in tags}

    def _tags(self, query: dict[str, list[str]]) -> dict[str, Any]:
        prefix = query.get("prefix", [""])[0]
        found = [{"name": k, "count": v} for k, v in self._counts().items() if k.startswith(prefix)]
        start = int(query["offset"][0])
        return {"tags": found[start : start + 1], "total": len(found), "has_more": start + 1 < len(found)}
