"""A FakeComfy with an event loop of its own in a thread, for tests that are not async."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING

from anyio.from_thread import BlockingPortal, start_blocking_portal

if TYPE_CHECKING:
    from ._server import FakeComfy

__all__ = ["in_thread", "in_thread_as"]


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
