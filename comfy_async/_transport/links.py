"""Where a request goes: a route below the server's address, or a link that an answer holds."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlencode

import httpx

from .._base.own_addresses import literal
from ..errors import NotComfyUIError
from .address import Address, origin_of

__all__ = ["Root", "is_home", "leads_home", "url_of"]

Root: TypeAlias = bool | Literal["origin", "anywhere"]
"""Where a path stands: below `/api`, beside it, or it is a link of an answer."""

# A path from the origin's root, in which nothing has to be resolved.
_ROOTED: Final = re.compile(r"(?:/(?![./\\])[\w~%.:-]+)+(?:\?[\w~%.:&=-]*)?", re.ASCII)


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
        url = _parsed(address.http(path if root else f"{prefix}{path}"))
    if not params:
        return url
    try:
        return url.copy_merge_params(params)
    except UnicodeEncodeError:
        query = urlencode(params, doseq=True, errors="surrogatepass")
        return url.copy_with(query=query.encode("ascii"))


def leads_home(address: Address, link: object) -> bool:
    """Say whether a link of an answer stays with our own origin."""
    if not isinstance(link, str):
        return False
    if _rooted(address, link) is not None:
        return True
    try:
        return bool(_resolved(address, link, abroad=False))
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
    origin = _origin(address.base)
    if (rooted := _rooted(address, link)) is not None:
        return _parsed(f"{origin}{rooted}")
    try:
        url = httpx.URL(origin).join(link)
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


def _rooted(address: Address, link: str) -> str | None:
    """Return a link from the origin's root on, None where it takes a closer look: most take none."""
    path = link.removeprefix(_origin(address.base))
    return path if _ROOTED.fullmatch(path) else None


@functools.lru_cache(maxsize=256)
def _parsed(url: str) -> httpx.URL:
    """Return a URL without credentials, of which a session asks for a few again and again."""
    return httpx.URL(url)


@functools.lru_cache(maxsize=64)
def _origin(base: str) -> str:
    """Return the origin of an address, its port included."""
    origin = origin_of(base)
    assert origin is not None, "Address.parse lets no other address in"
    scheme, host, port = origin
    return f"{scheme}://{literal(host)}:{port}"
