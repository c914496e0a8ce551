"""The web application of a server: which routes there are, and what every request passes:
the records, the faults, the gatekeeper, the origin check.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from ._cloud import CloudRoutes
from ._core import Core
from ._routes_assets import AssetRoutes
from ._routes_files import FileRoutes
from ._routes_info import InfoRoutes
from ._routes_jobs import JobRoutes
from ._routes_run import RunRoutes
from ._routes_user import UserRoutes
from ._sockets import reset_transport
from ._v2_assets import V2Assets
from ._v2_errors import REFUSALS, JobRefusal, V2Problem
from ._v2_jobs import V2Jobs
from ._v2_list import V2List
from ._worker import Worker

__all__ = ["cloud_application", "local_application", "v2_application"]

_ONLY_UNDER_API = ("/api/jobs", "/api/assets", "/api/tags", "/api/v2/jobs", "/api/v2/assets")
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CLOUD_USER_ROUTES = ("/settings", "/userdata", "/users")
_CLOUD_INFO_ROUTES = (
    "/system_stats /features /object_info /extensions /workflow_templates /global_subgraphs "
    "/node_replacements /experiment /view_metadata /i18n"
).split()


def local_application(core: Core, worker: Worker, prefix: str) -> web.Application:
    """Return a local ComfyUI: every route with and without /api, but for some that have only one."""
    info = InfoRoutes(core)
    routes = [
        *RunRoutes(core, worker).table(),
        *FileRoutes(core).table(),
        *UserRoutes(core).table(),
        *info.table(),
    ]
    fixed = [*JobRoutes(core).table(), *info.internal(), *AssetRoutes(core).table(), *_v2(core, prefix)]
    if core.capabilities.has("api_prefix"):
        fixed += _under_api(routes)
    return _application(core, [*fixed, *routes], prefix)


def cloud_application(core: Core, cloud: CloudRoutes, prefix: str) -> web.Application:
    """Return the cloud's v1 dialect: everything under /api but the socket and /health."""
    info = [route for route in InfoRoutes(core).table() if route.path.startswith(tuple(_CLOUD_INFO_ROUTES))]
    user = [route for route in UserRoutes(core).table() if route.path.startswith(_CLOUD_USER_ROUTES)]
    routes = [web.get("/ws", core.hub.serve), *cloud.fixed()]
    return _application(core, [*routes, *_under_api([*cloud.table(), *info, *user])], prefix)


def v2_application(core: Core, prefix: str) -> web.Application:
    """Return a server that has API v2 and nothing else."""
    return _application(core, _v2(core, prefix), prefix)


def _v2(core: Core, prefix: str) -> list[web.RouteDef]:
    """Return the routes of API v2, none where it is not served."""
    if core.v2 is None:
        return []
    jobs = V2Jobs(core, core.v2, prefix=prefix)
    assets = V2Assets(core, core.v2, prefix=prefix)
    routes = [*jobs.table(), *V2List(jobs, core.v2).table(), *assets.table()]
    return [*routes, web.get("/api/v2/health", _health)] if core.v2.manners.style == "proxy" else routes


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})


def _under_api(routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
    return [web.route(route.method, "/api" + route.path, route.handler) for route in routes]


def _application(core: Core, routes: Iterable[web.RouteDef], prefix: str) -> web.Application:
    app = web.Application(client_max_size=core.max_upload, middlewares=_middlewares(core, prefix))
    # Each method's own registration, as ComfyUI's: a GET may be asked for as HEAD then.
    app.add_routes([web.RouteDef(route.method, prefix + route.path, route.handler, {}) for route in routes])
    app.on_response_prepare.append(_numbered(core, prefix))
    return app


def _numbered(core: Core, prefix: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Give every answer of API v2 an id, whatever became of it."""

    async def number(request: web.Request, response: web.StreamResponse) -> None:
        if _is_v2(request, prefix) and core.v2 is not None and core.v2.manners.request_ids:
            response.headers["X-Comfy-Request-Id"] = str(uuid.uuid4())

    return number


def _is_v2(request: web.Request, prefix: str) -> bool:
    """Whether a request is one of API v2; /api/v2/userdata is ComfyUI's own."""
    return request.path.startswith(tuple(f"{prefix}/api/v2/{part}" for part in ("jobs", "assets", "health")))


def _middlewares(core: Core, prefix: str) -> list[Any]:
    """Return the middlewares of a server, the outermost first."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record the request."""
        key = (request.method, _route(request, prefix))
        core.books.requests[key] += 1
        core.books.touch()
        status = 0
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            core.books.log.append((request.method, request.rel_url.path_qs, status))
            core.books.touch()

    @web.middleware
    async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Do to the request what the rules say."""
        life = core.life
        late = []
        paths = (_route(request, prefix), _bare(request.path, prefix))
        for rule in core.rules.meeting(request.method, *paths):
            # Whoever waits for a rule to be met reads its `hits`.
            core.books.touch()
            if rule.after_effect:
                late.append(rule)
                continue
            await rule.wait()
            if rule.failure is not None:
                return await rule.spoil(request)
        if core.life != life:
            # The server that was asked is gone: its successor must not do the work.
            reset_transport(request.transport)
            return web.Response(status=500)
        response = await handler(request)
        for rule in late:
            await rule.wait()
        lost = next((rule for rule in reversed(late) if rule.failure is not None), None)
        return response if lost is None else await lost.spoil(request)

    @web.middleware
    async def check_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what a foreign web page sends, as ComfyUI does on loopback."""
        if request.headers.get("Sec-Fetch-Site") == "cross-site" or _is_foreign(request):
            return web.Response(status=403)
        if request.method == "OPTIONS":
            return web.Response()
        return await handler(request)

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let requests in that the gatekeeper accepts."""
        keeper = core.gatekeeper
        if keeper is not None and not _is_open(request, prefix) and not keeper.admits(request):
            refusal = keeper.refusal()
            return _v2_refusal(refusal.status) if core.v2 is not None and _is_v2(request, prefix) else refusal
        return await handler(request)

    return [count, misbehave, admit, check_origin]


def _is_open(request: web.Request, prefix: str) -> bool:
    """Whether a request needs no key: the proxy's health."""
    return request.path == f"{prefix}/api/v2/health"


def _v2_refusal(status: int) -> web.Response:
    """Return API v2's answer to requests that are not let in."""
    code: JobRefusal = "forbidden" if status == 403 else "unauthorized"
    return V2Problem(status, code, REFUSALS[code][1]).response()


def _route(request: web.Request, prefix: str) -> str:
    """Return the pattern that a request matched, without prefix and /api."""
    resource = request.match_info.route.resource
    return _bare(request.path if resource is None else resource.canonical, prefix)


def _bare(path: str, prefix: str) -> str:
    """Return a path without prefix and /api."""
    path = path.removeprefix(prefix)
    if path.startswith("/api/") and not path.startswith(_ONLY_UNDER_API):
        path = path.removeprefix("/api")
    return path


def _is_foreign(request: web.Request) -> bool:
    """Whether a browser's page of another host asks."""
    origin, host = request.headers.get("Origin"), request.headers.get("Host")
    if not origin or not host:
        return False
    asked, asking = urlsplit(f"//{host.lower()}"), urlsplit(origin.lower())
    if asked.hostname not in ("127.0.0.1", "::1", "localhost") or asking.hostname is None:
        return False
    same_port = None in (asked.port, asking.port) or asked.port == asking.port
    return asked.hostname != asking.hostname or not same_port
