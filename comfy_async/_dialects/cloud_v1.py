"""Comfy Cloud's v1 dialect of the requests that runs need (PROTOCOL 1.6 and 4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal
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
from ..errors import NotFoundError, UnsupportedError
from .comfyui import RunApi
from .dialect import DialectName, Draft, FilePlace
from .server import ServerInfo

__all__ = ["CloudApi"]

_PAGE: Final = 1000
_MAX_PAGES: Final = 100
# By the job's status: the word of history, and the message that ends a run.
_ENDS: Final[Mapping[str, tuple[str, str]]] = {
    "completed": ("success", "execution_success"),
    "failed": ("error", "execution_error"),
    "cancelled": ("error", "execution_interrupted"),
}


class CloudApi(RunApi):
    """The cloud's routes: everything under /api, jobs by cursor, no /history to read."""

    name: ClassVar[DialectName] = "cloud-v1"
    chooses_ids: ClassVar[bool] = True
    labels_are_in: ClassVar[Literal["queue and history", "each job", "its list"]] = "each job"
    tells_single_classes: ClassVar[bool] = False
    names_models: ClassVar[bool] = False
    history_route: ClassVar[str] = "/history_v2"
    orders: ClassVar[Mapping[str, str]] = {"created": "create_time", "duration": "execution_time"}

    def __init__(self, http: HttpClient) -> None:
        """Use the session's HTTP client."""
        super().__init__(http)
        http.key_in_query = True
        http.prefix = "/api"
        self.server = ServerInfo(cloud=True, dialect=self.name)

    @property
    def finds_posted(self) -> bool:
        """False: the cloud chooses the ids, and keeps no mark."""
        return False

    async def find_posted(self, draft: Draft, known: Collection[str]) -> str | None:
        """Return None: see `finds_posted`."""
        return None

    async def has_jobs(self) -> bool:
        """Return True: there is nothing else."""
        return True

    async def probe(self) -> ServerInfo:
        """Find out what answers, and whether the key is good: /system_stats needs none there.

        Raises:
            AuthError: The key is wrong.
            NotComfyUIError: It is no Comfy Cloud.
            ComfyError: It cannot be reached, or refuses.
        """
        server = await super().probe()
        await self._http.request("GET", "/user", expect=(404, 405))
        return server

    async def snapshot(self, of: Collection[str] = (), *, whole: bool = False) -> QueueSnapshot:
        """Return what the account runs or will run, from all pages of the list of jobs."""
        if whole:
            return self._read(parse_queue, await self._http.get_json("/queue"), "the queue")
        params: dict[str, Any] = {"status": "pending,in_progress", "limit": _PAGE}
        entries: dict[str, QueueEntry] = {}
        for _ in range(_MAX_PAGES):
            body = await self._http.get_json("/jobs", params=params)
            cursor = _next_cursor(body)
            if cursor is not None:
                body = {**body, "pagination": {}}
            # Without a cursor a list that goes on is refused there: it would prove absences.
            entries |= self._read(parse_jobs, body, "the list of jobs").entries
            if cursor is None:
                break
            params["after"] = cursor
        return QueueSnapshot(entries)

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """Return a finished job, None when it is open or the cloud has none of this id."""
        try:
            body = await self._http.get_json(f"/jobs/{quote(prompt_id, safe='')}")
        except NotFoundError:
            return None
        return self._read(lambda value: _read_job(value, prompt_id), body, "the job")

    async def find(self, prompt_id: str) -> QueueEntry | None:
        """Return one job that waits or runs, None when the cloud has none of this id."""
        answer = await self._http.request("GET", f"/jobs/{quote(prompt_id, safe='')}", expect=(404,))
        return None if answer.status == 404 else self._read(parse_job, answer.json(), "the job")

    async def find_keyed(self, key: str, mark: str) -> tuple[str, Mapping[str, Any]] | None:
        """Refuse: the cloud chooses the ids, and its lists have nothing of what was sent along.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            "Comfy Cloud cannot hold a job to a key: it chooses the ids, and of a job that waits it does not "
            "tell what was sent along",
            hint="Keep `job.ref` beside the key, and `attach` to it.",
            server=self.address,
        )

    async def cancel(self, prompt_id: str) -> None:
        """Ask the cloud to remove or stop exactly this job; no answer is a proof that it did."""
        path = f"/jobs/{quote(prompt_id, safe='')}/cancel"
        await self._http.request("POST", path, expect=(404,))

    async def cancel_all(self, prompt_ids: Sequence[str]) -> bool:
        """Ask the cloud to remove or stop these jobs; return whether it accepted any of them."""
        if len(prompt_ids) > 1:
            taken = await self._take_back("/jobs/cancel", {"job_ids": list(prompt_ids)})
            if taken is not None:
                return taken
        done = False
        for prompt_id in prompt_ids:
            done |= await self._take_back(f"/jobs/{quote(prompt_id, safe='')}/cancel", None) or False
        return done

    async def _take_back(self, path: str, body: Any) -> bool | None:
        """Post a cancel, which answers with a bool or with a list of ids; None when it is refused.

        One id that is unknown or invalid fails a whole batch, so that each is requested.
        """
        answer = await self._http.request("POST", path, json=body, expect=(400, 404), retry=True)
        return bool(answer.json_object().get("cancelled")) if answer.status == 200 else None

    async def interrupt(self, prompt_id: str) -> None:
        """Stop exactly this job; the cloud has one request for that and for removing it."""
        await self.cancel(prompt_id)

    def history_rows(self, body: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return the finished jobs in a page: the newest first, without a key by id."""
        rows = body.get("history")
        if not isinstance(rows, list):
            return super().history_rows(body)
        return [(str(row.get("prompt_id")), row) for row in rows if isinstance(row, Mapping)]

    async def has_file(self, place: FilePlace) -> bool | None:
        """Return None: there the answer leads to another host."""
        return None


