"""Credentials: one object for HTTP and WebSocket, kept from every repr, log and other host."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, TypeAlias, cast

from .._base.secrets import Secret

__all__ = ["Auth", "AuthLike", "make_auth"]

Renewer: TypeAlias = Callable[[], Awaitable["Auth | Mapping[str, str] | str"]]

# What these hold is no secret, and would hide ordinary words if it were taken for one.
_HARMLESS: Final = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "comfy-user"),
        *("connection", "content-type", "dnt", "from", "host", "origin", "pragma", "prefer", "priority"),
        *("referer", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
        *("x-requested-with", "x-request-id", "traceparent", "tracestate"),
    }
)

_NEVER_IN_A_HEADER: Final = re.compile(r"[^\t\x20-\x7e]")
_UNSENDABLE: Final = (
    "a key, token or header value is empty or has characters that cannot be sent: "
    "line breaks, or letters beyond ASCII (percent-encode them if the server expects that)"
)


class Auth:
    """The credentials, for every request and for the socket.

    Credentials go to the session's own origin only: not along redirects, and not to another
    host that an answer names. Make one with the class methods; `+` joins two. It is no part of a
    pickle: hand the key itself to another process.

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
        """Take headers and query parameters as they are to be sent.

        Raises:
            ValueError: A name or value has characters that cannot be sent; it is not repeated.
        """
        held = Secret((headers or {}, query or {}))
        del headers, query
        self._headers: dict[str, Secret[str]] = {}
        self._query: dict[str, Secret[str]] = {}
        self._renewer = renewer
        self._fresh: Auth | None = None
        for name in held.reveal()[0]:
            self._headers[_name(name)] = _sendable(Secret(held.reveal()[0][name]))
        for name in held.reveal()[1]:
            self._query[name] = Secret(held.reveal()[1][name])

    @classmethod
    def api_key(cls, key: str) -> Auth:
        """Send `X-API-Key`, as Comfy Cloud wants it (docs.comfy.org, cloud API reference).

        Raises:
            ValueError: It is empty, or has characters that cannot be sent.
        """
        held = Secret(key)
        del key
        return cls({"X-API-Key": _clean(held).reveal()})

    @classmethod
    def bearer(cls, token: str) -> Auth:
        """Send `Authorization: Bearer`.

        Raises:
            ValueError: It is empty, or has characters that cannot be sent.
        """
        held = Secret(token)
        del token
        return cls({"Authorization": f"Bearer {_clean(held).reveal()}"})

    @classmethod
    def basic(cls, user: str, password: str) -> Auth:
        """Send `Authorization: Basic`, as a reverse proxy wants it."""
        pair = Secret(f"{user}:{password}")
        del password
        return cls({"Authorization": f"Basic {base64.b64encode(pair.reveal().encode()).decode('ascii')}"})

    @classmethod
    def query(cls, token: str, *, name: str = "token") -> Auth:
        """Send a token in the query of every request, as ComfyUI-Login wants it.

        Raises:
            ValueError: It is empty, or has characters that cannot be sent.
        """
        held = Secret(token.strip())
        del token
        if not held or any(ord(char) < 32 for char in held.reveal()):
            raise ValueError(_UNSENDABLE)
        return cls(query={name: held.reveal()})

    @classmethod
    def renewing(cls, renew: Renewer) -> Auth:
        """Call `await renew()` for credentials: before the first request and after each 401.

        It returns an `Auth`, a mapping of headers, or a bearer token.

        Example:
            >>> async def renew():
            ...     return "a token that your identity provider has just made"
            >>> session = ComfySession("http://127.0.0.1:8188", auth=Auth.renewing(renew))
        """
        return cls(renewer=renew)

    def turn_key_into_bearer(self) -> Callable[[], None]:
        """Send what would go as `X-API-Key` as `Authorization: Bearer`, unless there is one; internal.

        Returns:
            What turns it back.
        """
        before = dict(self._headers)
        key = next((name for name in self._headers if name.lower() == "x-api-key"), None)
        if key is not None and not any(name.lower() == "authorization" for name in self._headers):
            self._headers["Authorization"] = Secret(f"Bearer {self._headers.pop(key).reveal()}")

        def turn_back() -> None:
            self._headers = before

        return turn_back

    @property
    def headers(self) -> dict[str, str]:
        """The headers to send."""
        return {name: value.reveal() for name, value in self._all_headers().items()}

    @property
    def params(self) -> dict[str, str]:
        """The query parameters to send."""
        return {name: value.reveal() for name, value in self._all_query().items()}

    def secrets(self) -> Iterator[Secret[str]]:
        """Yield the secrets: keys, tokens, passwords, by themselves too."""
        yield from self._all_query().values()
        for name, value in self._all_headers().items():
            if name.lower() == "authorization":
                yield from _credentials(value)
            elif name.lower() == "cookie":
                yield from (Secret(pair.partition("=")[2].strip()) for pair in value.reveal().split(";"))
            elif name.lower() not in _HARMLESS:
                yield value

    def _all_headers(self) -> dict[str, Secret[str]]:
        """Return the fixed headers, and those that were renewed."""
        return {**self._headers, **(self._fresh._headers if self._fresh else {})}

    def _all_query(self) -> dict[str, Secret[str]]:
        """Return the fixed parameters, and those that were renewed."""
        return {**self._query, **(self._fresh._query if self._fresh else {})}

    @property
    def renews(self) -> bool:
        """True when there is a callback for new credentials."""
        return self._renewer is not None

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to send, or the callback was not called yet."""
        if self._renewer is not None:
            return self._fresh is None
        return not self._headers and not self._query

    async def renew(self) -> bool:
        """Call the callback for new credentials; False when there is none.

        Raises:
            Exception: Whatever the callback raises.
        """
        if self._renewer is None:
            return False
        self._fresh = make_auth(await self._renewer())
        return True

    def __add__(self, other: Auth) -> Auth:
        """Join two; the right one wins where both set the same name."""
        joined = Auth(renewer=other._renewer or self._renewer)
        joined._headers = {**self._headers, **other._headers}
        joined._query = {**self._query, **other._query}
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
    """Return an `Auth` from what callers pass: (user, password), a bearer token, headers.

    Raises:
        TypeError: It is none of these.
    """
    held = Secret(auth)
    del auth
    match held.reveal():
        case None:
            return Auth()
        case Auth() as made:
            return made
        case str():
            return Auth.bearer(str(held.reveal()))
        case tuple() as pair if len(pair) == 2:
            del pair
            return Auth.basic(*cast("tuple[str, str]", held.reveal()))
        case Mapping():
            return _of_headers(cast("Secret[Mapping[str, str]]", held))
    raise TypeError("auth is an Auth, a (user, password) pair, a bearer token or a mapping of headers")


def _of_headers(headers: Secret[Mapping[str, str]]) -> Auth:
    """Return an `Auth` of headers, without the white space that comes with copying."""
    return Auth({str(name): _clean(Secret(value)).reveal() for name, value in headers.reveal().items()})


def _clean(secret: Secret[str]) -> Secret[str]:
    """Strip the white space that comes with copying, and refuse what no header may hold.

    Raises:
        ValueError: It is empty or has a line break in it; the value is not repeated.
    """
    stripped = Secret(secret.reveal().strip())
    if not stripped:
        raise ValueError(_UNSENDABLE)
    return _sendable(stripped)


def _sendable(value: Secret[str]) -> Secret[str]:
    """Return a header's value if it can be sent.

    Raises:
        ValueError: It cannot; the value is not repeated.
    """
    if not isinstance(value.reveal(), str) or _NEVER_IN_A_HEADER.search(value.reveal()):
        raise ValueError(_UNSENDABLE)
    return value


def _name(name: str) -> str:
    """Return a header's name if it can be sent.

    Raises:
        ValueError: It cannot.
    """
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name):
        raise ValueError(f"{name!r} cannot be the name of a header")
    return name


def _credentials(value: Secret[str]) -> Iterator[Secret[str]]:
    """Yield what is secret in the value of `Authorization`: not its scheme, nor the name of a user."""
    scheme, _, rest = value.reveal().partition(" ")
    yield Secret(rest or scheme)
    if scheme.lower() == "basic":
        try:
            yield Secret(base64.b64decode(rest).decode().partition(":")[2])
        except (binascii.Error, UnicodeDecodeError):
            return
