"""Which jobs a server has, by ComfyUI's own routes: its queue, its jobs API, its history."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

from .._protocol.snapshot import (
    HistoryEntry,
    QueueEntry,
    QueueSnapshot,
    parse_history,
    parse_job,
    parse_jobs,
    parse_queue,
)
from .._transport.http import HttpClient
from ..errors import NotComfyUIError
from .comfyui_files import ViewFiles
from .dialect import UnreadableError
from .server import ServerInfo

__all__ = ["NO_ROUTE", "JobLists"]

_T = TypeVar("_T")

NO_ROUTE: Final = (404, 405)
"""What a route that is not there answers; 405 where another method has it."""

# Reading all of so short a queue for one graph costs little.
_SHORT_QUEUE_JOBS: Final = 16


class JobLists(ViewFiles):
    """Jobs that wait, run or have ended: one of them, all, or the one with a mark.

    Attributes:
        server: What it is and can do.
    """

    def __init__(self, http: HttpClient) -> None:
        """Use the session's HTTP client."""
        super().__init__(http)
        self.server = ServerInfo()

    def prove(self, capability: str, has: bool) -> None:
        """Keep what an answer has shown: it overrides the server's version."""
        if self.server.proven.get(capability) is not has:
            self.server = self.server.shown(capability, has)

    @property
    def lists_jobs(self) -> bool:
        """True when reading the queue costs a few bytes a job (see `snapshot`)."""
        return self.server.can("jobs")

    async def has_jobs(self) -> bool:
        """Return whether the server lists jobs; it is requested once."""
        if self.lists_jobs and "jobs" not in self.server.proven:
            await self._listed("in_progress")
        return self.lists_jobs

    async def snapshot(self, of: Collection[str] = (), *, whole: bool = False) -> QueueSnapshot:
        """Return what the server runs or will run, whichever jobs matter.

        The jobs API says it in a few bytes a job; /queue carries every graph (PROTOCOL 0.11),
        and is read on older servers, or when `whole` asks for the graphs.
        """
        if not whole:
            found = await self._listed("pending,in_progress")
            if found is not None:
                return found
        return await self._whole_queue()

    async def find(self, prompt_id: str) -> QueueEntry | None:
        """Return one job that waits or runs, None when the queue has none of this id.

        By the jobs API, in the bytes of that one job; its graph is among them on servers after 0.33.
        On those before, the graph comes with a queue of a few jobs, and a long one is left alone.
        Without that API the whole queue is read.
        """
        if self.lists_jobs:
            path = f"/api/jobs/{quote(prompt_id, safe='')}"
            answer = await self._http.request("GET", path, root=True, expect=NO_ROUTE)
            if answer.status == 200:
                return await self._with_graph(self._read(parse_job, answer.json(), "the job"))
            # An unknown job and an unknown route are both 404: the list tells them apart.
            listed = await self._listed("pending,in_progress")
            if listed is not None:
                return listed.entries.get(prompt_id)
        return (await self._whole_queue()).entries.get(prompt_id)

    async def _with_graph(self, entry: QueueEntry | None) -> QueueEntry | None:
        """Add the graph of a job that came without, where the queue is short."""
        if entry is None or entry.prompt is not None or await self.queue_remaining() > _SHORT_QUEUE_JOBS:
            return entry
        return (await self._whole_queue()).entries.get(entry.prompt_id, entry)

    async def _listed(self, status: str) -> QueueSnapshot | None:
        """Return the jobs in some states, None when the server has no such list."""
        if not self.lists_jobs:
            return None
        path = f"/api/jobs?status={status}"
        answer = await self._http.request("GET", path, root=True, expect=NO_ROUTE)
        self.prove("jobs", answer.status == 200)
        return self._read(parse_jobs, answer.json(), "the list of jobs") if answer.status == 200 else None

    async def queue(self, *, retry: bool = False) -> Any:
        """Return what GET /queue answers, with all its graphs; a long one is decoded off the event loop."""
        return await self._http.get_json("/queue", retry=retry)

    async def _whole_queue(self) -> QueueSnapshot:
        """Read all of the queue into facts."""
        return self._read(parse_queue, await self.queue(), "the queue")

    async def queue_remaining(self) -> int:
        """Return the number of running and waiting jobs: 31 bytes."""
        body = await self._http.get_json("/prompt")
        try:
            return int(body["exec_info"]["queue_remaining"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise NotComfyUIError("GET /prompt has another shape", server=self._http.address.base) from None

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """Return a finished job, None when the history has none of this id."""
        body = await self._http.get_json(f"/history/{quote(prompt_id, safe='')}")
        return self._read(lambda value: parse_history(value, prompt_id), body, "the history")

    async def find_mark(self, key: str, mark: str) -> str | None:
        """Return the id of the job whose `extra_data` carries a mark, in queue or recent history."""
        found = await self._marked(key, mark, "/history?max_items=64")
        return None if found is None else found[0]

    async def find_keyed(self, key: str, mark: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return id and `extra_data` of the job that has a mark: its id, where the client chooses that.

        The queue is read before the history, so that a job that ends meanwhile is in the second.
        """
        if not self.server.can("client_prompt_id"):
            return await self._marked(key, mark, "/history")
        entry = await self.find(mark)
        if entry is not None and entry.extra_data is None:
            entry = (await self._whole_queue()).entries.get(mark)
        if entry is not None:
            return mark, entry.extra_data or {}
        past = await self.history(mark)
        return None if past is None else (mark, past.extra_data)

    async def _marked(self, key: str, mark: str, history: str) -> tuple[str, Mapping[str, Any]] | None:
        """Look for a mark in the queue, then in as much of the history as a route gives."""
        snapshot = await self._whole_queue()
        for entry in snapshot.entries.values():
            if entry.extra_data is not None and entry.extra_data.get(key) == mark:
                return entry.prompt_id, entry.extra_data
        recent = await self._http.get_json(history)
        for prompt_id in recent if isinstance(recent, dict) else ():
            entry_of = functools.partial(parse_history, prompt_id=str(prompt_id))
            found = self._read(entry_of, {prompt_id: recent[prompt_id]}, "the history")
            if found is not None and found.extra_data.get(key) == mark:
                return str(prompt_id), found.extra_data
        return None

    def _read(self, parse: Callable[[object], _T], body: object, what: str) -> _T:
        """Read an answer into a fact; another shape proves nothing about any job."""
        try:
            return parse(body)
        except ValueError as error:
            raise UnreadableError(f"{what}: {error}", server=self._http.address.base) from None
