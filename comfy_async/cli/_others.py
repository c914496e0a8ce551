"""By which addresses others reach what is served to everybody."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from .._base.own_addresses import literal, own_addresses

__all__ = ["for_others"]


def for_others(host: str, url: str, *, named: bool) -> str:
    """Return a line with the addresses for others, and what it takes to be called by a name."""
    parts = urlsplit(url)
    found = [f"http://{literal(one)}:{parts.port}{parts.path}" for one in own_addresses(host)]
    others = f"for others: {' or '.join(found)}" if found else "this machine has no address for others"
    name = socket.gethostname()
    return others if named else f"{others}; to be called by a name, such as {name}, it takes --name {name}"
