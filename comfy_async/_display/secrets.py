"""Keys that a session knows, to be kept out of what a notebook saves and people share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base import secrets
from .._base.secrets import is_secret_name

if TYPE_CHECKING:
    from .._client.session import ComfySession

__all__ = ["Veil", "is_secret_name"]


class Veil(secrets.Veil):
    """Hides the keys of a session wherever they turn up, in tracebacks for example."""

    @staticmethod
    def of(session: ComfySession) -> secrets.Veil:
        """Return the veil over all keys that a session sends."""
        return session._http.veil
