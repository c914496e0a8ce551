"""A FakeComfy outside of an async test: until it is stopped (the command line), or in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ._server import FakeComfy

__all__ = ["in_thread", "in_thread_as", "serve"]


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


@contextmanager
def in_thread(server: FakeComfy) -> Iterator[BlockingPortal]:
    """Run a server in a thread while the block lasts.

    Yields:
        The way to call what is async, or belongs to the server's loop: `portal.call(fake.idle)`.

    Raises:
        OSError: The port is taken.
    """
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(server):
        yield portal


@contextmanager
def in_thread_as(server: AbstractAsyncContextManager[FakeComfy]) -> Iterator[FakeComfy]:
    """Enter something that gives a server in a thread, and leave it there."""
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(server) as running:
        yield running
