"""Any route of the server, a custom node's too: what `comfy.request` and `comfy.request_stream` do."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from .._transport.answers import Answer
from .._transport.auth import Auth
from .._transport.http import Stream
from ._resource import Resource

__all__ = ["RequestAnswer", "RequestStream", "Requests"]

# Safe to send twice (RFC 9110, 9.2.2).
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_METHOD: Final = re.compile(r"[A-Z]+")
# What ComfyUI serves below these is not served once more under /api.
_OUTSIDE: Final = ("/api/", "/internal/", "/extensions/")
_UNREADABLE: Final = re.compile(r"[\x00-\x20\x7f#\\]")


@dataclasses.dataclass(frozen=True, slots=True)
class RequestAnswer:
    """What a route answered.

    Attributes:
        status: The HTTP status; 400 and above only where `expect` has it.
        headers: By lower-case name.
        content: The body, unpacked.

    Example:
        >>> answer = await comfy.request("GET", "/system_stats")
        >>> answer.status, sorted(answer.json())
        (200, ['devices', 'system'])
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(repr=False)
    content: bytes = dataclasses.field(repr=False)
    _told: Answer = dataclasses.field(repr=False, compare=False)

    @property
    def content_type(self) -> str:
        """The MIME type without its parameters, "" when there is none."""
        return self._told.content_type

    @property
    def text(self) -> str:
        """The body as text: UTF-8, with replacement characters for what is not."""
        return self._told.text

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            NotComfyUIError: It is no JSON.
        """
        return self._told.json()


class RequestStream:
    """A route's answer whose body is read piece by piece, however large it is.

    Attributes:
        status: The HTTP status; 400 and above only where `expect` has it.
        headers: By lower-case name.

    Example:
        >>> async with comfy.request_stream("GET", "/object_info") as answer:
        ...     size = sum([len(chunk) async for chunk in answer])
        >>> size > 1000
        True
    """

    def __init__(self, stream: Stream) -> None:
        """Read the body of an open answer."""
        self._stream = stream
        self.status = stream.answer.status
        self.headers = stream.answer.headers

    @property
    def content_type(self) -> str:
        """The MIME type without its parameters, "" when there is none."""
        return self._stream.answer.content_type

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, unpacked, in pieces of at most some 100 kB; once."""
        return self._stream.chunks()


class Requests(Resource):
    """Requests to routes that have no method of their own."""

    async def send(
        self, method: str, path: str, *, max_body: int | None = None, **options: Any
    ) -> RequestAnswer:
        """Send a request and read the whole answer; see `ComfySession.request`.

        Raises:
            ValueError: The request cannot be sent so.
            ComfyError: As `ComfySession.request`.
        """
        method, path, chosen = self._chosen(method, path, **options)
        again = method in _IDEMPOTENT and not isinstance(chosen.get("content"), AsyncIterable)
        answer = await self._send(method, path, retry=again, max_body=max_body, **chosen)
        return RequestAnswer(answer.status, answer.headers, answer.body, answer)

    def open(self, method: str, path: str, **options: Any) -> AbstractAsyncContextManager[RequestStream]:
        """Return `async with` an answer whose body is still to come; see `ComfySession.request_stream`.

        Raises:
            ValueError: The request cannot be sent so.
        """
        method, path, chosen = self._chosen(method, path, **options)
        return self._opened(method, path, chosen)

    @contextlib.asynccontextmanager
    async def _opened(self, method: str, path: str, options: dict[str, Any]) -> AsyncIterator[RequestStream]:
        """Open an answer."""
        self._host.check_loop()
        await self._host.known_server()
        async with self._host.http.stream(path, method=method, **options) as stream:
            yield RequestStream(stream)

    def _chosen(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        content: bytes | str | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
        **rest: Any,
    ) -> tuple[str, str, dict[str, Any]]:
        """Return method, route and options as the HTTP client takes them.

        Raises:
            ValueError: The method, the path or a header cannot be sent, or there are two bodies.
        """
        method = method.upper()
        if not _METHOD.fullmatch(method):
            raise ValueError(f"that is no HTTP method: {method!r}")
        if json is not None and content is not None:
            raise ValueError("a request has one body: json or content")
        route, query = self._route(path)
        options: dict[str, Any] = {
            "json": json,
            "params": {**query, **(params or {})},
            "content": content.encode() if isinstance(content, str) else content,
            # It says which header cannot be sent without repeating its value.
            "headers": Auth(headers).headers if headers else None,
            "expect": expect,
            "root": route.startswith(_OUTSIDE),
            **rest,
        }
        return method, route, options

    def _route(self, path: str) -> tuple[str, dict[str, list[str]]]:
        """Return a path below the session's base URL and its query, which so stays out of errors and logs.

        Raises:
            ValueError: It leads to another server, or cannot be sent.
        """
        base = self._host.base_url
        if path.startswith((f"{base}/", f"{base}?")):
            path = path.removeprefix(base)
        parts = path.partition("?")
        route, query = parts[0], parse_qs(parts[2], keep_blank_values=True)
        if not route.startswith("/") or route.startswith("//"):
            where = urlsplit(route).netloc.rpartition("@")[2]
            other = f"another server, {where}" if where else "no path"
            raise ValueError(f"a request goes to {base}, by a path such as '/queue'; this is {other}")
        if _UNREADABLE.search(route) or not route.isascii() or ".." in route.split("/"):
            raise ValueError(f"percent-encode what stands in a path, and write it without '..': {route!r}")
        return route, query
