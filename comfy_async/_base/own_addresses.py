"""The addresses of this machine, for people who are to open something that it serves to others."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

__all__ = ["here", "is_everywhere", "literal", "own_addresses"]

# Addresses for documentation: nothing is sent, the system only says by which of its own it would go there.
_FAR: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def is_everywhere(host: str) -> bool:
    """Say whether an address means every address of the machine, which is nothing to open."""
    return host in ("", "0.0.0.0", "::")


def literal(host: str) -> str:
    """Return a host as it stands in a URL."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def here(listening: socket.socket) -> str:
    """Return host and port of a socket, as this machine opens it: "0.0.0.0" itself cannot be opened."""
    host, port = listening.getsockname()[:2]
    host = str(host)
    return f"{literal({'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host))}:{port}"


def own_addresses(host: str) -> list[str]:
    """Return the addresses by which others reach a server of this machine that listens at `host`."""
    if not is_everywhere(host):
        return [host]
    found = []
    for family, far in _FAR[: 2 if host == "::" else 1]:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            found.append(probe.getsockname()[0])
    return [one for one in dict.fromkeys(found) if not one.startswith("127.") and one != "::1"]
