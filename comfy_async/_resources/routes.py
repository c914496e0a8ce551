"""Every route of ComfyUI that this library calls: the table that tests and docs share."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

__all__ = ["ROUTES", "Route", "route_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        method: The HTTP method.
        path: Without `/api`, except where only that form exists.
        verb: The methods of this library that call it.
        since: The first release of ComfyUI that has it; "" when it is older than all that report
            their version.
        cloud: "yes" when Comfy Cloud serves it too, "only" when no other server does, else "no".
    """

    method: str
    path: str
    verb: str
    since: str = ""
    cloud: str = "no"

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request, its prefix and query left out, is one for this route."""
        if method != self.method:
            return False
        pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(self.path))
        return re.fullmatch(pattern, path) is not None


ROUTES: Final = (
    # Runs.
    Route("GET", "/ws", "submit, events", cloud="yes"),
    Route("GET", "/prompt", "queue.remaining", cloud="yes"),
    Route("POST", "/prompt", "submit", cloud="yes"),
    Route("GET", "/queue", "queue.snapshot", cloud="yes"),
    Route("POST", "/queue", "queue.delete, queue.clear", cloud="yes"),
    Route("POST", "/interrupt", "queue.interrupt", cloud="yes"),
    Route("GET", "/history", "history.page"),
    Route("GET", "/history/{prompt_id}", "history.get"),
    Route("POST", "/history", "history.delete, history.clear", cloud="yes"),
    Route("GET", "/history_v2", "history.page", cloud="only"),
    Route("GET", "/history_v2/{prompt_id}", "history.get", cloud="only"),
    Route("GET", "/api/jobs", "jobs.page", "0.6.0", "yes"),
    Route("GET", "/api/jobs/{prompt_id}", "jobs.get", "0.6.0", "yes"),
    Route("POST", "/api/jobs/{prompt_id}/cancel", "jobs.cancel, job.cancel", "0.26.0", "yes"),
    Route("POST", "/api/jobs/cancel", "jobs.cancel", "0.26.0", "yes"),
    # Files.
    Route("GET", "/view", "files.read, files.open, files.save", cloud="yes"),
    Route("POST", "/upload/image", "files.upload", cloud="yes"),
    Route("POST", "/upload/mask", "files.upload_mask", cloud="yes"),
    # Nodes and models.
    Route("GET", "/object_info", "nodes.catalog", cloud="yes"),
    Route("GET", "/object_info/{class_type}", "nodes.info"),
    Route("GET", "/node_replacements", "nodes.replacements", "0.14.0", "yes"),
    Route("GET", "/global_subgraphs", "nodes.blueprints", "0.3.67", "yes"),
    Route("GET", "/global_subgraphs/{id}", "nodes.blueprint", "0.3.67", "yes"),
    Route("GET", "/models", "models.folders", "0.2.3"),
    Route("GET", "/models/{folder}", "models.list", "0.1.0"),
    Route("GET", "/embeddings", "models.embeddings"),
    Route("GET", "/view_metadata/{folder}", "models.metadata", cloud="yes"),
    Route("GET", "/experiment/models", "models.places", "0.3.8", "yes"),
    Route("GET", "/experiment/models/{folder}", "models.details", "0.3.8", "yes"),
    Route("GET", "/experiment/models/preview/{folder}/{index}/{name}", "models.preview", "0.3.8"),
    # The machine.
    Route("GET", "/system_stats", "connect, system.stats", cloud="yes"),
    Route("GET", "/user", "connect", cloud="only"),
    Route("GET", "/features", "system.features, files.upload", "0.3.45", "yes"),
    Route("POST", "/free", "system.free"),
    Route("GET", "/extensions", "system.extensions", cloud="yes"),
    Route("GET", "/i18n", "system.translations", "0.3.13", "yes"),
    Route("GET", "/workflow_templates", "system.workflow_templates", "0.3.11", "yes"),
    Route("GET", "/internal/logs", "system.log_text", "0.1.0"),
    Route("GET", "/internal/logs/raw", "system.logs", "0.3.0"),
    Route("PATCH", "/internal/logs/subscribe", "system.subscribe_logs, system.follow_logs", "0.3.0"),
    Route("GET", "/internal/folder_paths", "system.folders"),
    Route("GET", "/internal/files/{type}", "system.files", "0.3.15"),
    # Users.
    Route("GET", "/users", "userdata.users"),
    Route("POST", "/users", "userdata.add_user"),
    Route("GET", "/userdata", "userdata.list", cloud="yes"),
    Route("GET", "/v2/userdata", "userdata.tree", "0.3.31"),
    Route("GET", "/userdata/{file}", "userdata.get", cloud="yes"),
    Route("POST", "/userdata/{file}", "userdata.put", cloud="yes"),
    Route("DELETE", "/userdata/{file}", "userdata.delete", cloud="yes"),
    Route("POST", "/userdata/{file}/move/{target}", "userdata.move", cloud="yes"),
    Route("GET", "/settings", "settings_store.all", cloud="yes"),
    Route("POST", "/settings", "settings_store.update", cloud="yes"),
    Route("GET", "/settings/{name}", "settings_store.get", cloud="yes"),
    Route("POST", "/settings/{name}", "settings_store.set", cloud="yes"),
    # Assets, switched on by --enable-assets from 0.16.4 on.
    Route("GET", "/api/assets", "assets.page", "0.9.0", "yes"),
    Route("POST", "/api/assets", "assets.upload", "0.12.0", "yes"),
    Route("POST", "/api/assets/from-hash", "assets.from_hash", "0.12.0", "yes"),
    Route("HEAD", "/api/assets/hash/{hash}", "assets.has", "0.12.0", "yes"),
    Route("GET", "/api/assets/{id}", "assets.get", "0.9.0", "yes"),
    Route("PUT", "/api/assets/{id}", "assets.update", "0.12.0", "yes"),
    Route("DELETE", "/api/assets/{id}", "assets.delete", "0.12.0", "yes"),
    Route("GET", "/api/assets/{id}/content", "assets.save", "0.12.0", "yes"),
    Route("POST", "/api/assets/{id}/tags", "assets.add_tags", "0.12.0", "yes"),
    Route("DELETE", "/api/assets/{id}/tags", "assets.remove_tags", "0.12.0", "yes"),
    Route("GET", "/api/assets/tags/refine", "assets.tag_counts", "0.18.0", "yes"),
    Route("GET", "/api/tags", "assets.tags", "0.9.0", "yes"),
    Route("POST", "/api/assets/seed", "assets.scan", "0.12.0", "yes"),
    Route("GET", "/api/assets/seed/status", "assets.scan_status", "0.17.0", "yes"),
    Route("POST", "/api/assets/seed/cancel", "assets.cancel_scan", "0.17.0", "yes"),
    Route("POST", "/api/assets/prune", "assets.prune", "0.17.0", "yes"),
)
"""The table; a fixed path stands for itself before one with a part in braces."""


def route_of(method: str, path: str) -> Route | None:
    """Return the route of a request, its prefix and query left out; None for one of no table."""
    found = [route for route in ROUTES if route.matches(method, path)]
    return min(found, key=lambda route: route.path.count("{"), default=None)
