"""Whether the server that runs a site is about to end: it waits for its connections, and tells no app."""

from __future__ import annotations

import signal

__all__ = ["is_server_ending"]


def is_server_ending() -> bool:
    """Say whether the uvicorn of this process has been told to end.

    By the protocol an app learns of the end (`lifespan.shutdown`) when all connections are closed, and a
    reader of events keeps one open for as long as the job lasts. uvicorn takes the signals itself, so the
    method that is their handler has the server. Under another server, or one in a thread, this is always
    false.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(number), "__self__", None)
        if getattr(server, "should_exit", False) is True:
            return True
    return False
