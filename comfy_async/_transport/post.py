"""A POST to somewhere that is no ComfyUI: one URL, no redirects, nothing of it in any log."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from .._base.own_addresses import literal
from .._base.secrets import Secret, Veil
from ..errors import RequestTimeoutError, TransportError
from .foreign import forget_locals
from .options import trust
from .quiet import quietly

__all__ = ["Poster", "place_of", "trust_for"]

_MOST_READ = 64 * 1024


class Poster:
    """Sends to one URL, which may be a secret itself: many receivers have their key in the path.

    Attributes:
        shown: Scheme, host and port, which is all that may be shown.
    """

    def __init__(
        self, url: Secret[str], *, trusted: ssl.SSLContext | bool, trust_env: bool, seconds: float
    ) -> None:
        """Prepare; nothing is opened. Certificates are read by `trust_for`, which takes too long for here.

        Raises:
            ValueError: It is no http or https URL with a host.
        """
        self.shown = place_of(url)
        self._url = url
        self._seconds = seconds
        parts = urlsplit(url.reveal())
        self._veil = Veil([part for part in (url.reveal(), parts.path, parts.query, parts.password) if part])
        # Redirects would carry signatures to wherever the answer says.
        self._client = httpx.AsyncClient(
            verify=trusted, trust_env=trust_env, follow_redirects=False, timeout=httpx.Timeout(seconds)
        )

    async def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Send, and return the status and what `Retry-After` says, "" for nothing.

        Raises:
            RequestTimeoutError: It took too long.
            TransportError: No server answers, or the connection broke.
        """
        try:
            with quietly(self._veil):
                async with asyncio.timeout(self._seconds):
                    request = self._client.build_request(
                        "POST", self._url.reveal(), content=body, headers=dict(headers)
                    )
                    response = await self._client.send(request, stream=True)
                    try:
                        await _skim(response)
                    finally:
                        await response.aclose()
                    return response.status_code, response.headers.get("retry-after", "")
        except (TimeoutError, httpx.TimeoutException) as error:
            forget_locals(error)
            raise RequestTimeoutError(f"no answer within {self._seconds:g} s", server=self.shown) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            forget_locals(error)
            raise TransportError(type(error).__name__, server=self.shown) from None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def trust_for(url: Secret[str], verify: bool | str | ssl.SSLContext) -> ssl.SSLContext | bool:
    """Return the SSL context for a URL; reading all certificates takes a tenth of a second and more.

    Raises:
        OSError: The CA file cannot be read.
    """
    chosen = trust(verify)
    if chosen is not True:
        return chosen
    return httpx.create_ssl_context() if url.reveal().startswith("https") else False


def place_of(url: Secret[str]) -> str:
    """Return scheme, host and port of a URL.

    Raises:
        ValueError: It is no http or https URL with a host.
    """
    try:
        parts = urlsplit(url.reveal())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the URL has a host or port that cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"the URL must be http(s)://host..., not one of scheme {parts.scheme!r}")
    where = literal(host)
    return f"{parts.scheme}://{where}" + (f":{port}" if port else "")


async def _skim(response: httpx.Response) -> None:
    """Read a short answer, so that the connection can be used again; a long one is of no interest."""
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _MOST_READ:
            return
