"""Any route of a server, by its path: for what a session has no method."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._resources.requests import RequestAnswer, Requests, RequestStream

__all__ = ["Requesting"]


class Requesting(abc.ABC):
    """`request` and `request_stream` of a session."""

    @property
    @abc.abstractmethod
    def _requests(self) -> Requests:
        """The requests that they send."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        content: bytes | str | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
        seconds: float | None = None,
        max_body: int | None = None,
    ) -> RequestAnswer:
        """Send a request to any route of the server, a custom node's too, with the session's credentials.

        It is sent below `/api` where the server has that, and as it stands when it begins with `/api/`,
        `/internal/` or `/extensions/`. What may be sent twice (GET, HEAD, OPTIONS, PUT, DELETE) is retried
        after a transient failure, unless its body can be read only once.

        Args:
            method: GET, POST and so on.
            path: The route, `/mypack/status`, with a query or without; or its URL below `base_url`. Another
                server's is refused: the credentials go to this one alone.
            json: A body to encode as JSON.
            params: The query; for a name that is in the path too, this value is sent.
            content: A body as bytes or text, or as something that yields it.
            headers: Further headers.
            expect: Statuses of 400 and above that are returned, not raised.
            seconds: How long it may take, None for `Settings.request_seconds`.
            max_body: How many bytes the answer may have, None for `Settings.max_body`.

        Raises:
            ValueError: The path leads elsewhere or cannot be sent, or there are two bodies.
            ResponseError: The server refuses, by kind.
            TransportError: The server cannot be reached, or the answer is larger than that.
            NotComfyUIError: It redirects to another server.
            ComfyError: The request failed otherwise.

        Example:
            >>> answer = await comfy.request("GET", "/queue", params={"page": 1})
            >>> answer.json()["queue_pending"]
            []
        """
        return await self._requests.send(
            method,
            path,
            json=json,
            params=params,
            content=content,
            headers=headers,
            expect=expect,
            seconds=seconds,
            max_body=max_body,
        )

    def request_stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        content: bytes | str | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
    ) -> AbstractAsyncContextManager[RequestStream]:
        """Return `async with` a route's answer whose body is read piece by piece; takes what `request` takes.

        It is requested once. A GET that the server redirects elsewhere (Comfy Cloud's files) is followed
        there without credentials.

        Raises:
            ValueError: As `request`; entering raises the rest.

        Example:
            >>> async with comfy.request_stream("GET", "/object_info") as answer:
            ...     async for chunk in answer:
            ...         print(len(chunk) > 0)
            ...         break
            True
        """
        return self._requests.open(
            method, path, json=json, params=params, content=content, headers=headers, expect=expect
        )