def _next_cursor(body: object) -> str | None:
    """Return where the next page of a list of jobs begins, None when there is none."""
    pagination = body.get("pagination") if isinstance(body, Mapping) else None
    if not isinstance(pagination, Mapping) or not pagination.get("has_more"):
        return None
    cursor = pagination.get("next_cursor")
    return cursor if isinstance(cursor, str) and cursor else None


def _read_job(body: object, prompt_id: str) -> HistoryEntry | None:
    """Read the answer of GET /api/jobs/{id} as an entry of a local server's history.

    Raises:
        ValueError: It has another shape, so that it proves nothing about the job.
    """
    if not isinstance(body, Mapping) or body.get("id") != prompt_id:
        raise ValueError("it is not the job that was asked for")
    end = _ENDS.get(str(body.get("status")))
    if end is None:
        return None
    workflow = body.get("workflow")
    workflow = workflow if isinstance(workflow, Mapping) else {}
    prompt, extra = workflow.get("prompt"), workflow.get("extra_data")
    entry = {
        "prompt": [0, prompt_id, prompt if isinstance(prompt, Mapping) else {}, extra or {}],
        "outputs": body.get("outputs"),
        "meta": body.get("execution_meta"),
        "status": {"status_str": end[0], "messages": _messages(body, prompt_id, end[1])},
    }
    return parse_history({prompt_id: entry}, prompt_id)


def _messages(body: Mapping[str, Any], prompt_id: str, last: str) -> list[Any]:
    """Return what happened in the run; where the cloud does not say, at least how it ended."""
    status = body.get("execution_status")
    told = status.get("messages") if isinstance(status, Mapping) else None
    messages = list(told) if isinstance(told, list) else []
    kinds = {pair[0] for pair in messages if isinstance(pair, list | tuple) and pair}
    if "execution_start" not in kinds and body.get("execution_start_time") is not None:
        start = {"prompt_id": prompt_id, "timestamp": body["execution_start_time"]}
        messages.insert(0, ["execution_start", start])
    if last not in kinds:
        error = body.get("execution_error")
        data = {"prompt_id": prompt_id, "timestamp": body.get("execution_end_time")}
        if last == "execution_error":
            said = error if isinstance(error, Mapping) else {"exception_message": str(error or "")}
            data = {**data, **said}
        messages.append([last, data])
    return messages
