"""The proxy on the way to the server: who named it, and whether it can be used."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import urllib.request
from typing import Final
from urllib.parse import urlsplit

from .._base.own_addresses import literal
from .._base.secrets import Secret
from ..errors import ConnectError

__all__ = ["Proxy"]

_WITHOUT: Final = "`ComfySession(trust_env=False)` does not use the environment's proxy."
# Both libraries take these; websockets knows older kinds of SOCKS as well, httpx does not.
_KINDS: Final = ("http", "https", "socks5", "socks5h")
_FOR_SOCKS: Final = {"socksio": "'httpx[socks]'", "python_socks": "'python-socks[asyncio]'"}


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy for HTTP and WebSocket alike.

    Attributes:
        url: With its scheme; it may hold a password.
        shown: The same without credentials, for people.
        source: Who named it: a variable of the environment, or `Settings.proxy`.
    """

    url: Secret[str]
    shown: str
    source: str

    @classmethod
    def of_environment(cls, scheme: str, host: str) -> Proxy | None:
        """Return the proxy that the environment names for a server, None when it names none.

        Raises:
            ConnectError: It names one that cannot be used.
        """
        if urllib.request.proxy_bypass(host):
            return None
        proxies = Secret(urllib.request.getproxies())
        for kind in (scheme, "all"):
            if proxies.reveal().get(kind, "").strip():
                return cls.of(proxies.reveal()[kind], source=_source(kind), server=f"{scheme}://{host}")
        return None

    @classmethod
    def of(cls, url: str | Secret[str], *, source: str = "`Settings.proxy`", server: str = "") -> Proxy:
        """Read a proxy's URL; `host:port` alone means http, as curl takes it.

        Raises:
            ConnectError: It cannot be read, its kind is unknown, or takes packages that are missing.
        """
        held = Secret.of(url)
        del url
        if "://" not in held.reveal():
            held = Secret(f"http://{held.reveal()}")
        try:
            parts = Secret(urlsplit(held.reveal()))
            kind, host, port = (parts.reveal().scheme.lower(), parts.reveal().hostname, parts.reveal().port)
        except ValueError:
            raise _unusable("a proxy whose host or port cannot be read", source, server) from None
        missing = _missing() if kind.startswith("socks") else ""
        if kind not in _KINDS or not host:
            what = f"a proxy of kind {kind!r}" if host else "a proxy without a host"
            advice = f"Write {', '.join(f'{k}://' for k in _KINDS)}."
            advice += f" For SOCKS: {missing}" if missing else ""
            raise _unusable(what, source, server, advice=advice)
        where = literal(host)
        shown = f"{kind}://{where}" + ("" if port is None else f":{port}")
        if missing:
            what = f"the SOCKS proxy {shown}, which takes packages that are not installed"
            raise _unusable(what, source, server, advice=missing)
        return cls(held, shown, source)

    @property
    def secrets(self) -> list[Secret[str]]:
        """The password, if there is one."""
        password = Secret(urlsplit(self.url.reveal()).password or "")
        return [password] if password else []

    def __str__(self) -> str:
        """Return the address and who named it."""
        return f"{self.shown} ({self.source})"


def _missing() -> str:
    """Return how to install what SOCKS takes, "" where it is there."""
    missing = [pip for name, pip in _FOR_SOCKS.items() if importlib.util.find_spec(name) is None]
    return f"`pip install {' '.join(missing)}`." if missing else ""


def _source(kind: str) -> str:
    """Return the variable that a proxy comes from; other systems keep them elsewhere too."""
    for name in (f"{kind}_proxy", f"{kind}_proxy".upper()):
        if os.environ.get(name):
            return name
    return next((name for name in os.environ if name.lower() == f"{kind}_proxy"), "the system's settings")


def _unusable(what: str, source: str, server: str, *, advice: str = "") -> ConnectError:
    """Return the error for a proxy that cannot be used."""
    return ConnectError(
        f"{source} names {what}",
        hint=" ".join(filter(None, [advice, "" if source.startswith("`") else _WITHOUT])),
        server=server or None,
        retryable=False,
    )
