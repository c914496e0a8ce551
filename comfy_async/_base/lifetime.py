"""How a session, a pool and a fleet live: in one event loop, entered and left, closed once."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, ClassVar, Self

import anyio

from ..errors import SessionClosedError, WrongLoopError

__all__ = ["Lifetime"]


class Lifetime(abc.ABC):
    """The part of `ComfySession`, `ComfyPool` and `ComfyFleet` that is about beginning and end."""

    _kind: ClassVar[str]
    """What it is, for error messages."""
    _loop: asyncio.AbstractEventLoop | None = None
    _closed: bool = False
    _closing: asyncio.Task[None] | None = None

    @abc.abstractmethod
    async def connect(self) -> Self:
        """Make sure that there is somebody to talk to."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Close everything."""

    @abc.abstractmethod
    def _send_home(self) -> None:
        """Wake whoever waits, with an error: it is closed from now on."""

    @abc.abstractmethod
    def _closed_error(self, prompt_id: str | None) -> SessionClosedError:
        """Return the error for what comes after `aclose()`."""

    @property
    def _address(self) -> str | None:
        """The one server that it is about, if it is one."""
        return None

    async def __aenter__(self) -> Self:
        """Connect, as `connect()`."""
        try:
            return await self.connect()
        except BaseException:
            await self.aclose()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, as `aclose()`."""
        await self.aclose()

    async def _close_once(self, shut: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
        """Be closed at once, then end everything; whoever closes it again waits for the same end.

        Args:
            shut: What ends the tasks and the connections, however impatient the caller is.
            name: The name of the task that does it.
        """
        if self._closing is None:
            self._closed = True
            # Whoever waits is woken before anything is awaited that may be cancelled.
            self._send_home()
            self._closing = asyncio.create_task(shut(), name=name)
        with anyio.CancelScope(shield=True):
            await asyncio.shield(self._closing)

    def _check_loop(self) -> None:
        """Bind it to the running loop at its first use.

        Raises:
            WrongLoopError: It was used in another loop.
            SessionClosedError: It is closed.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise self._closed_error(None)
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongLoopError(
                f"this {self._kind} belongs to another event loop",
                hint=f"Make one {self._kind} in each loop (each thread, each asyncio.run).",
                server=self._address,
            )
