"""The other origin from which the cloud serves files, by links that need no key."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from pathlib import Path

from aiohttp import web

__all__ = ["Storage", "StorageRequest"]

_CREDENTIALS = ("X-API-Key", "Authorization", "Cookie")


@dataclasses.dataclass(frozen=True, slots=True)
class StorageRequest:
    """One request for a stored file.

    Attributes:
        path: What was asked for.
        credentials: Names of the headers (or `token`) that should not have come here.
    """

    path: str
    credentials: tuple[str, ...]


class Storage:
    """A second server on a port of its own, with one secret link for each file.

    Attributes:
        requests: Everything that it was asked for.
    """

    def __init__(self, host: str, *, strict: bool = False) -> None:
        """Prepare it; it listens once it is started.

        Args:
            host: The address to listen at.
            strict: Answer 400 to who brings a credential along, as object stores do.
        """
        self.requests: list[StorageRequest] = []
        self._host = host
        self._port = 0
        self._strict = strict
        self._links: dict[str, tuple[Path, float]] = {}
        self._runner: web.AppRunner | None = None

    @property
    def leaks(self) -> list[StorageRequest]:
        """The requests that carried a credential to where it does not belong."""
        return [request for request in self.requests if request.credentials]

    def link(self, path: Path, *, seconds: float | None = None) -> str:
        """Return a signed URL of a file, good for some seconds."""
        signature = secrets.token_urlsafe(16)
        self._links[signature] = (path, time.monotonic() + (float("inf") if seconds is None else seconds))
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/bucket/{path.name}?signature={signature}"

    def expire(self) -> int:
        """Let every link that was given be out of date, and return how many there were."""
        self._links = {signature: (path, 0.0) for signature, (path, _) in self._links.items()}
        return len(self._links)

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_get("/bucket/{name}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await asyncio.shield(runner.cleanup())

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        found = [name for name in _CREDENTIALS if name in request.headers]
        found += ["token"] if "token" in request.query else []
        self.requests.append(StorageRequest(request.path, tuple(found)))
        if found and self._strict:
            return web.Response(status=400, text="InvalidArgument: only one way to sign in is allowed")
        path, until = self._links.get(request.query.get("signature", ""), (None, 0.0))
        if path is None or not path.is_file():
            return web.Response(status=403, text="SignatureDoesNotMatch")
        if time.monotonic() >= until:
            return web.Response(status=403, text="AccessDenied: Request has expired")
        return web.FileResponse(path)
