"""Addresses that lead almost to a ComfyUI: a route at their end, or the other scheme."""

from __future__ import annotations

from .._transport.address import Address
from ..errors import ComfyError, ResponseError, TransportError

__all__ = ["perhaps_tls", "too_long_an_address"]


def too_long_an_address(address: Address) -> str:
    """Return what to do about an address that ends in a route, "" for one that does not."""
    route = address.route_at_end
    if not route:
        return ""
    return f"The address ends in {route}, which is a route: give only {address.base.removesuffix(route)}."


def perhaps_tls(error: ComfyError, server: str) -> None:
    """Say of the first request's failure that the port may speak TLS, where that is how one would fail."""
    if not server.startswith("http://"):
        return
    # Servers just close; nginx answers, and says so.
    closed = type(error) is TransportError
    told = isinstance(error, ResponseError) and error.status == 400 and "HTTPS" in error.body
    if closed or told:
        error.hint = f"The port may speak TLS: try https{server.removeprefix('http')}. {error.hint}".rstrip()
