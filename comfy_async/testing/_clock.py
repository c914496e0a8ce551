"""A clock for tests: the session's pauses cost a fraction of their time."""

from __future__ import annotations

import asyncio
import time

from .._base.clock import Clock

__all__ = ["FastClock"]


class FastClock(Clock):
    """A session's clock that runs faster than the wall's.

    Every pause, limit and interval of the session shrinks by the factor; what HTTP and the
    operating system take does not.

    Example:
        >>> settings = Settings(clock=FastClock(10))
        >>> async with FakeComfy() as fake, fake.session(settings=settings, transport="poll") as comfy:
        ...     result = await comfy.run(flow)  # its pauses are a tenth as long
    """

    def __init__(self, factor: float) -> None:
        """Run `factor` times as fast as the wall."""
        super().__init__()
        self._factor = factor

    def monotonic(self) -> float:
        """Return fast seconds."""
        return time.monotonic() * self._factor

    def unix(self) -> float:
        """Return fast Unix seconds."""
        return self._epoch + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep for fast seconds."""
        await super().sleep(seconds / self._factor)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for fast seconds."""
        return await super().wait(event, seconds / self._factor)
