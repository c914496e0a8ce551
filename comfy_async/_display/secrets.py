"""Keys that a session knows, to be kept out of what a notebook saves and people share."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .._client.session import ComfySession

__all__ = ["Veil", "is_secret_name"]

_HIDDEN: Final = "•••"
_SHORTEST: Final = 6
_SECRET_NAME = re.compile(
    r"(^|[_.\-\s])(api_?key|key|token|secret|password|passwd|auth|authorization|credentials?)s?($|[_.\-\s])",
    re.IGNORECASE,
)


class Veil:
    """Hides the keys of a session wherever they turn up, in tracebacks for example.

    Example:
        >>> Veil(["s3cret-key"])("401 for s3cret-key")
        '401 for •••'
    """

    def __init__(self, secrets: list[str]) -> None:
        """Hide these; very short ones would hide ordinary words."""
        # The longest first: one key may be the beginning of another.
        self._secrets = sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True)

    @classmethod
    def of(cls, session: ComfySession) -> Veil:
        """Return the veil over all keys that a session sends."""
        auth = session._http.auth
        found: list[str] = [session._partner_api_key or "", *auth.params.values()]
        for name, value in auth.headers.items():
            scheme, _, rest = value.partition(" ")
            if rest and name.lower() == "authorization":
                found += [rest, _password(scheme, rest)]
            elif is_secret_name(name):
                found.append(value)
        return cls(found)

    def __call__(self, text: object) -> str:
        """Return the text without any of the keys."""
        shown = str(text)
        for secret in self._secrets:
            shown = shown.replace(secret, _HIDDEN)
        return shown


def is_secret_name(name: str) -> bool:
    """Tell whether an input or a header of that name holds a key, as far as its name tells."""
    return _SECRET_NAME.search(name) is not None or name.lower() in ("x-api-key", "cookie", "apikey")


def _password(scheme: str, value: Any) -> str:
    """Return the password of Basic credentials, "" for others."""
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
