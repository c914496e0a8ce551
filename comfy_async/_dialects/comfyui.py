"""The few requests that runs need, in ComfyUI's own words; answers come back as facts."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

from .._protocol.snapshot import HistoryEntry, QueueSnapshot, parse_history, parse_jobs, parse_queue
from .._transport.answers import Answer
from .._transport.http import HttpClient
from ..errors import NotComfyUIError, NotFoundError
from .server import ServerInfo

__all__ = ["RunApi", "UnreadableError"]

_T = TypeVar("_T")

# The server takes one prompt after the other. A thousand posts at once would only open more
# connections, and wait in httpcore's pool, whose work grows with the square of those that wait.
_POSTS_AT_ONCE: Final = 8


class UnreadableError(NotComfyUIError):
    """An answer came, as JSON, but in a shape that says nothing. Internal."""


class RunApi:
    """A local server's run routes. Every method raises `ComfyError` when the server fails."""

    def __init__(self, http: HttpClient) -> None:
        """Use the session's HTTP client."""
        self._http = http
        self.server = ServerInfo()
        self.probed = False
        self._posts = asyncio.Semaphore(_POSTS_AT_ONCE)
        self._has_jobs: bool | None = None

    @property
    def address(self) -> str:
        """The server's base URL, without credentials and without a trailing slash."""
        return self._http.address.base

    async def probe(self) -> ServerInfo:
        """Find out what answers at the address, and whether its routes stand under /api.

        Raises:
            NotComfyUIError: It is no ComfyUI.
            ComfyError: It cannot be reached, or refuses.
        """
        answer = await self._http.request("GET", "/api/system_stats", root=True, expect=(404, 405))
        self._http.prefix = "/api"
        if answer.status != 200 or answer.content_type == "text/html":
            # Servers before 2024-06 have no /api; some gateways map it away.
            answer = await self._http.request("GET", "/system_stats", root=True, expect=(404, 405))
            self._http.prefix = ""
        body = answer.json_object() if answer.status == 200 else {}
        system = body.get("system")
        if not isinstance(system, dict):
            raise answer.not_comfyui("this is no ComfyUI")
        devices = body.get("devices")
        self.probed = True
        self.server = ServerInfo(
            version=str(system.get("comfyui_version") or ""),
            cloud=self._http.dialect == "cloud",
            features=self.server.features,
            devices=tuple(d for d in devices if isinstance(d, dict)) if isinstance(devices, list) else (),
        )
        return self.server

    def learn(self, features: Mapping[str, Any]) -> None:
        """Keep what the server announced on the socket."""
        self.server = dataclasses.replace(self.server, features=dict(features))

    async def post_prompt(self, body: bytes) -> Answer:
        """POST /prompt; 400 is an answer, not an error."""
        headers = {"Content-Type": "application/json", "Comfy-Usage-Source": "comfy-async"}
        async with self._posts:
            return await self._http.request("POST", "/prompt", content=body, headers=headers, expect=(400,))

    @property
    def lists_jobs(self) -> bool:
        """True when a look at the queue costs a few bytes a job (see `snapshot`)."""
        return self._has_jobs is not False and self.server.can("jobs")

    async def snapshot(self, *, whole: bool = False) -> QueueSnapshot:
        """Return what the server runs or will run.

        The jobs API says it in a few bytes a job; /queue carries every graph (PROTOCOL 0.11),
        and is read on older servers, or when `whole` asks for the graphs.
        """
        if not whole and self.lists_jobs:
            try:
                body = await self._http.get_json("/api/jobs?status=pending,in_progress", root=True)
                return self._read(parse_jobs, body, "the list of jobs")
            except NotFoundError:
                self._has_jobs = False
        return self._read(parse_queue, await self._http.get_json("/queue"), "the queue")

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

    async def cancel(self, prompt_id: str) -> None:
        """Ask the server to remove or stop exactly this job; no answer is a proof that it did.

        The jobs API since 0.25.0; before, delete from the queue and interrupt by id; on servers
        without a targeted interrupt only when /queue says at this moment that this job runs.
        """
        if self.server.can("cancel_jobs"):
            path = f"/api/jobs/{quote(prompt_id, safe='')}/cancel"
            answer = await self._http.request("POST", path, root=True, expect=(404, 405))
            if answer.status == 200:
                return
        await self._http.request("POST", "/queue", json={"delete": [prompt_id]})
        if self.server.can("targeted_interrupt"):
            await self._http.request("POST", "/interrupt", json={"prompt_id": prompt_id})
            return
        entry = (await self.snapshot(whole=True)).entries.get(prompt_id)
        if entry is not None and entry.running:
            await self._http.request("POST", "/interrupt", json={})

    async def find_mark(self, key: str, mark: str) -> str | None:
        """Return the id of the job whose `extra_data` carries a mark, in queue or recent history."""
        snapshot = await self.snapshot(whole=True)
        for entry in snapshot.entries.values():
            if entry.extra_data is not None and entry.extra_data.get(key) == mark:
                return entry.prompt_id
        recent = await self._http.get_json("/history?max_items=64")
        for prompt_id in recent if isinstance(recent, dict) else ():
            entry_of = functools.partial(parse_history, prompt_id=str(prompt_id))
            found = self._read(entry_of, {prompt_id: recent[prompt_id]}, "the history")
            if found is not None and found.extra_data.get(key) == mark:
                return str(prompt_id)
        return None

    async def object_info(self, class_type: str) -> Mapping[str, Any]:
        """Return the spec of one class, {} when the server has none."""
        body = await self._http.get_json(f"/object_info/{quote(class_type, safe='')}")
        info = body.get(class_type) if isinstance(body, dict) else None
        return info if isinstance(info, dict) else {}

    def _read(self, parse: Callable[[object], _T], body: object, what: str) -> _T:
        """Read an answer into a fact; another shape proves nothing about any job."""
        try:
            return parse(body)
        except ValueError as error:
            raise UnreadableError(f"{what}: {error}", server=self._http.address.base) from None
