"""Who may ask: the name that the site is called by, the page that a request comes from, safe headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import RefusedError

__all__ = ["CONTENT_POLICY", "Guard"]

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN: Final = frozenset({"same-origin", "none"})
_METHODS: Final = "GET, POST, DELETE"
_HEADERS: Final = "Content-Type, Last-Event-ID"
_PREFLIGHT_SECONDS: Final = "600"

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the site's pages may load: its own files, and previews, which come as data. No inline script."""


class Guard:
    """Stands before the routes; pure ASGI, so that streams pass untouched.

    A browser sends a form, or JSON without a preflight, to any address that a foreign page names,
    also to one on this very machine. So what changes something is done only for pages of the own
    site, and for those that were allowed. Programs, which send neither `Sec-Fetch-Site` nor `Origin`,
    may come from anywhere.

    A foreign page can also make its own name resolve to 127.0.0.1, and then is of the "same site". So on
    loopback only names that cannot be another's are answered, and those that were allowed.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str] | None, origins: Iterable[str]) -> None:
        """Guard an app.

        Raises:
            ValueError: An origin is no origin: scheme, host and port, nothing else.
        """
        self._app = app
        self._hosts = None if hosts is None else frozenset(_hostname(host) for host in hosts)
        self._origins = frozenset(map(_origin, origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        allowed = origin if origin in self._origins else None
        body = _Body(scope, headers, receive)
        receive = body.receive
        send = _with_headers(send, allowed, varies=bool(self._origins), body=body)
        refusal = self._refusal(scope, headers, allowed)
        if refusal is not None:
            await refusal.response()(scope, receive, send)
        elif scope["method"] == "OPTIONS" and allowed and "access-control-request-method" in headers:
            await _preflight()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers, allowed: str | None) -> RefusedError | None:
        """Return why a request is refused, None when it may pass."""
        if not self._is_our_name(scope, headers.get("host", "")):
            return RefusedError(
                421,
                "unknown_host",
                "this site does not answer to that name",
                hint="Whoever runs it gives `routes(hosts=[...])`, or `comfy-async serve --name`, the names.",
            )
        if scope["method"] in _SAFE_METHODS or allowed or _is_own_page(headers):
            return None
        return RefusedError(
            403,
            "foreign_origin",
            "a page of another site may not do this",
            hint="Whoever runs it gives `routes(origins=[...])` the sites that may.",
        )

    def _is_our_name(self, scope: Scope, host: str) -> bool:
        """Return whether a request with this `Host` can have been meant for this site."""
        name = _hostname(host)
        if self._hosts is not None and (name in self._hosts or "*" in self._hosts):
            return True
        if _is_plain(name):
            return True
        server: Sequence[object] = scope.get("server") or ("",)
        return self._hosts is None and not _is_loopback(str(server[0]))


def _is_own_page(headers: Headers) -> bool:
    """Say whether what changes something comes from a page of the own site, or from no page at all."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN
    origin = headers.get("origin")
    # Not the scheme: behind a proxy that ends TLS we see http where the browser saw https.
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""


def _is_plain(name: str) -> bool:
    """Return whether no foreign name server can decide what this name resolves to."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    """Say whether a request came in on this machine's own address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _hostname(host: str) -> str:
    """Return the name in a `Host` header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _origin(text: str) -> str:
    """Return an origin as browsers write it.

    Raises:
        ValueError: It is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ValueError(f"an origin is like https://apps.example.com, not {text!r}")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _preflight() -> Response:
    """Return what a browser wants to know before it sends for a page of an allowed site."""
    headers = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _HEADERS,
        "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
    }
    return Response(status_code=204, headers=headers)


class _Body:
    """Watches how much of a request's body has come."""

    def __init__(self, scope: Scope, headers: Headers, receive: Receive) -> None:
        """Begin before the first part."""
        self._receive = receive
        sent = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._open = sent and scope.get("http_version", "1.1").startswith("1")

    @property
    def is_left(self) -> bool:
        """True when an answer now comes before the end of the body: the rest of it will not be read."""
        return self._open

    async def receive(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._open = False
        return message


def _with_headers(send: Send, allowed: str | None, *, varies: bool, body: _Body) -> Send:
    """Return a `send` that adds what every answer of ours has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            # The pictures of a page come without an `Origin`.
            headers["Cross-Origin-Resource-Policy"] = "cross-origin" if varies else "same-origin"
            headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
            if allowed:
                headers["Access-Control-Allow-Origin"] = allowed
                headers["Access-Control-Expose-Headers"] = "Location, Retry-After, Content-Disposition"
            if body.is_left:
                # Or the server would go on taking it in, for as long as it pleases the caller.
                headers["Connection"] = "close"
            if varies:
                headers.add_vary_header("Origin")
        await send(message)

    return sending
