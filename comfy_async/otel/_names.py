"""The names of spans and metrics, after OpenTelemetry's semantic conventions where these have one.

`server.*`, `error.type`, `http.*`, `url.template` and `network.io.direction` are the conventions' own; so
are `gen_ai.operation.name` and `gen_ai.provider.name`, which are still under development there. What they
have no name for stands under `comfyui.`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.util.types import AttributeValue

from .._resources.routes import route_of

__all__ = [
    "CACHED",
    "CONTENT",
    "DIRECTION",
    "ERROR_TYPE",
    "FILE_SIZE",
    "INDEX",
    "JOB",
    "LABEL",
    "METHOD",
    "NODE_CLASS",
    "NODE_ID",
    "NODE_TITLE",
    "OTHER",
    "PROMPT_ID",
    "REMOTE_ERROR",
    "ROUTE",
    "STATUS",
    "STATUS_CODE",
    "TRACE",
    "Attributes",
    "method_of",
    "server_of",
    "template_of",
]

Attributes = Mapping[str, AttributeValue]

TRACE: Final = "comfy_async_trace"
"""Under which key of `extra_data` the W3C trace context travels with a prompt."""

JOB: Final[Attributes] = {"gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "comfyui"}
"""The attributes of every span of a job."""

PROMPT_ID: Final = "comfyui.prompt.id"
STATUS: Final = "comfyui.job.status"
INDEX: Final = "comfyui.job.index"
CACHED: Final = "comfyui.job.cached_nodes"
CONTENT: Final = "comfyui.job.workflow"
LABEL: Final = "comfyui.job.label."
NODE_ID: Final = "comfyui.node.id"
NODE_CLASS: Final = "comfyui.node.class"
NODE_TITLE: Final = "comfyui.node.title"
REMOTE_ERROR: Final = "comfyui.error.type"
FILE_SIZE: Final = "comfyui.file.size"
ERROR_TYPE: Final = "error.type"
DIRECTION: Final = "network.io.direction"
METHOD: Final = "http.request.method"
STATUS_CODE: Final = "http.response.status_code"
ROUTE: Final = "url.template"

OTHER: Final = "_OTHER"
"""What OpenTelemetry calls a value that is none of those that are known."""

_METHODS: Final = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
_API_V2: Final = re.compile(r"/api/v2/(jobs|assets(?:/from-hash)?)(?:(/[^/]+)(/cancel|/events|/workflow)?)?")
_ID: Final = re.compile(r"/[0-9a-fA-F-]{16,}(?=/|$)")


@functools.lru_cache(maxsize=1024)
def server_of(url: str) -> Attributes:
    """Return what the conventions say of a server, by its base URL."""
    parts = urlsplit(url)
    if not parts.hostname:
        # A fleet's worker with a ComfyUI of its own: `ray:...`.
        return {"server.address": url} if url else {}
    default = 443 if parts.scheme == "https" else 80
    return {"server.address": parts.hostname, "server.port": parts.port or default}


def template_of(method: str, path: str) -> str:
    """Return the route of a request without what is special to it: `/history/{prompt_id}`.

    Whatever stands in no table is `_OTHER`: of paths that a program makes up there is no end.
    """
    return _template_of("GET" if method == "HEAD" else method, _ID.sub("/0", path))


def method_of(method: str) -> str:
    """Return a request's method, `_OTHER` for one that is none of HTTP's."""
    return method if method in _METHODS else OTHER


@functools.lru_cache(maxsize=1024)
def _template_of(method: str, path: str) -> str:
    """Look it up in the table of routes, and among those of API v2."""
    for known in (path, f"/api{path}", path.removeprefix("/api")):
        route = route_of(method, known)
        if route is not None:
            return route.path
    found = _API_V2.fullmatch(path)
    if found is None:
        return OTHER
    return f"/api/v2/{found[1]}{'/{id}' if found[2] else ''}{found[3] or ''}"
