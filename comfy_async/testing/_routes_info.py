"""The routes about the server: nodes, models, features, logs."""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import Any

from aiohttp import web

from ._core import Core

__all__ = ["InfoRoutes"]

_GIB = 1 << 30
_PAGE = "<!DOCTYPE html><html><head><title>ComfyUI</title></head><body>FakeComfy</body></html>"


class InfoRoutes:
    """What can be read about the server."""

    def __init__(self, core: Core) -> None:
        """Serve from these parts."""
        self._core = core

    def table(self) -> list[web.RouteDef]:
        """Return the routes without a prefix."""
        routes = [
            web.get("/", self._page),
            web.get("/system_stats", self._system_stats),
            web.get("/object_info", self._object_info),
            web.get("/object_info/{node_class}", self._object_info_of),
            web.get("/models/{folder}", self._models),
            web.get("/embeddings", self._embeddings),
            web.get("/extensions", self._extensions),
            web.get("/view_metadata/{folder}", self._model_metadata),
        ]
        later = {
            "model_folders": [web.get("/models", self._model_folders)],
            "experiment_models": [
                web.get("/experiment/models", self._experimental_folders),
                web.get("/experiment/models/{folder}", self._experimental_models),
            ],
            "workflow_templates": [web.get("/workflow_templates", self._served)],
            "i18n": [web.get("/i18n", self._served)],
            "global_subgraphs": [
                web.get("/global_subgraphs", self._blueprints),
                web.get("/global_subgraphs/{id}", self._blueprint),
            ],
            "feature_flags": [web.get("/features", self._features)],
            "node_replacements": [web.get("/node_replacements", self._served)],
        }
        return routes + self._those(later)

    def internal(self) -> list[web.RouteDef]:
        """Return the routes that are never under /api."""
        routes = [
            web.get("/internal/logs", self._log_text),
            web.get("/internal/folder_paths", self._folder_paths),
        ]
        later = {
            "log_subscription": [
                web.get("/internal/logs/raw", self._log_entries),
                web.patch("/internal/logs/subscribe", self._subscribe),
            ],
            "internal_files": [web.get("/internal/files/{kind}", self._files)],
        }
        return routes + self._those(later)

    def _those(self, later: dict[str, list[web.RouteDef]]) -> list[web.RouteDef]:
        """Return the routes of the features that this version has."""
        has = self._core.capabilities.has
        return [route for feature, routes in later.items() if has(feature) for route in routes]

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def _extensions(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self._core.served["extensions"]))

    async def _served(self, request: web.Request) -> web.Response:
        return web.json_response(self._core.served[request.path.rpartition("/")[2]])

    async def _blueprints(self, _request: web.Request) -> web.Response:
        """List the subgraph blueprints without what is in them."""
        entries = self._core.served["global_subgraphs"].items()
        return web.json_response({key: {**entry, "data": None} for key, entry in entries})

    async def _blueprint(self, request: web.Request) -> web.Response:
        return web.json_response(self._core.served["global_subgraphs"].get(request.match_info["id"]))

    async def _features(self, _request: web.Request) -> web.Response:
        return web.json_response(self._core.features)

    async def _system_stats(self, _request: web.Request) -> web.Response:
        memory = {"total": 24 * _GIB, "free": 20 * _GIB}
        system = {
            "os": sys.platform,
            "ram_total": memory["total"],
            "ram_free": memory["free"],
            "comfyui_version": self._core.capabilities.version,
            **self._packages(),
            "python_version": platform.python_version(),
            "pytorch_version": "2.13.0+cpu",
            "embedded_python": False,
            "deploy_environment": "local-git",
            "argv": ["main.py", "--cpu"],
        }
        device = {
            "name": "cpu",
            "type": "cpu",
            "index": None,
            "vram_total": memory["total"],
            "vram_free": memory["free"],
            "torch_vram_total": memory["total"],
            "torch_vram_free": memory["free"],
        }
        return web.json_response({"system": system, "devices": [device]})

    def _packages(self) -> dict[str, Any]:
        """Return what the server says of the packages that it asks for, more from release to release."""
        has, packages = self._core.capabilities.has, self._core.capabilities.packages
        said: dict[str, Any] = {}
        if has("frontend_version"):
            said["required_frontend_version"] = packages["comfyui-frontend-package"]
        if has("templates_version"):
            templates = packages.get("comfyui-workflow-templates")
            said |= {"installed_templates_version": templates, "required_templates_version": templates}
        if has("package_versions"):
            rows = [{"name": name, "installed": own, "required": own} for name, own in packages.items()]
            said["comfy_package_versions"] = rows
        return said

    async def _object_info(self, _request: web.Request) -> web.Response:
        classes = self._core.classes
        return web.json_response({name: classes.info(name) for name in classes.specs})

    async def _object_info_of(self, request: web.Request) -> web.Response:
        name = request.match_info["node_class"]
        classes = self._core.classes
        return web.json_response({name: classes.info(name)} if name in classes.specs else {})

    async def _model_folders(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self._core.folders.models))

    async def _models(self, request: web.Request) -> web.Response:
        names = self._core.folders.models.get(request.match_info["folder"])
        return web.Response(status=404) if names is None else web.json_response(names)

    async def _embeddings(self, _request: web.Request) -> web.Response:
        names = self._core.folders.models.get("embeddings", [])
        return web.json_response([os.path.splitext(name)[0] for name in names])

    async def _model_metadata(self, request: web.Request) -> web.Response:
        key = (request.match_info["folder"], request.query.get("filename", ""))
        found = self._core.folders.model_metadata.get(key)
        return web.Response(status=404) if found is None else web.json_response(found)

    async def _experimental_folders(self, _request: web.Request) -> web.Response:
        hidden = {"configs", "custom_nodes"}
        folders = [name for name in self._core.folders.models if name not in hidden]
        return web.json_response([{"name": name, "folders": [f"/models/{name}"]} for name in folders])

    async def _experimental_models(self, request: web.Request) -> web.Response:
        names = self._core.folders.models.get(request.match_info["folder"])
        if names is None:
            return web.Response(status=404)
        now = time.time()
        return web.json_response(
            [{"name": name, "pathIndex": 0, "modified": now, "created": now, "size": 0} for name in names]
        )

    async def _log_text(self, _request: web.Request) -> web.Response:
        return web.json_response("".join(f"{line['t']} - {line['m']}" for line in self._core.logs))

    async def _log_entries(self, _request: web.Request) -> web.Response:
        size = {"cols": 80, "rows": 24}
        return web.json_response({"entries": list(self._core.logs), "size": size})

    async def _subscribe(self, request: web.Request) -> web.Response:
        body = await request.json()
        listeners = self._core.log_listeners
        if body["enabled"]:
            listeners.add(body["clientId"])
        else:
            listeners.discard(body["clientId"])
        return web.Response()

    async def _folder_paths(self, _request: web.Request) -> web.Response:
        return web.json_response({name: [f"/models/{name}"] for name in self._core.folders.models})

    async def _files(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        folder = self._core.folders.of_type(kind)
        if folder is None:
            return web.json_response({"error": "Invalid directory type"}, status=400)
        entries = [
            entry for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")
        ]
        entries.sort(key=lambda entry: -entry.stat().st_mtime)
        return web.json_response([f"{entry.name} [{kind}]" for entry in entries])
