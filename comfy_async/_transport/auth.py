"""Credentials: one object for HTTP and WebSocket, kept from every repr, log and other host."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

__all__ = ["Auth", "AuthLike", "make_auth"]

Renewer: TypeAlias = Callable[[], Awaitable["Auth | Mapping[str, str] | str"]]


class Auth:
    """Who you are, for every request and for the socket.

    Credentials go to the session's own origin only: not along redirects, and not to another
    host that an answer names. Make one with the class methods; `+` joins two.

    Example:
        >>> Auth.basic("anna", "s3cret") + Auth.query("t0ken")
        <Auth headers: Authorization; query: token>
        >>> async with ComfySession("http://127.0.0.1:8188", auth=Auth.bearer("s3cret")) as comfy:
        ...     result = await comfy.run("portrait.json")
    """

    __slots__ = ("_fresh", "_headers", "_query", "_renewer")

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        *,
        renewer: Renewer | None = None,
    ) -> None:
        """Take headers and query parameters as they are to be sent."""
        self._headers = dict(headers or {})
        self._query = dict(query or {})
        self._renewer = renewer
        self._fresh: Auth | None = None

    @classmethod
    def api_key(cls, key: str) -> Auth:
        """Send `X-API-Key`, as Comfy Cloud wants it (docs.comfy.org, cloud API reference).

        Raises:
            ValueError: It is empty, or has characters that cannot be sent.
        """
        return cls({"X-API-Key": _clean(key)})

    @classmethod
    def bearer(cls, token: str) -> Auth:
        """Send `Authorization: Bearer`.

        Raises:
            ValueError: It is empty, or has characters that cannot be sent.
        """
        return cls({"Authorization": f"Bearer {_clean(token)}"})

    @classmethod
    def basic(cls, user: str, password: str) -> Auth:
        """Send `Authorization: Basic`, as a reverse proxy wants it."""
        text = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        return cls({"Authorization": f"Basic {text}"})

    @classmethod
    def query(cls, token: str, *, name: str = "token") -> Auth:
        """Send a token in the query of every request, as ComfyUI-Login wants it.

        Raises:
            ValueError: It is empty, or has characters that cannot be sent.
        """
        return cls(query={name: _clean(token)})

    @classmethod
    def renewing(cls, renew: Renewer) -> Auth:
        """Ask `await renew()` for credentials: before the first request and after each 401.

        It returns an `Auth`, a mapping of headers, or a bearer token.

        Example:
            >>> async def renew():
            ...     return "a token that your identity provider has just made"
            >>> session = ComfySession("http://127.0.0.1:8188", auth=Auth.renewing(renew))
        """
        return cls(renewer=renew)

    @property
    def headers(self) -> dict[str, str]:
        """The headers to send."""
        return {**self._headers, **(self._fresh._headers if self._fresh else {})}

    @property
    def params(self) -> dict[str, str]:
        """The query parameters to send."""
        return {**self._query, **(self._fresh._query if self._fresh else {})}

    @property
    def renews(self) -> bool:
        """True when there is a callback to ask for new credentials."""
        return self._renewer is not None

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to send, or the callback was not yet asked."""
        if self._renewer is not None:
            return self._fresh is None
        return not self._headers and not self._query

    async def renew(self) -> bool:
        """Ask the callback for new credentials; False when there is none.

        Raises:
            Exception: Whatever the callback raises.
        """
        if self._renewer is None:
            return False
        self._fresh = make_auth(await self._renewer())
        return True

    def __add__(self, other: Auth) -> Auth:
        """Join two; the right one wins where both speak."""
        joined = Auth(
            {**self._headers, **other._headers},
            {**self._query, **other._query},
            renewer=other._renewer or self._renewer,
        )
        joined._fresh = other._fresh or self._fresh
        return joined

    def __repr__(self) -> str:
        """Name what is sent, never its value."""
        parts = []
        if self._headers:
            parts.append(f"headers: {', '.join(sorted(self._headers))}")
        if self._query:
            parts.append(f"query: {', '.join(sorted(self._query))}")
        if self._renewer is not None:
            parts.append("renewing")
        return f"<Auth {'; '.join(parts) or 'none'}>"


AuthLike: TypeAlias = Auth | Mapping[str, str] | tuple[str, str] | str | None


def make_auth(auth: AuthLike) -> Auth:
    """Return an `Auth` from what people pass: (user, password), a bearer token, headers.

    Raises:
        TypeError: It is none of these.
    """
    if auth is None:
        return Auth()
    if isinstance(auth, Auth):
        return auth
    if isinstance(auth, str):
        return Auth.bearer(auth)
    if isinstance(auth, tuple) and len(auth) == 2:
        return Auth.basic(*auth)
    if isinstance(auth, Mapping):
        return Auth({str(name): _clean(value) for name, value in auth.items()})
    raise TypeError("auth is an Auth, a (user, password) pair, a bearer token or a mapping of headers")


def _clean(secret: str) -> str:
    """Strip the white space that comes with copying, and refuse what no header may hold.

    Raises:
        ValueError: It is empty or has a line break in it; the value is not repeated.
    """
    text = secret.strip()
    if not text or any(ord(c) < 32 or ord(c) > 255 for c in text):
        raise ValueError("a key, token or header value is empty or has characters that cannot be sent")
    return text
