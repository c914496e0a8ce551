"""The routes for what a user keeps on the server: userdata and settings."""

from __future__ import annotations

import json
import mimetypes
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from ._core import Core

__all__ = ["UserRoutes"]


class UserRoutes:
    """Files and settings of the one user, or of each when there are several."""

    def __init__(self, core: Core) -> None:
        """Serve from these parts."""
        self._core = core

    def table(self) -> list[web.RouteDef]:
        """Return the routes without a prefix."""
        tree = [web.get("/v2/userdata", self._list_all)]
        return [
            *(tree if self._core.capabilities.has("userdata_tree") else ()),
            web.get("/users", self._users),
            web.post("/users", self._add_user),
            web.get("/settings", self._settings),
            web.post("/settings", self._change_settings),
            web.get("/settings/{id}", self._setting),
            web.post("/settings/{id}", self._change_setting),
            web.get("/userdata", self._list),
            web.get("/userdata/{file}", self._read),
            web.post("/userdata/{file}", self._write),
            web.delete("/userdata/{file}", self._delete),
            web.post("/userdata/{file}/move/{dest}", self._move),
        ]

    def _user(self, request: web.Request) -> str:
        """Return the user of a request.

        Raises:
            HTTPInternalServerError: The header names no user; ComfyUI fails with it too.
        """
        users = self._core.users
        name = "default" if users is None else request.headers.get("comfy-user", "default")
        if users is not None and name not in users:
            raise web.HTTPInternalServerError
        return name

    async def _users(self, _request: web.Request) -> web.Response:
        users = self._core.users
        more = {"migrated": True} if users is None else {"users": users}
        return web.json_response({"storage": "server", **more})

    async def _add_user(self, request: web.Request) -> web.Response:
        name = (await request.json())["username"].strip()
        users = {"default": "default"} if self._core.users is None else self._core.users
        if name in users.values():
            return web.json_response({"error": "Duplicate username."}, status=400)
        if not name:
            return web.json_response({"error": "username not provided"}, status=400)
        user_id = re.sub("[^a-zA-Z0-9_-]+", "-", name) + f"_{uuid.uuid4()}"
        users[user_id] = name
        return web.json_response(user_id)

    async def _settings(self, request: web.Request) -> web.Response:
        return web.json_response(self._stored_settings(request))

    async def _change_settings(self, request: web.Request) -> web.Response:
        self._store_settings(request, await request.json())
        return web.Response()

    async def _setting(self, request: web.Request) -> web.Response:
        return web.json_response(self._stored_settings(request).get(request.match_info["id"]))

    async def _change_setting(self, request: web.Request) -> web.Response:
        self._store_settings(request, {request.match_info["id"]: await request.json()})
        return web.Response()

    def _stored_settings(self, request: web.Request) -> dict[str, Any]:
        stored: dict[str, Any] = json.loads(self._settings_file(request).read_text())
        return stored

    def _store_settings(self, request: web.Request, changes: dict[str, Any]) -> None:
        self._settings_file(request).write_text(json.dumps(self._stored_settings(request) | changes))

    def _settings_file(self, request: web.Request) -> Path:
        user = self._user(request)
        self._core.folders.user(user)
        return self._core.folders.settings_file(user)

    async def _list(self, request: web.Request) -> web.Response:
        """List the files of one folder: names, details, or names in parts."""
        wanted = request.query.get("dir", "")
        if not wanted:
            return web.Response(status=400, text="Directory not provided")
        folder = self._path(request, wanted)
        if folder is None:
            return web.Response(status=403, text="Invalid directory")
        if not folder.exists():
            return web.Response(status=404, text="Directory not found")
        found = folder.rglob("*") if _is_set(request, "recurse") else folder.glob("*")
        files = [path for path in found if path.is_file()]
        if _is_set(request, "full_info"):
            return web.json_response([_file_info(path, folder) for path in files])
        names = [path.relative_to(folder).as_posix() for path in files]
        if _is_set(request, "split"):
            return web.json_response([[name, *name.split("/")] for name in names])
        return web.json_response(names)

    async def _list_all(self, request: web.Request) -> web.Response:
        """List files and folders together, the folders first."""
        wanted = request.query.get("path", "")
        folder = self._path(request, unquote(wanted))
        if folder is None:
            return web.Response(status=400, text="Invalid path requested")
        if not folder.exists():
            return web.Response(status=404, text="Requested path not found")
        if not folder.is_dir():
            return web.Response(status=400, text="Requested path is not a directory")
        entries = [self._entry(request, path) for path in folder.rglob("*")]
        entries.sort(key=lambda entry: (entry["type"] != "directory", entry["name"].lower()))
        return web.json_response(entries)

    def _entry(self, request: web.Request, path: Path) -> dict[str, Any]:
        relative = path.relative_to(self._root(request)).as_posix()
        entry: dict[str, Any] = {"name": path.name, "path": relative}
        if path.is_dir():
            return {**entry, "type": "directory"}
        state = path.stat()
        return {**entry, "type": "file", "size": state.st_size, "modified": state.st_mtime}

    async def _read(self, request: web.Request) -> web.StreamResponse:
        path = self._path(request, request.match_info["file"])
        if path is None:
            return web.Response(status=403)
        if not path.is_file():
            return web.Response(status=404)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers = {
            "Content-Type": kind,
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
        }
        return web.FileResponse(path, headers=headers)

    async def _write(self, request: web.Request) -> web.Response:
        path = self._path(request, request.match_info["file"])
        if path is None:
            return web.Response(status=403)
        if not _may_overwrite(request) and path.exists():
            return web.Response(status=409, text="File already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await request.read())
        return self._answer(request, path)

    async def _delete(self, request: web.Request) -> web.Response:
        path = self._path(request, request.match_info["file"])
        if path is None:
            return web.Response(status=403)
        if not path.is_file():
            return web.Response(status=404)
        path.unlink()
        return web.Response(status=204)

    async def _move(self, request: web.Request) -> web.Response:
        source, target = (self._path(request, request.match_info[name]) for name in ("file", "dest"))
        if source is None or target is None:
            return web.Response(status=403)
        if not source.exists():
            return web.Response(status=404)
        if not _may_overwrite(request) and target.exists():
            return web.Response(status=409, text="File already exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
        return self._answer(request, target)

    def _answer(self, request: web.Request, path: Path) -> web.Response:
        """Return the name of a file that was written, or all about it."""
        root = self._root(request)
        if _is_set(request, "full_info"):
            return web.json_response(_file_info(path, root))
        return web.json_response(path.relative_to(root).as_posix())

    def _root(self, request: web.Request) -> Path:
        return self._core.folders.user(self._user(request))

    def _path(self, request: web.Request, name: str) -> Path | None:
        """Return a path in the user's folder, None when it leads out of it."""
        root = self._root(request)
        path = Path(os.path.abspath(root / unquote(name)))
        return path if path.is_relative_to(root) else None


def _is_set(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"


def _may_overwrite(request: web.Request) -> bool:
    return request.query.get("overwrite", "true") != "false"


def _file_info(path: Path, root: Path) -> dict[str, Any]:
    """Return the details of a file, times in milliseconds."""
    state = path.stat()
    return {
        "path": path.relative_to(root).as_posix(),
        "size": state.st_size,
        "modified": int(state.st_mtime * 1000),
        "created": int(state.st_ctime * 1000),
    }
