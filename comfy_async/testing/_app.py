"""The web application of a server: which routes there are, and what they all pass."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from ._cloud import CloudRoutes
from ._core import Core
from ._middleware import middlewares
from ._routes_files import FileRoutes
from ._routes_info import InfoRoutes
from ._routes_jobs import JobRoutes
from ._routes_run import RunRoutes
from ._routes_user import UserRoutes
from ._worker import Worker

__all__ = ["cloud_application", "local_application"]

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
    fixed = [*JobRoutes(core).table(), *info.internal(), *info.assets()]
    if core.capabilities.has("api_prefix"):
        fixed += _under_api(routes)
    return _application(core, [*fixed, *routes], prefix)


def cloud_application(core: Core, cloud: CloudRoutes, prefix: str) -> web.Application:
    """Return the cloud's v1 dialect: everything under /api but the socket and /health."""
    info = [route for route in InfoRoutes(core).table() if route.path.startswith(tuple(_CLOUD_INFO_ROUTES))]
    user = [route for route in UserRoutes(core).table() if route.path.startswith(_CLOUD_USER_ROUTES)]
    routes = [web.get("/ws", core.hub.serve), *cloud.fixed()]
    return _application(core, [*routes, *_under_api([*cloud.table(), *info, *user])], prefix)


def _under_api(routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
    return [web.route(route.method, "/api" + route.path, route.handler) for route in routes]


def _application(core: Core, routes: Iterable[web.RouteDef], prefix: str) -> web.Application:
    app = web.Application(client_max_size=core.max_upload, middlewares=middlewares(core, prefix))
    # Each method's own registration, as ComfyUI's: a GET may be asked for as HEAD then.
    app.add_routes([web.RouteDef(route.method, prefix + route.path, route.handler, {}) for route in routes])
    return app
