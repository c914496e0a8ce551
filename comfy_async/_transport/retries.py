"""Which failures are worth another try, and how long to wait before it."""

from __future__ import annotations

from typing import Final

from .._base.backoff import Backoff
from ..errors import (
    ComfyError,
    ConnectError,
    NotComfyUIError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    TransportError,
)

__all__ = ["Retries"]

_MAX_TRIES: Final = 4
# A server that asks for a longer pause is not waited for: the caller may know something better.
_MAX_PAUSE_S: Final = 30.0
_BUSY: Final = frozenset({429, 502, 503, 504})


class Retries:
    """The tries of one request that is safe to repeat; never used for POST /prompt.

    A broken connection and the status of a busy server or gateway are worth a new try. A refused
    connection and no answer in time are not: the first should be reported at once, the second has
    taken long enough.
    """

    __slots__ = ("_backoff",)

    def __init__(self) -> None:
        """Begin before the first try."""
        self._backoff = Backoff(first=0.25, cap=4.0)

    def pause(self, error: ComfyError) -> float | None:
        """Return the seconds to wait before the next try, None to give up."""
        if self._backoff.tries >= _MAX_TRIES - 1 or not _passes(error):
            return None
        wanted = error.retry_after if isinstance(error, ResponseError) else None
        pause = self._backoff.next()
        if wanted is None:
            return pause
        # The jitter comes on top: never earlier than asked for, and not all at the same moment.
        return wanted + pause if wanted <= _MAX_PAUSE_S else None


def _passes(error: ComfyError) -> bool:
    """Say whether a failure may pass by itself."""
    if isinstance(error, RateLimitError):
        return True
    if isinstance(error, ResponseError):
        return error.retryable and error.status in _BUSY
    if isinstance(error, ConnectError | RequestTimeoutError | NotComfyUIError):
        return False
    return isinstance(error, TransportError) and error.retryable
