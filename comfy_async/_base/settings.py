"""Limits and pauses of a session."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Final

from .clock import Clock
from .secrets import Secret

__all__ = ["Settings"]

_COUNTS: Final = frozenset("streams mailbox_events mailbox_bytes transfers max_frame max_body".split())
_DURATIONS: Final = frozenset({"float", "float | None"})
# 0 stands for not waiting at all; a limit of 0 for a request would let none through.
_MAY_BE_ZERO: Final = frozenset(
    "hearing_seconds busy_seconds submit_seconds cancel_seconds away_seconds history_seconds "
    "quiet_seconds".split()
)
_PROXY: Final = re.compile(r"(https?|socks5h?)://[^/\s]|[^/\s]+:\d+/?$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits and pauses of a session; durations in seconds, sizes in bytes.

    Attributes:
        request_seconds: The limit for one HTTP exchange; generation has none.
        connect_seconds: The limit for opening a connection.
        hearing_seconds: How long `submit` waits for the socket before it posts all the same.
        busy_seconds: How long `submit` waits for a server of API v2 that is busy, or still starts.
        submit_seconds: How long an unanswered POST is looked up before `SubmitUnknownError`.
        cancel_seconds: How long `cancel()` keeps trying while the server does not stop the job.
        poll_min: The shortest pause between two polls while something is due.
        poll_max: The longest one.
        look_every: The pause between two polls while the socket is known to receive messages.
        reconnect_first: The ceiling of the first pause before reconnecting.
        reconnect_cap: The ceiling of all later ones.
        away_seconds: How long to wait for a server that does not answer before its jobs count as
            lost; None is for ever.
        history_seconds: How long to wait for a history that is not yet written.
        quiet_seconds: After how long without news a job is mentioned in the log, once.
        stream_seconds: After how long without a byte the stream of a job is opened again.
        streams: How many jobs of API v2 are followed by a stream at once; the others are polled.
        mailbox_events: Unread progress and preview events kept for each consumer.
        mailbox_bytes: The same in bytes.
        transfers: Uploads and downloads at once.
        max_frame: The largest WebSocket message; None is without limit.
        max_body: The largest answer that is read into memory, unpacked.
        proxy: A proxy's URL for HTTP and WebSocket alike; None is the environment's. One with a
            password is held as a secret, and makes settings that cannot be pickled.
        clock: What measures time; for tests.
        http_transport: What sends HTTP requests instead of the network; for tests.

    Example:
        >>> ComfySession("http://127.0.0.1:8188", settings=Settings(away_seconds=600))
        <ComfySession http://127.0.0.1:8188 new>
    """

    request_seconds: float = 30.0
    connect_seconds: float = 10.0
    hearing_seconds: float = 5.0
    busy_seconds: float = 120.0
    submit_seconds: float = 30.0
    cancel_seconds: float = 30.0
    poll_min: float = 0.5
    poll_max: float = 5.0
    look_every: float = 5.5
    reconnect_first: float = 0.5
    reconnect_cap: float = 15.0
    away_seconds: float | None = 600.0
    history_seconds: float = 10.0
    quiet_seconds: float = 600.0
    stream_seconds: float = 45.0
    streams: int = 16
    mailbox_events: int = 1000
    mailbox_bytes: int = 64 * 1024 * 1024
    transfers: int = 4
    max_frame: int | None = 1 << 30
    max_body: int = 1 << 30
    proxy: str | Secret[str] | None = dataclasses.field(default=None, repr=False)
    clock: Clock = dataclasses.field(default_factory=Clock, repr=False)
    http_transport: Any = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Hold a proxy's password as what it is, and refuse what cannot be meant.

        Raises:
            ValueError: A number is too small, or is none, or the proxy is no URL.
        """
        if isinstance(self.proxy, str) and "@" in self.proxy:
            object.__setattr__(self, "proxy", Secret(self.proxy))
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in _COUNTS:
                _demand_count(name, value, none_too=name == "max_frame")
            elif field.type in _DURATIONS:
                _demand_seconds(name, value, none_too=name == "away_seconds", or_zero=name in _MAY_BE_ZERO)
        if self.proxy is not None:
            _demand_proxy(Secret.of(self.proxy))


def _demand_seconds(name: str, value: object, *, none_too: bool, or_zero: bool) -> None:
    """Check a duration.

    Raises:
        ValueError: It is none.
    """
    if value is None and none_too:
        return
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not (number > 0 or (or_zero and number == 0)):
        least = "0 or more" if or_zero else "more than 0"
        also = ", or None for ever" if none_too else ""
        raise ValueError(f"Settings.{name} is a number of seconds, {least}{also}, not {value!r}")


def _demand_count(name: str, value: object, *, none_too: bool) -> None:
    """Check a number of things, or of bytes.

    Raises:
        ValueError: It is none.
    """
    if value is None and none_too:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        also = ", or None for any" if none_too else ""
        raise ValueError(f"Settings.{name} is a whole number, 1 or more{also}, not {value!r}")


def _demand_proxy(proxy: Secret[str]) -> None:
    """Check that a proxy's URL has the form of one; it is not repeated, since it may hold a password.

    Raises:
        ValueError: It has not.
    """
    if not isinstance(proxy.reveal(), str) or not _PROXY.match(proxy.reveal()):
        raise ValueError(
            "Settings.proxy is a URL such as http://proxy:3128, or host:port; schemes are http, https, "
            "socks5 and socks5h"
        )
