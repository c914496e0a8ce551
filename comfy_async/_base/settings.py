"""Limits and pauses of a session."""

from __future__ import annotations

import dataclasses
from typing import Any

from .clock import Clock
from .secrets import Secret

__all__ = ["Settings"]


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
        """Hold a proxy's password as what it is."""
        if isinstance(self.proxy, str) and "@" in self.proxy:
            object.__setattr__(self, "proxy", Secret(self.proxy))
