"""What requests are made with, and what opens a socket to the same server."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import ssl
from collections.abc import Awaitable, Callable

import httpx

from .._base.secrets import Secret, Veil
from .proxy import Proxy

__all__ = ["Handshake", "HttpOptions", "known_authorities", "trust"]


@dataclasses.dataclass(frozen=True, slots=True)
class HttpOptions:
    """How requests are made; durations in seconds, sizes in bytes."""

    request_seconds: float = 30.0
    connect_seconds: float = 10.0
    max_body: int = 1 << 30
    max_connections: int = 32
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclasses.dataclass(frozen=True, slots=True)
class Handshake:
    """What opens a WebSocket with the same server, credentials, cookies, trust and proxy.

    Attributes:
        url: With the query, which may hold a token.
        headers: With credentials and cookies.
        server: The address without credentials, for errors.
        veil: Knows all secrets.
    """

    url: Secret[str]
    headers: Secret[dict[str, str]]
    server: str
    ssl_context: ssl.SSLContext | bool
    proxy: Proxy | None
    veil: Veil


def trust(verify: bool | str | ssl.SSLContext) -> ssl.SSLContext | bool:
    """Return what httpx and websockets both take: one context for both.

    Raises:
        OSError: The CA file cannot be read, or holds no certificates; it is named.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, str):
        # Python names no file in these errors.
        try:
            return ssl.create_default_context(cafile=verify)
        except ssl.SSLError as error:
            raise OSError(f"verify={verify!r} is no file of certificates in PEM: {error.reason}") from None
        except OSError as error:
            raise type(error)(error.errno, f"verify={verify!r}: {error.strerror}", verify) from None
    return verify


@functools.cache
def known_authorities() -> ssl.SSLContext:
    """Return the certificates that httpx brings, one context for all sessions: they take long to read."""
    return httpx.create_ssl_context(trust_env=False)
