"""A FakeComfy that runs until it is stopped, for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ._server import FakeComfy

__all__ = ["serve"]


async def serve(
    host: str = "127.0.0.1",
    port: int = 8188,
    *,
    ready: Callable[[FakeComfy], None] | None = None,
    **options: Any,
) -> None:
    """Serve until the task is cancelled (by Ctrl-C under `asyncio.run`), then clean up.

    Args:
        host: The address to listen at.
        port: The port, 0 for a free one.
        ready: Called once it listens; `fake.url` is known then.
        options: FakeComfy's own.

    Raises:
        OSError: The port is taken.
        CancelledError: It was stopped.

    Example:
        >>> listening = asyncio.Event()
        >>> serving = asyncio.create_task(serve(port=0, ready=lambda fake: listening.set()))
        >>> await listening.wait()
        True
        >>> serving.cancel()
        True
    """
    async with FakeComfy(host=host, port=port, **options) as fake:
        if ready is not None:
            ready(fake)
        await asyncio.Event().wait()
