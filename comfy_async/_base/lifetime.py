"""The lifetime of the engine of a session, a pool or a fleet: in one event loop, closed once."""

from __future__ import annotations

import abc
import asyncio
from typing import ClassVar

from ..errors import SessionClosedError, WrongLoopError
from .cleanups import Cleanups, Work

__all__ = ["Lifetime"]


class Lifetime(abc.ABC):
    """The part of a session, a pool and a fleet that is about beginning and end.

    Attributes:
        loop: The event loop that it belongs to, None before its first use.
        closed: True from the beginning of its end.
        cleanups: What it is cleaning up, whoever stops waiting for it.
    """

    kind: ClassVar[str]
    """What it is, for error messages."""

    def __init__(self) -> None:
        """Belong to no loop yet."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closed = False
        self.cleanups = Cleanups()
        self._closing: asyncio.Task[None] | None = None

    @abc.abstractmethod
    def send_home(self) -> None:
        """Wake whoever waits, with an error: it is closed from now on."""

    @abc.abstractmethod
    def closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after its end."""

    @property
    def base_url(self) -> str | None:
        """The one server that it is about, if it is one."""
        return None

    async def close_once(self, shut: Work[None], *, name: str) -> None:
        """Be closed at once, then end everything; whoever closes it again waits for the same end.

        Args:
            shut: What ends the tasks and the connections, however impatient the caller is.
            name: The name of the task that does it.
        """
        if self._closing is None:
            self.closed = True
            # Whoever waits is woken before anything is awaited that may be cancelled.
            self.send_home()
            self._closing = self.cleanups.start(shut, name=name)
        await self.cleanups.wait_for(self._closing)

    def check_loop(self) -> None:
        """Bind it to the running loop at its first use.

        Raises:
            WrongLoopError: It was used in another loop.
            SessionClosedError: It is closed.
        """
        loop = asyncio.get_running_loop()
        if self.closed:
            raise self.closed_error(None)
        if self.loop is None:
            self.loop = loop
        elif self.loop is not loop:
            raise WrongLoopError(
                f"this {self.kind} belongs to another event loop",
                hint=f"Make one {self.kind} in each loop (each thread, each asyncio.run).",
                server=self.base_url,
            )
