"""Following redirects: within the session's own origin, or to others without its credentials."""

from __future__ import annotations

from typing import Final

import httpx

from .._base.secrets import Veil
from ..errors import SessionClosedError, TransportError
from .address import Address, origin_of
from .links import is_home
from .quiet import quietly

__all__ = ["sent"]

_MAX_REDIRECTS: Final = 5


async def sent(
    client: httpx.AsyncClient, request: httpx.Request, *, address: Address, veil: Veil, abroad: bool = False
) -> httpx.Response:
    """Send, following redirects of GET within the own origin, or `abroad` to others too.

    The credentials are sent to the own origin only in any case (see CredentialTransport).

    Raises:
        SessionClosedError: The client is closed.
        TransportError: The redirects do not end.
        httpx.HTTPError: As httpx raises it.
    """
    if client.is_closed:
        raise SessionClosedError(f"the session with {address.base} was closed", server=address.base)
    for _ in range(_MAX_REDIRECTS):
        with quietly(veil):
            response = await client.send(request, stream=True)
        target = response.next_request
        if target is None or request.method != "GET" or not _may_go_to(target, address, abroad=abroad):
            return response
        await response.aclose()
        if not is_home(address, target.url):
            # A cookie jar knows no ports: another server on the same host would get them.
            target.headers.pop("cookie", None)
        request = target
    raise TransportError(f"{request.url.path} redirects too often", server=address.base, retryable=False)


def _may_go_to(target: httpx.Request, address: Address, *, abroad: bool) -> bool:
    """True when a redirect is followed: within the own origin, or `abroad` to any possible server."""
    return is_home(address, target.url) or (abroad and origin_of(str(target.url)) is not None)
