"""The WebSocket by websockets, and nothing of websockets beyond this module."""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)

from .._base.secrets import Veil
from ..errors import ConnectError, HandshakeError
from .bulk import BulkConnection
from .foreign import SocketClosedError, connect_error, forget_locals
from .http import USER_AGENT
from .options import Handshake

__all__ = ["ProxyHandshakeError", "Socket"]

# ComfyUI answers pings, but a server whose Python holds the GIL while a model loads can miss one
# for a minute (PITFALLS P10). The session's own watch is faster than this and knows more.
_PING_INTERVAL_S: Final = 30.0
_PING_TIMEOUT_S: Final = 180.0
_CLOSE_TIMEOUT_S: Final = 2.0

_CLOSE_REASONS: Final = {
    1000: "the server closed the socket",
    1001: "the server went away",
    1006: "the connection broke",
    1009: "a message was larger than this side takes (1009): raise `Settings.max_frame`",
    1011: "no sign of life (1011)",
    1012: "the server restarts",
}


class ProxyHandshakeError(HandshakeError):
    """The proxy on the way to the server lets no WebSocket through. Internal."""


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Keeps websockets from logging handshakes, which hold keys and tokens, at DEBUG."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """Let only warnings and errors pass."""
        return level >= logging.WARNING and self.logger.isEnabledFor(level)


_LOGGER: Final = _QuietLogger(logging.getLogger("comfy_async.socket"), {})


class _Connect(connect):
    """A connect that follows no redirect: the credentials would travel along."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take every redirect for the refusal that it is."""
        return exc


class Socket:
    """One WebSocket connection: receives bytes, sends text."""

    def __init__(self, connection: BulkConnection, veil: Veil) -> None:
        """Wrap an open connection; the veil hides what the server says when it closes."""
        self._connection = connection
        self._veil = veil
        self._expelling: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, knock: Handshake, *, connect_seconds: float, max_size: int | None) -> Socket:
        """Dial.

        Raises:
            HandshakeError: The server, or the proxy before it, refused the upgrade, or does not support it.
            ConnectError: No server answers.
        """
        server = knock.server
        try:
            connection = await _dial(knock, connect_seconds=connect_seconds, max_size=max_size)
        except BaseException as error:
            forget_locals(error)
            if isinstance(error, InvalidStatus):
                status = error.response.status_code
                raise HandshakeError(
                    f"{server} refused the WebSocket with status {status}", status=status, server=server
                ) from None
            if isinstance(error, TimeoutError):
                way = "" if knock.proxy is None else f" by way of the proxy {knock.proxy}"
                raise ConnectError(
                    f"{server} did not open the WebSocket within {connect_seconds:g} s{way}", server=server
                ) from error
            if isinstance(error, ProxyError):
                raise _proxy_refusal(knock, error) from None
            if isinstance(error, WebSocketException):
                raise HandshakeError(
                    f"{server} did not open the WebSocket: {type(error).__name__}", server=server
                ) from None
            if isinstance(error, OSError):
                raise connect_error(server, error, proxy=knock.proxy) from error
            raise
        return cls(connection, knock.veil)

    async def receive(self) -> list[bytes]:
        """Return the frames that have come, at least one, text and binary alike.

        A binary frame begins with a NUL. Text is not decoded: invalid UTF-8 is no reason to close.

        Raises:
            SocketClosedError: The connection is closed.
        """
        frames = await self._connection.take()
        if not frames:
            raise SocketClosedError(self._veil(_reason(self._connection.protocol.close_exc)))
        return frames

    async def send(self, text: str) -> None:
        """Send a text frame.

        Raises:
            SocketClosedError: The connection is closed.
        """
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise SocketClosedError(self._veil(_reason(error))) from None

    async def close(self) -> None:
        """Close and wait for the end, bounded: a half-open peer never answers."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S * 1.5):
                await self._connection.close()
        except TimeoutError:
            self.abort()

    def expel(self) -> None:
        """Begin to close without waiting: `receive` then ends."""
        self._expelling = asyncio.ensure_future(self.close())

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        self._connection.transport.abort()


async def _dial(knock: Handshake, *, connect_seconds: float, max_size: int | None) -> BulkConnection:
    """Open a connection by websockets."""
    # The reader always drains, so there is no bound: one would stall the server for everybody.
    options: dict[str, Any] = {"create_connection": functools.partial(BulkConnection, largest=max_size)}
    if knock.url.reveal().startswith("wss:"):
        options["ssl"] = _context(knock.ssl_context)
    connection = await _Connect(
        knock.url.reveal(),
        additional_headers=knock.headers.reveal(),
        user_agent_header=USER_AGENT,
        proxy=knock.proxy.url.reveal() if knock.proxy else None,
        # The server would compress every frame on its one publish loop.
        compression=None,
        open_timeout=connect_seconds,
        ping_interval=_PING_INTERVAL_S,
        ping_timeout=_PING_TIMEOUT_S,
        close_timeout=_CLOSE_TIMEOUT_S,
        max_size=max_size,
        logger=_LOGGER,
        **options,
    )
    assert isinstance(connection, BulkConnection)
    return connection


def _proxy_refusal(knock: Handshake, error: ProxyError) -> ProxyHandshakeError:
    """Return the error for a proxy that lets no WebSocket through, with what it said."""
    what = f"the proxy {knock.proxy} refused the WebSocket to {knock.server}"
    if isinstance(error, InvalidProxyStatus):
        status = error.response.status_code
        return ProxyHandshakeError(f"{what} with status {status}", status=status, server=knock.server)
    cause = error.__cause__ or error
    said = knock.veil(" ".join(str(cause).split())[:120])
    return ProxyHandshakeError(f"{what}: {said or type(cause).__name__}", server=knock.server)


def _context(context: ssl.SSLContext | bool) -> ssl.SSLContext:
    """Return an SSL context for the same trust that HTTP has."""
    if isinstance(context, ssl.SSLContext):
        return context
    made = ssl.create_default_context()
    if not context:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _reason(error: ConnectionClosed) -> str:
    """Say why the connection is closed."""
    close = error.rcvd or error.sent
    code = close.code if close is not None else 1006
    text = _CLOSE_REASONS.get(code, f"closed with code {code}")
    said = error.rcvd.reason if error.rcvd is not None else ""
    return f"{text}: {said[:120]}" if said else text
