"""Uploads and downloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from .._session import ComfySession
    from ..workflow import Workflow

__all__ = ["Files"]


class Files:
    """`comfy.files`: what goes in and what comes out."""

    def __init__(self, session: ComfySession) -> None:
        """Use the session's HTTP client."""
        self._session = session

    def url(self, filename: str, *, subfolder: str = "", type: str = "output") -> str:
        """Return a file's address, without credentials."""
        query = urlencode({"filename": filename, "subfolder": subfolder, "type": type})
        return self._session._http.address.http(f"/view?{query}")

    async def read(self, filename: str, *, subfolder: str = "", type: str = "output") -> bytes:
        """Return a file's bytes."""
        self._session._check_loop()
        return b"".join([chunk async for chunk in self.open(filename, subfolder=subfolder, type=type)])

    async def open(self, filename: str, *, subfolder: str = "", type: str = "output") -> AsyncIterator[bytes]:
        """Yield a file's bytes as they come."""
        self._session._check_loop()
        params = {"filename": filename, "subfolder": subfolder, "type": type}
        async with self._session._http.stream("/view", params=params) as stream:
            async for chunk in stream.chunks():
                yield chunk

    async def save(self, filename: str, path: Path, *, subfolder: str = "", type: str = "output") -> Path:
        """Write a file to disk."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            async for chunk in self.open(filename, subfolder=subfolder, type=type):
                out.write(chunk)
        return path

    async def upload_inputs(self, workflow: Workflow) -> Workflow:
        """Upload what waits in a workflow."""
        raise NotImplementedError

    async def upload(self, image: Any, *, name: str | None = None) -> Any:
        """Upload."""
        raise NotImplementedError
