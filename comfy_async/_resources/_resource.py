"""What all resources share: requests to the session's server, and reading the answer into a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from .._dialects.server import ServerInfo
from .._transport.answers import Answer
from ..errors import ComfyError, NotComfyUIError, ResponseError
from .host import Host
from .routes import route_of

__all__ = ["Record", "Resource"]

_T = TypeVar("_T")


class Record(BaseModel):
    """An answer of the server: frozen, and open for fields that later versions add."""

    model_config = ConfigDict(
        extra="allow", frozen=True, populate_by_name=True, protected_namespaces=(), coerce_numbers_to_str=True
    )


class Resource:
    """A part of the server."""

    def __init__(self, host: Host) -> None:
        """Use the session's HTTP client."""
        self._host = host

    @property
    def _server(self) -> ServerInfo:
        """What the server can do."""
        return self._host.server

    async def _get(self, path: str, **options: Any) -> Any:
        """GET a route and return its decoded body; retried after a transient failure."""
        await self._ready("GET", path)
        try:
            return await self._host.http.get_json(path, retry=True, **options)
        except ResponseError as error:
            raise self._explained("GET", path, error) from error

    async def _send(self, method: str, path: str, **options: Any) -> Answer:
        """Send a request and return the answer; retried after a transient failure if `retry`."""
        await self._ready(method, path)
        try:
            return await self._host.http.request(method, path, **options)
        except ResponseError as error:
            raise self._explained(method, path, error) from error

    async def _ready(self, method: str, path: str) -> None:
        """Make sure that the server answers, and that its dialect has such routes at all.

        Raises:
            UnsupportedError: It has none.
        """
        server = await self._host.known_server()
        route = None if self._host.api.has_routes else route_of(method, path)
        if route is not None:
            what = f"serve {route.verb.rpartition(', ')[2]}"
            hint = "It runs jobs and keeps files; it has none of ComfyUI's other routes."
            raise server.unsupported(what, hint=hint, server=self._host.base_url)

    def _explained(self, method: str, path: str, error: ResponseError) -> ComfyError:
        """Return an answer's error; for a route that the server is too old for, one that names the version.

        A path that matches no route is answered 404, or 405 where another method has one like it.
        """
        route = route_of(method, path) if error.status in (404, 405) else None
        if route is None or not self._server.is_older_than(route.since):
            return error
        what = f"serve {method} {route.path} ({route.verb})"
        return self._server.unsupported(what, needs=route.since, server=self._host.base_url)

    def _read(self, kind: type[_T] | TypeAdapter[_T], body: object, what: str) -> _T:
        """Read a decoded body into a model.

        Raises:
            NotComfyUIError: It has another shape.
        """
        adapter: TypeAdapter[_T] = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        try:
            return adapter.validate_python(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise NotComfyUIError(
                f"{what} at {self._host.base_url} has another shape: {place}: {first['msg']}",
                server=self._host.base_url,
            ) from None


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return an object as it is, and nothing for what is none."""
    return value if isinstance(value, Mapping) else {}
