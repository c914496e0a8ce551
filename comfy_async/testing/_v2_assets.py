"""The asset routes of API v2."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from ._books import Upload
from ._core import Core
from ._v2_board import TERMINAL, Board
from ._v2_errors import V2Problem
from ._v2_jobs import answering, base_of
from ._v2_shelf import V2Asset, content_hash

__all__ = ["V2Assets"]

_CHUNK = 1 << 16
_SHORTEST, _LONGEST = 60, 604_800


class V2Assets:
    """Take files, and give them."""

    def __init__(self, core: Core, board: Board, *, prefix: str) -> None:
        """Serve from these parts."""
        self._core = core
        self._board = board
        self._shelf = board.shelf
        self._prefix = prefix

    def table(self) -> list[web.RouteDef]:
        """Return the routes, `/api/v2` included."""
        routes = [
            web.post("/api/v2/assets", self._upload),
            web.post("/api/v2/assets/from-hash", self._from_hash),
            web.head("/api/v2/assets/by-hash/{hash}", self._has),
            web.get("/api/v2/assets/{id}", self._one),
            web.delete("/api/v2/assets/{id}", self._delete),
            web.get("/api/v2/assets/{id}/content", self._content),
        ]
        return [web.route(route.method, route.path, answering(route.handler)) for route in routes]

    async def _upload(self, request: web.Request) -> web.Response:
        """Take a file as it comes, and know it by its content."""
        if not request.content_type.startswith("multipart/"):
            raise V2Problem(422, "invalid_request", "Expected multipart/form-data.")
        key = request.headers.get("Idempotency-Key")
        if key is not None and not self._board.claim(key):
            raise V2Problem(422, "idempotency_key_reuse", "This Idempotency-Key was used before.")
        with tempfile.TemporaryDirectory(prefix="upload-", dir=self._core.folders.base) as folder:
            try:
                return await self._taken(request, Path(folder) / "file")
            except V2Problem:
                self._board.keys.pop(key or "", None)
                raise

    async def _taken(self, request: web.Request, path: Path) -> web.Response:
        """Read the form and store its file."""
        fields, tags = await self._form(request, path)
        for name in ("file", "content_type", "file_path"):
            # The proxy takes the type of the part for one that is missing.
            if not fields.get(name) and not (name == "content_type" and self._board.manners.style == "proxy"):
                raise V2Problem(422, "invalid_request", f"Missing {name!r}.")
        expires_at = _expiry(fields.get("expires_in"))
        digest = content_hash(path)
        expected = fields.get("expected_hash")
        if expected and digest is not None and expected.lower() != digest:
            raise V2Problem(409, "hash_mismatch", "The bytes have another hash than was declared.")
        known = None if digest is None else self._shelf.with_hash(digest)
        more: dict[str, Any] = {"content_type": fields.get("content_type") or fields["file"], "tags": tags}
        more["expires_at"] = expires_at
        asset, fresh = known, known is None
        if asset is None:
            asset = self._stored(path, fields["file_path"], more)
        elif self._board.manners.style == "cloud":
            asset = self._shelf.again(asset, name=fields["file_path"], **more)
        body = self._board.words.record(asset, base_of(request, self._prefix), created_new=fresh)
        return web.json_response(body, status=201 if fresh else 200)

    def _stored(self, path: Path, file_path: str, more: dict[str, Any]) -> V2Asset:
        """Put a file where nodes find it, and record it.

        Raises:
            V2Problem: There is no such place.
        """
        size = path.stat().st_size
        try:
            final, name = self._shelf.store(path, file_path, models=self._board.manners.style == "cloud")
        except ValueError as error:
            raise V2Problem(422, "invalid_request", str(error)) from None
        asset = self._shelf.add(final, name=file_path, **more)
        self._core.books.uploads.append(Upload(name, "", "input", size, True))
        self._core.books.touch()
        return asset

    async def _form(self, request: web.Request, path: Path) -> tuple[dict[str, str], list[str]]:
        """Read the fields of a form, its file into a path.

        Raises:
            V2Problem: It is no form, or too large.
        """
        fields: dict[str, str] = {}
        tags: list[str] = []
        try:
            reader = await request.multipart()
            while (part := await reader.next()) is not None:
                if not isinstance(part, BodyPartReader) or part.name is None:
                    continue
                if part.name == "file":
                    fields["file"] = part.headers.get("Content-Type", "application/octet-stream")
                    await self._spool(part, path)
                elif part.name == "tags":
                    tags.append((await part.text()).strip())
                else:
                    fields[part.name] = (await part.text()).strip()
        except (ValueError, AssertionError):
            raise V2Problem(422, "invalid_request", "This is no multipart body.") from None
        return fields, tags

    async def _spool(self, part: BodyPartReader, path: Path) -> None:
        """Write a part to a file, piece by piece.

        Raises:
            V2Problem: It is too large.
        """
        size = 0
        with path.open("wb") as file:
            while chunk := await part.read_chunk(_CHUNK):
                size += len(chunk)
                if size > self._core.max_upload:
                    message = f"The upload is larger than {self._core.max_upload} bytes."
                    raise V2Problem(413, "payload_too_large", message)
                file.write(chunk)

    async def _from_hash(self, request: web.Request) -> web.Response:
        """Make a record over bytes that are here."""
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = None
        body = body if isinstance(body, dict) else {}
        digest, name = body.get("hash"), body.get("file_path")
        if not isinstance(digest, str) and self._board.manners.style == "proxy":
            raise V2Problem(422, "invalid_request", "Missing 'hash'.")
        known = self._shelf.with_hash(digest, name=name) if isinstance(digest, str) else None
        if known is None:
            raise V2Problem(404, "blob_not_found", "No blob that you may use.")
        same = self._board.manners.style == "proxy" or name in (None, known.name)
        asset = known if same else self._shelf.again(known, name=name, tags=body.get("tags", []))
        answer = self._board.words.record(asset, base_of(request, self._prefix), created_new=False)
        return web.json_response(answer, status=200 if same else 201)

    async def _has(self, request: web.Request) -> web.Response:
        found = self._shelf.with_hash(request.match_info["hash"])
        return web.Response(status=404 if found is None else 200)

    def _asset(self, request: web.Request) -> V2Asset:
        """Return the asset that a request names.

        Raises:
            V2Problem: There is none, or it has expired.
        """
        asset = self._shelf.assets.get(request.match_info["id"])
        if asset is None or (asset.expires_at is not None and time.time() >= asset.expires_at):
            raise V2Problem(404, "not_found", "No such asset.")
        return asset

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(
            self._board.words.record(self._asset(request), base_of(request, self._prefix))
        )

    async def _delete(self, request: web.Request) -> web.Response:
        """Delete a record; the bytes stay."""
        asset = self._asset(request)
        proxy = self._board.manners.style == "proxy"
        if proxy and asset.job_id is not None:
            raise V2Problem(404, "not_found", "No such asset.")
        if not proxy and self._in_use(asset):
            raise V2Problem(409, "asset_in_use", "The asset is in use.")
        del self._shelf.assets[asset.id]
        return web.Response(status=204)

    def _in_use(self, asset: V2Asset) -> bool:
        """Whether a job that is known made an asset, or one that is open reads it."""
        board = self._board
        if asset.job_id is not None:
            return board.find(asset.job_id) is not None
        name = board.shelf.name_in_graph(asset, style=board.manners.style)
        return any(
            name in node.get("inputs", {}).values()
            for job in board.jobs.values()
            if board.status(job) not in TERMINAL
            for node in job.workflow.values()
        )

    async def _content(self, request: web.Request) -> web.StreamResponse:
        """Give the bytes, or the way to them."""
        asset = self._asset(request)
        if not asset.path.is_file():
            code = "output_unavailable" if self._board.manners.style == "proxy" else "not_found"
            raise V2Problem(404, code, "The bytes are gone.")
        link = self._board.words.link(asset)
        if link is not None:
            return web.Response(status=302, headers={"Location": link})
        if self._board.manners.style == "proxy" and _starts_beyond(request, asset.size):
            raise V2Problem(502, "upstream_error", "ComfyUI returned an unexpected status.")
        return web.FileResponse(asset.path, headers={"Content-Type": asset.content_type})


def _starts_beyond(request: web.Request, size: int) -> bool:
    """Whether a range begins after the end of a file."""
    try:
        start = request.http_range.start
    except ValueError:
        return False
    return start is not None and start >= size


def _expiry(text: str | None) -> float | None:
    """Return when an upload ends.

    Raises:
        V2Problem: That is out of bounds.
    """
    if text is None:
        return None
    if not text.isdigit() or not _SHORTEST <= int(text) <= _LONGEST:
        raise V2Problem(422, "invalid_request", f"'expires_in' goes from {_SHORTEST} to {_LONGEST}.")
    return time.time() + int(text)
