"""The open port of a server and its background tasks, which can go away and come back."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine
from typing import Any, cast

from aiohttp import web

from ._core import Core
from ._worker import Worker

__all__ = ["Listener"]

_SHUTDOWN_SECONDS = 2.0


class _Refusal(asyncio.Protocol):
    """What gets a connection that comes while the server goes down."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Break it."""
        cast(asyncio.Transport, transport).abort()


class Listener:
    """Listens at one address for as long as the server lives, restarts included.

    Attributes:
        port: The port, known once it has listened.
    """

    def __init__(
        self, core: Core, worker: Worker, *, host: str, port: int, ssl_context: ssl.SSLContext | None
    ) -> None:
        """Prepare to listen."""
        self.port = port
        self._core = core
        self._worker = worker
        self._host = host
        self._ssl_context = ssl_context
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def started(self) -> bool:
        """Whether it was started and not stopped since; it may be down all the same."""
        return self._runner is not None

    async def start(self, app: web.Application) -> None:
        """Listen and work.

        Raises:
            OSError: The port is taken.
        """
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handle_signals=False)
        self._runner = runner
        await runner.setup()
        await self.come_up()

    async def stop(self) -> None:
        """Go down for good."""
        await self.go_down(history=True)
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def come_up(self) -> None:
        """Open the port, the same one as before, and work; nothing happens when it is open.

        Raises:
            OSError: The port is taken.
            RuntimeError: It was never started, or was stopped.
        """
        if self._server is not None:
            return
        if self._runner is None or self._runner.server is None:
            raise RuntimeError("this FakeComfy does not run")
        loop = asyncio.get_running_loop()
        # Nothing is bound before the last await: whoever is cancelled in it leaves no half-open port.
        server = await loop.create_server(
            self._answer,
            self._host,
            self.port,
            ssl=self._ssl_context,
            reuse_address=True,
            start_serving=False,
        )
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        self._spawn(self._core.hub.publish(), "publish")
        self._spawn(self._worker.work(), "work")
        await server.start_serving()

    async def go_down(self, *, history: bool) -> None:
        """Close the port and break every connection; what was queued is lost.

        All of it before anything is awaited: a caller that is cancelled leaves no server that
        is half dead, with a prompt that is said to run and that nobody runs.

        Raises:
            Exception: What ended a background task before: a mistake in this package.
        """
        server, self._server = self._server, None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        self._worker.free()
        self._core.die(history=history)
        self._break_all()
        if server is not None:
            self._close_soon(server)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _close_soon(self, server: asyncio.Server) -> None:
        """Accept nobody from now on, and close the port when those who were accepted have their transports.

        asyncio forgets a connection, with its socket open, that is given its transport after its
        server was closed (`Server._attach` asserts; seen on 3.11).
        """
        loop = asyncio.get_running_loop()
        # Loops without readers, as of Windows, have no such moment.
        with contextlib.suppress(NotImplementedError):
            for listening in server.sockets:
                loop.remove_reader(listening.fileno())
        loop.call_soon(self._close, server)

    def _close(self, server: asyncio.Server) -> None:
        """Close the port, and break what was being connected meanwhile."""
        server.close()
        if self._server is None:
            self._break_all()

    def _break_all(self) -> None:
        """Break every connection."""
        if self._runner is not None and self._runner.server is not None:
            for connection in list(self._runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()

    def _answer(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        if self._server is None or self._runner is None or self._runner.server is None:
            return _Refusal()
        return self._runner.server()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a background task."""
        task = asyncio.get_running_loop().create_task(work, name=f"fake-comfy-{name}")
        self._tasks.append(task)
