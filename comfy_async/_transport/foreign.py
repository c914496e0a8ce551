"""Where httpx and websockets end: their errors turned into the library's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Final

import httpx

from .._base.secrets import Veil, chain_of
from ..errors import ComfyError, ConnectError, NotComfyUIError, RequestTimeoutError, TransportError
from .address import Address
from .proxy import Proxy

__all__ = ["SocketClosedError", "connect_error", "forget_locals", "translated"]

# Their frames hold headers and URLs as they are sent, and stay in the traceback of an error.
_ROOMS: Final = ("httpx", "httpcore", "h11", "websockets", "anyio", "asyncio", "ssl", __package__)

# What OpenSSL makes of an answer in plain HTTP.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class SocketClosedError(Exception):
    """The WebSocket is closed; `str()` says why in a few words. Never leaves the library."""


@contextlib.contextmanager
def translated(
    method: str,
    path: str,
    server: str,
    *,
    seconds: float | None = None,
    veil: Veil | None = None,
    proxy: Proxy | None = None,
) -> Iterator[None]:
    """Turn what httpx raises into the library's errors; neither a secret nor a query gets into them."""
    what = f"{method} {path}"
    try:
        yield
    except BaseException as error:
        forget_locals(error)
        if isinstance(error, ComfyError):
            raise
        if veil is not None and isinstance(error, httpx.HTTPError | httpx.InvalidURL | httpx.StreamError):
            veil.error(error)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            raise connect_error(server, error, proxy=proxy) from error
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            limit = f" within {seconds:g} s" if seconds and math.isfinite(seconds) else " in time"
            raise RequestTimeoutError(
                f"{what} at {server} was not answered{limit}",
                hint="The server may be busy: raise `Settings.request_seconds`, or try again.",
                server=server,
            ) from error
        if isinstance(error, httpx.TransportError | httpx.StreamError | httpx.DecodingError):
            name = type(error).__name__
            raise TransportError(
                f"{what} at {server}: the connection broke ({name})", server=server
            ) from error
        if isinstance(error, httpx.InvalidURL | httpx.TooManyRedirects):
            raise NotComfyUIError(f"{what} at {server} leads nowhere", server=server) from error
        raise


def forget_locals(error: BaseException) -> None:
    """Empty the frames of the network's code in the tracebacks of an error.

    They have ended, and their local variables are requests with keys in them: some tools show the
    locals of every frame, rich and error trackers among them. The lines of the traceback stay.
    """
    for one in chain_of(error):
        place = one.__traceback__
        while place is not None:
            if place.tb_frame.f_globals.get("__name__", "").startswith(_ROOMS):
                # A frame that still runs cannot be emptied: it is the one that handles this error.
                with contextlib.suppress(RuntimeError):
                    place.tb_frame.clear()
            place = place.tb_next


def connect_error(server: str, error: Exception, *, proxy: Proxy | None = None) -> ConnectError:
    """Return the error for an address where no server answers, and how to start one there."""
    reason = str(error) or type(error).__name__
    address = Address.parse(server)
    about_tls = "CERTIFICATE" in reason.upper() or "SSL" in reason.upper()
    if proxy is not None and not about_tls:
        return _proxy_error(server, reason, proxy)
    if about_tls and any(sign in reason.upper() for sign in _NO_TLS):
        hint = f"This port speaks http and no TLS: try http{server.removeprefix('https')}."
    elif about_tls:
        hint = "For a private CA pass `verify=` a CA file or an SSLContext."
    elif address.is_loopback:
        port = address.origin[2]
        hint = (
            f"Start ComfyUI (`python main.py --port {port}`), or a stand-in for tests "
            f"(`comfy-async fake-server --port {port}`), or pass the URL where it runs."
        )
    else:
        hint = "Check the address and whether ComfyUI listens there (`--listen`)."
    made = ConnectError(f"no server answers at {server}: {reason}", hint=hint, server=server)
    # The same again would be answered alike; an unknown name may be known again in a moment.
    made.retryable = not about_tls
    return made


def _proxy_error(server: str, reason: str, proxy: Proxy) -> ConnectError:
    """Return the error for a server that was not reached by way of a proxy."""
    hint = "Check that the proxy is running, and lets this address through."
    if not proxy.source.startswith("`"):
        hint += " `ComfySession(trust_env=False)` does not use it."
    return ConnectError(
        f"no server answers at {server} by way of the proxy {proxy}: {reason}", hint=hint, server=server
    )
