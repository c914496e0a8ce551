"""Keeps secrets out of what httpx and httpcore log about our requests, and theirs alone."""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Iterator
from typing import Final

from .._base.secrets import Veil

__all__ = ["quietly"]

_OURS: Final = contextvars.ContextVar[Veil | None]("comfy_async_request", default=None)
_LOGGERS: Final = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")


class _Redacting(logging.Filter):
    """Cuts off queries and headers: signed URLs, cookies and tokens stand in them.

    httpx logs the whole URL of each request at INFO, httpcore the answer's headers at DEBUG.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, those of our own requests shortened."""
        veil = _OURS.get()
        if veil is not None:
            if record.name == "httpx":
                args = record.args if isinstance(record.args, tuple) else ()
                record.args = tuple(a if isinstance(a, int) else veil(_without_query(a)) for a in args)
            else:
                record.msg, record.args = str(record.msg).partition(" ")[0], None
        return True


_FILTER: Final = _Redacting()


@contextlib.contextmanager
def quietly(veil: Veil) -> Iterator[None]:
    """Mark what is logged inside as about a request of ours, whose secrets the veil knows."""
    for name in _LOGGERS:
        # The same filter is added only once, however often.
        logging.getLogger(name).addFilter(_FILTER)
    token = _OURS.set(veil)
    try:
        yield
    finally:
        _OURS.reset(token)


def _without_query(value: object) -> str:
    """Return a URL up to its query, and anything else as a text."""
    text = str(value)
    return text.partition("?")[0] if "://" in text else text
