"""Where the server is: one base URL, from which all others follow."""

from __future__ import annotations

import dataclasses
import os
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from .._base.own_addresses import literal
from .._base.secrets import Secret
from .auth import Auth
from .proxy import Proxy

__all__ = ["CLOUD_URL", "Address", "cloud_api_key", "default_base_url"]

CLOUD_URL: Final = "https://cloud.comfy.org"
_LOCAL_URL: Final = "http://127.0.0.1:8188"
# What scripts that call ComfyUI's routes by themselves have at the end of a constant.
_ROUTES: Final = frozenset(
    "api embeddings extensions features free history image interrupt jobs mask models object_info prompt "
    "queue settings system_stats upload userdata users view ws".split()
)


def default_base_url() -> str:
    """Return COMFY_LOCAL_URL, else COMFY_BASE_URL, else ComfyUI's own default."""
    return _of_environment("COMFY_LOCAL_URL", "COMFY_BASE_URL") or _LOCAL_URL


def cloud_api_key() -> str | None:
    """Return COMFY_CLOUD_API_KEY, else COMFY_API_KEY, None when neither is set."""
    return _of_environment("COMFY_CLOUD_API_KEY", "COMFY_API_KEY")


def _of_environment(*names: str) -> str | None:
    """Return the first of these variables that is set."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """A server's address without credentials, and the credentials that stood in it.

    Attributes:
        base: Scheme, host, port and path prefix, without a trailing slash.
        auth: What the URL held as `user:password@` or as `?token=`.
    """

    base: str
    auth: Auth = dataclasses.field(default_factory=Auth, repr=False, compare=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a base URL; `host:port` alone means http, and 0.0.0.0 means this machine.

        Raises:
            ValueError: It is no http or https URL with a host.
        """
        text = Secret(url.strip())
        del url
        if not text:
            raise ValueError("the server's URL is empty: leave it out for the default, or name a server")
        if "://" not in text.reveal():
            text = Secret(f"http://{text.reveal()}")
        try:
            parts = Secret(urlsplit(text.reveal()))
            scheme, host, port = (parts.reveal().scheme, parts.reveal().hostname, parts.reveal().port)
        except ValueError:
            raise ValueError("the server's URL has a host or port that cannot be read") from None
        scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
        if scheme not in {"http", "https"} or not host:
            raise ValueError(f"the server's URL must be http(s)://host:port, not one of scheme {scheme!r}")
        # A server that listens on every address is reached on loopback, as comfy-cli does.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        where = literal(host) if port is None else f"{literal(host)}:{port}"
        path = parts.reveal().path.rstrip("/")
        return cls(f"{scheme}://{where}{path}", _auth_of(parts))

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: where credentials may go."""
        origin = origin_of(self.base)
        assert origin is not None, "Address.parse lets no other address in"
        return origin

    @property
    def is_loopback(self) -> bool:
        """True for this machine."""
        return self.origin[1] in {"127.0.0.1", "localhost", "::1"}

    @property
    def is_cloud(self) -> bool:
        """True for Comfy Cloud."""
        return self.origin[1] == "cloud.comfy.org"

    @property
    def speaks_v2(self) -> bool:
        """True for Comfy Cloud and its deployments (openapi_v2, servers)."""
        return self.is_cloud or self.origin[1].endswith(".run.comfy.app")

    @property
    def route_at_end(self) -> str:
        """A route of ComfyUI at the end of the path, "" when there is none: `/prompt`."""
        base = self.base
        while (cut := base.rpartition("/"))[2] in _ROUTES:
            base = cut[0]
        return self.base.removeprefix(base)

    def environment_proxy(self) -> Proxy | None:
        """Return the proxy that the environment names for this address.

        One answer for HTTP and WebSocket alike; this machine is never reached through one.

        Raises:
            ConnectError: It names one that cannot be used.
        """
        scheme, host, _ = self.origin
        return None if self.is_loopback else Proxy.of_environment(scheme, host)

    def http(self, path: str) -> str:
        """Return the URL of a route."""
        return f"{self.base}{path}"

    def websocket(self, path: str, **query: str) -> str:
        """Return the socket's URL: wss follows https."""
        base = f"ws{self.base.removeprefix('http')}"
        return f"{base}{path}?{urlencode(query)}" if query else f"{base}{path}"


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL, with the scheme's own port filled in.

    None where it has none: no host, or an impossible port. That is never the session's own origin.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    default = 443 if parts.scheme in {"https", "wss"} else 80
    return (parts.scheme, host.lower(), port or default) if host else None


def _auth_of(parts: Secret[SplitResult]) -> Auth:
    """Return the credentials of a URL: `user:password@`, and everything in its query."""
    auth = Auth(query=dict(parse_qsl(parts.reveal().query)))
    if parts.reveal().username is None:
        return auth
    return auth + Auth.basic(unquote(parts.reveal().username or ""), unquote(parts.reveal().password or ""))
