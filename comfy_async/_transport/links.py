"""Where a request goes: a route below the server's address, or a link that an answer holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

import httpx

from ..errors import NotComfyUIError
from .address import Address, origin_of

__all__ = ["Root", "is_home", "leads_home", "url_of"]

Root: TypeAlias = bool | Literal["origin", "anywhere"]
"""Where a path stands: below `/api`, beside it, or it is a link of an answer."""


def url_of(
    address: Address, path: str, params: Mapping[str, Any] | None, *, root: Root, prefix: str
) -> httpx.URL:
    """Return the URL of a route with its query; names that are no UTF-8 go out as they came.

    Raises:
        NotComfyUIError: It is an invalid link, or leads to another host although it must not.
    """
    if root in ("origin", "anywhere"):
        url = _resolved(address, path, abroad=root == "anywhere")
    else:
        url = httpx.URL(address.http(path if root else f"{prefix}{path}"))
    if not params:
        return url
    try:
        return url.copy_merge_params(params)
    except UnicodeEncodeError:
        query = urlencode(params, doseq=True, errors="surrogatepass")
        return url.copy_with(query=query.encode("ascii"))


def leads_home(address: Address, link: object) -> bool:
    """Say whether a link of an answer stays with our own origin."""
    try:
        return isinstance(link, str) and bool(_resolved(address, link, abroad=False))
    except NotComfyUIError:
        return False


def is_home(address: Address, url: httpx.URL) -> bool:
    """Say whether a URL is at our own origin."""
    return origin_of(str(url)) == address.origin


def _resolved(address: Address, link: str, *, abroad: bool) -> httpx.URL:
    """Return the URL of a link in an answer: host-relative ones stand below our origin, not our prefix.

    Raises:
        NotComfyUIError: It is an invalid link, or leads to another host although it must not.
    """
    scheme, host, port = address.origin
    try:
        url = httpx.URL(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}").join(link)
        at_home = is_home(address, url)
    except (httpx.InvalidURL, ValueError):
        at_home, abroad, url = False, False, httpx.URL("")
    if at_home or (abroad and url.scheme in ("http", "https")):
        return url
    raise NotComfyUIError(
        f"{address.base} answered with a link that leads elsewhere",
        hint="Check the address: the server should be told its public one.",
        server=address.base,
    )
