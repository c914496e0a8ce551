"""Workflows as functions on the web: `pip install 'comfy-async[web]'`.

`routes` makes an ASGI app of a folder of workflows, to mount in FastAPI, Starlette or anything ASGI: a job
by POST, its events as server-sent events, its files, and a page for a person. A request passes the `Guard`
(names, origins, headers) and reaches the `Site` (addresses); that takes the app from the `Shelf`, the values
out of the body (`intake`, `values`), and hands the job to the `Desk`, which knows all of them within
`Limits`. Its events are read once by a `Hub`, and sent to each reader by an `EventResponse`.

Example:
    >>> from comfy_async.web import routes
    >>> site = routes("portrait.json", comfy)
"""

from __future__ import annotations

try:
    import python_multipart as _multipart
    import starlette as _starlette
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "python_multipart"):
        raise
    raise ImportError(
        f"comfy_async.web needs {error.name}: pip install 'comfy-async[web]'", name=error.name
    ) from error

from .limits import Limits
from .routes import routes
from .serving import check_server, serve
from .site import Site

__all__ = ["Limits", "Site", "check_server", "routes", "serve"]

for _class in (Limits, Site):
    # Users know the package by its face, not by its rooms.
    _class.__module__ = __name__
del _class, _multipart, _starlette
