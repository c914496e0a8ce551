"""What has run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from ..errors import NotComfyUIError, NotFoundError
from ._resource import Resource
from ._schema_runs import HistoryRecord

__all__ = ["History", "HistoryRecord"]

# The server remembers this many (execution.py, MAXIMUM_HISTORY_SIZE).
_ALL: Final = 10_000
_BEYOND: Final = 1_000_000


class History(Resource):
    """`comfy.history`: the finished jobs that the server remembers, until it restarts.

    Example:
        >>> async for page in comfy.history.page(size=50):
        ...     for record in page:
        ...         print(record.prompt_id, record.status, len(record.outputs))
    """

    async def get(self, prompt_id: str) -> HistoryRecord:
        """Return a finished job.

        Raises:
            NotFoundError: It has not finished, or the server has forgotten it.
            ComfyError: The request failed.
        """
        await self._host.known_server()
        path = f"{self._host.api.history_route}/{quote(prompt_id, safe='')}"
        body = await self._get(path)
        entry = body.get(prompt_id) if isinstance(body, Mapping) else None
        if not isinstance(body, Mapping) or (body and not isinstance(entry, Mapping)):
            # An answer of another shape, a gateway's "log in" perhaps, says nothing about any job.
            raise NotComfyUIError(
                f"GET {path} at {self._host.base_url}: the answer is no history",
                hint="Check the address: a proxy or another program may answer there.",
                server=self._host.base_url,
                prompt_id=prompt_id,
            )
        if not isinstance(entry, Mapping):
            raise NotFoundError(
                f"{self._host.base_url} has no history of {prompt_id}",
                hint="It has not finished, or the server has restarted; `jobs.get` finds open jobs too.",
                status=404,
                method="GET",
                path=path,
                prompt_id=prompt_id,
                server=self._host.base_url,
            )
        return self._record(prompt_id, entry)

    async def page(self, *, size: int = 100, start: int = 0) -> AsyncIterator[tuple[HistoryRecord, ...]]:
        """Yield the finished jobs in pages, the oldest first.

        Servers before 0.3.60 have no pages: there everything is fetched once, and cut.

        Args:
            size: Jobs in a page.
            start: How many of the oldest to leave out.

        Raises:
            ValueError: The size is not positive, or the start is negative.
            ComfyError: The request failed.
        """
        if size < 1 or start < 0:
            raise ValueError("a page has at least one job, and starts at 0 or later")
        if not await self._has_pages():
            everything = (await self._some(max_items=_ALL))[start:]
            for place in range(0, len(everything), size):
                yield tuple(everything[place : place + size])
            return
        seen: set[str] = set()
        while True:
            found = await self._some(max_items=size, offset=start)
            fresh = tuple(job for job in found if job.prompt_id not in seen)
            if not fresh:
                return
            seen.update(job.prompt_id for job in fresh)
            start += len(found)
            yield fresh
            if len(found) < size:
                return

    async def _has_pages(self) -> bool:
        """Return whether the server knows `offset`: one that ignores it sends its last entry past the end."""
        server = await self._host.known_server()
        if server.can("history_offset") and not server.surely("history_offset"):
            beyond = await self._some(max_items=1, offset=_BEYOND)
            self._host.api.prove("history_offset", not beyond)
        return self._server.can("history_offset")

    async def delete(self, *prompt_ids: str) -> None:
        """Make the server forget these jobs; their files stay.

        Raises:
            ComfyError: The request failed.
        """
        if prompt_ids:
            await self._send("POST", "/history", json={"delete": list(prompt_ids)}, retry=True)

    async def clear(self) -> None:
        """Make the server forget all finished jobs of everybody; their files stay.

        Raises:
            ComfyError: The request failed.
        """
        await self._send("POST", "/history", json={"clear": True}, retry=True)

    async def _some(self, **params: int) -> list[HistoryRecord]:
        """Fetch some entries in the server's order."""
        await self._host.known_server()
        body = await self._get(self._host.api.history_route, params=params)
        if not isinstance(body, Mapping):
            raise NotComfyUIError("GET /history has another shape", server=self._host.base_url)
        return [self._record(key, entry) for key, entry in self._host.api.history_rows(body)]

    def _record(self, prompt_id: str, entry: Mapping[str, Any]) -> HistoryRecord:
        """Read one entry."""
        try:
            made = HistoryRecord.of_entry(prompt_id, entry)
        except TypeError:
            raise NotComfyUIError(
                f"the history of {prompt_id} has another shape", server=self._host.base_url
            ) from None
        return self._read(HistoryRecord, made, f"the history of {prompt_id}")
