"""Time as a session sees it."""

from __future__ import annotations

import asyncio
import time

__all__ = ["Clock"]


class Clock:
    """Time as the session sees it; tests give it another one."""

    def __init__(self) -> None:
        """Anchor Unix time to the monotonic clock, so that it never jumps."""
        self._epoch = time.time() - time.monotonic()

    def monotonic(self) -> float:
        """Return seconds from an arbitrary point."""
        return time.monotonic()

    def unix(self) -> float:
        """Return Unix seconds that never go back."""
        return self._epoch + time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event; False when the time runs out first."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
