"""Where httpx ends: credentials added below it, and its errors turned into the library's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import httpx

from ..errors import ComfyError, ConnectError, NotComfyUIError, RequestTimeoutError, TransportError
from .address import Address, origin_of
from .auth import Auth

__all__ = ["CredentialTransport", "SocketClosedError", "connect_error", "translated"]


class SocketClosedError(Exception):
    """The WebSocket is closed; `str()` says why in a few words. Never leaves the library."""


class CredentialTransport(httpx.AsyncBaseTransport):
    """Adds the credentials below httpx's client: to our own origin only, and past its log.

    httpx logs whole URLs at INFO and keeps custom headers on redirects to other hosts. Here
    neither can happen, since the client itself never sees a credential.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, auth: Auth, origin: tuple[str, str, int]) -> None:
        """Send by `inner`, with `auth` for `origin`."""
        self._inner = inner
        self._auth = auth
        self._origin = origin

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, with the credentials when it goes home."""
        if origin_of(str(request.url)) == self._origin:
            request = httpx.Request(
                request.method,
                request.url.copy_merge_params(self._auth.params) if self._auth.params else request.url,
                headers=[*request.headers.raw, *_encoded(self._auth.headers)],
                stream=request.stream,
                extensions=request.extensions,
            )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as httpx keeps them."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


@contextlib.contextmanager
def translated(method: str, path: str, server: str, seconds: float | None = None) -> Iterator[None]:
    """Turn what httpx raises into the library's errors; no URL with a query gets into them."""
    what = f"{method} {path}"
    try:
        yield
    except ComfyError:
        raise
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise connect_error(server, error) from error
    except (httpx.TimeoutException, TimeoutError) as error:
        limit = f" within {seconds:g} s" if seconds and math.isfinite(seconds) else " in time"
        raise RequestTimeoutError(
            f"{what} at {server} was not answered{limit}",
            hint="The server may be busy: raise `Settings.request_seconds`, or try again.",
            server=server,
        ) from error
    except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
        name = type(error).__name__
        raise TransportError(f"{what} at {server}: the connection broke ({name})", server=server) from error
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise NotComfyUIError(f"{what} at {server} leads nowhere", server=server) from error


def connect_error(server: str, error: Exception) -> ConnectError:
    """Return the error for an address where nobody answers, and how to start a server there."""
    reason = str(error) or type(error).__name__
    address = Address.parse(server)
    if "CERTIFICATE" in reason.upper() or "SSL" in reason.upper():
        hint = "For a private CA pass `verify=` a CA file or an SSLContext."
    elif address.is_loopback:
        port = address.origin[2]
        hint = (
            f"Start ComfyUI (`python main.py --port {port}`), or a stand-in for tests "
            f"(`comfy-async fake-server --port {port}`), or pass the URL where it runs."
        )
    else:
        hint = "Check the address and whether ComfyUI listens there (`--listen`)."
    return ConnectError(f"no server answers at {server}: {reason}", hint=hint, server=server)
