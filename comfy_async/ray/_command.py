"""A ComfyUI that a worker starts itself, watches, and ends with itself."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio

from .._base.backoff import Backoff
from .._base.own_addresses import literal
from ..errors import ConnectError

__all__ = ["ComfyCommand", "OwnServer"]

_log = logging.getLogger("comfy_async")

_GUARD: Final = Path(__file__).with_name("_guard.py")
_RESTART_FIRST_S: Final = 1.0
_RESTART_CAP_S: Final = 30.0
# What has run for this long starts without a growing pause when it ends.
_STABLE_S: Final = 60.0
_LOOK_S: Final = 0.1
# Where one listens for everybody is nowhere to dial.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ComfyCommand:
    """How a worker starts a ComfyUI of its own.

    Attributes:
        argv: The command line; `{port}` and `{host}` stand for where it is to listen.
        cwd: The working directory, the worker's own when None.
        env: Added to the worker's environment, in which Ray has set CUDA_VISIBLE_DEVICES.
        host: Where it listens, "0.0.0.0" for everybody; its worker is on the same machine.
        port: The port, 0 for a free one; with several workers on a machine it has to be 0.
        startup_seconds: How long it may take until it answers.
        stop_seconds: How long it may take to end when it is told to, before it is made to.

    Example:
        >>> command = ComfyCommand(argv=["python", "main.py", "--port", "{port}"], cwd="/opt/ComfyUI")
        >>> fleet = ComfyFleet(command, size=4, actor={"num_gpus": 0.5})  # two on each GPU
    """

    argv: Sequence[str]
    cwd: str | os.PathLike[str] | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    startup_seconds: float = 300.0
    stop_seconds: float = 5.0


class OwnServer:
    """The running command: started again on the same port whenever it ends."""

    def __init__(self, command: ComfyCommand) -> None:
        """Prepare; nothing is started."""
        self._command = command
        self._port = command.port or _free_port(command.host)
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self.starts = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        host = _EVERYWHERE.get(self._command.host, self._command.host)
        return f"http://{literal(host)}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The id of the guarding process, None before the start."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it, and watch over it from now on.

        Raises:
            ConnectError: There is no such command, or something else keeps its port.
        """
        await self._have_port()
        await self._spawn()
        self._watching = asyncio.create_task(self._watch(), name="comfy_async server")

    async def stop(self) -> None:
        """End it and wait until it has ended."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()

    async def _have_port(self) -> None:
        """Wait until the port is free; the server of an earlier worker process may be ending there.

        Raises:
            ConnectError: It is in use by something that does not end: another server must not be taken
                for the worker's own.
        """
        with anyio.move_on_after(self._command.startup_seconds):
            while not _is_free(self._command.host, self._port):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
            return
        raise ConnectError(f"port {self._port} is in use by another program", server=self.url)

    async def _spawn(self) -> None:
        """Start the command behind its guard, whose standard input is our hold on it."""
        command = self._command
        places = {"port": str(self._port), "host": command.host}
        argv = [_filled(str(part), places) for part in command.argv]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(_GUARD), str(command.stop_seconds), *argv),
                cwd=command.cwd,
                env={**os.environ, **command.env},
                stdin=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise ConnectError(f"ComfyUI could not be started: {error}", server=self.url) from error
        self.starts += 1

    async def _watch(self) -> None:
        """Start it again when it ends, with pauses that grow."""
        backoff = Backoff(first=_RESTART_FIRST_S, cap=_RESTART_CAP_S)
        now = asyncio.get_running_loop().time
        while self._process is not None:
            began = now()
            code = await self._process.wait()
            if now() - began > _STABLE_S:
                backoff.reset()
            pause = backoff.next()
            _log.warning("ComfyUI at %s ended with %s: starting it again in %.1f s", self.url, code, pause)
            await asyncio.sleep(pause)
            try:
                await self._spawn()
            except ConnectError as error:
                _log.warning("%s", error)


def _filled(part: str, places: Mapping[str, str]) -> str:
    """Put host and port into one argument of the command; other braces stay as they are."""
    for name, value in places.items():
        part = part.replace(f"{{{name}}}", value)
    return part


def _free_port(host: str) -> int:
    """Return a free port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(host: str, port: int) -> bool:
    """Say whether a server could listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do it: what is left of closed connections does not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
