"""The server as a machine: memory, versions, logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from ..errors import NotFoundError, UnsupportedError
from ..events import LogEntries, Reconnected
from ._resource import Resource
from ._schema_server import Device, LogLine, LogSnapshot, SystemInfo, SystemStats

__all__ = ["Device", "LogLine", "LogSnapshot", "System", "SystemInfo", "SystemStats"]


class System(Resource):
    """`comfy.system`: the server as a machine.

    Example:
        >>> stats = await comfy.system.stats()
        >>> print(stats.system.comfyui_version, stats.devices[0].name, stats.devices[0].vram_free)
        0.33.0 cpu 21474836480
    """

    async def stats(self) -> SystemStats:
        """Return memory, devices and versions.

        Raises:
            ComfyError: The request failed.
        """
        return self._read(SystemStats, await self._get("/system_stats"), "GET /system_stats")

    async def features(self) -> dict[str, Any]:
        """Return what the server announces that it can do; also kept in `comfy.server.features`.

        Raises:
            UnsupportedError: The server is older than 0.3.45.
            ComfyError: The request failed.
        """
        features = self._read(dict[str, Any], await self._get("/features"), "GET /features")
        self._host.api.learn(features)
        return features

    async def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Make the server unload its models and empty its caches, as soon as it has time.

        Raises:
            ComfyError: The request failed.
        """
        body = {"unload_models": unload_models, "free_memory": free_memory}
        await self._send("POST", "/free", json=body, retry=True)

    async def extensions(self) -> tuple[str, ...]:
        """Return the paths of the editor's extensions that packs bring.

        Raises:
            ComfyError: The request failed.
        """
        return self._read(tuple[str, ...], await self._get("/extensions"), "GET /extensions")

    async def translations(self) -> dict[str, Any]:
        """Return the texts of packs in other languages, by language.

        Raises:
            UnsupportedError: The server is older than 0.3.13.
            ComfyError: The request failed.
        """
        return self._read(dict[str, Any], await self._get("/i18n"), "GET /i18n")

    async def workflow_templates(self) -> dict[str, list[str]]:
        """Return the names of the example workflows that packs bring, by pack.

        Raises:
            UnsupportedError: The server is older than 0.3.11.
            ComfyError: The request failed.
        """
        path = "/workflow_templates"
        return self._read(dict[str, list[str]], await self._get(path), f"GET {path}")

    # From /internal, which ComfyUI promises nothing about, and gateways often close.

    async def logs(self) -> LogSnapshot:
        """Return the last lines of the server's log.

        Raises:
            UnsupportedError: The server does not show its log; before 0.3.0 it does as `log_text`.
            ComfyError: The request failed.
        """
        return self._read(LogSnapshot, await self._internal("/internal/logs/raw"), "GET /internal/logs/raw")

    async def log_text(self) -> str:
        """Return the last lines of the server's log as one text.

        Raises:
            UnsupportedError: The server does not show its log.
            ComfyError: The request failed.
        """
        return self._read(str, await self._internal("/internal/logs"), "GET /internal/logs")

    async def folders(self) -> dict[str, Any]:
        """Return the folders on the server's disk, by kind of model.

        Raises:
            UnsupportedError: The server does not show them.
            ComfyError: The request failed.
        """
        path = "/internal/folder_paths"
        return self._read(dict[str, Any], await self._internal(path), f"GET {path}")

    async def files(self, type: Literal["input", "output", "temp"] = "output") -> tuple[str, ...]:
        """Return the files in one of the server's folders, the newest first, folders in it left out.

        Raises:
            UnsupportedError: The server does not show them; it takes 0.3.15.
            ComfyError: The request failed.
        """
        path = f"/internal/files/{type}"
        names = self._read(tuple[str, ...], await self._internal(path), f"GET {path}")
        return tuple(name.removesuffix(f" [{type}]") for name in names)

    async def subscribe_logs(self, *, enabled: bool = True) -> None:
        """Subscribe `comfy.events()` to the lines of the server's log, as `LogEntries`, or unsubscribe it.

        The server forgets this when the socket breaks; `follow_logs` subscribes again by itself.

        Raises:
            UnsupportedError: The server does not send its log, or the session has no socket.
            ComfyError: The request failed.
        """
        if not self._host.uses_socket:
            raise UnsupportedError("without a WebSocket no log lines come", hint="`logs()` reads them.")
        body = {"clientId": self._host.client_id, "enabled": enabled}
        try:
            # A client without a socket is taken off the list again (app/logger and terminal_service).
            self._host.check_loop()
            await self._host.hear()
            await self._send("PATCH", "/internal/logs/subscribe", json=body, root=True, retry=True)
        except NotFoundError as error:
            raise self._no_internal() from error

    async def follow_logs(self) -> AsyncIterator[LogEntries]:
        """Yield the lines of the server's log as they come, across broken connections.

        A loop that stalls for long misses lines: `Settings.mailbox_events` frames are kept for it.

        Raises:
            UnsupportedError: The server does not send its log, or the session has no socket.
            ComfyError: The request failed.

        Example:
            >>> job = await comfy.submit(flow)
            >>> async for lines in comfy.system.follow_logs():
            ...     print(lines.entries[0]["m"])
            ...     break
        """
        events = self._host.events()
        try:
            await self.subscribe_logs()
            async for event in events:
                if isinstance(event, LogEntries):
                    yield event
                elif isinstance(event, Reconnected):
                    await self.subscribe_logs()
        finally:
            await events.aclose()

    async def _internal(self, path: str) -> Any:
        """GET a route that is never under /api."""
        try:
            return await self._get(path, root=True)
        except NotFoundError as error:
            raise self._no_internal() from error

    def _no_internal(self) -> UnsupportedError:
        """Return the error for a server that does not serve its internal routes."""
        return UnsupportedError(
            f"{self._host.base_url} does not serve /internal",
            hint="Comfy Cloud and many gateways do not.",
            version=self._server.version,
            server=self._host.base_url,
        )
