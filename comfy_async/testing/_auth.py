"""Gateways before a server: which requests are let in."""

from __future__ import annotations

import base64
import dataclasses
import hmac
from collections.abc import Iterator, Mapping
from typing import Protocol

from aiohttp import web

__all__ = ["Gatekeeper", "Keeper"]


class Keeper(Protocol):
    """What decides which requests are let in."""

    def admits(self, request: web.Request) -> bool:
        """Whether a request is let in."""
        ...

    def refusal(self) -> web.Response:
        """Return the answer to the others."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Gatekeeper:
    """What a gateway in front of the server accepts; any one of these opens it.

    Attributes:
        bearer: A token in `Authorization: Bearer ...`.
        basic: A user and a password.
        headers: Names and values of headers, such as X-API-Key; all of them are needed.
        token: A `?token=` in the query, as ComfyUI-Login takes it.
        cookies: Names and values of cookies; all of them are needed.
        status: The answer to those that are not let in: 401 or 403.

    Example:
        >>> async with FakeComfy(auth=Gatekeeper(bearer="s3cret")) as fake:
        ...     async with fake.session(auth=Auth.bearer("s3cret")) as comfy:
        ...         result = await comfy.run(flow)
    """

    bearer: str | None = None
    basic: tuple[str, str] | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    token: str | None = None
    cookies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    status: int = 401

    def admits(self, request: web.Request) -> bool:
        """Whether a request brings one of the keys."""
        return any(self._matches(request))

    def refusal(self) -> web.Response:
        """Return the answer to the others."""
        scheme = "Basic" if self.basic is not None else "Bearer"
        headers = {"WWW-Authenticate": f'{scheme} realm="fake"'} if self.status == 401 else {}
        return web.Response(status=self.status, text="who are you?", headers=headers)

    def _matches(self, request: web.Request) -> Iterator[bool]:
        given = request.headers.get("Authorization", "")
        if self.bearer is not None:
            yield _same(given, f"Bearer {self.bearer}")
        if self.basic is not None:
            pair = base64.b64encode(":".join(self.basic).encode()).decode()
            yield _same(given, f"Basic {pair}")
        if self.headers:
            yield all(_same(request.headers.get(name, ""), value) for name, value in self.headers.items())
        if self.token is not None:
            yield _same(request.query.get("token", ""), self.token)
        if self.cookies:
            yield all(_same(request.cookies.get(name, ""), value) for name, value in self.cookies.items())


def _same(given: str, wanted: str) -> bool:
    """Compare two secrets."""
    return hmac.compare_digest(given.encode(), wanted.encode())
