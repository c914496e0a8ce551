"""Sends requests: with cookies and credentials for the session's own origin, along redirects within it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Mapping
from typing import Any, Final

import httpx

from .._base.secrets import Veil
from ..errors import SessionClosedError, TransportError
from .address import Address, origin_of
from .auth import Auth
from .links import is_home
from .quiet import quietly

__all__ = ["Sender"]

# People know its line for each request: it is where they look first.
_requests = logging.getLogger("httpx")

_MAX_REDIRECTS: Final = 5


class Sender:
    """An httpx transport, cookies and credentials.

    `httpx.AsyncClient` builds each request twice and reads the cookies of each answer, which takes a tenth
    of a request's time. It also keeps custom headers on redirects to other hosts, and logs whole URLs. Here
    credentials are added last, to requests to the own origin only, so that no other code sees them.

    Attributes:
        cookies: What the session's own server has set. Those of others are not kept.
        closed: Nothing is sent any more.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, *, address: Address, auth: Auth, headers: Mapping[str, str]
    ) -> None:
        """Send by `transport`: `headers` with every request, and `auth` to the origin of `address`."""
        self.cookies = httpx.Cookies()
        self.closed = False
        self._transport = transport
        self._address = address
        self._auth = auth
        self._headers = _encoded({"Accept": "*/*", **headers})
        self._under_way: set[asyncio.Timeout] = set()

    def request(
        self,
        method: str,
        url: httpx.URL,
        *,
        json: Any = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx.Timeout,
    ) -> httpx.Request:
        """Return a request without credentials, which `send` adds."""
        given = [
            (name.encode("ascii"), value.encode("ascii") if isinstance(value, str) else value)
            for name, value in (headers or {}).items()
        ]
        names = {name.lower() for name, _ in given}
        return httpx.Request(
            method,
            url,
            headers=[*(pair for pair in self._headers if pair[0].lower() not in names), *given],
            json=json,
            content=content,
            extensions={"timeout": timeout.as_dict()},
        )

    async def send(self, request: httpx.Request, *, veil: Veil, abroad: bool = False) -> httpx.Response:
        """Send, following redirects of GET within the own origin, or `abroad` to others too.

        Returns:
            The answer, whose body is still to be read.

        Raises:
            SessionClosedError: The session is closed.
            TransportError: The redirects do not end.
            httpx.HTTPError: As httpx raises it.
        """
        base = self._address.base
        with quietly(veil):
            for _ in range(_MAX_REDIRECTS):
                response = await self._send(request)
                if request.method != "GET" or not response.has_redirect_location:
                    return response
                try:
                    target = request.url.join(response.headers["location"])
                except httpx.InvalidURL as error:
                    await response.aclose()
                    raise httpx.RemoteProtocolError("it redirects to what is no URL") from error
                if not self._may_go_to(target, abroad=abroad):
                    return response
                await response.aclose()
                request = httpx.Request(
                    "GET",
                    target,
                    headers=[pair for pair in request.headers.raw if pair[0].lower() != b"host"],
                    extensions=request.extensions,
                )
        raise TransportError(f"{request.url.path} redirects too often", server=base, retryable=False)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send one request, and keep the cookies that come back."""
        at_home = is_home(self._address, request.url)
        response = await self._answered(self._known(request) if at_home else request)
        if at_home and "set-cookie" in response.headers:
            response.request = request
            self.cookies.extract_cookies(response)
        _requests.info(
            'HTTP Request: %s %s "%s %d %s"',
            request.method,
            request.url,
            response.http_version,
            response.status_code,
            response.reason_phrase,
        )
        return response

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        """Return the beginning of the answer; a request that is under way ends with the session."""
        if not self.closed:
            try:
                async with asyncio.timeout(None) as limit:
                    self._under_way.add(limit)
                    try:
                        return await self._transport.handle_async_request(request)
                    finally:
                        self._under_way.discard(limit)
            except TimeoutError:
                if not self.closed:
                    raise
        base = self._address.base
        raise SessionClosedError(f"the session with {base} was closed", server=base)

    def _known(self, request: httpx.Request) -> httpx.Request:
        """Return a request to the own origin with everything that says who asks."""
        headers, params = self._auth.headers, self._auth.params
        has_cookies = len(self.cookies.jar) > 0
        if not (headers or params or has_cookies):
            return request
        known = httpx.Request(
            request.method,
            request.url.copy_merge_params(params) if params else request.url,
            headers=request.headers.raw,
            stream=request.stream,
            extensions=request.extensions,
        )
        if has_cookies:
            self.cookies.set_cookie_header(known)
        if headers:
            known.headers = httpx.Headers([*known.headers.raw, *_encoded(headers)])
        return known

    def _may_go_to(self, target: httpx.URL, *, abroad: bool) -> bool:
        """True when a redirect is followed: within the own origin, or `abroad` to any possible server."""
        return is_home(self._address, target) or (abroad and origin_of(str(target)) is not None)

    async def aclose(self) -> None:
        """Close the connections."""
        self.closed = True
        # The pool forgets a connection that is only being made, which nobody would close then.
        for limit in self._under_way:
            limit.reschedule(asyncio.get_running_loop().time())
        self._under_way.clear()
        await self._transport.aclose()


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as httpx keeps them."""
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
